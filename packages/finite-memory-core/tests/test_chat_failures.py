"""Chat: whatever ends a turn early, memory and store are what they were, or keep it as asked."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from finite_memory_core import (
    BackendError,
    BudgetError,
    BusyError,
    CallableBackend,
    Chat,
    ConflictError,
    Context,
    Delta,
    InMemoryStore,
    Interrupted,
    Memory,
    MemoryEvent,
    Message,
    SQLiteStore,
    StoreError,
    ToolCall,
    TurnEnded,
    TurnFailed,
    Usage,
)
from finite_memory_core.testing import FailingStore, ScriptedBackend, TickingClock

from .turns import DRIVES, Drive, Fake, resumed, state_of, talked

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)
each_way = pytest.mark.parametrize("interrupted", ["discard", "keep"])

CALL = ToolCall("a", "clock")
MARKED = {"finite_memory": "interrupted"}


def still_works(chat: Chat) -> None:
    """Assert that the next turn is an ordinary one, and that the store agrees with the memory."""
    chat.backend = ScriptedBackend("Fine now.")
    length = len(chat.memory.transcript)
    assert chat.send("And now?").text == "Fine now."
    assert length + 2 == len(chat.memory.transcript)
    assert state_of(resumed(chat.memory))[:3] == state_of(chat.memory)[:3]


# -- a backend that fails -------------------------------------------------------------------------


@each_drive
@each_way
@pytest.mark.parametrize("make_store", [InMemoryStore, lambda: SQLiteStore(":memory:")])
def test_a_backend_that_fails_at_once(
    drive: Drive, interrupted: str, make_store: Callable[[], Any]
) -> None:
    """Its error comes as a BackendError, with the cause, and the turn was not."""
    memory = talked(make_store())
    before, boom = state_of(memory), ValueError("no such model")
    chat = Chat(ScriptedBackend(boom), memory, interrupted=interrupted)
    with pytest.raises(
        BackendError, match=r"'scripted' failed: ValueError: no such model"
    ) as caught:
        drive(chat, "Hello")
    assert not isinstance(caught.value, Interrupted)
    assert boom is caught.value.__cause__
    assert before == state_of(memory)
    still_works(chat)


@each_drive
def test_a_backend_that_fails_in_the_middle(drive: Drive) -> None:
    """The caller gets the partial text, and the turn is undone."""
    events: list[MemoryEvent] = []
    memory = talked(observers=[events.append])
    before = state_of(memory)
    chat = Chat(ScriptedBackend(["Once upon ", "a time", ConnectionError("gone")]), memory)
    events.clear()
    with pytest.raises(Interrupted, match=r"16 characters .* undone") as caught:
        drive(chat, "Tell me a story")
    assert caught.value.partial == "Once upon a time"
    assert before == state_of(memory)
    assert TurnFailed(memory.session_id, caught.value, False) in events
    assert not any(isinstance(event, TurnEnded) for event in events)
    still_works(chat)


@each_drive
def test_a_partial_reply_can_be_kept(drive: Drive) -> None:
    """With interrupted='keep' question and partial reply are recorded, marked, in one append."""
    events: list[MemoryEvent] = []
    store = FailingStore(SQLiteStore(":memory:"), fail_at=())
    memory = talked(store, observers=[events.append])
    length, appends = len(memory.transcript), store.appends
    script: Any = [
        Delta("Once ", usage=Usage(70, 1)),
        Delta("upon", (CALL,)),
        ConnectionError("gone"),
    ]
    chat = Chat(ScriptedBackend(script), memory, interrupted="keep")
    with pytest.raises(Interrupted, match="recorded as interrupted") as caught:
        drive(chat, "Tell me a story")
    assert caught.value.partial == "Once upon"
    partial = Message.assistant("Once upon", metadata=MARKED)
    assert [Message.user("Tell me a story"), partial] == list(memory.transcript[length:])
    assert appends + 1 == store.appends
    assert 1.0 == memory.stats.correction  # what an interrupted reply reports may be half of it
    assert 0 == memory.stats.spent.replies
    failed = events[-1]
    assert TurnFailed(memory.session_id, caught.value, True) == failed
    ended = events[-2]
    assert isinstance(ended, TurnEnded)
    assert ("interrupted", partial) == (ended.reply.finish, ended.reply.message)
    still_works(chat)


@each_drive
@each_way
def test_errors_that_are_backend_errors_keep_their_kind(drive: Drive, interrupted: str) -> None:
    """A backend's own BackendError reaches the caller itself, if no text was lost with it."""

    class RateLimited(BackendError):
        pass

    limited = RateLimited("try again in 3 s")
    chat = Chat(ScriptedBackend(limited, ["Wait", limited]), talked(), interrupted=interrupted)
    with pytest.raises(RateLimited) as caught:
        drive(chat, "Hello")
    assert limited is caught.value
    with pytest.raises(Interrupted, match="try again in 3 s") as halfway:
        drive(chat, "Hello")
    assert ("Wait", limited) == (halfway.value.partial, halfway.value.__cause__)


