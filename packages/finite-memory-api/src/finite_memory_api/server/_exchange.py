"""One request to the upstream and its answer back, byte for byte and as it comes.

The transport is used without a client around it: a client would keep cookies of one user for the
next, follow redirects to other hosts and read credentials from the environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx2

from .guarding import Headers, for_client
from .refusals import Refusal
from .settings import ServeSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECTIONS = 1_000
IDLE_SECONDS = 60


class HungUp(Exception):
    """The client has gone, or reads no more, which comes to the same."""


class Cut(Exception):
    """The upstream's answer ended before it was complete; what had come was sent on."""


class Answer:
    """What the upstream answers, none of which has been sent on yet.

    Attributes:
        status: its status.
        headers: its headers.
        read: what has been read of its body.
        following: yields the rest.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers.raw
        self.read: list[bytes] = []
        self.following: AsyncIterator[bytes] = response.stream.__aiter__()  # type: ignore[union-attr]
        self.aclose = response.aclose

    async def look(self, most: int) -> bytes | None:
        """Return the body, which stays to be sent; None where it has more than `most` bytes.

        Raises:
            Refusal: it broke off.
        """
        size = 0
        try:
            async for chunk in self.following:
                self.read.append(chunk)
                size += len(chunk)
                if size > most:
                    return None
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise _unreadable(error) from None
        return b"".join(self.read)


class Upstream:
    """Asks one or two hosts, and no other."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._bases = {kind: httpx2.URL(settings.base(anthropic=kind)) for kind in (False, True)}
        limits = httpx2.Limits(
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
        )
        self._transport = httpx2.AsyncHTTPTransport(limits=limits, trust_env=False)
        seconds = settings.connect_seconds
        self._timeouts = {
            "connect": seconds,
            "pool": seconds,
            "write": settings.body_seconds,
            "read": settings.read_seconds,
        }

    def request(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        body: bytes,
        *,
        anthropic: bool,
    ) -> httpx2.Request:
        """Return the request to send; its host is the upstream's whatever `path` says.

        Raises:
            Refusal: the query can stand in no URL.
        """
        base = self._bases[anthropic]
        raw = base.raw_path.rstrip(b"/") + path.encode("ascii") + (b"?" + query if query else b"")
        lines = [*headers]
        if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
            lines.append(("content-length", str(len(body))))
        try:
            url = base.copy_with(raw_path=raw)
        except httpx2.InvalidURL:
            raise Refusal(400, f"no such query: {query.decode('latin-1')!r:.120}") from None
        timeouts = {"timeout": self._timeouts}
        sent = _encoded(lines)  # the client's bytes: a text would have to be ASCII
        return httpx2.Request(method, url, headers=sent, content=body, extensions=timeouts)

    async def pump(
        self, answer: Answer, send: Send, ours: Headers, see: Callable[[bytes], None]
    ) -> None:
        """Send `answer` to the client; `see` is shown each piece of it.

        Raises:
            Cut: it broke off.
            HungUp: the client took no more of it.
        """
        seconds = self._settings.body_seconds
        lines = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in answer.headers]
        await _sent(send, _start(answer.status, [*for_client(lines), *ours]), seconds)

        async def on(chunk: bytes) -> None:
            piece = {"type": "http.response.body", "body": chunk, "more_body": True}
            await _sent(send, piece, seconds)
            see(chunk)

        for chunk in answer.read:
            await on(chunk)
        try:
            async for chunk in answer.following:
                await on(chunk)
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise Cut(type(error).__name__) from error
        end = {"type": "http.response.body", "body": b"", "more_body": False}
        await _sent(send, end, seconds)

    async def ask(self, request: httpx2.Request) -> Answer:
        """Send `request`, and return what it is answered with once that has begun.

        Raises:
            Refusal: there was no answer.
        """
        try:
            return Answer(await self._transport.handle_async_request(request))
        except httpx2.ConnectTimeout:
            seconds = self._settings.connect_seconds
            raise Refusal(504, f"the upstream did not take a connection in {seconds:g} s") from None
        except httpx2.TimeoutException:
            seconds = self._settings.read_seconds
            raise Refusal(504, f"the upstream did not answer in {seconds:g} s") from None
        except httpx2.ConnectError:
            raise Refusal(502, "the upstream cannot be reached") from None
        except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            raise _unreadable(error) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def _unreadable(error: Exception) -> Refusal:
    return Refusal(502, f"the upstream's answer cannot be read ({type(error).__name__})")


async def _sent(send: Send, message: Message, seconds: float) -> None:
    """Send a message to a client that reads; it waits where what was sent before is still unread.

    Raises:
        HungUp: the client read nothing for so long.
    """
    try:
        async with asyncio.timeout(seconds):
            await send(message)
    except TimeoutError:
        raise HungUp from None


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": _encoded(headers)}


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole answer of our own."""
    await send(_start(status, [*headers, ("content-length", str(len(body)))]))
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def read_body(receive: Receive, most: int, seconds: float) -> bytes:
    """Return the request's body.

    Raises:
        Refusal: it is too large, or too slow.
        HungUp: the client left.
    """
    pieces, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise HungUp
                piece = message.get("body", b"")
                size += len(piece)
                if size > most:
                    raise Refusal(413, f"the request is larger than {most} bytes")
                pieces.append(piece)
                if not message.get("more_body", False):
                    return b"".join(pieces)
    except TimeoutError:
        raise Refusal(408, f"the request did not arrive in {seconds:g} s") from None


async def unless_hung_up(receive: Receive, work: Awaitable[int]) -> int:
    """Do `work`; if the client leaves before it ends, it is cancelled, and so is the upstream's.

    Raises:
        HungUp: the client left.
    """
    doing, watching = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise HungUp
        return doing.result()
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
