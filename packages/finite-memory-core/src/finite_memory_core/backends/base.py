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
from typing import TYPE_CHECKING

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
            after a piece that has it, and nothing behind that piece is asked for.
        usage: what it cost, where the backend knows; of several the latest counts.
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
        name: what it is called in errors and in the command line.
    """

    name: str = "backend"

    @abstractmethod
    def stream(self, context: Context) -> Iterator[Delta]:
        """Yield the reply to `context` piece by piece; the last piece has `finish`.

        An iterator with a `close` method is closed when the reply is complete or no longer
        wanted; closing should be quick. Raise `BackendError` (or a subclass) for what went wrong;
        other exceptions are wrapped in one.
        """

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        """Yield the same without blocking the event loop: by default `stream`, in threads.

        One step follows the other, each in any thread. A step cannot be cancelled: whoever no
        longer wants the reply leaves at once, and the iterator is closed when its step ends. Until
        then `stream` may be called again.
        """
        from .threads import Steps

        steps = Steps(lambda: self.stream(context))
        try:
            while found := await steps.next():
                yield found[0]
        finally:
            steps.leave()
