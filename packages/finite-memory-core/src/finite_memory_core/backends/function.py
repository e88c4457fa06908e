"""A backend that is any function."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction
from typing import Any

from ..context import Context
from ..errors import BackendError, ConfigError
from ..messages import Message
from .asking import blaming
from .base import Backend, Delta
from .closing import aclosed_after, closed_after


class CallableBackend(Backend):
    """Asks a function for each reply.

    Args:
        fn: called with the `Context`, which is also a sequence of its messages; returns the
            reply as text, as a `Message`, as a mapping in the OpenAI chat shape, or as an
            iterable of pieces: text, or `Delta` objects where usage or tool calls are to be told.
            For `asend` and `astream` it may be a coroutine function or an asynchronous generator.
        name: what it is called; None for the function's own name.

    Raises:
        ConfigError: `fn` cannot be called.
    """

    def __init__(self, fn: Callable[[Context], Any], name: str | None = None) -> None:
        if not callable(fn):
            raise ConfigError(f"CallableBackend takes a function, got {fn!r:.80}")
        self._fn = fn
        self._is_async = _is_async(fn) or _is_async(type(fn).__call__)
        self.name = name or str(getattr(fn, "__name__", type(fn).__name__))

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        if self._is_async:
            raise BackendError(
                f"{self.name!r} is asynchronous; use asend or astream, or give a plain function"
            )
        with blaming(self):
            yield from self._deltas(self._fn(context))

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        """See `Backend.astream`."""
        found = self._answer(context) if self._is_async else super().astream(context)
        async with aclosed_after(found) as deltas:
            async for delta in deltas:
                yield delta

    async def _answer(self, context: Context) -> AsyncIterator[Delta]:
        with blaming(self):
            answer = self._fn(context)
            if isawaitable(answer):
                answer = await answer
            if isinstance(answer, AsyncIterable):
                async with aclosed_after(self._apieces(answer)) as deltas:
                    async for delta in deltas:
                        yield delta
            else:
                for delta in self._deltas(answer):
                    yield delta

    def _deltas(self, answer: Any) -> Iterator[Delta]:
        if isinstance(answer, str):
            yield Delta(answer)
            yield Delta(finish="stop")
        elif isinstance(answer, Message):
            yield Delta(answer.text)
            yield Delta(finish="tool_calls" if answer.tool_calls else "stop", message=answer)
        elif isinstance(answer, Mapping):
            yield from self._deltas(Message.from_dict(answer))
        elif isinstance(answer, Iterable) and not isinstance(answer, bytes | bytearray):
            yield from self._pieces(answer)
        else:
            raise BackendError(self._refusal(answer))

    def _pieces(self, answer: Iterable[object]) -> Iterator[Delta]:
        with closed_after(answer) as pieces:
            for piece in pieces:
                delta = self._piece(piece)
                yield delta
                if delta.finish is not None:
                    return
        yield Delta(finish="stop")

    async def _apieces(self, answer: AsyncIterable[object]) -> AsyncIterator[Delta]:
        async with aclosed_after(answer) as pieces:
            async for piece in pieces:
                delta = self._piece(piece)
                yield delta
                if delta.finish is not None:
                    return
        yield Delta(finish="stop")

    def _piece(self, piece: object) -> Delta:
        if isinstance(piece, Delta):
            return piece
        if not isinstance(piece, str):
            raise BackendError(
                f"function {self.name!r} yielded {type(piece).__name__} {piece!r:.80}, not text"
            )
        return Delta(piece)

    def _refusal(self, answer: object) -> str:
        hint = ""
        if isawaitable(answer) or isinstance(answer, AsyncIterable):
            hint = "; give the asynchronous function itself, and use asend or astream"
            if hasattr(answer, "close"):
                answer.close()  # or Python warns of a coroutine that was never awaited
        return (
            f"function {self.name!r} returned {type(answer).__name__} {answer!r:.80}; it must "
            f"return text, a Message, a mapping with a role, or pieces of text{hint}"
        )


def _is_async(fn: object) -> bool:
    return iscoroutinefunction(fn) or isasyncgenfunction(fn)
