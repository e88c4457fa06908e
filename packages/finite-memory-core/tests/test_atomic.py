"""A turn is atomic: whatever fails, memory and store are what they were before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    BudgetError,
    ConflictError,
    CounterError,
    EmbedderError,
    InMemoryStore,
    Memory,
    Message,
    MessageError,
    Policy,
    PolicyError,
    SQLiteStore,
    Store,
    StoreError,
    ToolCall,
    ToolCallError,
    View,
)
from finite_memory_core.stores import Counted, Event, Session, Version
from finite_memory_core.stores.wrapping import WrappedStore

from .checks import say, state, take
from .examples import some
from .strategies import CORE, Setup, conversations, prose, quarter, setups


class Failing:
    """Says when to fail, and with what."""

    error: BaseException | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class FailingStore(WrappedStore):
    """A real store in front of which something fails: before a write, or behind it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.inner = store
        self.before, self.behind, self.reading = Failing(), Failing(), Failing()

    def session(self, session_id: str) -> Session | None:
        self.reading.check()
        return super().session(session_id)

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        self.before.check()
        super().append(session_id, version, messages, events)
        self.behind.check()


class FailingCounter(Failing):
    """Counts a quarter token a character, until it is told to fail."""

    answer: Any = None

    def __call__(self, text: str) -> int:
        self.check()
        return quarter(text) if self.answer is None else self.answer


class FailingPolicy(Policy, Failing):
    """Keeps the newest, until it is told to fail, or to answer with something."""

    name = "failing"
    answer: Callable[[View], Any] | None = None

    def worth(self, view: View) -> Sequence[float]:
        self.check()
        if self.answer is not None:
            return self.answer(view)  # type: ignore[no-any-return]
        return [float(i) for i, _ in enumerate(view.candidates)]


def full(counter: Any = quarter, policy: Any = "sliding", store: Store | None = None) -> Memory:
    """Return a memory so full that the next message makes it evict."""
    memory = Memory(200, policy, counter=counter, store=store, session_id="s")
    memory.append(Message.system("Be brief."))
    while memory.stats.evictions < 2:
        memory.append(Message.user(prose(memory.stats.messages, 60)))
    while memory.stats.tokens_held <= 200 - 4 - 15:
        memory.append(Message.user(prose(memory.stats.messages, 60)))
    return memory


NEXT = Message.user(prose(7, 90))
ODD: list[BaseException] = [
    StoreError("the disk is full"),
    ConflictError("another was first"),
    RuntimeError("a bug in a store"),
    KeyboardInterrupt(),
    MemoryError(),
]


@pytest.mark.parametrize("error", ODD, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("file", [True, False])
def test_a_store_that_fails_to_write(error: BaseException, file: bool) -> None:
    """Nothing was appended and nothing evicted; the next try does both."""
    store = FailingStore(SQLiteStore(":memory:") if file else InMemoryStore())
    memory = full(store=store)
    twin = full()
    before = state(memory)
    store.before.error = error
    for _ in range(2):
        with pytest.raises(type(error)):
            memory.append(NEXT)
        assert before == state(memory)
    store.before.error = None
    memory.append(NEXT)
    twin.append(NEXT)
    assert state(twin) == state(memory)
    store.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("late")], ids=repr)
def test_an_interrupt_behind_the_write_keeps_the_turn(error: BaseException) -> None:
    """What the store has acknowledged is in the memory too, although the call was interrupted."""
    store = FailingStore(InMemoryStore())
    memory, twin = full(store=store), full()
    store.behind.error = error
    with pytest.raises(type(error)):
        memory.append(NEXT)
    twin.append(NEXT)
    assert state(twin) == state(memory)


def test_a_store_that_fails_to_write_and_to_answer() -> None:
    """Where it cannot be told whether the turn was written, the memory is what it was."""
    store = FailingStore(InMemoryStore())
    memory = full(store=store)
    before = state(memory)
    store.before.error, store.reading.error = RuntimeError("gone"), StoreError("unreachable")
    with pytest.raises(StoreError, match="unreachable"):
        memory.append(NEXT)
    store.before.error = store.reading.error = None
    assert before == state(memory)
    memory.append(NEXT)
    assert NEXT == memory.transcript[-1]


