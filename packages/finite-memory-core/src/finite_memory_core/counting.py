"""Counting tokens without a tokenizer: an estimate, and its correction by reported usage.

The default counter has no vocabulary. It knows that a token of English is a short word, that a
Han character is nearly a token of its own, that digits come in groups of three and that base64
has no words at all, and turns those facts into a weighted sum of counts. Weights are in
hundredths of a token, fitted on one half of a small corpus against real tokenizers; the other
half gives the error, which ``docs/token-counting.md`` states kind by kind. Fit and table live in
``benchmarks/token_error``.

This module does not know which model reads the text. Where a provider reports usage,
`Calibration` learns the factor between the estimate and the truth.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Protocol

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Calibration", "EstimatingCounter", "TokenCounter"]


class TokenCounter(Protocol):
    """Anything that counts the tokens of a text: a callable ``str -> int``.

    The count is never negative, 0 for the empty text, and the same each time that it is asked.
    """

    def __call__(self, text: str, /) -> int: ...


class EstimatingCounter:
    """The default `TokenCounter`: a script-aware estimate that needs no dependency.

    Linear in the length of the text (two microseconds for a chat message of 240 ASCII characters),
    without state, and monotone: a longer text never counts less than its beginning. It errs
    towards counting too much. Any ``str`` can be counted, lone surrogates and NUL included.
    """

    def __call__(self, text: str, /) -> int:
        """Return the estimated tokens of ``text``: 0 if it is empty, else at least 1."""
        if text.isascii():
            cost = _ascii_cost(text.encode())
        else:
            cost = _ascii_cost(text.encode("ascii", "ignore")) + _beyond_ascii_cost(text)
        return (cost + 50) // 100 or (1 if text else 0)

    def __repr__(self) -> str:
        return "EstimatingCounter()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EstimatingCounter)

    def __hash__(self) -> int:
        return hash(EstimatingCounter)


class Calibration:
    """The factor between estimated and reported tokens, learned from usage.

    The factor is the median of the latest `WINDOW` ratios, reported over estimated: one odd report
    does not move it, and a change of model is followed within half a window. Contexts that follow
    each other share most of their text, so the latest ratios tell most about the next. Samples
    that no tokenizer explains (nothing estimated or reported, or a ratio beyond `LIMIT`: a provider
    that truncated, a tool loop billed in one sum) are ignored. The same samples in the same order
    give the same factor.
    """

    WINDOW = 9
    LIMIT = 4.0

    def __init__(self) -> None:
        self._ratios: list[float] = []
        self._samples = 0
        self._factor = 1.0

    def observe(self, estimated: int, actual: int) -> bool:
        """Learn that what was ``estimated`` tokens was reported as ``actual``.

        Returns whether the sample was used.
        """
        if estimated <= 0 or actual <= 0 or not _is_plausible(actual / estimated):
            return False
        self._ratios = [*self._ratios[1 - self.WINDOW :], actual / estimated]
        self._samples += 1
        self._factor = _median(self._ratios)
        return True

    @property
    def samples(self) -> int:
        """How many samples were used, forgotten ones included."""
        return self._samples

    @property
    def factor(self) -> float:
        """What to multiply an estimate with; 1.0 before the first sample."""
        return self._factor

    @property
    def error(self) -> float:
        """The largest relative distance of a remembered ratio from the factor.

        0.05 says that a calibrated estimate has been wrong by up to 5 %. 0.0 before the second
        sample, when nothing is known about the spread.
        """
        factor = self.factor
        return max((abs(ratio / factor - 1.0) for ratio in self._ratios), default=0.0)

    def to_dict(self) -> dict[str, object]:
        """Return the state as JSON values; `from_dict` restores it exactly."""
        return {"ratios": list(self._ratios), "samples": self._samples}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Calibration:
        """Restore what `to_dict` returned.

        Raises:
            ConfigError: ``data`` is no state of a calibration.
        """
        ratios, samples = data.get("ratios"), data.get("samples")
        if not isinstance(ratios, list) or not all(map(_is_plausible, ratios)):
            raise ConfigError(
                f"a calibration's 'ratios' must be a list of numbers between {1 / cls.LIMIT} and "
                f"{cls.LIMIT}, not {ratios!r}; leave the state out to start a new one"
            )
        if type(samples) is not int or samples < len(ratios) or len(ratios) > cls.WINDOW:
            raise ConfigError(
                f"a calibration's 'samples' must count at least its ratios (at most {cls.WINDOW}),"
                f" not {samples!r} for {len(ratios)} ratios; leave the state out to start a new one"
            )
        calibration = cls()
        calibration._ratios = [float(ratio) for ratio in ratios]
        calibration._samples = samples
        calibration._factor = _median(calibration._ratios) if ratios else 1.0
        return calibration

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return (
            f"<Calibration factor={self.factor:.3f} error={self.error:.3f} samples={self._samples}>"
        )


def _is_plausible(ratio: object) -> bool:
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)):
        return False
    return isfinite(ratio) and 1 / Calibration.LIMIT <= ratio <= Calibration.LIMIT


def _median(values: list[float]) -> float:
    """Return the middle value, the mean of the two middle ones for an even number of them."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


