"""A turn's trace tells its steps and how long each took, to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from finite_memory_core import (
    Appended,
    Backend,
    BudgetError,
    CallableBackend,
    Chat,
    Context,
    ContextOverflowError,
    Delta,
    Interrupted,
    Memory,
    MemoryEvent,
    Message,
    Recall,
    StoreError,
    TurnEnded,
    TurnFailed,
    tracing,
)
from finite_memory_core.testing import ScriptedBackend
from finite_memory_core.tracing import Step, Stopwatch, TurnTrace
from finite_memory_core.turn import Turn

from .strategies import prose, quarter
from .test_atomic import FailingStore
from .turns import DRIVES, Drive, Fake, talked

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)


def traces(events: list[MemoryEvent]) -> list[TurnTrace]:
    """Return the traces that were told, one a turn."""
    told = [e.trace for e in events if isinstance(e, TurnEnded | TurnFailed)]
    return [trace for trace in told if trace is not None]


def names(trace: TurnTrace) -> list[str]:
    """Return the names of its steps, in the order of their ends."""
    return [step.name for step in trace.steps]


def consistent(trace: TurnTrace) -> None:
    """Check that every step lies within the turn."""
    for step in trace.steps:
        assert step.start >= 0
        assert step.seconds >= 0
        assert step.start + step.seconds <= trace.seconds
        assert (step.context is not None) == (step.name == "backend")
        assert (step.eviction is not None) == (step.name == "policy")


@each_drive
def test_a_turn_tells_its_steps(drive: Drive) -> None:
    """Question, backend, reply and commit, each within the turn; and who was asked, and how."""
    events: list[MemoryEvent] = []
    memory = Memory(2_000, observers=[events.append])
    reply = drive(Chat(ScriptedBackend("Hi."), memory), "Hello")
    (trace,) = traces(events)
    consistent(trace)
    assert ["append", "backend", "append", "commit"] == names(trace)
    backend = trace.steps[1]
    assert reply.context is backend.context
    assert backend.first is not None
    assert 0 <= backend.first <= backend.seconds
    assert all(step.error is None for step in trace.steps)
    assert ("scripted", None) == (trace.backend, trace.model)
    assert (Message.user("Hello"),) == trace.said
    assert (drive in (DRIVES["stream"], DRIVES["astream"])) == trace.streamed


@each_drive
def test_eviction_summary_and_recall_are_steps(drive: Drive) -> None:
    """What the policy decided goes with its step, and it is what the events tell."""
    events: list[MemoryEvent] = []
    memory = Memory(
        300, "rolling_summary", counter=quarter, recall=Recall(), observers=[events.append]
    )
    chat = Chat(CallableBackend(lambda _: prose(99, 40)), memory)
    for i in range(20):
        drive(chat, f"Question {i}: " + prose(i, 60))
    told = traces(events)
    steps = [step for trace in told for step in trace.steps]
    assert 20 == len(told)
    for trace in told:
        consistent(trace)
        assert "recall" in names(trace)
    decided = [step.eviction for step in steps if step.name == "policy"]
    assert memory.stats.evictions == len(decided)
    assert memory.stats.summaries == sum(step.name == "summary" for step in steps)
    assert memory.stats.policy_ms == pytest.approx(sum(e.ms for e in decided if e is not None))


@each_drive
def test_every_request_of_a_turn_is_a_step(drive: Drive) -> None:
    """A context that was too long is one step that failed, the shorter one another."""
    answers = iter([ContextOverflowError("too long", limit=100, actual=150), None])

    def answer(context: Context) -> object:
        error = next(answers)
        if error is not None:
            raise error
        yield Delta("Fine.", finish="stop")

    events: list[MemoryEvent] = []
    memory = talked(observers=[events.append])
    events.clear()
    drive(Chat(Fake(answer), memory), "Hello")
    (trace,) = traces(events)
    asked = [step for step in trace.steps if step.name == "backend"]
    assert ["ContextOverflowError", None] == [step.error for step in asked]
    first, second = (step.context for step in asked)
    assert first is not None
    assert second is not None
    assert first.token_count > second.token_count


@each_drive
@pytest.mark.parametrize("interrupted", ["discard", "keep"])
def test_a_turn_that_fails_tells_how_far_it_came(drive: Drive, interrupted: str) -> None:
    """One trace, on the last event: the backend's step carries the name of the error."""
    events: list[MemoryEvent] = []
    memory = Memory(2_000, observers=[events.append])
    backend = ScriptedBackend(["Once ", ConnectionError("gone")])
    with pytest.raises(Interrupted):
        drive(Chat(backend, memory, interrupted=interrupted), "Hello")
    (trace,) = traces(events)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].trace is trace
    kept = ["append", "commit"] if interrupted == "keep" else []
    assert ["append", "backend", *kept] == names(trace)
    assert "BackendError" == trace.steps[1].error


