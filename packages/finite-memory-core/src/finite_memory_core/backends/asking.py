"""Asking a backend without trusting it.

Whatever a backend does, who asks gets checked pieces up to the one that finishes the reply, or a
`BackendError`, and its iterator is closed. This module knows nothing of memories and turns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from math import inf

from ..context import Context
from ..errors import BackendError, MessageError
from ..messages import Message, Role, ToolCall, check_text
from .base import Backend, Delta, Usage
from .closing import aclosed_after, closed_after


def ask(backend: Backend, context: Context) -> Generator[Delta, None, None]:
    """Yield the pieces of the reply up to the one that finishes it.

    Raises:
        BackendError: the backend raised something, or yielded what is no piece of a reply.
    """
    with blaming(backend), closed_after(backend.stream(context)) as pieces:
        for piece in pieces:
            yield _checked(piece, backend)
            if piece.finish is not None:
                return


async def aask(backend: Backend, context: Context) -> AsyncGenerator[Delta, None]:
    """Yield the same from `astream`; from `stream` in threads where there is no `astream`."""
    with blaming(backend):
        if hasattr(backend, "astream"):
            found = backend.astream(context)
        else:
            found = Backend.astream(backend, context)
        async with aclosed_after(found) as pieces:
            async for piece in pieces:
                yield _checked(piece, backend)
                if piece.finish is not None:
                    return


def title(backend: object) -> str:
    """Return what to call a backend in an error."""
    return str(getattr(backend, "name", type(backend).__name__))


@contextmanager
def blaming(backend: object) -> Iterator[None]:
    """Make a `BackendError` of what is raised in the block, interrupts aside."""
    try:
        yield
    except BackendError:
        raise
    except Exception as error:
        raise BackendError(
            f"backend {title(backend)!r} failed: {type(error).__name__}: {error}"
        ) from error


def _checked(piece: object, backend: object) -> Delta:
    problem = problem_of(piece)
    if problem is not None:
        raise BackendError(f"backend {title(backend)!r} returned rubbish: {problem}")
    return piece  # type: ignore[return-value]  # a piece without a problem is a Delta


def problem_of(piece: object) -> str | None:
    """Return what is wrong with a piece of a reply; None where it is what `Delta` says."""
    if not isinstance(piece, Delta):
        return f"{type(piece).__name__} {piece!r:.80} is no Delta"
    try:
        check_text(piece.text, "a piece's text")
    except MessageError as error:
        return str(error)
    wanted = {
        "tool_calls": (_are_calls(piece.tool_calls), "a tuple of ToolCall objects"),
        "finish": (_is_text_or_none(piece.finish), "text, or None while the reply goes on"),
        "usage": (_is_usage(piece.usage), "a Usage of whole numbers >= 0, or None"),
        "message": (_is_reply(piece), "an assistant's Message on the piece with finish, or None"),
    }
    for field, (fine, what) in wanted.items():
        if not fine:
            return f"a piece's {field} must be {what}, got {getattr(piece, field)!r:.80}"
    return None


def _are_calls(calls: object) -> bool:
    return isinstance(calls, tuple | list) and all(isinstance(call, ToolCall) for call in calls)


def _is_text_or_none(text: object) -> bool:
    return text is None or isinstance(text, str)


def _is_reply(piece: Delta) -> bool:
    message: object = piece.message
    if message is None:
        return True
    is_said = isinstance(message, Message) and message.role is Role.ASSISTANT
    return is_said and piece.finish is not None


def _is_usage(usage: object) -> bool:
    if usage is None:
        return True
    if not isinstance(usage, Usage):
        return False
    parts = (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens)
    counts = (usage.input_tokens, usage.output_tokens, *(part or 0 for part in parts))
    cost = 0.0 if usage.cost is None else usage.cost
    return all(type(n) is int and n >= 0 for n in counts) and _is_cost(cost)


def _is_cost(cost: object) -> bool:
    return isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < inf
