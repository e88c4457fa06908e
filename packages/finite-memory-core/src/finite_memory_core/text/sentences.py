"""Sentences: spans of a text that can be quoted, kept or left alone.

In the spirit of the sentence rules of Unicode Standard Annex 29, with what chats need besides: list
items, code fences, abbreviations. One regular expression finds whatever might end a sentence; a few
rules look at the words around it. Nothing is parsed and no language is guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .graphemes import is_boundary

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sentences"]

_LINE_ENDS = "\\n\\r\\v\\f\x1c-\x1e\x85\u2028\u2029"
# Full stops that end a sentence with or without a space behind them.
_SURE = (
    "。！？｡‼⁇⁈⁉؟۔؞।॥።፧፨။។៕៚๚๛։׃᠃᠉༎།܀܁܂᙮߹࠷࠹࠽࠾᭚᭛᭞᭟᰻᰼᱾᱿᳓꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗𑁇𑁈𑃀𑃁𑅁𑅂𑅃𑇅𑇆"
)
_CLOSING = re.escape("\"'”’“‘»›)]}」』）］｝】〉》〕｣〗*_~`")
_ENDS = re.compile(
    rf"""
    (?: (?P<sure> [.!?…]* (?: [{_SURE}] | ．(?!\d) ) [.!?…{_SURE}]* )  # by itself
      | (?P<maybe> [.!?…]+ | (?<=[\u0370-\u03ff\u1f00-\u1fff])[;\u037e] )  # before a space
    )
    [\ufe0e\ufe0f]?
    (?P<closing> (?: [\ \u00a0\u202f](?=[»›]) | [{_CLOSING}] )* )
    (?P<space> \s*[{_LINE_ENDS}] | \s* )
    | (?P<line> [{_LINE_ENDS}] (?: \s*[{_LINE_ENDS}] )? )
    """,
    re.VERBOSE,
)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*(?:\n(?:.*\n)*?[ \t]*\1[`~]*[ \t]*$|[\s\S]*\Z)\n?", re.M)
_BLANK_LINE = re.compile(rf"[{_LINE_ENDS}]\s*[{_LINE_ENDS}]")
_VISIBLE = re.compile(r"\S")
_NEXT_WORD = re.compile(r"\w*")

_WRAPPED_LINE = 50  # characters from which on a line may have been broken for its length
_LONGEST_ABBREVIATION = 24  # characters looked at before a full stop

_NEVER_LAST = frozenset(
    "mr mrs ms dr prof st mt gen col sgt capt lt rev hon gov sen rep jr sr vs cf viz approx dept"
    " eg ie incl resp bzw ca evtl ggf inkl hr fr dipl ing sog vgl mme mlle sra srta dra ud uds"
    " sig dott dhr mevr drs bijv ул им напр".split()
)
_NEVER_BEFORE_NUMBER = frozenset(
    "no nr nos fig figs eq p pp pg ch chap sec vol art par abs lfd tel ext tab app bd kap s"
    " jan feb mar apr jun jul aug sep sept oct okt nov dec dez рис стр табл гл п".split()
)
_MAY_END = frozenset({"a.m", "p.m"})
_MONTHS = frozenset(
    "januar jänner februar märz april mai juni juli august september oktober november dezember"
    " jahrhundert".split()
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the spans ``(start, end)`` of the sentences of ``text``, in order.

    The spans cover the text without gap or overlap; white space belongs to the sentence before it.
    No span cuts a grapheme. Closing quotes and brackets stay with their sentence; a blank line, a
    list item and a line that was not broken for its length begin a new one; a fenced code block is
    one span. Text in a script without full stops (Thai) is one span a line.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for end in _span_ends(text):
        if is_boundary(text, end) and not text[start:end].isspace():
            spans.append((start, end))
            start = end
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _span_ends(text: str) -> Iterator[int]:
    """Yield positions where a sentence ends, ascending."""
    position = 0
    if "```" in text or "~~~" in text:
        for fence in _FENCE.finditer(text):
            yield from _prose_ends(text, position, fence.start())
            yield fence.start()
            yield fence.end()
            position = fence.end()
    yield from _prose_ends(text, position, len(text))


def _prose_ends(text: str, start: int, end: int) -> Iterator[int]:
    for match in _ENDS.finditer(text, start, end):
        if match["sure"] or _is_end(text, match):
            yield match.end()


def _is_end(text: str, match: re.Match[str]) -> bool:
    space = match["space"] or match["line"] or ""
    if _BLANK_LINE.search(space):
        return True
    if match["maybe"] and (space or match.end() == match.endpos) and _is_full_stop(text, match):
        return True
    return _has_line_end(space) and not _is_wrapped(text, match)


def _has_line_end(space: str) -> bool:
    return len(space.splitlines()) > 0 and not space.isprintable()


def _is_wrapped(text: str, match: re.Match[str]) -> bool:
    """Return whether the line was broken for its length: it is long, and goes on in lower case."""
    line_start = text.rfind("\n", 0, match.start()) + 1
    is_long = match.start() - line_start >= _WRAPPED_LINE
    return is_long and _character_after(text, match.end()).islower()


def _is_full_stop(text: str, match: re.Match[str]) -> bool:
    """Return whether a stop with a space behind it ends a sentence."""
    following = _character_after(text, match.end())
    stop = match["maybe"]
    if following.islower():  # "e.g. this", '"Stop!" she said', but "really? i think so"
        return stop[-1] in "!?;\u037e" and not match["closing"]
    return stop != "." or not _is_abbreviation(text, match.start(), match.end())


def _is_abbreviation(text: str, stop: int, following: int) -> bool:
    """Return whether the word before the full stop at ``stop`` is one that goes on behind it."""
    before = text[max(0, stop - _LONGEST_ABBREVIATION) : stop]
    word = re.split(r"[\s(\[{\"'“‘«„/-]", before)[-1]
    if word.isdigit():
        return _is_list_number(before, word) or _word_at(text, following) in _MONTHS
    if len(word) == 1:
        is_initial = word.isupper() and word != "I"
        return is_initial or _is_before_number(word, text, following)
    folded = word.casefold()
    if "." in word:
        return folded not in _MAY_END and all(len(part) <= 2 for part in word.split("."))
    return folded in _NEVER_LAST or _is_before_number(folded, text, following)


def _is_list_number(before: str, word: str) -> bool:
    head = before[: -len(word)].rstrip(" \t")
    return not head or head[-1] in "\r\n"


def _is_before_number(word: str, text: str, following: int) -> bool:
    return word.casefold() in _NEVER_BEFORE_NUMBER and _character_after(text, following).isdigit()


def _character_after(text: str, index: int) -> str:
    """Return the first visible character from ``index`` on; a space if there is none."""
    match = _VISIBLE.search(text, index)
    return match[0] if match else " "


def _word_at(text: str, index: int) -> str:
    match = _NEXT_WORD.match(text, index)
    return match[0].casefold() if match else ""