@each_drive
def test_an_interrupted_of_the_backend_gets_the_partial_text(drive: Drive) -> None:
    """A backend that says itself that it was interrupted need not collect the text."""
    cut, own = Interrupted("the stream was cut"), Interrupted("cut", partial="its own")
    chat = Chat(ScriptedBackend(["Some", cut], ["Some", own]), talked())
    for error, partial in ((cut, "Some"), (own, "its own")):
        with pytest.raises(Interrupted) as caught:
            drive(chat, "Hello")
        assert (error, partial) == (caught.value, caught.value.partial)


@each_drive
def test_other_errors_of_ours_from_a_backend_are_the_backends(drive: Drive) -> None:
    """What a backend does wrong with our own objects is not taken for the user's mistake."""
    chat = Chat(CallableBackend(lambda _: {"role": "sailor", "content": "Ahoy"}), talked())
    before = state_of(chat.memory)
    with pytest.raises(BackendError, match="unknown role 'sailor'"):
        drive(chat, "Hello")
    assert before == state_of(chat.memory)


@each_drive
def test_a_backend_that_asks_its_own_chat(drive: Drive) -> None:
    """A turn inside a turn is refused, and undoes both."""
    memory = talked()
    before = state_of(memory)
    backend = CallableBackend(lambda _: chat.send("Are you there?").text)
    chat = Chat(backend, memory)
    with pytest.raises(BackendError, match="while a turn is under way") as caught:
        drive(chat, "Hello")
    assert isinstance(caught.value.__cause__, BusyError)
    assert before == state_of(memory)
    still_works(chat)


# -- rubbish --------------------------------------------------------------------------------------


def _raise(error: BaseException) -> Any:
    raise error


class _Endless:
    """An iterator that cannot be closed."""

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        return Delta("on and ")


class _BadClose:
    """A reply that fails when it is closed."""

    def __init__(self, *pieces: Delta) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[Delta]:
        return self._pieces

    def close(self) -> None:
        raise OSError("cannot hang up")


END = Delta(finish="stop")
PEP_479 = "StopIteration"

