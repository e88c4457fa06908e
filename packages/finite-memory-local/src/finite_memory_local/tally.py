"""Counting what the caches do."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from .stats import CacheStats, FallBack

if TYPE_CHECKING:
    from .session import Moved


@dataclass(slots=True)
class Tally:
    """Running sums; see `CacheStats` for what they say.

    Attributes:
        lock: held by whoever changes them or the sessions that are remembered, or reads more than
            one of them; nothing else is waited for under it.
    """

    turns: int = 0
    reused: int = 0
    prefilled: int = 0
    generated: int = 0
    evicted: int = 0
    shifted: int = 0
    dropped: int = 0
    offloaded: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    evict_ms: float = 0.0
    fallbacks: dict[str, FallBack] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, moved: Moved, fresh: int, made: int, times: tuple[float, float]) -> None:
        """Count a turn: what was kept, `fresh` tokens read, `made` tokens of a reply."""
        self.reused += moved.reused
        self.evicted += moved.evicted
        self.shifted += moved.shifted
        self.prefilled += fresh
        self.generated += made
        self.prefill_ms += times[0]
        self.decode_ms += times[1]

    def fall_back(self, what: str, why: str) -> bool:
        """Note a fallback; returns whether it is new."""
        new = what not in self.fallbacks
        self.fallbacks.setdefault(what, FallBack(what, why))
        return new

    def stats(self, sessions: int, held: int) -> CacheStats:
        """Return the sums, with what is held now."""
        return CacheStats(
            turns=self.turns,
            reused=self.reused,
            prefilled=self.prefilled,
            generated=self.generated,
            evicted=self.evicted,
            shifted=self.shifted,
            dropped=self.dropped,
            offloaded=self.offloaded,
            sessions=sessions,
            bytes=held,
            prefill_ms=self.prefill_ms,
            decode_ms=self.decode_ms,
            evict_ms=self.evict_ms,
            fallbacks=tuple(self.fallbacks.values()),
        )
