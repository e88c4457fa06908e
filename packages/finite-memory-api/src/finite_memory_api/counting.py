"""Exact token counts, where a provider gives them: a request each, so not for every turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finite_memory_core import BackendError, Context, Delta

from .codecs.base import NoReply, Reader
from .exchange import Steps, converse
from .sse import Event

if TYPE_CHECKING:
    from .backend import HTTPBackend


def counted(backend: HTTPBackend, context: Context) -> int:
    """Return the tokens of `context` by the provider's own count."""
    from .transports.driving import drive

    reader, steps = _asked(backend, context)
    for _ in drive(steps, backend._clients.transport()):
        pass
    return reader.tokens


async def acounted(backend: HTTPBackend, context: Context) -> int:
    """Do the same without blocking."""
    import asyncio

    from .transports.driving import adrive

    transport = await backend._clients.atransport()
    if transport is None:
        return await asyncio.to_thread(counted, backend, context)
    reader, steps = _asked(backend, context)
    async for _ in adrive(steps, transport):
        pass
    return reader.tokens


def _asked(backend: HTTPBackend, context: Context) -> tuple[_Count, Steps]:
    found = backend._codec.counting(context)
    if found is None or backend._clients.has_sdk:
        raise BackendError(
            f"backend {backend.name!r} has no service that counts tokens; the memory's estimate "
            "corrects itself from reported usage"
        )
    path, body = found
    reader = _Count(backend)
    call = backend._asking(context, path, body, lambda: reader)
    return reader, converse(call)


class _Count(Reader):
    """Reads the answer of a counting service."""

    def __init__(self, backend: HTTPBackend) -> None:
        super().__init__()
        self._backend = backend
        self.tokens = 0

    def event(self, event: Event) -> str:
        """Read an answer that came as an event, which none should."""
        raise NoReply(f"a stream ({event.name!r}) where a count was asked for")

    def whole(self, data: Mapping[str, Any]) -> str:
        """See `Reader.whole`."""
        self.tokens = self._backend._codec.read_count(data)
        return ""

    def message(self) -> None:
        """Return nothing: a count is no reply."""

    def end(self) -> Delta:
        """See `Reader.end`."""
        return Delta(finish="counted")
