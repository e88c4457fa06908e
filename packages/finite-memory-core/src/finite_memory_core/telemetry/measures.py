"""What is measured: one vocabulary of names, units and labels, and how each event adds to it.

It knows nothing of who takes the measures: see `prometheus` and `opentelemetry` beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..events import (
    Appended,
    CacheCollapsed,
    Clipped,
    ContextBuilt,
    Evicted,
    FactsDropped,
    FellBack,
    Forgotten,
    MemoryEvent,
    Overflowed,
    Recalled,
    Summarized,
    TurnEnded,
    TurnFailed,
    Unanswered,
)
from ..tracing import TurnTrace

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The bounds that the GenAI conventions advise for what waits for a model."""
STEP_SECONDS = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
TOKENS = (64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576)


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured.

    Attributes:
        name: what it is called, the words parted by underscores.
        help: what it is, in a sentence.
        labels: by what it is told apart.
        unit: its unit in UCUM; ``"s"`` for seconds.
        bounds: the upper bounds of a histogram's buckets; () for a counter.
        standard: whether the GenAI conventions have a metric of their own for it.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = "1"
    bounds: tuple[float, ...] = ()
    standard: bool = False

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus: with its unit, and what kind it is."""
        seconds = "_seconds" if self.unit == "s" else ""
        return f"finite_memory_{self.name}{seconds}{'' if self.bounds else '_total'}"

    @property
    def opentelemetry(self) -> str:
        """Its name in OpenTelemetry, which tells unit and kind beside it."""
        return f"finite_memory.{self.name}"


MEASURES: tuple[Measure, ...] = (
    Measure("turns", "Turns of chats, by how they came out.", ("backend", "outcome"), "{turn}"),
    Measure("errors", "Turns that failed, by the error's class.", ("error",), "{turn}"),
    Measure("turn", "How long turns took.", ("backend", "outcome"), "s", SECONDS),
    Measure("step", "How long the steps of turns took.", ("step",), "s", STEP_SECONDS),
    Measure(
        "first_piece",
        "From a request to the first piece of its reply.",
        ("backend",),
        "s",
        SECONDS,
        standard=True,
    ),
    Measure("requests", "Requests to backends.", ("backend",), "{request}", standard=True),
    Measure("prompt_tokens", "Tokens of prompts, as reported.", ("backend",), "{token}", (), True),
    Measure(
        "cached_tokens", "Those of them that a cache served.", ("backend",), "{token}", (), True
    ),
    Measure(
        "cache_write_tokens",
        "Those of them that were written to a cache.",
        ("backend",),
        "{token}",
        (),
        True,
    ),
    Measure("reply_tokens", "Tokens of replies, as reported.", ("backend",), "{token}", (), True),
    Measure(
        "reasoning_tokens",
        "Those of them that were reasoning.",
        ("backend",),
        "{token}",
        (),
        True,
    ),
    Measure("cost_dollars", "What replies cost, in US dollars.", ("backend",), "{USD}"),
    Measure("messages", "Messages that were recorded.", ("role",), "{message}"),
    Measure("message_tokens", "Tokens of recorded messages, as counted.", (), "{token}"),
    Measure("contexts", "Contexts that were built.", (), "{context}"),
    Measure("context_tokens", "How large contexts are.", (), "{token}", TOKENS),
    Measure("tokens", "Tokens of contexts, by our own corrected count.", (), "{token}"),
    Measure("stable_tokens", "Those of them that the context before began with.", (), "{token}"),
    Measure("budget_tokens", "Tokens that those contexts might have held.", (), "{token}"),
    Measure("evictions", "Evictions.", ("policy",), "{eviction}"),
    Measure("evicted_blocks", "Blocks that left the context.", ("policy",), "{block}"),
    Measure("evicted_tokens", "What they cost.", ("policy",), "{token}"),
    Measure("summaries", "Times that blocks were folded into a summary.", (), "{summary}"),
    Measure("facts_dropped", "Facts that no summary or ledger had room for.", (), "{fact}"),
    Measure("recalled", "Messages that were brought back from an archive.", (), "{message}"),
    Measure("recalled_tokens", "What it cost to quote them.", (), "{token}"),
    Measure("clipped", "Messages that were too large and stand clipped.", (), "{message}"),
    Measure("unanswered", "Blocks kept out for lack of a tool's result.", (), "{block}"),
    Measure("fallbacks", "Times that something stood in for what failed.", ("what",), "{fallback}"),
    Measure("overflows", "Contexts that a provider found too long.", (), "{context}"),
    Measure("cache_collapses", "Caches that served much less than expected.", (), "{collapse}"),
    Measure("forgotten", "Messages that were truly removed.", (), "{message}"),
)


class Amount(NamedTuple):
    """So much more of a measure: a counter's growth, or one value of a histogram."""

    name: str
    value: float
    labels: Mapping[str, str] = {}


