"""What a cache did, in numbers. A hit is a token that the model did not have to read again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FallBack:
    """Something that was asked for and not possible, said once.

    Attributes:
        what: what was done in its place.
        why: the reason.
    """

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Sums over all sessions of a backend since it was made.

    Attributes:
        turns: replies that were asked for.
        reused: prompt tokens that were in the cache and did not go through the model.
        prefilled: prompt tokens that went through the model.
        generated: tokens of replies.
        evicted: cached tokens that were dropped: evicted, edited, or rewritten by the template.
        shifted: cached tokens that stayed and were moved.
        dropped: sessions whose cache was dropped, to stay under a cap or after a failure.
        offloaded: times that a session's cache was moved to CPU memory to stay under the cap.
        sessions: sessions that hold a cache now.
        bytes: what their caches hold now, room to spare included.
        prefill_ms: milliseconds from the start of a prefill to the first token, summed.
        decode_ms: milliseconds of the tokens after the first, summed.
        evict_ms: milliseconds of dropping and moving, summed.
        fallbacks: what was not possible, each said once.
    """

    turns: int = 0
    reused: int = 0
    prefilled: int = 0
    generated: int = 0
    evicted: int = 0
    shifted: int = 0
    dropped: int = 0
    offloaded: int = 0
    sessions: int = 0
    bytes: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    evict_ms: float = 0.0
    fallbacks: tuple[FallBack, ...] = ()

    @property
    def hit_share(self) -> float:
        """The share of prompt tokens that the cache served; 0.0 before the first turn."""
        asked = self.reused + self.prefilled
        return self.reused / asked if asked else 0.0
