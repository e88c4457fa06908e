"""The contract of a backend, as tests that a third party's backend inherits.

::

    class TestMyBackend(BackendContract):
        deterministic = True

        def backend(self):
            return MyBackend("some-model", transport=my_fake_transport())

Each test asks for a few short replies, so give it a model or a transport that is cheap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any
from unittest import SkipTest

from ..backends.asking import problem_of
from ..backends.base import Backend, Delta, Usage
from ..chat import Chat
from ..context import Context
from ..errors import BackendError
from ..memory import Memory
from ..messages import Message, ToolCall


def sample_contexts() -> dict[str, Context]:
    """Return contexts of the shapes that a memory makes, by what they show."""
    call = ToolCall("call_1", "weather", '{"city": "Turin"}')
    parts = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": "of Peru?"}]
    said = {
        "one question": [Message.user("Where does Ada live?")],
        "instructions": [Message.system("Be brief."), Message.user("Who are you?")],
        "a conversation": [
            Message.user("My sister Ada lives in Turin."),
            Message.assistant("Noted."),
            Message.user("Where does Ada live?"),
        ],
        "a tool's result": [
            Message.user("How is the weather in Turin?"),
            Message.assistant(None, tool_calls=[call]),
            Message.tool("Rain, 12 °C", tool_call_id="call_1"),
        ],
        "parts and a name": [Message.user(parts, name="Ada")],
        "several scripts": [
            Message.user("¿Dónde vive Ада? 艾达住在哪里？ أين تسكن آدا؟ 👩\u200d🚀")
        ],
    }
    contexts = {}
    for name, messages in said.items():
        memory = Memory(budget=2_000)
        memory.append(*messages)
        contexts[name] = memory.context()
    return contexts


class BackendContract:
    """What every backend does. Subclass it as ``Test...`` and give `backend`.

    Attributes:
        deterministic: whether the same context always gets the same pieces; if so, that is tested
            too, and that one reply leaves no trace in the next.
    """

    deterministic = False

    def backend(self) -> Backend:
        """Return a new backend that is ready to reply."""
        raise NotImplementedError("a backend's tests give backend()")

    def failing_backend(self) -> Backend:
        """Return a backend that cannot reply: no such host, a refused key, a broken model."""
        raise SkipTest("failing_backend() is not given")

    def test_it_has_a_name(self) -> None:
        """Errors and the command line can say which backend it is."""
        backend = self.backend()
        assert isinstance(backend.name, str)
        assert backend.name.strip()

    def test_every_context_gets_one_well_formed_reply(self) -> None:
        """Pieces are sound, exactly the last one has `finish`, and together they say something."""
        for name, context in sample_contexts().items():
            _check(list(self.backend().stream(context)), f"the context with {name}")

    def test_pieces_add_up_to_the_message(self) -> None:
        """Whoever printed the pieces has read the message that is recorded."""
        for context in sample_contexts().values():
            pieces = list(self.backend().stream(context))
            message = pieces[-1].message
            if message is not None:
                streamed = "".join(piece.text for piece in pieces)
                assert message.text.replace("\n", "") == streamed.replace("\n", "")

    def test_usage_is_sane(self) -> None:
        """Where usage is told, a prompt has tokens, and a cache served no more than those."""
        for context in sample_contexts().values():
            for piece in self.backend().stream(context):
                if piece.usage is not None:
                    assert _is_sane(piece.usage), piece.usage

    def test_a_chat_records_its_reply(self) -> None:
        """A turn of a chat ends with the reply in the transcript."""
        memory = Memory(budget=2_000)
        reply = Chat(self.backend(), memory).send("Where does Ada live?")
        assert [Message.user("Where does Ada live?"), reply.message] == list(memory.transcript)

    def test_equal_contexts_get_equal_replies(self) -> None:
        """A backend that says so is deterministic, whatever it was asked before."""
        self._require_deterministic()
        contexts = list(sample_contexts().values())
        backend = self.backend()
        in_a_row = [list(backend.stream(context)) for context in [*contexts, *contexts]]
        alone = [list(self.backend().stream(context)) for context in contexts]
        assert [*alone, *alone] == in_a_row

    def test_nothing_follows_a_close(self) -> None:
        """A reply that is closed early ends, also before it began, and another can be had."""
        backend, context = self.backend(), _context()
        for steps in (0, 1):
            pieces: Any = iter(backend.stream(context))
            for _ in range(steps):
                next(pieces)
            if hasattr(pieces, "close"):
                pieces.close()
                assert list(pieces) == []
        _check(list(backend.stream(context)), "the context after two closed replies")

    def test_astream_yields_the_same(self) -> None:
        """The asynchronous reply is as well formed, and the same where that can be said."""
        for name, context in sample_contexts().items():
            pieces = asyncio.run(_collect(self.backend().astream(context)))
            _check(pieces, f"the context with {name}")
            if self.deterministic:
                assert list(self.backend().stream(context)) == pieces

    def test_astream_lets_other_tasks_run(self) -> None:
        """While a reply is made, the event loop goes on."""

        async def count_turns_of_the_loop() -> int:
            turns = 0
            reply = asyncio.create_task(_collect(self.backend().astream(_context())))
            while not reply.done():
                await asyncio.sleep(0)
                turns += 1
            await reply
            return turns

        # One turn starts the reply; one that never waits is done in it.
        assert asyncio.run(count_turns_of_the_loop()) > 1

    def test_astream_can_be_left(self) -> None:
        """A reply that is closed or cancelled is gone, and another can be had."""

        async def leave_and_ask_again() -> list[Delta]:
            backend = self.backend()
            async with aclosing(_generator(backend.astream(_context()))) as pieces:
                await anext(pieces)
            reply = asyncio.create_task(_collect(backend.astream(_context())))
            await asyncio.sleep(0)
            reply.cancel()
            await asyncio.wait([reply])
            return await _collect(backend.astream(_context()))

        _check(asyncio.run(leave_and_ask_again()), "the context after two left replies")

    def test_failures_are_backend_errors(self) -> None:
        """What goes wrong is told as a `BackendError`, in both worlds."""
        _refused(lambda: list(self.failing_backend().stream(_context())))
        _refused(lambda: _run(_collect(self.failing_backend().astream(_context()))))

    def test_a_failed_turn_leaves_no_trace(self) -> None:
        """A chat whose backend fails has not said anything."""
        memory = Memory(budget=2_000)
        chat = Chat(self.failing_backend(), memory)
        _refused(lambda: chat.send("Hello?"))
        assert list(memory.transcript) == []

    def _require_deterministic(self) -> None:
        if not self.deterministic:
            raise SkipTest("this backend does not say that it is deterministic")


def _context() -> Context:
    return sample_contexts()["a conversation"]


def _check(pieces: list[Delta], what: str) -> None:
    problems = [problem for piece in pieces if (problem := problem_of(piece)) is not None]
    assert problems == [], f"{what}: {problems}"
    finishes = [piece.finish is not None for piece in pieces]
    assert finishes.count(True) == 1, f"{what}: {finishes.count(True)} pieces with finish"
    assert finishes[-1], f"{what}: pieces behind the one with finish"
    said = any(piece.text or piece.tool_calls or piece.message for piece in pieces)
    assert said, f"{what}: the reply is empty"


def _is_sane(usage: Usage) -> bool:
    cached = usage.cached_tokens or 0
    return usage.input_tokens > 0 and usage.output_tokens >= 0 and 0 <= cached <= usage.input_tokens


def _refused(call: Callable[[], object]) -> None:
    try:
        call()
    except BackendError:
        return
    raise AssertionError("it replied, but was to fail")


def _run(work: Coroutine[Any, Any, list[Delta]]) -> list[Delta]:
    return asyncio.run(work)


async def _collect(pieces: AsyncIterator[Delta]) -> list[Delta]:
    return [piece async for piece in pieces]


async def _generator(pieces: AsyncIterator[Delta]) -> Any:
    async for piece in pieces:
        yield piece
