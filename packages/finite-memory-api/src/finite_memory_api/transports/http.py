"""Requests over a client of httpx2, or of httpx: they look the same, their errors are not.

Redirects are never followed, whatever the client would do: they could carry the key elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, TypeAlias

from ..exchange import Send, TransportFailed

Within: TypeAlias = Callable[[float], AbstractContextManager[None]]
_LIBRARIES = ("httpx2", "httpx")


def library_of(client: object) -> str | None:
    """Return which of the two libraries `client` belongs to; None for neither."""
    for kind in type(client).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in _LIBRARIES and kind.__name__ in ("Client", "AsyncClient"):
            return root
    return None


def is_async(client: object) -> bool:
    """Return whether `client` is the asynchronous one of its library."""
    return any("Async" in kind.__name__ for kind in type(client).__mro__)


def plain(headers: Any) -> Mapping[str, str]:
    """Return header names in lower case, to look them up in."""
    return {str(name).lower(): str(value) for name, value in headers.items()}


def failed(error: Exception, library: Any) -> TransportFailed:
    """Return our form of a library's error; no request, and so no key, stays in it."""
    if isinstance(error, library.ConnectTimeout | library.ConnectError | library.PoolTimeout):
        kind = "connect"
    elif isinstance(error, library.TimeoutException):
        kind = "timeout"
    else:
        kind = "broken"
    return TransportFailed(kind, f"{type(error).__name__}: {error}".rstrip(": "))


def _built(client: Any, library: Any, send: Send) -> Any:
    limits = library.Timeout(send.idle, connect=send.connect)
    request = send.request
    return client.build_request(
        "POST",
        request.url,
        headers=dict(request.headers),
        content=request.body,
        timeout=limits,
    )


class HTTPTransport:
    """Sends with a blocking client.

    Args:
        client: it.
        within: keeps a time for what is done in its context; None where the client cannot.
    """

    def __init__(self, client: Any, within: Within | None = None) -> None:
        self._client = client
        self._within = within
        self._library: Any = import_module(library_of(client) or "httpx2")

    def open(self, send: Send) -> HTTPLine:
        """See `driving.Transport.open`."""
        library, within = self._library, self._within
        try:
            request = _built(self._client, library, send)
            with within(send.within) if within else nullcontext():
                answer = self._client.send(request, stream=True, follow_redirects=False)
            return HTTPLine(answer, library, within)
        except library.HTTPError as error:
            lost = failed(error, library)
        raise lost  # outside, so that the library's error is not its context


class HTTPLine:
    """An answer of a blocking client."""

    def __init__(self, answer: Any, library: Any, within: Within | None) -> None:
        self._answer = answer
        self._library = library
        self._within = within
        self.punctual = within is not None
        self._chunks: Iterator[bytes] = answer.iter_bytes()
        self.status: int = answer.status_code
        self.headers = plain(answer.headers)

    def read(self, within: float) -> bytes | None:
        """See `driving.Line.read`."""
        try:
            with self._within(within) if self._within else nullcontext():
                return next(self._chunks, None)
        except self._library.HTTPError as error:
            lost = failed(error, self._library)
        raise lost

    def close(self) -> None:
        """See `driving.Line.close`."""
        self._answer.close()


class AsyncHTTPTransport:
    """Sends with an asynchronous client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._library: Any = import_module(library_of(client) or "httpx2")

    async def open(self, send: Send) -> AsyncHTTPLine:
        """See `driving.AsyncTransport.open`."""
        library = self._library
        try:
            request = _built(self._client, library, send)
            answer = await self._client.send(request, stream=True, follow_redirects=False)
            return AsyncHTTPLine(answer, library)
        except library.HTTPError as error:
            lost = failed(error, library)
        raise lost  # outside, so that the library's error is not its context


class AsyncHTTPLine:
    """An answer of an asynchronous client."""

    def __init__(self, answer: Any, library: Any) -> None:
        self._answer = answer
        self._library = library
        self._chunks: AsyncIterator[bytes] = answer.aiter_bytes()
        self.status: int = answer.status_code
        self.headers = plain(answer.headers)

    async def read(self) -> bytes | None:
        """See `driving.AsyncLine.read`."""
        try:
            return await anext(self._chunks, None)
        except self._library.HTTPError as error:
            lost = failed(error, self._library)
        raise lost

    async def close(self) -> None:
        """See `driving.AsyncLine.close`."""
        await self._answer.aclose()
