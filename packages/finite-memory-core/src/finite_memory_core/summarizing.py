"""A summarizer that needs no model: it quotes the sentences that say most.

It is extractive: each line of the summary is a sentence somebody said, so it states nothing that
was never said. What it can lose is whatever it has no room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from math import fsum, log
from typing import NamedTuple

from .blocks import Block
from .counting import TokenCounter
from .messages import Message
from .policies.information import names, numbers
from .text.sentences import sentences
from .text.stopwords import STOP_WORDS
from .text.words import words

_NAME, _NUMBER, _KEPT = 3.0, 3.0, 1.5


class _Line(NamedTuple):
    text: str
    terms: frozenset[str]
    tokens: int
    bonus: float
    factor: float


class ExtractiveSummarizer:
    """Chooses sentences by the new words, names and numbers that they add for their tokens.

    Greedy coverage of weighted words (Lin and Bilmes, 2011). Lines of the summary so far compete
    with what leaves now at an advantage of half their worth, so that a summary of summaries does
    not forget what the first one held.
    """

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """See `Summarizer.summarize`."""
        old = [line for line in previous.split("\n") if line]
        new = [line for block in blocks for line in _lines_of(block)]
        lines = [
            _line(text, count, _KEPT if i < len(old) else 1.0)
            for i, text in enumerate(dict.fromkeys([*old, *new]))
        ]
        chosen = _choose(lines, max_tokens)
        text = "\n".join(lines[i].text for i in sorted(chosen))
        while chosen and count(text) > max_tokens:  # counts of parts need not add up
            chosen.pop()
            text = "\n".join(lines[i].text for i in sorted(chosen))
        return text


def _lines_of(block: Block) -> Iterator[str]:
    """Yield the sentences of a block, each with its speaker; tools' results without one another."""
    for message in block.messages:
        speaker = message.name or message.role.value
        for call in message.tool_calls:
            yield f"{speaker} called {call.name} {call.arguments}"
        yield from (f"{speaker}: {sentence}" for sentence in _sentences(message))


def _sentences(message: Message) -> Iterator[str]:
    text = message.text
    for start, end in sentences(text):
        sentence = " ".join(text[start:end].split())
        if sentence and not sentence.endswith(("?", "？", "؟")):
            yield sentence


def _line(text: str, count: TokenCounter, factor: float) -> _Line:
    terms = frozenset(words(text)) - STOP_WORDS
    said = text.partition(": ")[2] or text
    bonus = _NAME * names(said) + _NUMBER * numbers(said)
    return _Line(text, terms, count(text) + 1, bonus, factor)


def _choose(lines: Sequence[_Line], room: int) -> list[int]:
    """Return the positions of the chosen lines, the best first."""
    frequency = Counter(term for line in lines for term in line.terms)
    weights = {term: log(1 + len(lines) / n) for term, n in frequency.items()}
    covered: set[str] = set()

    def density(line: _Line) -> float:
        gain = fsum(weights[term] for term in line.terms - covered) + line.bonus
        return gain * line.factor / line.tokens

    queue = [(-density(line), i) for i, line in enumerate(lines)]
    heapify(queue)
    chosen: list[int] = []
    while queue:
        i = heappop(queue)[1]
        line = lines[i]
        now = density(line)
        if queue and -now > queue[0][0]:
            heappush(queue, (-now, i))
        elif line.tokens <= room and now > 0:
            room -= line.tokens
            covered |= line.terms
            chosen.append(i)
    return chosen