# ASCII. Every byte becomes its class, a bit or none, and the text one whole number. What is
# frequent is counted by shifting, masking and counting bits, what is rare by `bytes.count`. No
# Python code runs once per character or per word, and nothing branches at every word, which would
# cost more than the work does.

_RARE_LETTERS = "jkqwxz"  # rare in English: where they abound, words are not in the vocabulary
_SPACE, _LOWER, _UPPER, _DIGIT, _RARE, _OTHER = b"\x01", b"\x02", b"\x04", b"\x10", b"\x40", b"\0"
_PAIRING = 7
"""Moved so many bits down, a character's class lies on the next character, one bit further up. What
it has in common with that one's class is a lower letter behind a space, or an upper behind a lower:
no other two classes are neighbouring bits."""


def _ascii_class(code: int) -> bytes:
    """Return the class of a character."""
    character = chr(code)
    if character in _RARE_LETTERS:
        return _RARE
    if character in " \t":
        return _SPACE
    if not character.isalnum():
        return _OTHER  # line feeds too: tokenizers join them to the punctuation before them
    if character.isdigit():
        return _DIGIT
    return _UPPER if character.isupper() else _LOWER


_ASCII_CLASSES = b"".join(map(_ascii_class, range(128))) + bytes(128)
_MASKED = 16_384  # characters; longer texts have masks of their own
_SPACES = int.from_bytes(_SPACE * _MASKED)
_UPPERS = int.from_bytes(_UPPER * _MASKED)


def _ascii_cost(data: bytes) -> int:
    """Return the hundredths of a token that ASCII ``data`` costs.

    What a pair saves is less than what its second character costs, so that no character makes a
    text cheaper.
    """
    classes = data.translate(_ASCII_CLASSES)
    count, number, spaces, uppers = classes.count, int.from_bytes(classes), _SPACES, _UPPERS
    if len(data) > _MASKED:
        spaces, uppers = (int.from_bytes(one * len(data)) for one in (_SPACE, _UPPER))
    pairs = number >> _PAIRING & number
    upper, digits, punctuation = count(_UPPER), count(_DIGIT), count(_OTHER)
    rare = count(_RARE)
    cost = (
        14 * (len(data) - upper - digits - punctuation - rare)
        - 12 * (number & spaces).bit_count()
        + 39 * pairs.bit_count()  # a word begins
        + 112 * rare
    )
    if punctuation:
        cost += 75 * punctuation
        if punctuation > 1:
            cost -= 71 * count(_OTHER + _OTHER)  # "):" and "==" are one token
    if upper:
        cost += 40 * upper + (109 - 39) * (pairs & uppers).bit_count()  # camelCase, base64
    if digits:
        cost += 118 * digits
        if digits > 1:
            cost -= 90 * count(_DIGIT + _DIGIT)  # up to three digits are one token
    return cost


# Beyond ASCII. UTF-16 puts the block of a character into the high byte of its unit; with the top
# bit of the low byte that makes half-pages of 128 characters, fine enough to tell scripts apart.
# The half-pages of a text are found with whole-string operations, mapped to their cost, summed.

