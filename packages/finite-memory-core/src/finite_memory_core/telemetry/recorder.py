"""What a turn was: what was in, what was out and why, and how long each step took, as JSON.

For a bug report: unless it is told otherwise, a dump holds nothing of what was said.
"""

from __future__ import annotations

import platform
import threading
from collections import deque
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..events import (
    Appended,
    CacheCollapsed,
    Clipped,
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
from ..eviction import Decision, Eviction
from ..messages import Message, thaw
from .measures import outcome
from .redacting import Plain, Redactor, Words

if TYPE_CHECKING:
    from ..backends.base import Usage
    from ..context import Context
    from ..memory import Memory
    from ..tracing import Step, TurnTrace

FORMAT = 1
"""The shape of a dump; it grows when a reader of older ones would misread a newer one."""
MOST_EVENTS = 1_000
"""No more events than this, the newest, are kept between two turns."""

_DISTRIBUTION = "finite-memory-core"


class TurnRecorder:
    """Keeps the last turns, for `dump`. An observer: hand it to `Memory(observers=[...])`.

    It holds the messages, contexts and replies of those turns, so they stay in memory with it.

    Args:
        turns: how many to keep; the oldest is dropped for a new one.

    Raises:
        ConfigError: less than one turn.
    """

    def __init__(self, turns: int = 1) -> None:
        if type(turns) is not int or turns < 1:
            raise ConfigError(f"a recorder keeps 1 turn or more, got {turns!r:.80}")
        self._turns: deque[tuple[TurnEnded | TurnFailed, tuple[MemoryEvent, ...]]]
        self._turns = deque(maxlen=turns)
        self._events: deque[MemoryEvent] = deque(maxlen=MOST_EVENTS)
        self._lock = threading.Lock()  # several memories may tell one recorder, each in its thread

    def __call__(self, event: MemoryEvent, /) -> None:
        """Keep `event`, and with the last one of a turn that turn."""
        with self._lock:
            if isinstance(event, TurnEnded | TurnFailed) and event.trace is not None:
                mine = [e for e in self._events if e.session_id == event.session_id]
                others = [e for e in self._events if e.session_id != event.session_id]
                self._turns.append((event, tuple(mine)))
                self._events = deque(others, maxlen=MOST_EVENTS)
            else:
                self._events.append(event)

    def __len__(self) -> int:
        """Return how many turns are kept."""
        return len(self._turns)

    def __repr__(self) -> str:
        return f"TurnRecorder({len(self)} of {self._turns.maxlen} turns)"

    def dump(self, memory: Memory | None = None, *, redact: bool = True) -> dict[str, Any]:
        """Return the kept turns, oldest first, as JSON values.

        Args:
            memory: adds its settings, its stats, and the blocks that stand in its context now.
            redact: whether texts, names, identifiers, metadata, tools and what errors say are
                replaced by ``{"characters": ..., "hash": ...}``. Equal ones have equal hashes
                within one dump; their key is random, is in no dump, and is gone when this returns.
                Roles, numbers, times, and the names of policies, backends, models and classes of
                errors stay.
        """
        write = _Writer(Redactor() if redact else Plain())
        with self._lock:
            turns = list(self._turns)
        dumped: dict[str, Any] = {
            "format": FORMAT,
            "version": version(_DISTRIBUTION),
            "python": platform.python_version(),
            "platform": platform.system(),
            "redacted": redact,
            "turns": [write.turn(event, events) for event, events in turns],
        }
        if memory is not None:
            dumped["memory"] = write.memory(memory)
        return dumped


class _Writer:
    """Writes turns as JSON values, and every text by way of `words`."""

    def __init__(self, words: Words) -> None:
        self._words = words

    # -- a turn ---------------------------------------------------------------------------------

    def turn(
        self, event: TurnEnded | TurnFailed, events: tuple[MemoryEvent, ...]
    ) -> dict[str, Any]:
        trace = event.trace
        assert trace is not None  # noqa: S101  # a recorder keeps no turn without
        told: dict[str, Any] = {
            "session_id": self._words.text(event.session_id),
            "outcome": outcome(event),
            **self._trace(trace),
            "events": [self._event(other) for other in events],
        }
        if isinstance(event, TurnEnded):
            reply = event.reply
            told["reply"] = self._message(reply.message)
            told["finish"] = self._words.word(reply.finish)
            told["usage"] = _usage(reply.usage)
            told["stats"] = reply.stats.to_dict()
        else:
            told["error"] = self._error(event.error)
        return told

    def _trace(self, trace: TurnTrace) -> dict[str, Any]:
        return {
            "began": trace.began,
            "seconds": trace.seconds,
            "backend": trace.backend,
            "model": trace.model,
            "streamed": trace.streamed,
            "said": [self._message(message) for message in trace.said],
            "steps": [self._step(step) for step in trace.steps],
        }

    def _step(self, step: Step) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": step.name,
            "start": step.start,
            "seconds": step.seconds,
            "error": step.error,
        }
        if step.context is not None:
            told["first"] = step.first
            told["context"] = self._context(step.context)
        if step.eviction is not None:
            told["eviction"] = self._eviction(step.eviction)
        return told

    def _error(self, error: BaseException) -> list[dict[str, Any]]:
        """Return an error and its causes: their classes, and what they say."""
        told: list[dict[str, Any]] = []
        cause: BaseException | None = error
        while cause is not None and len(told) < 10:
            notes = [self._words.text(note) for note in getattr(cause, "__notes__", ())]
            name = type(cause).__name__
            told.append({"class": name, "says": self._words.text(str(cause)), "notes": notes})
            cause = cause.__cause__
        return told

    # -- what a model sees ----------------------------------------------------------------------

    def _context(self, context: Context) -> dict[str, Any]:
        return {
            "budget": context.budget,
            "reserve": context.reserve,
            "token_count": context.token_count,
            "counted_tokens": context.counted_tokens,
            "stable_tokens": context.stable_tokens,
            "stable_messages": context.stable_messages,
            "erasures": context.erasures,
            "query": None if context.query is None else self._words.text(context.query),
            "tools": [self._words.values(thaw(tool)) for tool in context.tools],
            "recalled": [
                {
                    "session_id": self._words.text(hit.session_id),
                    "index": hit.index,
                    "score": hit.score,
                    "parts": dict(hit.parts),
                }
                for hit in context.recalled
            ],
            "messages": [self._message(message) for message in context.messages],
        }

    def _message(self, message: Message) -> dict[str, Any]:
        said = message.timestamp
        told: dict[str, Any] = {
            "role": message.role.value,
            "content": self._content(message),
            "name": None if message.name is None else self._words.text(message.name),
            "timestamp": None if said is None else said.isoformat(),
            "pinned": message.pinned,
        }
        if message.tool_calls:
            told["tool_calls"] = [self._words.values(c.to_dict()) for c in message.tool_calls]
        if message.tool_call_id is not None:
            told["tool_call_id"] = self._words.text(message.tool_call_id)
        if message.metadata:
            told["metadata"] = self._words.values(thaw(message.metadata))
        if message.extra:
            told["extra"] = self._words.values(thaw(message.extra))
        return told

    def _content(self, message: Message) -> Any:
        content = message.content
        if content is None or isinstance(content, str):
            return None if content is None else self._words.text(content)
        return [self._words.values(thaw(part)) for part in content]

    # -- what happened --------------------------------------------------------------------------

    def _event(self, event: MemoryEvent) -> dict[str, Any]:
        tells = _EVENTS.get(type(event))
        return {"event": type(event).__name__, **({} if tells is None else tells(self, event))}

    def appended(self, event: Appended) -> dict[str, Any]:
        roles = [message.role.value for message in event.messages]
        return {"start": event.start, "roles": roles, "tokens": event.tokens}

    def evicted(self, event: Evicted) -> dict[str, Any]:
        return {"eviction": self._eviction(event.eviction)}

    def summarized(self, event: Summarized) -> dict[str, Any]:
        return {
            "summary": self._words.text(event.summary),
            "blocks": event.blocks,
            "tokens": event.tokens,
            "ledger": [self._words.text(fact) for fact in event.ledger],
        }

    def facts_dropped(self, event: FactsDropped) -> dict[str, Any]:
        return {"facts": [self._words.text(fact) for fact in event.facts]}

    def clipped(self, event: Clipped) -> dict[str, Any]:
        return {"index": event.index, "tokens": event.tokens, "left_out": event.left_out}

    def unanswered(self, event: Unanswered) -> dict[str, Any]:
        return {"index": event.index, "call_ids": [self._words.text(i) for i in event.call_ids]}

    def fell_back(self, event: FellBack) -> dict[str, Any]:
        return {"what": event.what, "why": self._words.text(event.why)}

    def overflowed(self, event: Overflowed) -> dict[str, Any]:
        return {"limit": event.limit, "actual": event.actual, "ceiling": event.ceiling}

    def collapsed(self, event: CacheCollapsed) -> dict[str, Any]:
        why = self._words.text(event.why)
        return {"expected": event.expected, "cached": event.cached, "why": why}

    def recalled(self, event: Recalled) -> dict[str, Any]:
        return {"hits": [hit.index for hit in event.hits], "tokens": event.tokens}

    def forgotten(self, event: Forgotten) -> dict[str, Any]:
        return {"indices": list(event.indices)}

    def failed(self, event: TurnFailed) -> dict[str, Any]:
        return {"error": self._error(event.error), "kept": event.kept}

    def _eviction(self, eviction: Eviction) -> dict[str, Any]:
        stood_in = eviction.stood_in
        return {
            "at": eviction.at,
            "policy": eviction.policy,
            "before": eviction.before,
            "after": eviction.after,
            "room": eviction.room,
            "threshold": eviction.threshold,
            "ms": eviction.ms,
            "stood_in": None if stood_in is None else self._words.text(stood_in),
            "decisions": [_decision(decision) for decision in eviction.decisions],
        }

    # -- a memory -------------------------------------------------------------------------------

    def memory(self, memory: Memory) -> dict[str, Any]:
        settings = memory.settings
        return {
            "session_id": self._words.text(memory.session_id),
            "settings": {
                "budget": settings.budget,
                "low_water": settings.low_water,
                "reserve": settings.reserve,
                "oversize": settings.oversize,
                "max_policy_ms": settings.max_policy_ms,
                "policy": settings.policy,
                "policy_settings": self._words.settings(thaw(settings.policy_settings)),
                "recall": self._words.settings(settings.recall),
                "summarizer": settings.summarizer,
                "counter": settings.counter,
            },
            "stats": memory.stats.to_dict(),
            "summary": self._words.text(memory.summary),
            "ledger": [self._words.text(fact) for fact in memory.ledger],
            "blocks": [
                {
                    "index": block.index,
                    "tokens": block.tokens,
                    "pinned": block.pinned,
                    "roles": [message.role.value for message in block.messages],
                }
                for block in memory.blocks
            ],
        }


_EVENTS: dict[type, Any] = {
    Appended: _Writer.appended,
    Evicted: _Writer.evicted,
    Summarized: _Writer.summarized,
    FactsDropped: _Writer.facts_dropped,
    Clipped: _Writer.clipped,
    Unanswered: _Writer.unanswered,
    FellBack: _Writer.fell_back,
    Overflowed: _Writer.overflowed,
    CacheCollapsed: _Writer.collapsed,
    Recalled: _Writer.recalled,
    Forgotten: _Writer.forgotten,
    TurnFailed: _Writer.failed,
}


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "index": decision.index,
        "messages": decision.messages,
        "tokens": decision.tokens,
        "kept": decision.kept,
        "worth": decision.worth,
        "reason": decision.reason,
    }


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {name: getattr(usage, name) for name in usage.__slots__}