COUNTS: list[Any] = [-1, 1.5, "3", None, True, float("nan"), [], KeyError("x"), KeyboardInterrupt()]


@pytest.mark.parametrize("bad", COUNTS, ids=repr)
def test_a_counter_that_breaks_its_contract(bad: Any) -> None:
    """A counter that raises or gives no count stops the append, and says what it gave."""
    counter = FailingCounter()
    memory = full(counter=counter)
    before = state(memory)
    if isinstance(bad, BaseException):
        counter.error = bad
    else:
        counter.answer = float("inf") if bad is None else bad
    expected = KeyboardInterrupt if isinstance(bad, KeyboardInterrupt) else CounterError
    with pytest.raises(expected) as caught:
        memory.append(Message.user("fine"), NEXT)
    assert expected is KeyboardInterrupt or "token counter" in str(caught.value)
    counter.error = counter.answer = None
    assert before == state(memory)


ANSWERS: list[tuple[str, Callable[[View], Any]]] = [
    ("0 numbers for", lambda view: []),
    ("numbers for", lambda view: [1.0] * (len(view.candidates) + 1)),
    ("NaN", lambda view: [float("nan")] * len(view.candidates)),
    ("must answer with numbers", lambda view: None),
    ("must answer with numbers", lambda view: list(view.candidates)),
    ("must answer with numbers", lambda view: [10**400] * len(view.candidates)),
    ("must answer with numbers", lambda view: (1 / 0 for _ in view.candidates)),
]


@pytest.mark.parametrize(("expected", "answer"), ANSWERS)
def test_a_policy_that_breaks_its_contract(expected: str, answer: Callable[[View], Any]) -> None:
    """An answer that is no number a candidate is refused, with what it was."""
    policy = FailingPolicy()
    memory = full(policy=policy)
    before = state(memory)
    policy.answer = answer
    with pytest.raises(PolicyError, match=expected) as caught:
        memory.append(NEXT)
    assert "'failing'" in str(caught.value)
    policy.answer = None
    assert before == state(memory)
    memory.append(NEXT)


@pytest.mark.parametrize(
    "error", [RuntimeError("oops"), KeyboardInterrupt(), EmbedderError("no")], ids=repr
)
def test_a_policy_that_fails(error: BaseException) -> None:
    """An exception of a policy becomes a `PolicyError`; ours and interrupts stay what they are."""
    policy = FailingPolicy()
    memory = full(policy=policy)
    before = state(memory)
    policy.error = error
    with pytest.raises(PolicyError if isinstance(error, RuntimeError) else type(error)):
        memory.append(NEXT)
    policy.error = None
    assert before == state(memory)


BAD: list[tuple[type[Exception], list[Any]]] = [
    (BudgetError, [Message.user(prose(1, 4_000))]),
    (ToolCallError, [Message.tool("x", tool_call_id="nobody")]),
    (ToolCallError, [Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("a", "g")])]),
    (MessageError, ["hello"]),
    (MessageError, [{"role": "user", "content": "hello"}]),
    (MessageError, [[Message.user("in a list")]]),
]


@settings(CORE, max_examples=some(15))
@given(
    setup=setups,
    said=conversations(max_turns=8),
    number=st.integers(0, len(BAD) - 1),
    after=conversations(max_turns=2, interrupted=False),
)
def test_a_batch_is_taken_whole_or_not_at_all(
    setup: Setup, said: list[Message], number: int, after: list[Message]
) -> None:
    """One message that is refused leaves nothing of the others behind, not even an eviction."""
    memory, twin = setup.memory(), setup.memory()
    say(memory, said)
    say(twin, said)
    expected, bad = BAD[number]
    if expected is BudgetError and setup.oversize == "clip":
        return
    before = state(memory)
    with pytest.raises((expected, BudgetError)):
        memory.append(*after, *bad)
    assert before == state(memory)
    for message in after:
        assert take(memory, message) == take(twin, message)
    assert state(twin) == state(memory)


