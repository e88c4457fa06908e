"""Conversations through the real memory, and what it holds at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import log
from random import Random
from types import ModuleType
from typing import Any

from finite_memory_core import Memory, Message
from finite_memory_core.blocks import Block
from finite_memory_core.policies import Policy
from finite_memory_core.summarizing import lines_of

from .locomo import Conversation

Make = Callable[[], Policy]
LOW_WATER = 0.75
SPREAD = (0.65, 0.75, 0.85)
"""Low waters over which a figure is averaged where it must not hang on when an eviction falls."""

_RESAMPLES = 2_000


def quarter(text: str) -> int:
    """Count a token for every four bytes, rounded up."""
    return -(-len(text.encode("utf-8")) // 4)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a memory holds at the end of a conversation.

    Attributes:
        kept: transcript indices of the messages in the context.
        quoted: indices of those that are not, but of which the summary quotes a sentence.
        evictions: how many there were.
        ms: what the policy took, all together.
        ms_max: what the longest eviction took.
    """

    kept: frozenset[int]
    quoted: frozenset[int]
    evictions: int
    ms: float
    ms_max: float


def replay(
    messages: Sequence[Message], make: Make, budget: int, low_water: float = LOW_WATER
) -> Outcome:
    """Put a conversation through a memory with a fresh policy."""
    memory = Memory(budget, make(), counter=quarter, low_water=low_water)
    memory.append(*messages)
    kept = frozenset(i for block in memory.blocks for i in range(block.index, block.end))
    lines = frozenset(memory.summary.split("\n"))
    quoted = {
        i
        for i, message in enumerate(messages if memory.summary else ())
        if i not in kept and any(line in lines for line in lines_of(Block(i, (message,), 1)))
    }
    stats = memory.stats
    return Outcome(kept, frozenset(quoted), stats.evictions, stats.policy_ms, stats.policy_ms_max)


def evidence(conversation: Conversation, held: frozenset[int]) -> list[float]:
    """Return for each question the share of its evidence that is held."""
    return [len(q.evidence & held) / len(q.evidence) for q in conversation.questions]


def with_repeats(conversation: Conversation) -> tuple[list[Message], list[int]]:
    """Return the turns with every fourth said again after ten and after twenty more.

    The second list tells which turn each is.
    """
    order: list[int] = []
    for i in range(len(conversation.messages)):
        order.append(i)
        order += [i - back for back in (10, 20) if i >= back and (i - back) % 4 == 0]
    return [conversation.messages[i] for i in order], order


# ---------------------------------------------------------------- topics


@lru_cache
def _words(messages: tuple[Message, ...]) -> tuple[list[frozenset[str]], dict[str, float]]:
    terms = [Block(i, (message,), 1).terms for i, message in enumerate(messages)]
    frequency = Counter(term for each in terms for term in each)
    weights = {t: log(1 + len(terms) / n) for t, n in sorted(frequency.items()) if n > 1}
    return terms, weights


def topic_words(conversation: Conversation, kept: frozenset[int]) -> float:
    """Return how much of the conversation's subjects stands in the context, 0 to 1.

    The words that two turns or more have, weighed by inverse document frequency over the whole
    conversation: the share of that weight that is said at least once in what is kept.
    """
    terms, weights = _words(tuple(conversation.messages))
    said = {term for i in kept for term in terms[i]}
    return sum(w for t, w in weights.items() if t in said) / sum(weights.values())


def sessions_kept(conversation: Conversation, kept: frozenset[int]) -> float:
    """Return the share of the sessions of which two turns or more are kept."""
    turns = Counter(conversation.sessions[i] for i in kept)
    return sum(n > 1 for n in turns.values()) / len({*conversation.sessions})


# ---------------------------------------------------------------- statistics


def mean(values: Sequence[float]) -> float:
    """Return the mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean (Efron, 1979), percentiles of resamples."""
    random = Random(95)
    means = sorted(mean(random.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    cut = round(0.025 * _RESAMPLES)
    return means[cut], means[-cut - 1]


@contextmanager
def changed(*changes: tuple[ModuleType, str, Any]) -> Iterator[None]:
    """Give names of modules other values for a while: to see what a weight does."""
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