RUBBISH: dict[str, tuple[Callable[[Context], Any], str]] = {
    "None": (lambda _: None, "NoneType"),
    "a number": (lambda _: 5, "int"),
    "text": (lambda _: "text", "'t' is no Delta"),
    "nothing": (lambda _: [], "without a piece that finishes it"),
    "None in it": (lambda _: [None, END], "NoneType None is no Delta"),
    "a message in it": (lambda _: [Message.assistant("Hi")], "is no Delta"),
    "no end": (lambda _: [Delta("Hi")], "without a piece that finishes it"),
    "an empty reply": (lambda _: [END], "empty reply"),
    "empty pieces": (lambda _: [Delta(), Delta(""), END], "empty reply"),
    "a lone surrogate": (lambda _: [Delta("\ud83d"), Delta("\ude00"), END], "lone surrogate"),
    "NUL": (lambda _: [Delta("a\0b"), END], "NUL"),
    "a number for text": (lambda _: [Delta(5), END], "must be text"),  # type: ignore[arg-type]
    "bytes": (lambda _: [Delta(b"Hi"), END], "must be text"),  # type: ignore[arg-type]
    "a finish of another type": (lambda _: [Delta("Hi", finish=1)], "finish"),  # type: ignore[arg-type]
    "calls that are none": (lambda _: [Delta(tool_calls=("a",)), END], "tool_calls"),  # type: ignore[arg-type]
    "None for calls": (lambda _: [Delta(tool_calls=None), END], "tool_calls"),  # type: ignore[arg-type]
    "a call twice": (lambda _: [Delta(tool_calls=(CALL, CALL)), END], "'a' stands twice"),
    "a call twice, in two pieces": (
        lambda _: [Delta("", (CALL,)), Delta("", (CALL,), "tool_calls")],
        "'a' stands twice",
    ),
    "a call twice, in a message": (
        lambda _: [Delta(finish="stop", message=Message.assistant(None, tool_calls=(CALL, CALL)))],
        "'a' stands twice",
    ),
    "a user's message": (lambda _: [Delta("Hi", finish="", message=Message.user("Hi"))], "message"),
    "a tool's message": (
        lambda _: [Delta(finish="stop", message=Message.tool("Hi", tool_call_id="a"))],
        "an assistant's Message",
    ),
    "text for a message": (lambda _: [Delta("Hi", finish="", message="Hi")], "message"),  # type: ignore[arg-type]
    "a message before the end": (
        lambda _: [Delta("Hi", message=Message.assistant("Hi")), END],
        "on the piece with finish",
    ),
    "a dict for usage": (lambda _: [Delta("Hi", usage={"input_tokens": 5}), END], "usage"),  # type: ignore[arg-type]
    "negative usage": (lambda _: [Delta("Hi", usage=Usage(-1, 0)), END], "usage"),
    "half a token": (lambda _: [Delta("Hi", usage=Usage(1, 0.5)), END], "usage"),  # type: ignore[arg-type]
    "None for tokens": (lambda _: [Delta("Hi", usage=Usage(None, 0)), END], "usage"),  # type: ignore[arg-type]
    "true tokens": (lambda _: [Delta("Hi", usage=Usage(True, 0)), END], "usage"),
    "a negative cache": (lambda _: [Delta("Hi", usage=Usage(5, 1, -5)), END], "usage"),
    "StopIteration": (lambda _: _raise(StopIteration("stray")), PEP_479),
    "StopIteration in a generator": (lambda _: (_raise(StopIteration()) for _ in "a"), PEP_479),
    "StopAsyncIteration": (lambda _: _raise(StopAsyncIteration()), "StopAsyncIteration"),
    "a failure to close": (lambda _: _BadClose(Delta("Hi"), END), "cannot hang up"),
    "a failure to close, early": (lambda _: _BadClose(Delta("Hi"), None), "no Delta"),  # type: ignore[arg-type]
    "an error without text": (lambda _: _raise(RuntimeError()), "RuntimeError"),
    "running out of stack": (lambda _: _recurse(), "RecursionError"),
}


def _recurse() -> Any:
    return _recurse()


@each_drive
@each_way
@pytest.mark.parametrize(("stream", "complaint"), RUBBISH.values(), ids=RUBBISH)
def test_rubbish(
    drive: Drive, interrupted: str, stream: Callable[[Context], Any], complaint: str
) -> None:
    """A backend that breaks its contract is a BackendError that says how; memory is as before."""
    memory = talked()
    length, before = len(memory.transcript), state_of(memory)
    chat = Chat(Fake(stream), memory, interrupted=interrupted)
    with pytest.raises(BackendError, match=complaint) as caught:
        drive(chat, "Hello")
    partial = getattr(caught.value, "partial", "")
    said = [message.text for message in memory.transcript[length:]]
    if interrupted == "keep" and partial and "hang up" not in complaint:
        assert ["Hello", partial] == said
    else:
        assert before == state_of(memory)
    still_works(chat)


@each_drive
@pytest.mark.parametrize(
    "behind",
    [[Delta("more")], [END], [None], [Delta("more", finish="stop")], [ValueError("late")]],
    ids=["text", "an end", "rubbish", "another reply", "an error"],
)
def test_nothing_behind_the_end_is_asked_for(drive: Drive, behind: list[Any]) -> None:
    """A reply is complete with the piece that finishes it, and the iterator is closed there."""
    closed: list[bool] = []

    def stream(_: Context) -> Iterator[Delta]:
        try:
            yield Delta("Hi")
            yield END
            for piece in behind:
                yield _raise(piece) if isinstance(piece, Exception) else piece
        finally:
            closed.append(True)

    memory = talked()
    assert drive(Chat(Fake(stream), memory), "Hello").text == "Hi"
    assert memory.transcript[-1] == Message.assistant("Hi")
    assert closed == [True]


# -- what does not fit, and stores that fail ------------------------------------------------------


@each_drive
@each_way
def test_a_reply_that_does_not_fit(drive: Drive, interrupted: str) -> None:
    """It is told with the reply, so that nothing of it is lost, and the turn is undone."""
    memory = talked()
    before = state_of(memory)
    chat = Chat(ScriptedBackend("long " * 400), memory, interrupted=interrupted)
    with pytest.raises(BudgetError, match="costs") as caught:
        drive(chat, "Hello")
    assert Message.assistant("long " * 400) == caught.value.rejected
    assert before == state_of(memory)
    still_works(chat)


