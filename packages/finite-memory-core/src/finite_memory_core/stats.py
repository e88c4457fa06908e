"""What a memory did, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .spending import Spent


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts that only ever grow, and that a resumed memory takes up where they stood.

    Attributes:
        evictions: how often the budget was exceeded.
        blocks_evicted: blocks that left.
        tokens_evicted: what they cost, in tokens.
        summaries: how often blocks were folded into the summary.
        unsummarized: blocks that left and were never folded in, because the summarizer failed, was
            refused or was late; they are in the archive.
        facts_dropped: facts that left and that neither summary nor ledger had room for.
        clipped: messages that were too large and stand clipped in the context.
        unanswered: blocks kept out because a tool call in them never got its result.
        early: evictions that came before the budget was full, because no cache was warm.
        overflows: contexts that a provider found too long, whatever was counted here.
        erasures: how often something was truly forgotten.
        forgotten: messages that were.
        fallbacks: how often something stood in for what was asked for, by what failed.
    """

    evictions: int = 0
    blocks_evicted: int = 0
    tokens_evicted: int = 0
    summaries: int = 0
    unsummarized: int = 0
    facts_dropped: int = 0
    clipped: int = 0
    unanswered: int = 0
    early: int = 0
    overflows: int = 0
    erasures: int = 0
    forgotten: int = 0
    fallbacks: Mapping[str, int] = field(default_factory=dict)

    def plus(self, *, fallback: str | None = None, **more: int) -> Totals:
        """Return these totals with `more` added, and `fallback` counted once."""
        changes: dict[str, Any] = {name: getattr(self, name) + n for name, n in more.items()}
        if fallback is not None:
            count = self.fallbacks.get(fallback, 0) + 1
            changes["fallbacks"] = {**self.fallbacks, fallback: count}
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """A snapshot of what a memory has seen, holds and did.

    Tokens are by the counter in use, corrected by what the provider reported where it did.

    Attributes:
        messages: messages in the transcript.
        tokens_seen: what they cost, all together; what was forgotten costs nothing.
        tokens_held: what a context built now would hold, everything counted.
        blocks_held: blocks in that context.
        budget: the most that it may hold.
        ceiling: the most that the model was found to take, as counted; None where it never refused.
        low_water: where eviction stops, as a share of the budget.
        low_water_why: where that comes from.
        contexts: contexts built by this object.
        context_tokens: what they held, all together.
        stable_tokens: how much of that was the unchanged prefix of the context before.
        facts_held: facts in the ledger beside the summary.
        recalled: messages that were brought back, all contexts together.
        policy_ms: milliseconds that the policy took, all evictions of this object together.
        policy_ms_max: the longest of them.
        correction: the factor by which counts are corrected from reported usage.
        correction_error: how far counts corrected by it were off at most, lately; 0.02 is 2 %.
        spent: what the replies cost, as the providers reported it; see `Spent`.
        observer_errors: exceptions that observers raised; they are logged and stop nothing.
        evictions, blocks_evicted, tokens_evicted, summaries, unsummarized, facts_dropped, clipped,
            unanswered, early, overflows, erasures, forgotten, fallbacks: see `Totals`.
    """

    messages: int
    tokens_seen: int
    tokens_held: int
    blocks_held: int
    budget: int
    ceiling: int | None
    low_water: float
    low_water_why: str
    contexts: int
    context_tokens: int
    stable_tokens: int
    facts_held: int
    recalled: int
    policy_ms: float
    policy_ms_max: float
    correction: float
    correction_error: float
    spent: Spent
    observer_errors: int
    evictions: int
    blocks_evicted: int
    tokens_evicted: int
    summaries: int
    unsummarized: int
    facts_dropped: int
    clipped: int
    unanswered: int
    early: int
    overflows: int
    erasures: int
    forgotten: int
    fallbacks: Mapping[str, int]

    @property
    def stable_share(self) -> float:
        """The share of all context tokens that a prefix cache could serve, 0 to 1."""
        return self.stable_tokens / self.context_tokens if self.context_tokens else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, `stable_share` among them."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **own,
            "spent": self.spent.to_dict(),
            "fallbacks": dict(self.fallbacks),
            "stable_share": self.stable_share,
        }
