"""Chat on an event loop, and in several threads: what is cancelled leaves no trace."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest

from finite_memory_core import (
    BackendError,
    BusyError,
    CallableBackend,
    Chat,
    Context,
    Delta,
    Memory,
    Message,
    SQLiteStore,
)
from finite_memory_core.backends.threads import Steps
from finite_memory_core.testing import ScriptedBackend

from .turns import AsyncFake, Fake, resumed, state_of, talked

WAIT = 30  # seconds until a test that would hang fails

each_way = pytest.mark.parametrize("interrupted", ["discard", "keep"])
each_drive = pytest.mark.parametrize("drive", ["asend", "astream"])


def works(chat: Chat) -> bool:
    """Whether the next turn is an ordinary one."""
    chat.backend = ScriptedBackend("Fine now.")
    return chat.send("And now?").text == "Fine now."


async def drained(deltas: AsyncIterator[Delta]) -> list[Delta]:
    return [delta async for delta in deltas]


def turn(chat: Chat, drive: str, text: str = "Hello") -> Coroutine[Any, Any, Any]:
    return chat.asend(text) if drive == "asend" else drained(chat.astream(text))


# -- the loop goes on -----------------------------------------------------------------------------


class Gate:
    """A reply that is under way in a thread until it is let go."""

    def __init__(self, pieces: int = 1) -> None:
        self.pieces = pieces
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.closed = threading.Event()
        self.steps = 0

    def __call__(self, context: Context) -> Iterator[str]:
        try:
            for i in range(self.pieces):
                self.entered.release()
                assert self.go_on.acquire(timeout=WAIT), "nobody let the reply go on"
                self.steps += 1
                yield f"piece {i} "
        finally:
            self.closed.set()


@each_drive
def test_the_loop_goes_on_while_the_backend_works(drive: str) -> None:
    """A backend that waits for another task of the same loop gets its reply out."""
    gate = Gate(3)
    chat = Chat(CallableBackend(gate), Memory(budget=500))

    async def let_go() -> None:
        for _ in range(3):
            await asyncio.to_thread(gate.entered.acquire)
            gate.go_on.release()

    async def both() -> None:
        await asyncio.gather(turn(chat, drive), let_go())

    asyncio.run(both())
    assert chat.memory.transcript[-1].text == "piece 0 piece 1 piece 2 "


@each_drive
def test_calling_the_backend_does_not_block_either(drive: str) -> None:
    """A `stream` that works before it returns its iterator does so in a thread too."""
    threads: list[int] = []

    def stream(_: Context) -> list[Delta]:
        threads.append(threading.get_ident())
        return [Delta("Hi."), Delta(finish="stop")]

    asyncio.run(turn(Chat(Fake(stream), Memory(budget=500)), drive))
    assert [True] == [thread != threading.get_ident() for thread in threads]


USER: ContextVar[str] = ContextVar("USER", default="nobody")


@each_drive
def test_context_variables_reach_the_backend(drive: str) -> None:
    """What was set before the turn is seen, what the backend sets lasts for its reply only."""
    seen: list[str] = []

    def reply(_: Context) -> Iterator[str]:
        seen.append(USER.get())
        token = USER.set("the backend")
        yield "Some "
        seen.append(USER.get())
        USER.reset(token)  # fails in any other context than that of the `set`
        yield "text"
        seen.append(USER.get())

    async def ask() -> None:
        USER.set("Ada")
        await turn(Chat(CallableBackend(reply), Memory(budget=500)), drive)
        seen.append(USER.get())

    asyncio.run(ask())
    assert ["Ada", "the backend", "Ada", "Ada"] == seen


# -- cancellation ---------------------------------------------------------------------------------


@each_drive
@each_way
@pytest.mark.parametrize("pieces_before", [0, 2])
def test_cancelled_while_a_thread_works(drive: str, interrupted: str, pieces_before: int) -> None:
    """The turn ends at once; the thread finishes its step alone, and then closes the reply."""
    gate = Gate(4)
    memory = talked(SQLiteStore(":memory:"))
    length, before = len(memory.transcript), state_of(memory)
    chat = Chat(CallableBackend(gate), memory, interrupted=interrupted)

    async def cancel() -> None:
        task = asyncio.create_task(turn(chat, drive))
        for _ in range(pieces_before):
            await asyncio.to_thread(gate.entered.acquire)
            gate.go_on.release()
        await asyncio.to_thread(gate.entered.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.closed.is_set()
        if interrupted == "keep" and pieces_before:
            said = [message.text for message in memory.transcript[length:]]
            assert ["Hello", "piece 0 piece 1 "] == said
        else:
            assert before == state_of(memory)
        assert works(chat)
        gate.go_on.release()

    asyncio.run(cancel())  # waits for the thread
    assert gate.closed.is_set()
    assert pieces_before + 1 == gate.steps
    assert works(chat)


@each_drive
def test_the_loop_ends_while_a_thread_works(drive: str) -> None:
    """A program that ends its loop in the middle of a reply closes it in the end, and says nothing
    of a generator that is already executing."""
    gate = Gate(4)
    chat = Chat(CallableBackend(gate), talked())
    complaints: list[dict[str, Any]] = []
    tasks = []

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, what: complaints.append(what))
        tasks.append(asyncio.create_task(turn(chat, drive)))
        await asyncio.to_thread(gate.entered.acquire)
        loop.call_soon(gate.go_on.release)

    asyncio.run(leave())
    assert gate.closed.wait(WAIT)
    assert [True] == [task.cancelled() for task in tasks]
    assert complaints == []
    assert works(chat)


@each_drive
def test_cancelled_before_a_thread_was_free(drive: str) -> None:
    """A turn that still waits for a thread is cancelled before its backend was asked."""
    asked: list[Context] = []

    def reply(context: Context) -> str:
        asked.append(context)
        return "Hi."

    chat = Chat(CallableBackend(reply), talked())
    before, hold = state_of(chat.memory), threading.Event()

    async def cancel() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, hold.wait, WAIT)
        task = asyncio.create_task(turn(chat, drive))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.set()
        assert await busy

    asyncio.run(cancel())
    assert asked == []
    assert before == state_of(chat.memory)
    assert works(chat)


def test_a_step_that_comes_too_late() -> None:
    """Steps that were left before their first one never touch what they were to step through."""
    touched: list[str] = []

    def make() -> Iterator[str]:
        touched.append("made")
        yield "never"

    async def late() -> list[str]:
        steps = Steps(make)
        steps.leave()
        return await steps.next()

    assert asyncio.run(late()) == []
    assert touched == []


class Pause:
    """An await that suspends once, whatever runs the coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def pause() -> None:
    await Pause()


