"""How much a block says: the statistics that several policies share.

The words of the window itself give the statistics, so nothing has to be kept between evictions and
a resumed memory decides as one that never stopped. A word is worth its inverse document frequency
over the window's blocks, as in BM25 (Robertson and Zaragoza, 2009); a block's information is the
sum over its different words. What a block holds by itself is read once and kept with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log
from typing import NamedTuple
from weakref import WeakKeyDictionary

from ..blocks import Block
from ..text.sentences import sentences
from ..text.stopwords import STOP_WORDS
from ..text.words import words
from .dates import TIME_WORDS

QUESTION = 0.5
"""What a word that is only asked about counts, against one that is stated."""

_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_WORD = re.compile(r"[^\W\d_]{2,}")
_ENDS = '.!?。！？؟।\n:"“„«‘([¿¡'
_TITLES = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Prof|St|Sr|Sra|Hr|Fr|Mme|Dott)\.$")
_CLOSING = " \n\t\"'”’»)*_"
_QUESTION_MARKS = ("?", "？", "؟", "՞", ";")
_NO_TERMS: frozenset[str] = frozenset()


class Features(NamedTuple):
    """What a block holds, whatever stands around it.

    Attributes:
        stated: its words in what is no question.
        asked: its words that stand in questions only.
        names, numbers, dates: how many different ones it has (see `names`, `numbers`, `dates`).
        asks: whether it ends in a question.
    """

    stated: frozenset[str]
    asked: frozenset[str]
    names: int
    numbers: int
    dates: int
    asks: bool


_features: WeakKeyDictionary[Block, Features] = WeakKeyDictionary()


def features(block: Block) -> Features:
    """Return what the block holds, computed once for each."""
    found = _features.get(block)
    if found is None:
        text, asked = block.text, _asked(block)
        found = Features(
            block.terms - asked,
            asked,
            names(text),
            numbers(text),
            dates(block.terms),
            asks(text),
        )
        _features[block] = found
    return found


def idf(blocks: Sequence[Block]) -> dict[str, float]:
    """Return the inverse document frequency of each word of `blocks`, always positive."""
    frequency: Counter[str] = Counter()
    for block in blocks:
        frequency.update(block.terms)
    count = len(blocks)
    by_frequency = {
        n: log(1 + (count - n + 0.5) / (n + 0.5)) for n in {*frequency.values()}
    }  # many words, few frequencies
    return {term: by_frequency[n] for term, n in frequency.items()}


def information(block: Block, weights: Mapping[str, float]) -> float:
    """Return the summed weight of the block's different words, those only asked about halved."""
    held = features(block)
    stated = fsum(map(weights.__getitem__, held.stated))  # exact: a set has no fixed order
    return stated + QUESTION * fsum(map(weights.__getitem__, held.asked))


def asks(text: str) -> bool:
    """Whether the text ends in a question: then what it holds is sought, not said."""
    return text.rstrip(_CLOSING).endswith(_QUESTION_MARKS)


def numbers(text: str) -> int:
    """Return how many different numbers, dates and times in digits stand in the text."""
    return len(set(_NUMBER.findall(text)))


def dates(terms: frozenset[str]) -> int:
    """Return how many different words of time are among `terms`."""
    return len(terms & TIME_WORDS)


def names(text: str) -> int:
    """Return how many different words look like names: capitalised inside a sentence.

    Scripts without capitals have none, nor has a text all in capitals, and German nouns count too:
    what matters is the order among blocks of one conversation.
    """
    if text.isupper():
        return 0
    found = (m for m in _WORD.finditer(text) if looks_like_name(text, m.start(), m.group()))
    return len({match.group() for match in found})


def newest_within(blocks: Sequence[Block], room: float) -> int:
    """Return the position from which on all blocks together fit `room` tokens."""
    start = len(blocks)
    while start and blocks[start - 1].tokens <= room:
        start -= 1
        room -= blocks[start].tokens
    return start


def keep_newest(worths: list[float], blocks: Sequence[Block], room: float) -> list[float]:
    """Return `worths` with the newest blocks that fit `room` raised above all others."""
    top = max((w / max(1, b.tokens) for w, b in zip(worths, blocks, strict=True)), default=0.0)
    density = (max(top, 0.0) + 1.0) * 2
    start = newest_within(blocks, room)
    return worths[:start] + [density * max(1, block.tokens) for block in blocks[start:]]


def looks_like_name(text: str, start: int, word: str) -> bool:
    """Whether the word at `start` has a capital for another reason than beginning a sentence."""
    if not word[0].isupper():
        return False
    before = text[max(0, start - 6) : start].rstrip(" ")
    if not before or before[-1] not in _ENDS:
        return bool(before)
    return before[-1] == "." and _TITLES.search(before) is not None


def _asked(block: Block) -> frozenset[str]:
    """Return the words of a block that stand in its questions only."""
    text = block.text
    if not any(mark in text for mark in _QUESTION_MARKS):
        return _NO_TERMS
    stated = [text[a:b] for a, b in sentences(text) if not asks(text[a:b])]
    if not stated:
        return block.terms
    return block.terms - (frozenset(words("\n".join(stated))) - STOP_WORDS)
