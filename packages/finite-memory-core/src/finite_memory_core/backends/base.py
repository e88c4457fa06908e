"""What a backend is: anything that turns a context into a reply.

A backend has one method, `stream`. Whole replies, asynchronous ones and the bookkeeping of a turn
are built on it. A backend whose transport is asynchronous by nature overrides `astream` as well.

To add a backend, subclass `Backend`, prove it with `finite_memory_core.testing.BackendContract`,
and register a loader (see `load_backend`) under the entry point group ``finite_memory.backends``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..messages import Message, ToolCall

if TYPE_CHECKING:
    from ..chat import Reply
    from ..context import Context


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost, in tokens as the provider counts them.

    Attributes:
        input_tokens: the whole prompt, what a cache served included.
        output_tokens: the reply.
        cached_tokens: how much of the prompt a cache served; None where that is not reported.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply.

    Attributes:
        text: what to append to the text so far; may be "".
        tool_calls: tool calls that are complete with this piece.
        finish: why the reply ends with this piece, in the provider's word (``"stop"``,
            ``"length"``, ``"tool_calls"``); None while it goes on. A reply is only complete
            after a piece that has it.
        usage: what it cost; with the last piece, where the backend knows.
        message: the whole reply as a message, with the last piece, where text and tool calls are
            not all of it (reasoning, parts); None to have it put together from the pieces.
        reply: the recorded turn; set by `Chat` on the last piece that it hands on.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str | None = None
    usage: Usage | None = None
    message: Message | None = None
    reply: Reply | None = None


class Backend(ABC):
    """Turns a context into a reply.

    Attributes:
        name: what it is called in events and in the command line.
    """

    name: str = "backend"

    @abstractmethod
    def stream(self, context: Context) -> Iterator[Delta]:
        """Yield the reply to `context` piece by piece; the last piece has `finish`.

        An iterator with a `close` method is closed when the turn is cancelled. Raise
        `BackendError` (or a subclass) for what went wrong; other exceptions are wrapped in one.
        """

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        """Yield the same without blocking the event loop: by default `stream`, in a thread."""
        import asyncio  # slow to import, and asyncio's users have it already

        pieces = self.stream(context)
        step: asyncio.Future[Delta | None] | None = None
        try:
            while True:
                step = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
                delta = await asyncio.shield(step)
                if delta is None:
                    return
                yield delta
        finally:
            if step is not None and not step.done():  # a thread cannot be cancelled, only left
                step.add_done_callback(lambda left: _abandon(left, pieces))
            else:
                close(pieces)


def close(pieces: object) -> None:
    """Close an iterator that can be closed."""
    closer = getattr(pieces, "close", None)
    if closer is not None:
        closer()


def _abandon(step: Any, pieces: Iterator[Delta]) -> None:
    """Close `pieces` once the step that nobody waits for has ended, whatever its outcome."""
    if not step.cancelled():
        step.exception()
    close(pieces)
