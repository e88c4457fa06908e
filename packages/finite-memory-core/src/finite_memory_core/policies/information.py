"""How much a block says: the statistics that several policies share.

The words of the window itself give the statistics, so nothing has to be kept between evictions and
a resumed memory decides as one that never stopped. A word is worth its inverse document frequency
over the window's blocks, as in BM25 (Robertson and Zaragoza, 2009); a block's information is the
sum over its different words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log

from ..blocks import Block

_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
_ENDS = '.!?。！？؟।\n:"“(['
_QUESTION_MARKS = ("?", "？", "؟", "՞", ";")


def idf(blocks: Sequence[Block]) -> dict[str, float]:
    """Return the inverse document frequency of each word of `blocks`, always positive."""
    frequency = Counter(term for block in blocks for term in block.terms)
    count = len(blocks)
    return {term: log(1 + (count - n + 0.5) / (n + 0.5)) for term, n in frequency.items()}


def information(block: Block, weights: Mapping[str, float]) -> float:
    """Return the summed weight of the block's different words."""
    return fsum(weights.get(term, 0.0) for term in block.terms)  # exact: a set has no fixed order


def asks(block: Block) -> bool:
    """Whether the block ends in a question: then what it holds is sought, not said."""
    return block.text.rstrip(" \n\"'”’)").endswith(_QUESTION_MARKS)


def numbers(text: str) -> int:
    """Return how many different numbers, dates and times stand in the text."""
    return len(set(_NUMBER.findall(text)))


def names(text: str) -> int:
    """Return how many different words look like names: capitalised inside a sentence.

    Scripts without capitals have none, and German nouns count too: what matters is the order
    among blocks of one conversation.
    """
    return len({m.group() for m in _WORD.finditer(text) if _is_name(text, m.start(), m.group())})


def _is_name(text: str, start: int, word: str) -> bool:
    if len(word) < 2 or not word[0].isupper():
        return False
    before = text[max(0, start - 3) : start].rstrip(" ")
    return bool(before) and before[-1] not in _ENDS


def newest_within(blocks: Sequence[Block], room: float) -> int:
    """Return the position from which on all blocks together fit `room` tokens."""
    start = len(blocks)
    while start and blocks[start - 1].tokens <= room:
        start -= 1
        room -= blocks[start].tokens
    return start


def keep_newest(worths: list[float], blocks: Sequence[Block], room: float) -> list[float]:
    """Raise the newest blocks that fit `room` above all others, and return `worths`."""
    top = max((w / max(1, b.tokens) for w, b in zip(worths, blocks, strict=True)), default=0.0)
    for i in range(newest_within(blocks, room), len(blocks)):
        worths[i] = (max(top, 0.0) + 1.0) * 2 * max(1, blocks[i].tokens)
    return worths