_SCRIPT_COSTS: tuple[tuple[int, int], ...] = (
    # first code point of a run of half-pages, hundredths of a token for each of its UTF-16 units
    (0x0000, 0),  # ASCII, counted above
    (0x0080, 145),  # Latin-1: a word with such a letter is not English, its other letters cost more
    (0x0100, 50),  # Latin Extended, phonetic letters
    (0x0300, 50),  # combining marks, Greek
    (0x0400, 38),  # Cyrillic
    (0x0500, 60),  # Cyrillic Supplement, Armenian
    (0x0580, 55),  # Hebrew
    (0x0600, 43),  # Arabic
    (0x0700, 120),  # Syriac, Thaana, N'Ko, Samaritan, Mandaic
    (0x0900, 40),  # Devanagari
    (0x0980, 44),  # Bengali, Gurmukhi, Gujarati
    (0x0B00, 90),  # Odia
    (0x0B80, 40),  # Tamil, Telugu, Kannada, Malayalam
    (0x0D80, 60),  # Sinhala
    (0x0E00, 45),  # Thai
    (0x0E80, 80),  # Lao, Tibetan
    (0x1000, 65),  # Myanmar
    (0x1080, 37),  # Georgian
    (0x1100, 150),  # Hangul Jamo
    (0x1200, 250),  # Ethiopic, Cherokee, Canadian syllabics, Philippine scripts
    (0x1780, 70),  # Khmer
    (0x1800, 150),  # Mongolian and others
    (0x1E00, 20),  # Latin Extended Additional: Vietnamese
    (0x1F00, 120),  # Greek Extended
    (0x2000, 85),  # punctuation, joiners
    (0x2080, 120),  # currencies, letter-like symbols, arrows, mathematics
    (0x2300, 180),  # technical symbols
    (0x2500, 80),  # box drawing
    (0x2580, 180),  # blocks, dingbats, emoji of the first plane, Braille
    (0x3000, 70),  # CJK punctuation, hiragana, katakana
    (0x3100, 160),  # Bopomofo, enclosed and compatibility characters, Extension A
    (0x4E00, 82),  # Han
    (0xA000, 200),  # Yi and others
    (0xAC00, 88),  # Hangul
    (0xD800, 118),  # surrogates: two for each emoji
    (0xE000, 200),  # private use, compatibility forms
    (0xFB00, 130),  # presentation forms
    (0xFE00, 120),  # variation selectors
    (0xFF00, 100),  # full-width forms
)
# Pages that cost what the page before them costs: Yi, Han, Hangul, private use.
_SHARING_PAGES = frozenset(
    (*range(0x4F, 0xA0), *range(0xA1, 0xAC), *range(0xAD, 0xD8), *range(0xE1, 0xFB))
)
_TOP_BIT = bytes(128) + bytes([0x80]) * 128


def _page_slots() -> bytes:
    """Number the pages with 7 bits: those that cost what the one before costs share its number."""
    slots = bytearray(256)
    for page in range(1, 256):
        slots[page] = slots[page - 1] + (page not in _SHARING_PAGES)
    return bytes(slots)


def _half_page_costs(slots: bytes) -> bytes:
    """Return the cost of each value that `_half_pages` yields."""
    costs = bytearray(256)
    starts = [start for start, _ in _SCRIPT_COSTS] + [0x10000]
    for (start, cost), end in zip(_SCRIPT_COSTS, starts[1:], strict=True):
        for half_page in range(start >> 7, end >> 7):
            costs[slots[half_page >> 1] | (half_page & 1) << 7] = cost
    return bytes(costs)


_PAGE_SLOTS = _page_slots()
_HALF_PAGE_COSTS = _half_page_costs(_PAGE_SLOTS)


def _half_pages(text: str) -> bytes:
    """Return one byte for each UTF-16 unit of ``text``: the slot of its page, and its half."""
    units = text.encode("utf-16-le", "surrogatepass")
    pages = units[1::2].translate(_PAGE_SLOTS)
    halves = units[::2].translate(_TOP_BIT)
    both = int.from_bytes(pages, "little") | int.from_bytes(halves, "little")
    return both.to_bytes(len(pages), "little")


def _beyond_ascii_cost(text: str) -> int:
    return sum(_half_pages(text).translate(_HALF_PAGE_COSTS))
