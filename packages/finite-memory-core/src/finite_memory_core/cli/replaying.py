"""Replaying a transcript through a memory, and what is written down on the way.

A turn here is one call of a model: before each message of the assistant, rounds with tool calls
included, the context is built that a model would have been sent. A transcript that does not end
with the assistant, or has nothing else, has one more turn at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..accounting import CONTEXT_OVERHEAD
from ..context import Context
from ..errors import BudgetError, MessageError
from ..events import Evicted, MemoryEvent, Summarized
from ..memory import Memory
from ..messages import Role
from ..settings import Settings
from ..stats import MemoryStats
from .reading import Said, Source, refuse

_SUMMARY = -1


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What one turn cost.

    Attributes:
        number: counted from 1.
        messages: how many messages the transcript held when the model was called.
        tokens: the context's.
        stable_tokens: how many of them are the unchanged prefix of the context before.
        full_tokens: what the full history would have cost.
        evictions: since the turn before.
        blocks_left: that left in them.
        policy_ms: milliseconds that the policy took for them.
    """

    number: int
    messages: int
    tokens: int
    stable_tokens: int
    full_tokens: int
    evictions: int
    blocks_left: int
    policy_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Lifetime:
    """How long something stood in the context.

    Attributes:
        index: the transcript index of a block's first message; -1 for a summary.
        kind: ``"kept"``, ``"pinned"`` or ``"summary"``.
        start: the first turn whose context had it.
        end: the first turn whose context no longer had it; None if it stands to the end.
    """

    index: int
    kind: str
    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """A transcript that went through a memory.

    Attributes:
        settings: the memory's.
        turns: one record a turn.
        lifetimes: of all blocks that came in and of each summary, in the order of their beginning.
        stats: the memory's, before `context` was built.
        context: what a model would see now, at the end.
        memory: the memory itself.
    """

    settings: Settings
    turns: tuple[TurnRecord, ...]
    lifetimes: tuple[Lifetime, ...]
    stats: MemoryStats
    context: Context
    memory: Memory

    @property
    def mean_use(self) -> float:
        """The mean share of the budget that the contexts held, 0 to 1."""
        sent = sum(turn.tokens for turn in self.turns)
        return sent / (len(self.turns) * self.settings.budget) if self.turns else 0.0

    @property
    def sent_share(self) -> float:
        """The tokens of all contexts, as a share of what the full history would have sent."""
        full = sum(turn.full_tokens for turn in self.turns)
        return sum(turn.tokens for turn in self.turns) / full if full else 0.0

    @property
    def most_tokens(self) -> int:
        """The tokens of the largest context."""
        return max((turn.tokens for turn in self.turns), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values, without the turns and the context."""
        settings = self.settings
        return {
            "policy": settings.policy,
            "budget": settings.budget,
            "low_water": settings.low_water,
            "reserve": settings.reserve,
            "oversize": settings.oversize,
            "mean_use": self.mean_use,
            "sent_share": self.sent_share,
            "most_tokens": self.most_tokens,
            "full_tokens": self.stats.tokens_seen + CONTEXT_OVERHEAD,
            "stats": self.stats.to_dict(),
        }


class _Recorder:
    """Follows a memory: which blocks stand in the context, and what happened since the last turn.

    It is an observer of the memory that it records.
    """

    def __init__(self) -> None:
        self.turns: list[TurnRecord] = []
        self.lifetimes: list[Lifetime] = []
        self._standing: dict[int, Lifetime] = {}
        self._evictions = self._left = 0
        self._policy_ms = 0.0

    def __call__(self, event: MemoryEvent) -> None:
        """Take note of an event."""
        if isinstance(event, Evicted):
            self._evictions += 1
            self._policy_ms += event.eviction.ms
            for decision in event.eviction.decisions:
                if not decision.kept:
                    self._left += 1
                    self._leave(decision.index)
        elif isinstance(event, Summarized):
            if _SUMMARY in self._standing:
                self._leave(_SUMMARY)
            self._enter(_SUMMARY, "summary")

    @property
    def _next_turn(self) -> int:
        return len(self.turns) + 1

    def _enter(self, index: int, kind: str) -> None:
        lifetime = Lifetime(index, kind, self._next_turn)
        self._standing[index] = lifetime
        self.lifetimes.append(lifetime)

    def _leave(self, index: int) -> None:
        if index not in self._standing:  # turned away before it stood in any context
            self._enter(index, "kept")
        self._standing.pop(index).end = self._next_turn

    def appended(self, memory: Memory) -> None:
        """Take note of the block that came in last."""
        for block in memory.blocks[-1:]:
            if block.index not in self._standing:
                self._enter(block.index, "pinned" if block.pinned else "kept")

    def turn(self, memory: Memory) -> None:
        """Build the context that a model would be sent now, and write down what it costs."""
        context, stats = memory.context(), memory.stats
        self.turns.append(
            TurnRecord(
                self._next_turn,
                stats.messages,
                context.token_count,
                context.stable_tokens,
                stats.tokens_seen + CONTEXT_OVERHEAD,
                self._evictions,
                self._left,
                self._policy_ms,
            )
        )
        self._evictions = self._left = 0
        self._policy_ms = 0.0


def replay(
    source: Source, make: Callable[..., Memory], watch: Callable[..., Iterable[Said]] = iter
) -> Replay:
    """Run a transcript through a new memory.

    Args:
        source: the transcript.
        make: returns the memory, given its `observers`.
        watch: called with the messages, yields them again; for a progress bar.

    Raises:
        ConfigError: a setting of the memory that cannot work.
        MessageError: a message out of place; the error names where it stands.
        BudgetError: one that cannot fit, the same.
    """
    recorder = _Recorder()
    memory = make(observers=(recorder,))
    for position, said in enumerate(watch(source.said)):
        if position and said.message.role is Role.ASSISTANT:
            recorder.turn(memory)
        _append(memory, said, source)
        recorder.appended(memory)
    if source.said[-1].message.role is not Role.ASSISTANT or not recorder.turns:
        recorder.turn(memory)
    return Replay(
        memory.settings,
        tuple(recorder.turns),
        tuple(recorder.lifetimes),
        memory.stats,
        memory.context(),
        memory,
    )


def _append(memory: Memory, said: Said, source: Source) -> None:
    try:
        memory.append(said.message)
    except MessageError as error:
        refuse(source.name, said.place, error)
    except BudgetError as error:
        raise BudgetError(
            f"{source.name}, {said.place}: {error} (here: --budget, --oversize clip)",
            needed=error.needed,
            available=error.available,
        ) from error