@each_drive
@each_way
@pytest.mark.parametrize("error", [StoreError("disk full"), ConflictError("late"), OSError("raw")])
def test_a_store_that_fails(drive: Drive, interrupted: str, error: Exception) -> None:
    """A turn that cannot be written is undone in the memory too."""
    store = FailingStore(SQLiteStore(":memory:"), fail_at=26, error=error)
    memory = talked(store)
    assert store.appends == 25
    before = state_of(memory)
    chat = Chat(ScriptedBackend("Hi. " * 9, usage=Usage(90, 20)), memory, interrupted=interrupted)
    with pytest.raises(type(error)) as caught:
        drive(chat, "Hello")
    assert error is caught.value
    assert before == state_of(memory)
    still_works(chat)


@each_drive
def test_a_partial_reply_that_cannot_be_kept(drive: Drive) -> None:
    """Where recording the partial reply fails, the turn is undone and the error says why."""
    store = FailingStore(InMemoryStore(), fail_at=26)
    memory = talked(store)
    before = state_of(memory)
    chat = Chat(ScriptedBackend(["Some", OSError("gone")]), memory, interrupted="keep")
    with pytest.raises(Interrupted, match="undone") as caught:
        drive(chat, "Hello")
    cause = caught.value.__cause__
    assert cause is not None
    assert ["the partial reply could not be kept: append 26 was made to fail"] == cause.__notes__
    assert before == state_of(memory)
    still_works(chat)


@each_drive
@pytest.mark.parametrize("broken", [KeyboardInterrupt(), OSError("no clock")], ids=repr)
def test_a_clock_that_fails_while_a_partial_reply_is_kept(
    drive: Drive, broken: BaseException
) -> None:
    """Whatever happens on the way out, the chat is not left busy."""
    memory = talked()
    before = state_of(memory)
    tick, times = TickingClock(), iter([False, True])
    backend = ScriptedBackend(["Some", OSError("gone")])
    chat = Chat(
        backend, memory, interrupted="keep", clock=lambda: _raise(broken) if next(times) else tick()
    )
    with pytest.raises(type(broken)):
        drive(chat, "Hello")
    assert before == state_of(memory)
    chat.clock = None
    still_works(chat)


@each_drive
def test_an_interrupt_between_commit_and_answer(drive: Drive) -> None:
    """A turn that the store has, the memory has too, though the caller was interrupted."""
    store = FailingStore(InMemoryStore(), 26, error=KeyboardInterrupt(), written=True)
    memory = talked(store)
    length = len(memory.transcript)
    chat = Chat(ScriptedBackend("Hi."), memory)
    with pytest.raises(KeyboardInterrupt):
        drive(chat, "Hello")
    assert ["Hello", "Hi."] == [message.text for message in memory.transcript[length:]]
    still_works(chat)


# -- interrupts and closed streams ----------------------------------------------------------------


@each_drive
@each_way
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_interrupt_from_the_backend(
    drive: Drive, interrupted: str, error: BaseException
) -> None:
    """It passes through as what it is, and the turn is undone, or kept where that was chosen."""
    memory = talked()
    length, before = len(memory.transcript), state_of(memory)
    chat = Chat(ScriptedBackend(["Some ", "text", error]), memory, interrupted=interrupted)
    with pytest.raises(type(error)):
        drive(chat, "Hello")
    if interrupted == "keep":
        partial = Message.assistant("Some text", metadata=MARKED)
        assert [Message.user("Hello"), partial] == list(memory.transcript[length:])
    else:
        assert before == state_of(memory)
    still_works(chat)


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Ctrl-C does what it does in a program."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@each_drive
@each_way
@pytest.mark.usefixtures("default_sigint")
def test_a_real_ctrl_c(drive: Drive, interrupted: str) -> None:
    """A signal while the backend works ends the turn with KeyboardInterrupt, and undoes it."""
    memory = talked()
    length, before = len(memory.transcript), state_of(memory)

    def reply(_: Context) -> Iterator[str]:
        yield "Some "
        signal.raise_signal(signal.SIGINT)
        for _step in range(100_000):  # the event loop hears of the signal in one of these steps
            yield "."

    chat = Chat(CallableBackend(reply), memory, interrupted=interrupted)
    with pytest.raises(KeyboardInterrupt):
        drive(chat, "Hello")
    if interrupted == "keep":
        question, partial = memory.transcript[length:]
        assert ("Hello", "Some ") == (question.text, partial.text.rstrip("."))
        assert partial.metadata == MARKED
    else:
        assert before == state_of(memory)
    still_works(chat)


