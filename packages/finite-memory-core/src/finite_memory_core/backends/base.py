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
from math import inf
from typing import TYPE_CHECKING

from ..errors import ConfigError
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
        cache_write_tokens: how much of the prompt was written to the cache; None where that is not
            reported.
        reasoning_tokens: how much of the reply was reasoning; None where that is not reported.
        cost: what all of it cost, in US dollars; None where no price is known.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """What a provider charges, in US dollars for a million tokens, and how long its cache lives.

    Attributes:
        input: a token of the prompt that no cache serves.
        output: a token of the reply.
        cached: a token of the prompt that the cache serves.
        written: a token of the prompt that is written to the cache; the same as `input` where
            writing costs nothing extra.
        ttl: seconds that a cached prefix lives after it was last used.
        minimum: the shortest prefix, in tokens, that is cached at all.

    Raises:
        ConfigError: a number that cannot be: negative, not finite, or no number.
    """

    input: float
    output: float
    cached: float
    written: float
    ttl: float
    minimum: int = 0

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "written", "ttl", "minimum"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value < inf:
                raise ConfigError(f"Prices needs a {name} of 0 or more, got {value!r}")


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
        prices: what its provider charges; None where that is unknown, or nothing.
    """

    name: str = "backend"
    prices: Prices | None = None

    @abstractmethod
    def stream(self, context: Context) -> Iterator[Delta]:
        """Yield the reply to `context` piece by piece; the last piece has `finish`.

        An iterator with a `close` method is closed when the reply is complete or no longer
        wanted; closing should be quick. Raise `BackendError` (or a subclass) for what went wrong,
        `ContextOverflowError` where the context is too long for the model; other exceptions are
        wrapped in one.
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
