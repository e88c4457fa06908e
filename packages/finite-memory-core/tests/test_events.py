"""Observers hear what happened, after it happened, and can break nothing."""

from __future__ import annotations

import logging

import pytest

from finite_memory_core import (
    Appended,
    BudgetError,
    ContextBuilt,
    Evicted,
    Memory,
    MemoryEvent,
    Message,
    StoreError,
    Summarized,
    ToolCall,
    Unanswered,
)

from .checks import state
from .strategies import prose, quarter
from .test_atomic import FailingStore


def test_events_tell_the_conversation() -> None:
    """What observers hear adds up to what stats and transcript say."""
    heard: list[MemoryEvent] = []
    memory = Memory(
        400, "rolling_summary", counter=quarter, observers=[heard.append], session_id="s"
    )
    for i in range(40):
        memory.append(Message.user(prose(2 * i, 80)), Message.assistant(prose(2 * i + 1, 80)))
    memory.append(Message.assistant(tool_calls=[ToolCall("b", "f"), ToolCall("a", "f")]))
    memory.append(Message.user("Stop."))
    context = memory.context()
    stats = memory.stats
    appended = [e for e in heard if isinstance(e, Appended)]
    assert memory.transcript == [m for e in appended for m in e.messages]
    assert stats.tokens_seen == sum(e.tokens for e in appended)
    assert [*range(0, 80, 2), 80, 81] == [e.start for e in appended]
    evictions = [e.eviction for e in heard if isinstance(e, Evicted)]
    assert stats.evictions == len(evictions)
    left = [d for e in evictions for d in e.decisions if not d.kept]
    assert (stats.blocks_evicted, stats.tokens_evicted) == (len(left), sum(d.tokens for d in left))
    summaries = [e for e in heard if isinstance(e, Summarized)]
    assert stats.summaries == len(summaries)
    assert memory.summary == summaries[-1].summary
    assert [(80, ("a", "b"))] == [(e.index, e.call_ids) for e in heard if isinstance(e, Unanswered)]
    assert [context] == [e.context for e in heard if isinstance(e, ContextBuilt)]
    assert {"s"} == {e.session_id for e in heard}


def test_nothing_is_told_of_what_failed() -> None:
    """An append that is undone is not heard of, nor is a turn before it is committed."""
    heard: list[MemoryEvent] = []
    from finite_memory_core import InMemoryStore

    store = FailingStore(InMemoryStore())
    memory = Memory(100, counter=quarter, store=store, observers=[heard.append])
    with pytest.raises(BudgetError):
        memory.append(*(Message.user(prose(i, 60)) for i in range(10)), Message.user("x" * 4_000))
    store.before.error = StoreError("full")
    with pytest.raises(StoreError):
        memory.append(Message.user("hi"))
    store.before.error = None
    turn = memory.turn()
    turn.append(Message.user("staged"))
    assert [] == heard
    turn.commit()
    assert ["Appended"] == [type(e).__name__ for e in heard]


def test_an_observer_that_fails_is_logged_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The conversation and the other observers go on; the log and the stats say what happened."""
    heard: list[MemoryEvent] = []

    def fail(event: MemoryEvent) -> None:
        raise ValueError("no")

    memory = Memory(400, counter=quarter, observers=[fail, heard.append], session_id="s")
    with caplog.at_level(logging.ERROR):
        memory.append(Message.user("hi"))
    assert 1 == len(heard) == memory.stats.observer_errors
    assert "failed on Appended of session s" in caplog.text
    assert "ValueError: no" in caplog.text


def test_an_observer_sees_what_is_recorded_and_may_append() -> None:
    """When an event is heard the memory holds what it tells of, and can be used."""
    lengths: list[int] = []

    def answer(event: MemoryEvent) -> None:
        if isinstance(event, Appended):
            lengths.append(len(memory.transcript))
            if event.messages[-1].role == "user":
                memory.append(Message.assistant("noted"))

    memory = Memory(400, counter=quarter, observers=[answer])
    memory.append(Message.user("hi"))
    assert [1, 2] == lengths
    assert ["user", "assistant"] == [m.role for m in memory.context()]


def test_an_interrupt_in_an_observer_loses_nothing() -> None:
    """Ctrl-C while an observer runs is passed on; the turn is recorded already."""

    def interrupt(event: MemoryEvent) -> None:
        raise KeyboardInterrupt

    memory = Memory(400, counter=quarter, observers=[interrupt], session_id="s")
    twin = Memory(400, counter=quarter, session_id="s")
    with pytest.raises(KeyboardInterrupt):
        memory.append(Message.user("hi"))
    twin.append(Message.user("hi"))
    resumed = Memory.resume(memory.store, "s", counter=quarter)
    assert state(twin) == state(resumed)
    assert twin.stats.messages == memory.stats.messages