@each_drive
def test_a_turn_that_cannot_begin_fails_too(drive: Drive) -> None:
    """What does not fit the budget is told as a failed turn, with the step that it failed in."""
    events: list[MemoryEvent] = []
    memory = Memory(100, counter=quarter, observers=[events.append])
    with pytest.raises(BudgetError) as caught:
        drive(Chat(ScriptedBackend("Hi."), memory), "x" * 4_000)
    (failed,) = events
    assert TurnFailed(memory.session_id, caught.value, False) == failed
    (trace,) = traces(events)
    assert [("append", "BudgetError")] == [(step.name, step.error) for step in trace.steps]


def test_a_store_that_fails_is_the_commit_that_failed() -> None:
    """The last step is the commit, with the store's error."""
    events: list[MemoryEvent] = []
    from finite_memory_core import InMemoryStore

    store = FailingStore(InMemoryStore())
    memory = Memory(2_000, store=store, observers=[events.append])
    store.before.error = StoreError("full")
    with pytest.raises(StoreError):
        Chat(ScriptedBackend("Hi."), memory).send("Hello")
    (trace,) = traces(events)
    assert ("commit", "StoreError") == (trace.steps[-1].name, trace.steps[-1].error)


def test_a_turn_that_is_cancelled() -> None:
    """The backend's step ends with the cancellation, or with the stream that was closed."""
    events: list[MemoryEvent] = []
    memory = Memory(2_000, observers=[events.append])
    waiting = asyncio.Event()

    class Slow(Backend):
        name = "slow:model-1"

        def stream(self, context: Context) -> Iterator[Delta]:
            raise AssertionError

        async def astream(self, context: Context):  # type: ignore[no-untyped-def]
            yield Delta("One ")
            waiting.set()
            await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(Chat(Slow(), memory).asend("Hello"))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def leave() -> None:
        async with aclosing(Chat(Slow(), memory).astream("Hello")) as deltas:  # type: ignore[type-var]
            async for _ in deltas:
                break

    asyncio.run(cancel())
    asyncio.run(leave())
    cancelled, left = traces(events)
    assert ["CancelledError", "GeneratorExit"] == [t.steps[-1].error for t in (cancelled, left)]
    assert ("slow:model-1", "model-1") == (left.backend, left.model)


def test_where_nobody_listens_nothing_is_timed() -> None:
    """A memory without observers has no watch, and the backend's own iterator is used."""
    memory = Memory(2_000)
    turn = memory.turn()
    assert turn.watch is None
    turn.rollback()
    Chat(ScriptedBackend("Hi."), memory).send("Hello")
    assert memory._fold.journal.watch is None


def test_what_follows_a_turn_is_not_timed() -> None:
    """The watch ends with its turn, whether that ends well or not."""
    memory = Memory(2_000, observers=[lambda event: None])
    with memory.turn() as turn:
        turn.append(Message.user("Hello"))
    memory.append(Message.assistant("Hi."))
    assert turn.watch is not None
    assert ["append", "commit"] == [step.name for step in turn.watch.steps]
    turn = memory.turn()
    turn.rollback()
    assert memory._fold.journal.watch is None


def test_a_watch_notes_what_raises() -> None:
    """The error passes, and its name is in the step."""
    watch = Stopwatch()

    def fail(number: int, *, text: str) -> None:
        raise ValueError(f"{number} {text}")

    with pytest.raises(ValueError, match="1 a"):
        watch.timed("policy", fail)(1, text="a")
    (step,) = watch.steps
    assert Step("policy", step.start, step.seconds, "ValueError") == step


def test_a_turn_that_an_observer_begins_is_timed() -> None:
    """The turn that tells of its end does not take the other's watch away."""
    steps: list[str] = []

    def react(event: MemoryEvent) -> None:
        if isinstance(event, Appended) and not steps:
            steps.append("begun")
            turn = memory.turn()
            held.append(turn)

    held: list[Turn] = []
    memory = Memory(2_000, observers=[react])
    with memory.turn() as turn:
        turn.append(Message.user("Hello"))
    held[0].append(Message.assistant("Hi."))
    held[0].commit()
    assert held[0].watch is not None
    assert ["append", "commit"] == [step.name for step in held[0].watch.steps]
    memory.append(Message.user("More."))
    assert ["append", "commit"] == [step.name for step in held[0].watch.steps]


def test_a_step_lies_within_another_however_long_its_end_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that is held up between two looks at the clock still tells when a step began."""
    times = iter([0.0, 1.0, 2.0, 3.0, *map(float, range(10, 99, 10))])
    monkeypatch.setattr(tracing, "perf_counter", lambda: next(times))
    watch = Stopwatch()
    watch.timed("append", watch.timed("summary", lambda: None))()
    inner, outer = watch.steps
    assert ("summary", "append") == (inner.name, outer.name)
    assert outer.start <= inner.start
    assert inner.start + inner.seconds <= outer.start + outer.seconds
