"""CallableBackend: any function, and what it may return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from finite_memory_core import (
    Backend,
    BackendError,
    CallableBackend,
    Chat,
    ConfigError,
    Context,
    Delta,
    Memory,
    Message,
    ToolCall,
    Usage,
)
from finite_memory_core.testing import BackendContract

from .turns import DRIVES, Drive

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)
asynchronous = pytest.mark.parametrize(
    "drive", [DRIVES["asend"], DRIVES["astream"]], ids=["asend", "astream"]
)
synchronous = pytest.mark.parametrize(
    "drive", [DRIVES["send"], DRIVES["stream"]], ids=["send", "stream"]
)

CALL = ToolCall("a", "clock")


def ask(fn: Any, drive: Drive) -> Any:
    return drive(Chat(CallableBackend(fn), Memory(budget=500)), "Hello")


class TestContract(BackendContract):
    """A function keeps the contract of a backend."""

    deterministic = True

    def backend(self) -> Backend:
        return CallableBackend(lambda context: f"{len(context)} messages".split(" "))

    def failing_backend(self) -> Backend:
        return CallableBackend(lambda context: 1 // (len(context) - len(context)))


def _slowly(context: Context) -> Iterator[str]:
    yield "So it "
    yield "is."


@each_drive
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("So it is.", Message.assistant("So it is.")),
        (["So ", "it ", "is."], Message.assistant("So it is.")),
        (("So it is.",), Message.assistant("So it is.")),
        ({"role": "assistant", "content": "So it is."}, Message.assistant("So it is.")),
        (Message.assistant("Mine", name="Eve"), Message.assistant("Mine", name="Eve")),
        (Message.assistant(None, tool_calls=[CALL]), Message.assistant(None, tool_calls=[CALL])),
        ([Delta("So "), "it ", Delta("is.")], Message.assistant("So it is.")),
    ],
)
def test_what_a_function_may_return(drive: Drive, answer: Any, expected: Message) -> None:
    """Text, pieces of it, a message, or a mapping in the OpenAI chat shape."""
    assert expected == ask(lambda _: answer, drive).message


@each_drive
def test_generators_and_objects_are_functions_too(drive: Drive) -> None:
    """Anything that can be called with a context will do."""

    class Model:
        def __call__(self, context: Context) -> str:
            return f"{len(context)} messages"

    assert ask(_slowly, drive).text == "So it is."
    assert ask(Model(), drive).text == "1 messages"
    assert ask(partial(lambda greeting, _: greeting, "Ciao"), drive).text == "Ciao"


@each_drive
def test_deltas_carry_what_text_cannot(drive: Drive) -> None:
    """A generator of deltas tells of tool calls, usage and why it ended."""

    def reply(_: Context) -> Iterator[Delta | str]:
        yield "Wait. "
        yield Delta(tool_calls=(CALL,))
        yield Delta(finish="tool_calls", usage=Usage(10, 5))
        yield "Nobody hears this."

    said = ask(reply, drive)
    assert Message.assistant("Wait. ", tool_calls=[CALL]) == said.message
    assert ("tool_calls", Usage(10, 5)) == (said.finish, said.usage)


@each_drive
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "returned NoneType None"),
        (5, "returned int 5"),
        (b"bytes", "returned bytes"),
        (bytearray(b"bytes"), "returned bytearray"),
        ([b"bytes"], "yielded bytes"),
        (["fine", None], "yielded NoneType None"),
        ([["nested"]], "yielded list"),
        ("", "empty reply"),
        ([], "empty reply"),
        ({}, "has no role"),
        ({"role": "assistant"}, "no content"),
        ({"role": "user", "content": "Hi"}, "an assistant's Message"),
        (Message.tool("Hi", tool_call_id="a"), "an assistant's Message"),
        (Message.system("Hi"), "an assistant's Message"),
    ],
    ids=repr,
)
def test_what_a_function_may_not_return(drive: Drive, answer: Any, complaint: str) -> None:
    """The error says which function it was and what it returned."""
    with pytest.raises(BackendError, match=complaint):
        ask(lambda _: answer, drive)


@each_drive
def test_a_stop_iteration_is_a_failure(drive: Drive) -> None:
    """A StopIteration that escapes from a function is no end of its reply."""

    def careless(_: Context) -> str:
        return next(iter(()))

    def careless_later(_: Context) -> Iterator[str]:
        yield "Some"
        yield next(iter(()))

    for fn in (careless, careless_later):
        with pytest.raises(BackendError, match="StopIteration"):
            ask(fn, drive)


def test_pieces_behind_the_end_are_left_out() -> None:
    """Whoever asks the backend itself gets exactly one piece that finishes, and it is the last."""
    pieces: list[Any] = [Delta("Hi.", finish="length"), "Nobody hears this."]

    async def later(_: Context) -> AsyncIterator[str | Delta]:
        for piece in pieces:
            yield piece

    async def collect() -> list[Delta]:
        return [delta async for delta in CallableBackend(later).astream(context)]

    context = Memory(budget=500).context()
    assert pieces[:1] == list(CallableBackend(lambda _: pieces).stream(context))
    assert pieces[:1] == asyncio.run(collect())


def test_the_functions_iterator_is_closed() -> None:
    """A generator is closed when the reply is left, not when it happens to be collected."""
    left: list[str] = []
    kept: list[object] = []

    def reply(_: Context) -> Any:
        def pieces() -> Iterator[str]:
            try:
                yield "Some "
                yield "text"
            finally:
                left.append("closed")

        kept.append(found := pieces())
        return found

    chat = Chat(CallableBackend(reply), Memory(budget=500))
    deltas: Any = chat.stream("Hello")
    next(deltas)
    deltas.close()
    assert left == ["closed"]


# -- asynchronous functions -----------------------------------------------------------------------


async def _later(context: Context) -> str:
    await asyncio.sleep(0)
    return f"{len(context)} messages"


async def _bit_by_bit(context: Context) -> AsyncIterator[str | Delta]:
    yield f"{len(context)} "
    await asyncio.sleep(0)
    yield "messages"


async def _bit_by_bit_later(context: Context) -> AsyncIterator[str | Delta]:
    await asyncio.sleep(0)
    return _bit_by_bit(context)


class _Model:
    async def __call__(self, context: Context) -> str:
        return await _later(context)


class TestAsynchronousContract(BackendContract):
    """So does an asynchronous one, as far as a loop is there."""

    deterministic = True

    def backend(self) -> Backend:
        return _AsyncOnly(_bit_by_bit)

    def failing_backend(self) -> Backend:
        async def fail(context: Context) -> str:
            await asyncio.sleep(0)
            raise ConnectionError("no such host")

        return _AsyncOnly(fail)


class _AsyncOnly(CallableBackend):
    """Runs a loop where there is none."""

    def stream(self, context: Context) -> Iterator[Delta]:
        async def collect() -> list[Delta]:
            return [delta async for delta in self.astream(context)]

        yield from asyncio.run(collect())


@asynchronous
@pytest.mark.parametrize(
    "fn",
    [_later, _bit_by_bit, _bit_by_bit_later, _Model(), partial(_later)],
    ids=["coroutine", "generator", "coroutine of a generator", "object", "partial"],
)
def test_asynchronous_functions(drive: Drive, fn: Any) -> None:
    """Coroutine functions and asynchronous generators, however they are wrapped."""
    assert ask(fn, drive).text == "1 messages"


@asynchronous
def test_an_asynchronous_generator_of_deltas(drive: Drive) -> None:
    """What it yields behind the end is not asked for, and it is closed."""
    left: list[str] = []

    async def reply(_: Context) -> AsyncIterator[Delta]:
        try:
            yield Delta("Hi.", finish="length", usage=Usage(5, 1))
            yield Delta("Nobody hears this.")
        finally:
            left.append("closed")

    said = ask(reply, drive)
    assert ("Hi.", "length", Usage(5, 1)) == (said.text, said.finish, said.usage)
    assert left == ["closed"]


@asynchronous
def test_what_an_asynchronous_function_may_not_return(drive: Drive) -> None:
    """It is told as for a plain one."""

    async def nothing(_: Context) -> None:
        return None

    async def numbers(_: Context) -> AsyncIterator[int]:
        yield 5

    for fn, complaint in ((nothing, "returned NoneType"), (numbers, "yielded int 5")):
        with pytest.raises(BackendError, match=complaint):
            ask(fn, drive)


@synchronous
@pytest.mark.parametrize("fn", [_later, _bit_by_bit, _Model()], ids=["coroutine", "gen", "object"])
def test_an_asynchronous_function_needs_a_loop(drive: Drive, fn: Any) -> None:
    """Without one, the error says what to use."""
    with pytest.raises(BackendError, match="use asend or astream"):
        ask(fn, drive)


@each_drive
@pytest.mark.parametrize("fn", [_later, _bit_by_bit], ids=["coroutine", "generator"])
def test_a_plain_function_that_returns_something_asynchronous(drive: Drive, fn: Any) -> None:
    """The error says to give the asynchronous function itself; nothing is left unawaited."""
    with pytest.raises(BackendError, match="give the asynchronous function itself"):
        ask(lambda context: [fn(context)][0], drive)


# -- names ----------------------------------------------------------------------------------------


def test_names() -> None:
    """A backend is called what its function is called, unless it is given a name."""
    assert CallableBackend(_slowly).name == "_slowly"
    assert CallableBackend(_slowly, name="slow").name == "slow"
    assert CallableBackend(_Model()).name == "_Model"
    assert CallableBackend(partial(_slowly)).name == "partial"


@pytest.mark.parametrize("fn", [None, "text", 5])
def test_what_cannot_be_called(fn: Any) -> None:
    """Something that is no function is refused at once."""
    with pytest.raises(ConfigError, match="takes a function"):
        CallableBackend(fn)