def suspensions(work: Coroutine[Any, Any, Any]) -> int:
    """Run a coroutine to its end by hand, and return how often it was suspended."""
    times = 0
    while True:
        try:
            work.send(None)
        except StopIteration:
            return times
        times += 1


def cancel_at(work: Coroutine[Any, Any, Any], suspension: int) -> None:
    """Run a coroutine by hand, cancel it where it is suspended for the nth time, and let it end."""
    for _ in range(suspension):
        work.send(None)
    with pytest.raises(asyncio.CancelledError):
        _throw(work)


def _throw(work: Coroutine[Any, Any, Any]) -> None:
    work.throw(asyncio.CancelledError())
    while True:
        work.send(None)


def three_pieces(_: Context) -> list[Delta]:
    return [Delta("one "), Delta("two "), Delta("three"), Delta(finish="stop")]


@each_drive
@each_way
def test_cancelled_at_every_await(drive: str, interrupted: str) -> None:
    """Wherever a turn waits, a cancellation there ends it, as CancelledError, and undoes it."""
    total = suspensions(turn(Chat(AsyncFake(three_pieces, pause), talked()), drive))
    assert total == 5
    for suspension in range(1, total + 1):
        memory = talked()
        length, before = len(memory.transcript), state_of(memory)
        chat = Chat(AsyncFake(three_pieces, pause), memory, interrupted=interrupted)
        cancel_at(turn(chat, drive), suspension)
        said = [message.text for message in memory.transcript[length:]]
        partial = "".join(piece.text for piece in three_pieces(None)[: suspension - 1])  # type: ignore[arg-type]
        if interrupted == "keep" and 1 < suspension < 5:
            assert ["Hello", partial] == said
        else:
            assert before == state_of(memory)
        assert works(chat)


