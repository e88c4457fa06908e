"""A backend without a model: it quotes the context.

It makes what a memory kept visible, offline and for free. It understands nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import log
from typing import NamedTuple

from ..context import Context
from ..errors import ConfigError
from ..messages import Message, Role
from ..text.graphemes import floor_boundary
from ..text.sentences import sentences
from ..text.stopwords import STOP_WORDS
from ..text.words import words
from ..window import MARK
from .base import Backend, Delta

LONGEST_QUOTE = 400
"""Characters of the longest quote; a longer sentence is quoted in part."""

_WHAT_I_AM = "I am a reader, not a language model"
_NOTHING = f"{_WHAT_I_AM}, and nothing in my context matches the question."
_OPENING = f"{_WHAT_I_AM}. From my context:\n"


class Quote(NamedTuple):
    """A sentence of the context, with how well it matches the question."""

    score: float
    message: Message
    text: str


class ReaderBackend(Backend):
    """Answers by quoting the sentences of the context that match the question best.

    Sentences are ranked by BM25 (Robertson and Zaragoza, 2009) over the sentences of the context,
    half the score of the better neighbouring sentence added, since an answer often stands next to
    the words that match. Instructions and its own earlier answers are never quoted.

    Args:
        quotes: the most sentences to quote.

    Raises:
        ConfigError: `quotes` is no whole number, or less than 1.
    """

    name = "reader"

    def __init__(self, quotes: int = 3) -> None:
        if type(quotes) is not int or quotes < 1:
            raise ConfigError(f"quotes must be a whole number, 1 or more, got {quotes!r:.80}")
        self.quotes = quotes

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        found = self.quote(context)
        if not found:
            yield Delta(_NOTHING)
        for number, quote in enumerate(found):
            yield Delta(("\n" if number else _OPENING) + _rendered(quote))
        yield Delta(finish="stop")

    def quote(self, context: Context) -> list[Quote]:
        """Return the best matching sentences, in the order in which they stand."""
        terms = set(words(_asked(context))) - STOP_WORDS
        lines = list(_lines(context))
        scores = _with_neighbours(_bm25(terms, [line.text for line in lines]))
        newest_first = range(len(lines) - 1, -1, -1)
        best: dict[str, int] = {}  # a sentence that was said twice is quoted once
        for i in sorted(newest_first, key=lambda i: -scores[i]):
            if scores[i] > 0 and len(best) < self.quotes:
                best.setdefault(lines[i].text, i)
        return [lines[i]._replace(score=scores[i]) for i in sorted(best.values())]


def load(spec: str = "", **options: int) -> ReaderBackend:
    """Return a reader for `load_backend("reader")`.

    Raises:
        ConfigError: something stands behind the name.
    """
    if spec:
        raise ConfigError(f"the reader has no models, so nothing stands behind its name: {spec!r}")
    return ReaderBackend(**options)


def _asked(context: Context) -> str:
    if context.query is not None:
        return context.query
    return "" if context.question is None else context.question.text


def _lines(context: Context) -> Iterator[Quote]:
    """Yield the sentences of all that may be quoted: not the question, nor instructions."""
    asked = _asked(context)
    for message in context.messages:
        is_question = message is context.question and message.text == asked
        if is_question or message.role.instructs or _is_own(message):
            continue
        text = _quotable(message)
        for start, end in sentences(text):
            for piece in _bounded(" ".join(text[start:end].split())):
                yield Quote(0.0, message, piece)


def _is_own(message: Message) -> bool:
    """Whether the message is an earlier answer of a reader, which only quotes again."""
    return message.role is Role.ASSISTANT and message.text.startswith(_WHAT_I_AM)


def _quotable(message: Message) -> str:
    """Return the text without the words that the memory put there itself."""
    mark = message.metadata.get(MARK)
    if mark == "bridge":
        return ""
    if mark == "recalled":
        return _recalled(message.text)
    return message.text.partition("\n")[2] if mark == "summary" else message.text


def _recalled(text: str) -> str:
    """Return what a recalled message quotes (see `recall.rendering`), a reader's answers aside."""
    opening, _, rest = text.partition("\n")
    tag = re.escape(opening.rstrip("]").rpartition(" ")[2])
    own = rf"^[^\n]*\({tag}:\n{_WHAT_I_AM}.*?\n{tag}\)$|^[^\n:]*: {_WHAT_I_AM}[^\n]*$"
    others = re.sub(own, "", rest.rpartition("\n")[0], flags=re.MULTILINE | re.DOTALL)
    return others.replace("\n", "\n\n")  # so that no sentence goes over to the next speaker


def _bounded(sentence: str) -> Iterator[str]:
    """Yield the sentence in pieces of at most `LONGEST_QUOTE` characters, cut between words."""
    start = 0
    while len(sentence) - start > LONGEST_QUOTE:
        end = start + LONGEST_QUOTE
        cut = sentence.rfind(" ", start + LONGEST_QUOTE // 2, end)
        if cut < 0:
            cut = floor_boundary(sentence, end)
        if cut <= start:  # one endless grapheme
            cut = end
        yield sentence[start:cut]
        start = cut + (sentence[cut] == " ")
    if start < len(sentence):
        yield sentence[start:]


def _bm25(terms: set[str], texts: list[str], k: float = 1.2, b: float = 0.75) -> list[float]:
    """Return how well each text matches; 0.0 for one that has none of the terms."""
    counts = [Counter(words(text)) for text in texts]
    lengths = [count.total() for count in counts]
    mean = (sum(lengths) / len(lengths) if lengths else 0) or 1.0
    shared = [sorted(terms & count.keys()) for count in counts]  # sorted: sums must not vary
    holding = Counter(term for found in shared for term in found)
    return [
        sum(
            log(1 + (len(texts) - holding[term] + 0.5) / (holding[term] + 0.5))
            * count[term]
            * (k + 1)
            / (count[term] + k * (1 - b + b * length / mean))
            for term in found
        )
        for count, length, found in zip(counts, lengths, shared, strict=True)
    ]


def _with_neighbours(scores: list[float]) -> list[float]:
    padded = [0.0, *scores, 0.0]
    return [score + 0.5 * max(padded[i], padded[i + 2]) for i, score in enumerate(scores)]


def _rendered(quote: Quote) -> str:
    said = quote.message
    mark = said.metadata.get(MARK)
    who = mark if mark in ("summary", "recalled") else said.name or said.role.value
    when = "" if said.timestamp is None else f", {said.timestamp.date().isoformat()}"
    return f'- "{quote.text}" ({who}{when})'
