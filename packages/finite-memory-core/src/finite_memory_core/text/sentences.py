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
_SURE = "。！？｡‼⁇⁈⁉؟۔؞।॥።፧፨။។៕៚๚๛։׃᠃᠉༎།܀܁܂᙮߹࠷࠹࠽࠾᭚᭛᭞᭟᰻᰼᱾᱿᳓꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗𑁇𑁈𑃀𑃁𑅁𑅂𑅃𑇅𑇆"
_STOPS = f".!?…．{_SURE}"
_CLOSING = re.escape("\"'”’“‘»›)]}」』）］｝】〉》〕｣〗*_~`")
# It begins with one class of characters, so that the engine skips at once what is none of them.
_ENDS = re.compile(
    rf"""
    (?P<stop> [{_STOPS};\u037e{_LINE_ENDS}] (?: (?<=[{_STOPS}])[{_STOPS}]+ )? )
    (?: (?<![{_LINE_ENDS}]) [\ufe0e\ufe0f]?
        (?P<closing> (?: [\ \u00a0\u202f](?=[»›]) | [{_CLOSING}] )* )
    )?
    (?P<space> \s*[{_LINE_ENDS}] | (?<![{_LINE_ENDS}])\s* )?
    """,
    re.VERBOSE,
)
_IS_SURE = re.compile(f"[{_SURE}]")
_IS_LINE_END = re.compile(f"[{_LINE_ENDS}]")
_IS_GREEK = re.compile("[\u0370-\u03ff\u1f00-\u1fff]")
_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[^\n]*(?:\n(?:.*\n)*?[ \t]*\1[`~]*[ \t]*$|[\s\S]*\Z)\n?", re.MULTILINE
)
_BLANK_LINE = re.compile(rf"[{_LINE_ENDS}]\s*[{_LINE_ENDS}]")
_VISIBLE = re.compile(r"\S")
_NEXT_WORD = re.compile(r"\w*")

_WRAPPED_LINE = 50  # characters from which on a line may have been broken for its length
_LONGEST_ABBREVIATION = 24  # characters looked at before a full stop


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TITLES = _set(
    """
    Mr Mrs Ms Dr Prof St Mt Gen Col Sgt Capt Lt Rev Hon Gov Sen Rep Jr Sr Hr Fr Dipl Mme Mlle Sra
    Srta Dra Ud Uds Sig Dott Dhr Mevr Drs
    """
)
_NEVER_LAST = _set(
    """
    dr prof vs cf viz approx dept eg ie incl resp bzw evtl ggf inkl ing sog vgl sig dott dhr mevr
    bijv ул им напр
    """
)
_NEVER_BEFORE_NUMBER = _set(
    """
    no nr nos fig figs eq p pp pg ch chap sec vol art par abs lfd tel ext tab app bd kap s jan feb
    mar apr jun jul aug sep sept oct okt nov dec dez рис стр табл гл п
    """
)
_LETTERS = frozenset("dusvzгт")  # "z. B.", "d. h.", "г. Москва"
_MAY_END = frozenset({"a.m", "p.m"})
_MONTHS = _set(
    """
    januar jänner februar märz april mai juni juli august september oktober november dezember
    jahrhundert
    """
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
        if is_boundary(text, end) and text[start:end].strip():
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
    return (match.end() for match in _ENDS.finditer(text, start, end) if _is_end(text, match))


def _is_end(text: str, match: re.Match[str]) -> bool:
    stop, space = match["stop"], match["space"] or ""
    if _IS_LINE_END.match(stop):
        return _BLANK_LINE.search(stop + space) is not None or not _is_wrapped(text, match)
    if _IS_SURE.search(stop) or _is_full_width_stop(text, match) or _BLANK_LINE.search(space):
        return True
    if (space or match.end() == match.endpos) and _is_full_stop(text, match):
        return True
    return _IS_LINE_END.search(space) is not None and not _is_wrapped(text, match)


def _is_full_width_stop(text: str, match: re.Match[str]) -> bool:
    behind = match.end("stop")
    return match["stop"].endswith("．") and not text[behind : behind + 1].isdecimal()


def _is_wrapped(text: str, match: re.Match[str]) -> bool:
    """Return whether the line was broken for its length: it is long, and goes on in lower case."""
    line_start = text.rfind("\n", 0, match.start()) + 1
    is_long = match.start() - line_start >= _WRAPPED_LINE
    return is_long and _character_after(text, match.end()).islower()


def _is_full_stop(text: str, match: re.Match[str]) -> bool:
    """Return whether a stop with a space behind it ends a sentence."""
    stop = match["stop"]
    if stop in ";\u037e":  # a question mark in Greek only
        return _IS_GREEK.match(text, match.start() - 1) is not None
    following = _character_after(text, match.end())
    if following.islower():  # "e.g. this", '"Stop!" she said', but "really? i think so"
        return stop[-1] in "!?" and not match["closing"]
    return stop != "." or not _is_abbreviation(text, match.start(), match.end())


def _is_abbreviation(text: str, stop: int, following: int) -> bool:
    """Return whether the word before the full stop at ``stop`` is one that goes on behind it."""
    before = text[max(0, stop - _LONGEST_ABBREVIATION) : stop]
    word = re.split(r"[\s(\[{\"'“‘«„/-]", before)[-1]
    if word.isdigit():
        return _is_list_number(before, word) or _word_at(text, following) in _MONTHS
    if len(word) == 1:
        is_initial = word.isupper() and word != "I"
        return is_initial or word in _LETTERS or _is_before_number(word, text, following)
    folded = word.casefold()
    if "." in word:
        parts = word.split(".")
        return folded not in _MAY_END and all(len(p) <= 2 and p.isalpha() for p in parts)
    return word in _TITLES or folded in _NEVER_LAST or _is_before_number(folded, text, following)


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
