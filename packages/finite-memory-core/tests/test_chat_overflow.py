"""A context that the model finds too long, whatever was counted here: shorter, and again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import (
    BackendError,
    BudgetError,
    Chat,
    ConfigError,
    Context,
    ContextOverflowError,
    Delta,
    InMemoryStore,
    Interrupted,
    Memory,
    MemoryEvent,
    Message,
    Overflowed,
    Prices,
    Usage,
)
from finite_memory_core.testing import ScriptedBackend

from .strategies import CORE, prose
from .turns import DRIVES, Drive, Fake, state_of

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)


class Narrow(Fake):
    """A model of a window of its own: it counts a token for every `size` bytes of text."""

    def __init__(self, window: int, size: float, *, tells: str = "both", reserve: int = 0) -> None:
        self.window, self.size, self.tells, self.reserve = window, size, tells, reserve
        self.accepted: list[int] = []
        self.refused = 0
        super().__init__(self._answer)

    def count(self, context: Context) -> int:
        """Return what it counts."""
        return int(sum(len(m.text.encode()) + 8 for m in context) / self.size) + 3

    def _answer(self, context: Context) -> Iterator[Delta]:
        counted = self.count(context)
        if counted + self.reserve > self.window:
            self.refused += 1
            raise ContextOverflowError(
                f"{counted} tokens are too many",
                limit=None if self.tells == "nothing" else self.window,
                actual=counted if self.tells == "both" else None,
            )
        self.accepted.append(counted)
        yield Delta("Well, " + prose(len(self.accepted), 40))
        yield Delta(finish="stop", usage=Usage(counted, 12))


@each_drive
@pytest.mark.parametrize("tells", ["both", "limit", "nothing"])
def test_a_chat_goes_on_within_what_the_model_takes(drive: Drive, tells: str) -> None:
    """However wrong the budget was: nobody sees an error, and soon nothing is refused any more."""
    events: list[MemoryEvent] = []
    backend = Narrow(900, 2.0, tells=tells)
    memory = Memory(6_000, observers=[events.append])
    chat = Chat(backend, memory)
    for i in range(60):
        drive(chat, f"Question {i}: " + prose(i, 120))
    assert 60 == len(backend.accepted)
    assert 1 <= backend.refused <= 4
    told = [event for event in events if isinstance(event, Overflowed)]
    assert backend.refused == len(told) == memory.stats.overflows
    assert told[-1].ceiling == memory.stats.ceiling
    assert 120 == len(memory.transcript)
    assert max(backend.accepted[30:]) > 0.4 * backend.window


@CORE
@given(
    window=st.integers(600, 3_000),
    size=st.floats(1.5, 6.0),
    reserve=st.integers(0, 100),
    tells=st.sampled_from(["both", "limit", "nothing"]),
)
def test_whatever_the_model_counts(window: int, size: float, reserve: int, tells: str) -> None:
    """A turn ends well, or what must stay was too much; the transcript has all of it or none."""
    backend = Narrow(window, size, tells=tells, reserve=reserve)
    memory = Memory(8_000, reserve=reserve)
    chat = Chat(backend, memory)
    for i in range(24):
        before = state_of(memory)
        try:
            chat.send(prose(i, 100))
        except (ContextOverflowError, BudgetError):
            assert before == state_of(memory)
    assert len(memory.transcript) == 2 * len(backend.accepted)
    assert len(backend.accepted) > 12


@each_drive
def test_it_is_sent_again_twice_at_most(drive: Drive) -> None:
    """Then the caller gets the error, and the turn was not."""
    memory = Memory(4_000)
    memory.append(*(Message.user(prose(i, 100)) for i in range(10)))
    before = state_of(memory)
    script = [ContextOverflowError("still too long") for _ in range(3)]
    backend = ScriptedBackend(*script)
    with pytest.raises(ContextOverflowError, match="still too long"):
        drive(Chat(backend, memory), "Hello")
    assert 3 == len(backend.contexts)
    sizes = [context.token_count for context in backend.contexts]
    assert sorted(sizes, reverse=True) == sizes
    assert len(set(sizes)) == len(sizes)
    assert before == state_of(memory)
    assert memory.stats.ceiling is None


@each_drive
def test_nothing_is_sent_again_after_the_first_piece(drive: Drive) -> None:
    """The caller may have shown it to somebody."""
    memory = Memory(4_000)
    backend = ScriptedBackend(["Once ", ContextOverflowError("too long after all")])
    with pytest.raises(Interrupted, match="too long after all") as caught:
        drive(Chat(backend, memory), "Hello")
    assert "Once " == caught.value.partial
    assert 1 == len(backend.contexts)


def test_what_must_stay_is_not_made_shorter() -> None:
    """The error is the model's, and says what could not leave."""
    memory = Memory(4_000)
    memory.append(Message.system(prose(1, 2_000)))
    before = state_of(memory)
    with pytest.raises(ContextOverflowError, match="100 is the most") as caught:
        Chat(
            ScriptedBackend(ContextOverflowError("100 is the most", limit=100, actual=700)), memory
        ).send("Hello")
    assert isinstance(caught.value.__cause__, BudgetError)
    assert "what must stay" in caught.value.__notes__[0]
    assert before == state_of(memory)


