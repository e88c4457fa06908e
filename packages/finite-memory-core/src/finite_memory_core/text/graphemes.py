"""Grapheme clusters: what a reader takes for one character is never cut.

Extended grapheme clusters of Unicode Standard Annex 29, rules GB1 to GB13. A linker joins the
consonant after it (GB9c) whatever stands before the linker, as in the ``\\X`` of the package
``regex``. General categories come from `unicodedata`, the rest from `tables`; a character that is
newer than the interpreter's Unicode data is taken for an ordinary one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from unicodedata import category

from . import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["floor_boundary", "graphemes", "is_boundary"]

_ZWJ = "\u200d"
_ZWNJ = "\u200c"
_HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)


def is_boundary(text: str, index: int) -> bool:
    """Return whether ``text`` may be cut before its character ``index``.

    Both ends are boundaries, and so is whatever lies beyond them.
    """
    return not 0 < index < len(text) or _breaks(text, index, 0)


def floor_boundary(text: str, index: int) -> int:
    """Return the largest boundary that is not behind ``index``; looks at one cluster only."""
    index = max(0, min(index, len(text)))
    while not is_boundary(text, index):
        index -= 1
    return index


def graphemes(text: str) -> Iterator[str]:
    """Yield the clusters of ``text`` in order; joined they are ``text``."""
    start = 0
    for index in range(1, len(text)):
        if _breaks(text, index, start):
            yield text[start:index]
            start = index
    if text:
        yield text[start:]


def _breaks(text: str, index: int, start: int) -> bool:
    """Decide between two characters; ``start`` is a boundary, and no rule looks behind it."""
    before, after = text[index - 1], text[index]
    if before.isascii() and after.isascii():
        return not (before == "\r" and after == "\n")  # GB3
    left, right = _kind(before), _kind(after)
    if left == "Control" or right == "Control":  # GB4, GB5
        return True
    if right in _JOINS_LEFT or left == "Prepend" or right in _HANGUL.get(left, ()):
        return False  # GB6 to GB9b
    if right == "Pictographic":
        return not (before == _ZWJ and _is_pictographic_sequence(text, index - 2, start))  # GB11
    if right == "Consonant":
        return not _is_conjunct(text, index - 1, start)  # GB9c
    if right == "Regional":
        return not (left == "Regional" and _is_odd_run(text, index - 1, start))  # GB12, GB13
    return True


_JOINS_LEFT = frozenset({"Extend", "Linker", "ZWJ", "SpacingMark"})
_HANGUL = {
    "L": frozenset({"L", "V", "LV", "LVT"}),
    "LV": frozenset({"V", "T"}),
    "V": frozenset({"V", "T"}),
    "LVT": frozenset({"T"}),
    "T": frozenset({"T"}),
}


def _is_pictographic_sequence(text: str, index: int, start: int) -> bool:
    """Return whether a pictograph and its extenders end at ``index``."""
    while index > start and _kind(text[index]) in ("Extend", "Linker"):
        index -= 1
    return index >= start and _kind(text[index]) == "Pictographic"


def _is_conjunct(text: str, index: int, start: int) -> bool:
    """Return whether a linker ends at ``index``, extenders behind it left out."""
    while index >= start and text[index] != _ZWNJ:
        kind = _kind(text[index])
        if kind not in ("Extend", "ZWJ"):
            return kind in ("Linker", "Initial")
        index -= 1
    return False


def _is_odd_run(text: str, index: int, start: int) -> bool:
    """Return whether an odd number of regional indicators ends at ``index``."""
    first = index
    while first > start and ord(text[first - 1]) in _REGIONAL_INDICATORS:
        first -= 1
    return (index - first) % 2 == 0


@lru_cache(maxsize=8192)
def _kind(character: str) -> str:
    """Return the role of a character in the rules; ``"Other"`` for most."""
    code = ord(character)
    if character == _ZWJ:
        return "ZWJ"
    if code in tables.CONJUNCT_LINKER:
        return "Initial" if code in tables.CONJUNCT_INITIAL else "Linker"
    if code in tables.CONJUNCT_CONSONANT:
        return "Consonant"
    return _listed_kind(code) or _kind_by_category(character)


def _listed_kind(code: int) -> str | None:
    if code in _HANGUL_SYLLABLES:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    if code in _REGIONAL_INDICATORS:
        return "Regional"
    return next((kind for kind, ranges in _LISTED if code in ranges), None)


_LISTED = (
    ("Extend", tables.OTHER_EXTEND),
    ("Prepend", tables.PREPEND),
    ("Pictographic", tables.PICTOGRAPHIC),
    ("Control", tables.UNASSIGNED_CONTROL),
    ("L", tables.HANGUL_L),
    ("V", tables.HANGUL_V),
    ("T", tables.HANGUL_T),
)


def _kind_by_category(character: str) -> str:
    kind = category(character)
    if kind in ("Cc", "Cf", "Zl", "Zp"):
        return "Control"
    if kind in ("Mn", "Me"):
        return "Extend"
    if character in "\u0e33\u0eb3" or (kind == "Mc" and ord(character) not in _STANDING_ALONE):
        return "SpacingMark"
    return "Other"


_STANDING_ALONE = tables.NOT_SPACING_MARK
