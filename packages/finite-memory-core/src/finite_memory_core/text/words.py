"""Lexical terms of a text, for ranking: what of it a search could match.

Scripts that put spaces between words yield words; those that do not (Han, kana, Thai, Lao, Khmer,
Myanmar) yield overlapping pairs of characters, which need no dictionary and rank nearly as well
(character bigrams; see Nie, Gao, Zhang and Zhou, "On the use of words and n-grams for Chinese
information retrieval", 2000). No stemming and no stop words: the caller chooses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import is_normalized, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["words"]

# `\w` knows letters and digits but not the vowel signs and accents that belong to them.
_MARKS = (
    r"\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a"
    r"\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a"
    r"\u07a6-\u07b0\u07eb-\u07f3\u0816-\u082d\u0859-\u085b\u08ca-\u0903\u093a-\u094f\u0951-\u0957"
    r"\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u09e2\u09e3\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0a75"
    r"\u0a81-\u0a83\u0abc-\u0acd\u0ae2\u0ae3\u0afa-\u0b03\u0b3c-\u0b57\u0b62\u0b63\u0b82\u0bbe-\u0bd7"
    r"\u0c00-\u0c04\u0c3c-\u0c56\u0c62\u0c63\u0c81-\u0c83\u0cbc-\u0cd6\u0ce2\u0ce3\u0d00-\u0d03"
    r"\u0d3b-\u0d4d\u0d57\u0d62\u0d63\u0d81-\u0d83\u0dca-\u0df3\u0f18\u0f19\u0f35\u0f37\u0f39"
    r"\u0f71-\u0f84\u0f8d-\u0fbc\u135d-\u135f\u1dc0-\u1dff\u20d0-\u20f0"
)
# Vowel signs of Thai, Lao, Myanmar and Khmer included; their punctuation and digits are not.
_UNSPACED = (
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u109d\u1780-\u17d3"
    r"\u17dc\u17dd\u3005-\u3007\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    r"\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_UNSPACED_RUN = re.compile(f"([{_UNSPACED}]+)")


def _terms_pattern(letter: str) -> str:
    """Numbers with their inner punctuation; words, also contracted, dotted or with an ``@``."""
    number = r"(?<=\d)(?:[.,:/-]\d+)+"
    contraction = r"'(?:t|re|ve|ll|d|m)\b"
    compound = rf"(?:[.@]{letter}+)+"
    return rf"{letter}++(?:(?=[.,:/@'-])(?:{number}|{contraction}|{compound}))?"


_ASCII_TERMS = re.compile(_terms_pattern(r"\w"), re.ASCII)
_SPACED_TERMS = re.compile(_terms_pattern(rf"[\w{_MARKS}]"))
_POSSESSIVE = re.compile(r"'s\b")
_INVISIBLE = re.compile("[\u00ad\u0640\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]")
_COMPOUND = re.compile(r"[._@]")
_COMPOUND_IN_TEXT = re.compile(r"[._@](?:\w|(?<=_))")


def words(text: str) -> list[str]:
    """Return the terms of ``text`` in order, repeated as often as they occur, case-folded.

    Numbers, dates and times stay whole (``"3.5"``, ``"2024-05-08"``, ``"12:30"``). Of a compound
    (``snake_case``, ``main.py``, an e-mail address) come the whole and then its parts. A possessive
    ``'s`` is dropped, punctuation and symbols too. Compatibility forms are unified (NFKC).
    """
    if text.isascii():
        return _terms(text.lower(), _ASCII_TERMS)
    folded = _fold(text)
    pieces = _UNSPACED_RUN.split(folded)
    if len(pieces) == 1:
        return _terms(folded, _SPACED_TERMS)
    found: list[str] = []
    for spaced, unspaced in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        found += _terms(spaced, _SPACED_TERMS)
        found += _pairs(unspaced)
    return found


def _fold(text: str) -> str:
    folded = text if is_normalized("NFKC", text) else normalize("NFKC", text)
    return _INVISIBLE.sub("", folded.casefold().replace("\u2019", "'"))


def _terms(text: str, pattern: re.Pattern[str]) -> list[str]:
    if "'s" in text:
        text = _POSSESSIVE.sub("", text)
    found: list[str] = pattern.findall(text)
    if _COMPOUND_IN_TEXT.search(text):
        return [part for term in found for part in _with_parts(term)]
    return found


def _with_parts(term: str) -> Iterator[str]:
    """Yield ``term``, and its parts if it is a compound; bare underscores are none."""
    if "_" not in term and (term[0].isdigit() or ("." not in term and "@" not in term)):
        yield term
        return
    parts = [part for part in _COMPOUND.split(term) if part]
    if parts:
        yield term
    if len(parts) > 1:
        yield from parts


def _pairs(run: str) -> list[str]:
    """Return the overlapping pairs of characters; a character alone is its own term."""
    if len(run) < 2:
        return [run] if run else []
    return [run[index : index + 2] for index in range(len(run) - 1)]