def test_what_was_learnt_is_stored() -> None:
    """A resumed memory keeps below the ceiling; one with another budget begins anew."""
    store = InMemoryStore()
    backend = Narrow(900, 2.0)
    chat = Chat(backend, Memory(6_000, store=store, session_id="a"))
    for i in range(20):
        chat.send(prose(i, 120))
    again = Memory.resume(store, "a")
    assert chat.memory.stats.ceiling == again.stats.ceiling is not None
    assert chat.memory.stats.overflows == again.stats.overflows
    assert chat.memory.context().messages == again.context().messages
    assert Memory.resume(store, "a", budget=5_000).stats.ceiling is None


def test_numbers_that_explain_nothing_are_not_believed() -> None:
    """A limit above what it was sent says nothing; the context is cut all the same."""
    memory = Memory(4_000)
    memory.append(*(Message.user(prose(i, 100)) for i in range(20)))
    backend = ScriptedBackend(ContextOverflowError("no", limit=10**6, actual=10), "Yes.")
    reply = Chat(backend, memory).send("Hello")
    assert "Yes." == reply.text
    first, second = backend.contexts
    assert second.counted_tokens <= 0.75 * first.counted_tokens


def test_an_overflow_is_a_backend_error() -> None:
    """Who handles those handles this, with the numbers."""
    error = ContextOverflowError("too long", limit=10, actual=12)
    assert isinstance(error, BackendError)
    assert (10, 12) == (error.limit, error.actual)


@pytest.mark.parametrize("name", ["limit", "actual"])
@pytest.mark.parametrize("value", [2.5, "4096", float("nan"), True])
def test_an_overflow_tells_whole_numbers(name: str, value: object) -> None:
    """A backend that says anything else is told so, in the turn that it fails."""

    def stream(context: Context) -> Iterator[Delta]:
        yield from ()
        raise ContextOverflowError("too long", **{name: value})  # type: ignore[arg-type]

    memory = Memory(1_000)
    backend = ScriptedBackend()
    backend.stream = stream  # type: ignore[method-assign]
    with pytest.raises(BackendError, match=f"ConfigError: .* {name} must be a whole number"):
        Chat(backend, memory).send("Hello")
    assert 0 == memory.stats.messages


@pytest.mark.parametrize("field", ["input", "output", "cached", "written", "ttl", "minimum"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), None, "1", True])
def test_prices_are_numbers(field: str, value: object) -> None:
    """Anything else is refused with its name."""
    good: dict[str, float] = dict.fromkeys(["input", "output", "cached", "written", "ttl"], 1.0)
    with pytest.raises(ConfigError, match=f"Prices needs a {field} of 0 or more"):
        Prices(**{**good, field: value})  # type: ignore[arg-type]
