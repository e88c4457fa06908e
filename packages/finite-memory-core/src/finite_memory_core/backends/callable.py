"""A backend that is any function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from ..context import Context
from ..errors import BackendError, ConfigError
from ..messages import Message
from .base import Backend, Delta


class CallableBackend(Backend):
    """Asks a function for each reply.

    Args:
        fn: called with the `Context`, which is also a sequence of its messages; returns the
            reply as text, as a `Message`, as a mapping in the OpenAI chat shape, or as an
            iterable of pieces of text. It may be a coroutine function, for `asend` and `astream`.
        name: what it is called; None for the function's own name.

    Raises:
        ConfigError: `fn` cannot be called.
    """

    def __init__(self, fn: Callable[[Context], Any], name: str | None = None) -> None:
        if not callable(fn):
            raise ConfigError(f"CallableBackend takes a function, got {fn!r:.80}")
        self._fn = fn
        self.name = name or str(getattr(fn, "__name__", type(fn).__name__))

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        if iscoroutinefunction(self._fn):
            raise BackendError(
                f"{self.name!r} is a coroutine function; use asend or astream, or give a plain one"
            )
        yield from self._deltas(self._fn(context))

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        """See `Backend.astream`."""
        if not iscoroutinefunction(self._fn):
            async for delta in super().astream(context):
                yield delta
            return
        for delta in self._deltas(await self._fn(context)):
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
        elif isinstance(answer, Iterable) and not isinstance(answer, bytes):
            yield from map(self._piece, answer)
            yield Delta(finish="stop")
        else:
            hint = "; await it in a coroutine function" if isawaitable(answer) else ""
            raise BackendError(
                f"function {self.name!r} returned {type(answer).__name__} {answer!r:.80}; it must "
                f"return text, a Message, a mapping with a role, or pieces of text{hint}"
            )

    def _piece(self, piece: object) -> Delta:
        if not isinstance(piece, str):
            raise BackendError(
                f"function {self.name!r} yielded {type(piece).__name__} {piece!r:.80}, not text"
            )
        return Delta(piece)