@pytest.mark.parametrize("drive", [DRIVES["send"], DRIVES["stream"]], ids=["send", "stream"])
def test_a_failure_to_close_never_hides_an_interrupt(drive: Drive) -> None:
    """A Ctrl-C stays one, whatever the backend does when it is closed."""

    class Stubborn(_BadClose):
        def __iter__(self) -> Iterator[Delta]:
            yield Delta("Some")
            raise KeyboardInterrupt

    chat = Chat(Fake(lambda _: Stubborn()), talked())
    with pytest.raises(KeyboardInterrupt) as caught:
        drive(chat, "Hello")
    assert ["closing the reply failed too: OSError: cannot hang up"] == caught.value.__notes__
    still_works(chat)


def _begun(chat: Chat) -> Any:
    deltas = chat.stream("Hello")
    next(deltas)
    return deltas


def _watched(left: list[str]) -> Fake:
    def stream(_: Context) -> Iterator[Delta]:
        try:
            yield Delta("Some ")
            yield Delta("text")
            yield END
        finally:
            left.append("closed")

    return Fake(stream)


@each_way
@pytest.mark.parametrize("how", ["close", "drop", "collect", "throw"])
def test_a_stream_that_is_left(how: str, interrupted: str) -> None:
    """Closed, dropped, collected as garbage or thrown into: the turn ends and so does the reply."""
    left: list[str] = []
    memory = talked()
    length, before = len(memory.transcript), state_of(memory)
    chat = Chat(_watched(left), memory, interrupted=interrupted)
    deltas = _begun(chat)
    if how == "close":
        deltas.close()
        assert list(deltas) == []
    elif how == "drop":
        del deltas
    elif how == "collect":
        cycle = SimpleNamespace(deltas=deltas)
        cycle.itself = cycle
        del deltas, cycle
        gc.collect()
    else:
        with pytest.raises(LookupError):
            deltas.throw(LookupError("of the consumer"))
    assert left == ["closed"]
    if interrupted == "keep":
        partial = Message.assistant("Some ", metadata=MARKED)
        assert [Message.user("Hello"), partial] == list(memory.transcript[length:])
    else:
        assert before == state_of(memory)
    still_works(chat)


def test_a_loop_that_breaks_leaves_the_chat_free() -> None:
    """A `for` loop over a stream may end at any piece."""
    chat = Chat(_watched([]), talked())
    for delta in chat.stream("Hello"):
        assert delta.text == "Some "
        break
    still_works(chat)


def test_a_closed_stream_tells_of_a_failure_to_close() -> None:
    """Where nothing else went wrong, a backend that cannot be closed is told."""
    chat = Chat(Fake(lambda _: _BadClose(Delta("Hi"), END)), talked())
    before = state_of(chat.memory)
    deltas = _begun(chat)
    with pytest.raises(BackendError, match="cannot hang up"):
        deltas.close()
    assert before == state_of(chat.memory)
    still_works(chat)


def test_an_iterator_that_cannot_be_closed_is_left() -> None:
    """A reply that goes on for ever can be left, though its iterator has no close."""
    chat = Chat(Fake(lambda _: _Endless()), talked())
    before = state_of(chat.memory)
    _begun(chat).close()
    assert before == state_of(chat.memory)
    still_works(chat)


def test_while_a_stream_is_open_nothing_else_may_be_said() -> None:
    """Turns, appends, pins and resets in the middle of a turn are refused, and change nothing."""
    memory = talked()
    chat = Chat(_watched([]), memory)
    deltas = _begun(chat)
    attempts: list[Callable[[], object]] = [
        lambda: chat.send("Me too"),
        lambda: next(chat.stream("Me too")),
        lambda: Chat(chat.backend, memory).send("Me too"),
        lambda: memory.append(Message.user("Me too")),
        lambda: memory.pin(0),
        memory.reset,
    ]
    for attempt in attempts:
        with pytest.raises(BusyError, match="turn is under way"):
            attempt()
    texts = [delta.text for delta in deltas]
    assert ["text", ""] == texts
    assert ["Hello", "Some text"] == [message.text for message in memory.transcript[-2:]]


@each_drive
def test_an_observer_that_fails_stops_nothing(drive: Drive, caplog: Any) -> None:
    """The turn is recorded, and the failure logged and counted."""

    def observer(event: MemoryEvent) -> None:
        raise RuntimeError(f"on {type(event).__name__}")

    memory = Memory(budget=500, observers=[observer])
    assert drive(Chat(ScriptedBackend("Hi."), memory), "Hello").text == "Hi."
    assert len(memory.transcript) == 2
    assert memory.stats.observer_errors == 3 == len(caplog.records)
