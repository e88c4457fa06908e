"""A backend without a model: it quotes the context.

It makes what a memory kept visible, offline and for free. It understands nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import log
from typing import NamedTuple

from ..context import Context
from ..errors import ConfigError
from ..messages import Message, Role
from ..text.sentences import sentences
from ..text.stopwords import STOP_WORDS
from ..text.words import words
from .base import Backend, Delta

_NOTHING = "I am a reader, not a language model, and nothing in my context matches the question."


class Quote(NamedTuple):
    """A sentence of the context, with how well it matches the question."""

    score: float
    message: Message
    text: str


class ReaderBackend(Backend):
    """Answers by quoting the sentences of the context that match the question best.

    Sentences are ranked by BM25 (Robertson and Zaragoza, 2009) over the sentences of the context,
    half the score of the neighbouring sentences added, since an answer often stands next to the
    words that match.

    Args:
        quotes: the most sentences to quote.

    Raises:
        ConfigError: `quotes` is less than 1.
    """

    name = "reader"

    def __init__(self, quotes: int = 3) -> None:
        if quotes < 1:
            raise ConfigError(f"quotes must be 1 or more, got {quotes}")
        self.quotes = quotes

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        found = self.quote(context)
        if not found:
            yield Delta(_NOTHING)
        for number, quote in enumerate(found):
            yield Delta(("\n" if number else "From my context:\n") + _rendered(quote))
        yield Delta(finish="stop")

    def quote(self, context: Context) -> list[Quote]:
        """Return the best matching sentences, in the order in which they stand."""
        asked = context.query or (context.question.text if context.question else "")
        terms = set(words(asked)) - STOP_WORDS
        lines = list(_lines(context))
        scores = _with_neighbours(_bm25(terms, [line.text for line in lines]))
        best = sorted(range(len(lines)), key=lambda i: (-scores[i], -i))[: self.quotes]
        return [lines[i]._replace(score=scores[i]) for i in sorted(best) if scores[i] > 0]


def load(spec: str = "", **options: int) -> ReaderBackend:
    """Return a reader for `load_backend("reader")`.

    Raises:
        ConfigError: something stands behind the name.
    """
    if spec:
        raise ConfigError(f"the reader has no models, so nothing stands behind its name: {spec!r}")
    return ReaderBackend(**options)


def _lines(context: Context) -> Iterator[Quote]:
    """Yield the sentences of all that was said before the question, instructions aside."""
    question = context.question
    for message in context.messages:
        if message.role.instructs or message is question or _own(message):
            continue
        text = message.text
        for start, end in sentences(text):
            if sentence := " ".join(text[start:end].split()):
                yield Quote(0.0, message, sentence)


def _own(message: Message) -> bool:
    """Whether the message is an earlier answer of a reader, which only quotes again."""
    return message.role is Role.ASSISTANT and message.text.startswith(
        ("From my context:\n", _NOTHING)
    )


def _bm25(terms: set[str], texts: list[str], k: float = 1.2, b: float = 0.75) -> list[float]:
    counts = [Counter(words(text)) for text in texts]
    lengths = [sum(count.values()) for count in counts]
    mean = (sum(lengths) / len(lengths) if lengths else 0) or 1.0
    scores = [0.0] * len(texts)
    for term in sorted(terms):
        holding = sum(term in count for count in counts)
        idf = log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for i, count in enumerate(counts):
            if n := count[term]:
                scores[i] += idf * n * (k + 1) / (n + k * (1 - b + b * lengths[i] / mean))
    return scores


def _with_neighbours(scores: list[float]) -> list[float]:
    padded = [0.0, *scores, 0.0]
    return [score + 0.5 * max(padded[i], padded[i + 2]) for i, score in enumerate(scores)]


def _rendered(quote: Quote) -> str:
    said = quote.message
    who = said.name or said.role.value
    when = "" if said.timestamp is None else f", {said.timestamp:%Y-%m-%d}"
    return f'- "{quote.text}" ({who}{when})'
