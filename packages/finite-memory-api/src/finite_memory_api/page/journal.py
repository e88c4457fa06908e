"""What core's events tell: a record of each turn, and the reason for each block."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any

from finite_memory_core.context import Context
from finite_memory_core.events import (
    Clipped,
    Evicted,
    FellBack,
    MemoryEvent,
    Summarized,
    TurnEnded,
    Unanswered,
)
from finite_memory_core.eviction import Eviction

MOST_NOTES = 20
MOST_TURNS = 10_000
"""So many turns are kept at least, and never twice as many."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of a model.

    Attributes:
        messages: how many messages the transcript held when the model was called.
        tokens: the context's.
        stable: how many of them are the unchanged prefix of the context before.
        input: the prompt's tokens as the provider reported them; None where it did not.
        cached: how many of those a cache served; None where that is unknown.
        cost: US dollars so far, all turns together; 0.0 where no price is known.
        full_cost: what sending the whole transcript would have cost so far.
        policy_ms: milliseconds that the policy took.
        evictions: how often the budget was exceeded.
        left: how many blocks left.
        recalled: how many messages were brought back.
    """

    messages: int
    tokens: int
    stable: int
    input: int | None = None
    cached: int | None = None
    cost: float = 0.0
    full_cost: float = 0.0
    policy_ms: float = 0.0
    evictions: int = 0
    left: int = 0
    recalled: int = 0


COLUMNS = tuple(field.name for field in fields(Turn))


def columns(turns: Iterable[Turn]) -> dict[str, list[Any]]:
    """Return turns as columns, as JSON values."""
    turns = list(turns)
    return {name: [getattr(turn, name) for turn in turns] for name in COLUMNS}


def from_columns(told: Mapping[str, Sequence[Any]]) -> list[Turn]:
    """Return the turns that `columns` told of."""
    return [Turn(*values) for values in zip(*(told[name] for name in COLUMNS), strict=True)]


def told_hit(parts: Mapping[str, float]) -> str:
    """Return why a message was found, its score's largest parts first."""
    largest = sorted(parts.items(), key=lambda part: -abs(part[1]))[:4]
    return "brought back for the question: " + ", ".join(f"{k} {v:.2f}" for k, v in largest)


class Journal:
    """An observer: what it hears, as the page tells it. It may be read from any thread.

    Attributes:
        turns: one record a turn, of the last turns.
        taken: how many turns there were, those included that are not kept any more.
        past: how many of them a replay found, of the time before anyone listened.
        reasons: why a block stayed or left last, by its first message.
        spans: of each such block how many messages it has.
        recalled: what the last context brought back, by its place, and why.
        folded: which messages the summary stands for.
        notes: what else happened lately, in words.
        lock: held while it is written.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.taken = 0
        self.past = 0
        self.reasons: dict[int, str] = {}
        self.spans: dict[int, int] = {}
        self.recalled: dict[int, str] = {}
        self.folded: set[int] = set()
        self.notes: deque[str] = deque(maxlen=MOST_NOTES)
        self.lock = Lock()
        self._waiting: dict[int, int] = {}  # blocks that left and are in no summary, oldest first
        self._newest = 0  # how many of them left last, together
        self._evictions: list[Eviction] = []

    def __call__(self, event: MemoryEvent) -> None:
        """Take note of an event."""
        with self.lock:
            self._take(event)

    def _take(self, event: MemoryEvent) -> None:
        if isinstance(event, Evicted):
            self.evicted(event.eviction)
        elif isinstance(event, Summarized):
            self._fold(event.blocks)
        elif isinstance(event, TurnEnded):
            reply = event.reply
            self._end(reply.context, reply.stats.messages - 1, reply)
        else:
            self._note(event)

    def _fold(self, blocks: int) -> None:
        """Take note that a summary stands for so many blocks now.

        They are those that just left, or, where a summary came late, those that left first.
        """
        starts = [*self._waiting]
        newest = bool(self._newest) and blocks == self._newest
        for start in starts[-blocks:] if newest else starts[:blocks]:
            self.folded.update(range(start, start + self._waiting.pop(start)))
        self._newest = 0

    def _note(self, event: MemoryEvent) -> None:
        if isinstance(event, Unanswered):
            self.reasons[event.index] = "its tool calls never got all their results"
            self.spans[event.index] = 1
        elif isinstance(event, Clipped):
            left_out = f"{event.left_out} of its {event.tokens} tokens are left out"
            self.reasons[event.index] = f"it was too large and stands clipped: {left_out}"
            self.spans[event.index] = 1
        elif isinstance(event, FellBack):
            self.notes.append(f"{event.what}: {event.why}")

    def evicted(self, eviction: Eviction) -> None:
        """Take note of why blocks stayed and left."""
        self._evictions.append(eviction)
        self._newest = sum(not decision.kept for decision in eviction.decisions)
        for decision in eviction.decisions:
            verb = "stayed" if decision.kept else "left"
            told = f"{verb} at message {eviction.at}, by {eviction.policy}: {decision.reason}"
            self.reasons[decision.index] = told
            self.spans[decision.index] = decision.messages
            if not decision.kept:
                self._waiting.pop(decision.index, None)
                self._waiting[decision.index] = decision.messages

    def end(self, context: Context, messages: int) -> None:
        """End a turn that no chat takes: `context` is what a model would have been sent."""
        with self.lock:
            self._end(context, messages, None)

    def _end(self, context: Context, messages: int, reply: Any) -> None:
        usage = None if reply is None else reply.usage
        spent = None if reply is None else reply.stats.spent
        hits = {hit.index: told_hit(hit.parts) for hit in context.recalled if not hit.session_id
                or hit.session_id == context.session_id}  # fmt: skip
        self.recalled = hits
        self.add(
            Turn(
                messages,
                context.token_count,
                context.stable_tokens,
                None if usage is None else usage.input_tokens,
                None if usage is None else usage.cached_tokens,
                0.0 if spent is None else spent.cost,
                0.0 if spent is None else spent.unbounded_cost,
                recalled=len(context.recalled),
            )
        )

    def add(self, turn: Turn) -> None:
        """Add a turn, with what was evicted since the one before."""
        done, self._evictions = self._evictions, []
        left = sum(not one.kept for eviction in done for one in eviction.decisions)
        values = {name: getattr(turn, name) for name in COLUMNS}
        values |= {
            "policy_ms": round(sum(eviction.ms for eviction in done), 3),
            "evictions": len(done),
            "left": left,
        }
        self.turns.append(Turn(**values))
        self.taken += 1
        if len(self.turns) == 2 * MOST_TURNS:
            del self.turns[:MOST_TURNS]
            self.past = max(0, self.past - MOST_TURNS)

    def begin(self, past: Sequence[Turn], heard: Sequence[Turn]) -> None:
        """Take these turns for all there were; the first of them were not heard."""
        self.turns = [*past, *heard][1 - 2 * MOST_TURNS :]
        self.taken, self.past = len(self.turns), max(0, len(self.turns) - len(heard))

    def since(self, start: int, stop: int | None = None) -> list[Turn]:
        """Return the turns that are kept of [start, stop), counted from the first there was."""
        gone = self.taken - len(self.turns)
        end = len(self.turns) if stop is None else max(0, stop - gone)
        return self.turns[max(0, start - gone) : end]

    def why(self, index: int) -> str:
        """Return why the message at `index` is where it is; "" where nothing was heard of it."""
        if index in self.recalled:
            return self.recalled[index]
        for start in range(index, max(-1, index - 64), -1):
            if start in self.reasons and index < start + self.spans[start]:
                return self.reasons[start]
        return ""
