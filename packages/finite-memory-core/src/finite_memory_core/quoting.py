"""Lines chosen for what they cover: which sentences to quote where not all can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from math import fsum, inf, log
from typing import NamedTuple

from .counting import TokenCounter
from .facts import weight
from .text.stopwords import STOP_WORDS
from .text.words import words

_COST = 3.0
_KEPT = 1.5
_FOR_NEW = 0.25
_NEWS = 3.0


class _Line(NamedTuple):
    terms: frozenset[str]
    tokens: int
    bonus: float


def chosen_lines(texts: Sequence[str], old: int, max_tokens: int, count: TokenCounter) -> list[int]:
    """Return which of `texts` to keep within `max_tokens`: the one that says most first.

    Greedy coverage of weighted words (Lin and Bilmes, 2011), and a bonus for each fact. A quarter
    of the room is filled from new facts; for the rest, what was kept before competes at an
    advantage of half its worth, so that a choice among the chosen does not forget what the first
    one held.

    Args:
        texts: lines, each with its speaker.
        old: how many of them, at the beginning, were kept before.
        max_tokens: the most that the chosen ones may cost, one to a line.
        count: the counter to measure them with.
    """
    choice = _Choice([_line(text, count) for text in texts])
    new = [i for i in range(old, len(texts)) if choice.bonuses[i] >= _NEWS]
    choice.fill(max_tokens, new, enough=_FOR_NEW * max_tokens)
    choice.fill(max_tokens, range(len(texts)), favoured=old)
    chosen = choice.chosen
    while chosen and count(joined(texts, chosen)) > max_tokens:
        chosen.pop()  # counts of parts need not add up; the last one says least
    return chosen


def joined(texts: Sequence[str], chosen: Iterable[int]) -> str:
    """Return the chosen lines in their order, one to a line."""
    return "\n".join(texts[i] for i in sorted(chosen))


def _line(text: str, count: TokenCounter) -> _Line:
    said = text.partition(": ")[2] or text
    terms = frozenset(words(said)) - STOP_WORDS
    return _Line(terms, count(text) + 1, weight(said))


class _Choice:
    """Lines chosen so far, and what they cover.

    Attributes:
        bonuses: what the facts of each line add to its worth, the less the more of its words stand
            in other lines too: in "That was turn 17" the number says nothing.
        chosen: positions of the chosen lines, in the order of the choice.
    """

    def __init__(self, lines: Sequence[_Line]) -> None:
        self._lines = lines
        frequency = Counter(term for line in lines for term in line.terms)
        self._weights = {term: log(1 + len(lines) / n) for term, n in frequency.items()}
        self.bonuses = [*map(self._bonus, lines)]
        self._covered: set[str] = set()
        self._used = 0
        self.chosen: list[int] = []

    def fill(
        self, room: int, candidates: Iterable[int], *, favoured: int = 0, enough: float = inf
    ) -> None:
        """Choose among `candidates` until all chosen lines together fill `room` tokens.

        Args:
            room: what they may cost.
            candidates: positions of lines.
            favoured: those before this position count for more.
            enough: stop when they cost so much.
        """

        def density(i: int) -> float:
            worth = max(0.0, self._gain(i) - _COST) * (_KEPT if i < favoured else 1.0)
            return worth / self._lines[i].tokens

        queue = [(-density(i), -i) for i in {*candidates}.difference(self.chosen)]
        heapify(queue)
        while queue and self._used < enough:
            i = -queue[0][1]
            now = (-density(i), -i)
            if now > queue[0]:  # others cover some of it by now
                heapreplace(queue, now)
                continue
            heappop(queue)
            if self._gain(i) > 0.0 and self._used + self._lines[i].tokens <= room:
                self._take(i)

    def _gain(self, i: int) -> float:
        terms = self._lines[i].terms
        new = terms - self._covered
        bonus = self.bonuses[i] * len(new) / len(terms) if terms else self.bonuses[i]
        return fsum(self._weights[term] for term in new) + bonus

    def _bonus(self, line: _Line) -> float:
        if not line.terms or not line.bonus:
            return line.bonus
        mean = fsum(self._weights[term] for term in line.terms) / len(line.terms)
        return line.bonus * mean / log(1 + len(self._lines))

    def _take(self, i: int) -> None:
        self._used += self._lines[i].tokens
        self._covered |= self._lines[i].terms
        self.chosen.append(i)