def test_an_append_of_nothing_changes_nothing() -> None:
    """`append()` writes nothing."""
    memory = full()
    before = state(memory)
    memory.append()
    assert before == state(memory)


def _go_wrong(memory: Memory, undone: list[Message]) -> None:
    """Stage messages and usage, and fail."""
    with memory.turn() as turn:
        for message in undone:
            try:
                turn.append(message)
                context = turn.context()
            except (BudgetError, ToolCallError):
                continue
            assert context.token_count <= memory.budget
            turn.report_usage(context, context.token_count + 7)
        raise KeyError("the application failed")


@settings(CORE, max_examples=some(15))
@given(setup=setups, said=conversations(max_turns=8), undone=conversations(max_turns=8))
def test_a_turn_that_is_rolled_back_never_was(
    setup: Setup, said: list[Message], undone: list[Message]
) -> None:
    """Whatever a turn staged, evictions, clips and summaries among it, a rollback undoes."""
    memory = setup.memory()
    say(memory, said)
    before = state(memory)
    with pytest.raises(KeyError):
        _go_wrong(memory, undone)
    assert before == state(memory)


@settings(CORE, max_examples=some(15))
@given(setup=setups, said=conversations(max_turns=8), then=conversations(max_turns=4))
def test_a_turn_that_is_committed_is_one_append(
    setup: Setup, said: list[Message], then: list[Message]
) -> None:
    """What is staged piece by piece and committed equals what is appended at once."""
    memory, twin = setup.memory(), setup.memory()
    say(memory, said)
    say(twin, said)
    taken = []
    with memory.turn() as turn:
        for message in then:
            try:
                turn.append(message)
            except (BudgetError, ToolCallError):
                continue
            taken.append(message)
    twin.append(*taken)
    assert state(twin) == state(memory)


def test_a_commit_that_fails_undoes_the_turn() -> None:
    """A store that fails at the end of a turn leaves the memory as it was, and usable."""
    store = FailingStore(InMemoryStore())
    memory = full(store=store)
    before = state(memory)
    store.before.error = StoreError("full")
    with pytest.raises(StoreError, match="full"), memory.turn() as turn:
        turn.append(NEXT)
    store.before.error = None
    assert before == state(memory)
    memory.append(NEXT)


@pytest.mark.parametrize("change", ["pin", "unpin", "set_tools", "report_usage"])
def test_other_changes_are_atomic_too(change: str) -> None:
    """A pin, tool schemas or usage that cannot be written leave no trace."""
    store = FailingStore(InMemoryStore())
    memory = Memory(400, store=store, session_id="s")
    memory.append(*(Message.user(prose(i, 60)) for i in range(20)))
    memory.pin(-1)
    context = memory.context()
    calls: dict[str, Callable[[], None]] = {
        "pin": lambda: memory.pin(0, 5),
        "unpin": lambda: memory.unpin(-1),
        "set_tools": lambda: memory.set_tools([{"name": "search"}]),
        "report_usage": lambda: memory.report_usage(context, 2 * context.token_count),
    }
    before = state(memory)
    store.before.error = StoreError("full")
    with pytest.raises(StoreError, match="full"):
        calls[change]()
    store.before.error = None
    assert before == state(memory)
    calls[change]()
    assert before != state(memory)


def test_tool_schemas_that_do_not_fit_leave_no_session_behind() -> None:
    """A memory that could not be made is not in the store; the name is free for another try."""
    store = InMemoryStore()
    with pytest.raises(BudgetError, match="tool schemas"):
        Memory(100, store=store, session_id="s", tools=[{"name": "x" * 1_000}])
    assert store.sessions() == []
    Memory(100, store=store, session_id="s", tools=[{"name": "x"}])
