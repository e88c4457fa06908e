"""What a session's replies cost, and what they would have cost without a memory."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .backends.base import Prices, Usage

if TYPE_CHECKING:
    from .context import Context

LEAST_CACHED = 1_024
"""No provider caches shorter prefixes, in tokens."""


class Asked(NamedTuple):
    """What is known of a request when its reply is accounted for.

    Attributes:
        counted: what its context counted, before any correction.
        everything: what it would have counted with the whole transcript in it.
        prices: what the provider charges; None where that is unknown.
        cold: whether a cached prefix had outlived its time when the request was sent.
        collapsed: whether the cache served far less than it could have.
    """

    counted: int
    everything: int
    prices: Prices | None = None
    cold: bool = False
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over the replies of a session whose usage was reported; they only ever grow.

    Tokens are the provider's. What it does not report counts as 0.

    Attributes:
        replies: how many they are.
        cold: how many of them were asked for when a cached prefix had outlived its time.
        collapsed: for how many of them a cache served far less than the unchanged prefix.
        input_tokens: prompts, whole.
        cached_tokens: of these, served by a cache.
        cache_write_tokens: of these, written to a cache.
        output_tokens: replies, reasoning included.
        reasoning_tokens: of these, reasoning.
        cost: what they cost, in US dollars, where a price was known.
        unbounded_tokens: what the prompts would have held with the whole transcript in each.
        unbounded_cost: what that would have cost, in US dollars, where a price was known, with as
            much of it from the provider's cache as a history that only grows can get.
        everything: what the whole transcript counted at the last of them, before correction.
    """

    replies: int = 0
    cold: int = 0
    collapsed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    unbounded_tokens: int = 0
    unbounded_cost: float = 0.0
    everything: int = 0

    @property
    def cached_share(self) -> float:
        """The share of all input tokens that a cache served, 0 to 1."""
        return self.cached_tokens / self.input_tokens if self.input_tokens else 0.0

    @property
    def saved(self) -> float:
        """US dollars that the memory saved against sending everything; negative for a loss."""
        return self.unbounded_cost - self.cost

    def plus(self, asked: Asked, usage: Usage) -> Spent:
        """Return these sums with one more reply."""
        scale = usage.input_tokens / max(1, asked.counted)  # the provider's tokens for one of ours
        unbounded = max(usage.input_tokens, round(asked.everything * scale))
        sent_before = 0 if asked.cold else min(unbounded, round(self.everything * scale))
        cost, unbounded_cost = usage.cost, 0.0
        if asked.prices is not None and cost is not None:
            whole = Usage(unbounded, 0, sent_before, unbounded - sent_before)
            unbounded_cost = cost - input_cost(usage, asked.prices)
            unbounded_cost += input_cost(whole, asked.prices)
        return Spent(
            replies=self.replies + 1,
            cold=self.cold + asked.cold,
            collapsed=self.collapsed + asked.collapsed,
            input_tokens=self.input_tokens + usage.input_tokens,
            cached_tokens=self.cached_tokens + (usage.cached_tokens or 0),
            cache_write_tokens=self.cache_write_tokens + (usage.cache_write_tokens or 0),
            output_tokens=self.output_tokens + usage.output_tokens,
            reasoning_tokens=self.reasoning_tokens + (usage.reasoning_tokens or 0),
            cost=self.cost + (cost or 0.0),
            unbounded_tokens=self.unbounded_tokens + unbounded,
            unbounded_cost=self.unbounded_cost + (unbounded_cost or cost or 0.0),
            everything=asked.everything,
        )

    def to_list(self) -> list[Any]:
        """Return the sums as JSON values, in the order of the fields; ``Spent(*list)`` is equal."""
        return [getattr(self, field.name) for field in fields(self)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, `cached_share` and `saved` among them."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**own, "cached_share": self.cached_share, "saved": self.saved}


def input_cost(usage: Usage, prices: Prices) -> float:
    """Return what the prompt of a request costs, in US dollars.

    A prefix that is too short to be cached is charged as if no cache were there.
    """
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    if cached + written < prices.minimum:
        usage = replace(usage, cached_tokens=0, cache_write_tokens=0)
        cached = written = 0
    plain = max(0, usage.input_tokens - cached - written)
    per_million = plain * prices.input + cached * prices.cached + written * prices.written
    return per_million / 1e6


def is_cold(prices: Prices | None, idle: float | None) -> bool:
    """Return whether a prefix that was last used `idle` seconds ago has left the cache."""
    return prices is not None and idle is not None and idle >= prices.ttl


def collapse(
    context: Context, usage: Usage, prices: Prices | None, idle: float | None
) -> tuple[int, str] | None:
    """Return how many tokens a cache should have served, and why it did not; None where it did."""
    expected, cached = context.stable_tokens, usage.cached_tokens
    least = max(LEAST_CACHED, 0 if prices is None else prices.minimum)
    if cached is None or expected < least or cached >= expected / 2:
        return None
    if prices is not None and is_cold(prices, idle):
        return expected, (
            f"{idle:,.0f} s had passed since the last reply, and a cached prefix lives "
            f"{prices.ttl:,.0f} s"
        )
    return expected, (
        "the prefix had not changed here; the provider dropped it, sent the request to another "
        "server, or something on the way rewrites it"
    )