@each_drive
def test_cancelled_twice(drive: str) -> None:
    """A second cancellation, while the reply is being closed, changes nothing."""
    memory = talked()
    before = state_of(memory)
    chat = Chat(AsyncFake(three_pieces, pause), memory)
    work = turn(chat, drive)
    for _ in range(3):
        work.send(None)
    work.throw(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        work.throw(asyncio.CancelledError())
    assert before == state_of(memory)
    assert works(chat)


@each_drive
def test_a_failure_to_close_never_hides_a_cancellation(drive: str) -> None:
    """The task counts as cancelled though closing the reply failed, and a note says that it did."""

    class Stubborn:
        def __aiter__(self) -> AsyncIterator[Delta]:
            return self

        async def __anext__(self) -> Delta:
            await Pause()
            return Delta("Some")

        async def aclose(self) -> None:
            raise OSError("cannot hang up")

    class StubbornBackend(Fake):
        def astream(self, context: Context) -> AsyncIterator[Delta]:
            return Stubborn()

    chat = Chat(StubbornBackend(three_pieces), talked())
    before = state_of(chat.memory)
    work = turn(chat, drive)
    work.send(None)
    with pytest.raises(asyncio.CancelledError) as caught:
        work.throw(asyncio.CancelledError())
    assert ["closing the reply failed too: OSError: cannot hang up"] == caught.value.__notes__
    assert before == state_of(chat.memory)
    assert works(chat)


@each_drive
def test_a_timeout(drive: str) -> None:
    """`asyncio.timeout` around a turn undoes it and raises TimeoutError."""
    gate = Gate()
    chat = Chat(CallableBackend(gate), talked())
    before = state_of(chat.memory)

    async def give_up_at_once() -> None:
        async with asyncio.timeout(0):
            await turn(chat, drive)

    gate.go_on.release()
    with pytest.raises(TimeoutError):
        asyncio.run(give_up_at_once())
    assert before == state_of(chat.memory)
    assert works(chat)


# -- streams that are left ------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("how", ["aclosing", "break", "collect", "end of the loop"])
def test_an_asynchronous_stream_that_is_left(how: str, interrupted: str) -> None:
    """However it is left, the reply is closed and the turn ends."""
    memory = talked()
    length, before = len(memory.transcript), state_of(memory)
    left: list[str] = []

    def reply(_: Context) -> Iterator[str]:
        try:
            yield "Some "
            yield "text"
        finally:
            left.append("closed")

    chat = Chat(CallableBackend(reply), memory, interrupted=interrupted)
    kept: list[object] = []

    async def leave() -> None:
        deltas: Any = chat.astream("Hello")
        if how == "aclosing":
            async with aclosing(deltas):
                await anext(deltas)
            assert left == ["closed"]
        elif how == "break":
            async for _ in deltas:
                break
        else:
            await anext(deltas)
        if how == "collect":
            cycle: list[Any] = [deltas]
            cycle.append(cycle)
            del cycle
        if how == "end of the loop":
            kept.append(deltas)
        del deltas
        gc.collect()

    asyncio.run(leave())
    assert left == ["closed"]
    if interrupted == "keep":
        partial = Message.assistant("Some ", metadata={"finite_memory": "interrupted"})
        assert [Message.user("Hello"), partial] == list(memory.transcript[length:])
    else:
        assert before == state_of(memory)
    assert works(chat)


def test_a_dropped_stream_is_free_after_a_turn_of_the_loop() -> None:
    """A loop that breaks without aclosing leaves the turn open until the event loop closes it."""
    chat = Chat(ScriptedBackend("Some text", "Fine."), talked())

    async def leave_and_ask_again() -> str:
        async for _ in chat.astream("Hello"):
            break
        while True:
            try:
                return (await chat.asend("Again")).text
            except BusyError:
                await asyncio.sleep(0)

    assert asyncio.run(asyncio.wait_for(leave_and_ask_again(), WAIT)) == "Fine."


# -- two at a time --------------------------------------------------------------------------------


def test_a_second_task_is_refused() -> None:
    """While a turn is under way in one task, others get a BusyError and change nothing."""
    gate = Gate()
    memory = Memory(budget=500)
    chat = Chat(CallableBackend(gate), memory)

    async def collide() -> list[object]:
        first = asyncio.create_task(chat.asend("first"))
        await asyncio.to_thread(gate.entered.acquire)
        others: list[Awaitable[Any]] = [turn(chat, "asend", "2"), turn(chat, "astream", "3")]
        refused = await asyncio.gather(*others, return_exceptions=True)
        gate.go_on.release()
        await first
        return refused

    refused = asyncio.run(collide())
    assert [BusyError, BusyError] == [type(error) for error in refused]
    assert ["first", "piece 0 "] == [message.text for message in memory.transcript]


def test_a_second_thread_is_refused() -> None:
    """While a turn is under way in one thread, others get a BusyError and change nothing."""
    gate = Gate()
    memory = Memory(budget=500)
    chat = Chat(CallableBackend(gate), memory)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(chat.send, "first")
        assert gate.entered.acquire(timeout=WAIT)
        with pytest.raises(BusyError, match="give each conversation its own memory"):
            chat.send("second")
        gate.go_on.release()
        assert first.result(WAIT).text == "piece 0 "
    assert ["first", "piece 0 "] == [message.text for message in memory.transcript]


def test_racing_threads_never_interleave() -> None:
    """Many threads on one chat: each turn stands whole, and every acknowledged one stands."""
    memory = Memory(budget=300, store=SQLiteStore(":memory:"))
    chat = Chat(CallableBackend(lambda context: f"to {context.messages[-1].text}"), memory)
    acknowledged: list[str] = []

    def talk(thread: int) -> int:
        refused = 0
        for i in range(40):
            try:
                chat.send(f"{thread}.{i}")
            except BusyError:
                refused += 1
            else:
                acknowledged.append(f"{thread}.{i}")
        return refused

    with ThreadPoolExecutor(4) as pool:
        refused = sum(pool.map(talk, range(4)))
    texts = [message.text for message in memory.transcript]
    assert [f"to {text}" for text in texts[::2]] == texts[1::2]
    assert sorted(acknowledged) == sorted(texts[::2])
    assert 160 == refused + len(acknowledged)
    assert state_of(resumed(memory)).context == state_of(memory).context


def test_two_chats_do_not_disturb_each_other() -> None:
    """One backend may serve several conversations at once."""
    backend = CallableBackend(lambda context: f"{len(context)}: {context.messages[-1].text}")

    async def talk(chat: Chat, name: str) -> list[str]:
        return [(await chat.asend(f"{name}{i}")).text for i in range(5)]

    async def all_talk() -> list[list[str]]:
        chats = {name: Chat(backend, Memory(budget=500)) for name in "abc"}
        return await asyncio.gather(*(talk(chat, name) for name, chat in chats.items()))

    expected = [[f"{2 * i + 1}: {name}{i}" for i in range(5)] for name in "abc"]
    assert expected == asyncio.run(all_talk())


# -- backends that are asynchronous ---------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        lambda _: [],
        lambda _: [None],
        lambda _: [Delta("Hi")],
        lambda _: [Delta(finish="stop")],
        lambda _: [Delta("\ud800", finish="stop")],
        lambda _: None,
    ],
    ids=["nothing", "None", "no end", "empty", "surrogate", "no iterator"],
)
@each_drive
def test_rubbish_from_an_asynchronous_backend(drive: str, stream: Callable[..., Any]) -> None:
    """What is rubbish in `stream` is rubbish in `astream`."""
    chat = Chat(AsyncFake(stream, pause), talked())
    before = state_of(chat.memory)
    with pytest.raises(BackendError):
        suspensions(turn(chat, drive))
    assert before == state_of(chat.memory)
    assert works(chat)


@each_drive
def test_an_astream_that_is_no_iterator(drive: str) -> None:
    """An `astream` that forgot to yield is told as the backend's failure."""

    class Forgetful(Fake):
        def astream(self, context: Context) -> Any:
            return None

    chat = Chat(Forgetful(three_pieces), talked())
    with pytest.raises(BackendError, match="'async for' requires"):
        asyncio.run(turn(chat, drive))
    assert works(chat)