def outcome(event: TurnEnded | TurnFailed) -> str:
    """Return how a turn came out: ``"ended"``, ``"kept"``, ``"failed"`` or ``"cancelled"``."""
    if isinstance(event, TurnEnded):
        return "ended"
    if event.kept:
        return "kept"
    return "failed" if isinstance(event.error, Exception) else "cancelled"


def measured(event: MemoryEvent) -> Iterator[Amount]:
    """Yield what `event` adds."""
    tells = _TELLS.get(type(event))
    return iter(()) if tells is None else tells(event)


def _appended(event: Appended) -> Iterator[Amount]:
    for message in event.messages:
        yield Amount("messages", 1, {"role": message.role.value})
    yield Amount("message_tokens", event.tokens)


def _built(event: ContextBuilt) -> Iterator[Amount]:
    context = event.context
    yield Amount("contexts", 1)
    yield Amount("context_tokens", context.token_count)
    yield Amount("tokens", context.token_count)
    yield Amount("stable_tokens", context.stable_tokens)
    yield Amount("budget_tokens", context.budget)


def _evicted(event: Evicted) -> Iterator[Amount]:
    eviction = event.eviction
    labels = {"policy": eviction.policy}
    left = [decision for decision in eviction.decisions if not decision.kept]
    yield Amount("evictions", 1, labels)
    yield Amount("evicted_blocks", len(left), labels)
    yield Amount("evicted_tokens", sum(decision.tokens for decision in left), labels)


def _recalled(event: Recalled) -> Iterator[Amount]:
    yield Amount("recalled", len(event.hits))
    yield Amount("recalled_tokens", event.tokens)


def _fell_back(event: FellBack) -> Iterator[Amount]:
    yield Amount("fallbacks", 1, {"what": event.what})


def _ended(event: TurnEnded) -> Iterator[Amount]:
    trace, usage = event.trace, event.reply.usage
    if trace is None:  # a partial reply: the failure that follows tells the turn
        return
    yield from _turn(trace, outcome(event))
    if usage is not None:
        labels = {"backend": trace.backend}
        yield Amount("prompt_tokens", usage.input_tokens, labels)
        yield Amount("cached_tokens", usage.cached_tokens or 0, labels)
        yield Amount("cache_write_tokens", usage.cache_write_tokens or 0, labels)
        yield Amount("reply_tokens", usage.output_tokens, labels)
        yield Amount("reasoning_tokens", usage.reasoning_tokens or 0, labels)
        yield Amount("cost_dollars", usage.cost or 0.0, labels)


def _failed(event: TurnFailed) -> Iterator[Amount]:
    yield Amount("errors", 1, {"error": type(event.error).__name__})
    if event.trace is not None:
        yield from _turn(event.trace, outcome(event))


def _turn(trace: TurnTrace, outcome: str) -> Iterator[Amount]:
    labels = {"backend": trace.backend, "outcome": outcome}
    yield Amount("turns", 1, labels)
    yield Amount("turn", trace.seconds, labels)
    for step in trace.steps:
        yield Amount("step", step.seconds, {"step": step.name})
        if step.name == "backend":
            yield Amount("requests", 1, {"backend": trace.backend})
            if step.first is not None:
                yield Amount("first_piece", step.first, {"backend": trace.backend})


def _one(name: str) -> Callable[[Any], Iterator[Amount]]:
    return lambda _: iter((Amount(name, 1),))


_TELLS: dict[type, Callable[[Any], Iterator[Amount]]] = {
    Appended: _appended,
    ContextBuilt: _built,
    Evicted: _evicted,
    Recalled: _recalled,
    FellBack: _fell_back,
    TurnEnded: _ended,
    TurnFailed: _failed,
    Summarized: _one("summaries"),
    Clipped: _one("clipped"),
    Unanswered: _one("unanswered"),
    Overflowed: _one("overflows"),
    CacheCollapsed: _one("cache_collapses"),
    FactsDropped: lambda event: iter((Amount("facts_dropped", len(event.facts)),)),
    Forgotten: lambda event: iter((Amount("forgotten", len(event.indices)),)),
}
