"""A summarizer that needs no model: it quotes the sentences that say most.

It is extractive: each line of the summary is a sentence somebody said, so it states nothing that
was never said. What it can lose is whatever it has no room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from math import fsum, inf, log
from typing import NamedTuple

from .blocks import Block
from .counting import TokenCounter
from .messages import Message
from .policies.information import asks, dates, names, numbers
from .text.sentences import sentences
from .text.stopwords import STOP_WORDS
from .text.words import words

_NAME, _NUMBER, _DATE = 4.0, 4.0, 4.0
_COST = 3.0
_KEPT = 1.5
_FOR_NEW = 0.25


class _Line(NamedTuple):
    text: str
    terms: frozenset[str]
    tokens: int
    bonus: float


class ExtractiveSummarizer:
    """Chooses sentences by the new words, names, numbers and dates that they add for their tokens.

    Greedy coverage of weighted words (Lin and Bilmes, 2011). A quarter of the room is filled from
    what leaves now, so that the summary goes with the conversation; for the rest, its lines so far
    compete at an advantage of half their worth, so that a summary of summaries does not forget what
    the first one held.
    """

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """See `Summarizer.summarize`."""
        old = dict.fromkeys(line for line in previous.split("\n") if line)
        said = dict.fromkeys(line for block in blocks for line in lines_of(block))
        texts = [*old, *(line for line in said if line not in old)]
        choice = _Choice([_line(text, count) for text in texts])
        new = range(len(old), len(texts))
        choice.fill(max_tokens, new, enough=_FOR_NEW * max_tokens)
        choice.fill(max_tokens, range(len(texts)), favoured=len(old))
        chosen = choice.chosen
        while chosen and count(_joined(texts, chosen)) > max_tokens:
            chosen.pop()  # counts of parts need not add up; the last one says least
        return _joined(texts, chosen)


def _joined(texts: Sequence[str], chosen: Iterable[int]) -> str:
    return "\n".join(texts[i] for i in sorted(chosen))


def lines_of(block: Block) -> Iterator[str]:
    """Yield what a block says, a sentence a line, each with its speaker; questions are left out."""
    for message in block.messages:
        speaker = " ".join((message.name or message.role.value).split())
        for call in message.tool_calls:
            yield f"{speaker}: called {' '.join(f'{call.name} {call.arguments}'.split())}"
        yield from (f"{speaker}: {sentence}" for sentence in _sentences(message))


def _sentences(message: Message) -> Iterator[str]:
    text = message.text
    for start, end in sentences(text):
        sentence = " ".join(text[start:end].split())
        if sentence and not asks(sentence):
            yield sentence


def _line(text: str, count: TokenCounter) -> _Line:
    said = text.partition(": ")[2] or text
    terms = frozenset(words(said)) - STOP_WORDS
    bonus = _NAME * names(said) + _NUMBER * numbers(said) + _DATE * dates(terms)
    return _Line(text, terms, count(text) + 1, bonus)


class _Choice:
    """Lines chosen so far, and what they cover.

    Attributes:
        chosen: positions of the chosen lines, in the order of the choice.
    """

    def __init__(self, lines: Sequence[_Line]) -> None:
        self._lines = lines
        frequency = Counter(term for line in lines for term in line.terms)
        self._weights = {term: log(1 + len(lines) / n) for term, n in frequency.items()}
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
        new = self._lines[i].terms - self._covered
        return fsum(self._weights[term] for term in new) + self._lines[i].bonus

    def _take(self, i: int) -> None:
        self._used += self._lines[i].tokens
        self._covered |= self._lines[i].terms
        self.chosen.append(i)
