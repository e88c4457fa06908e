"""Our own clients: made at the first request, one for all threads, one for each event loop.

An event loop's client lives in an asynchronous generator: when the loop ends, it closes its
generators, and so the connections, without anybody having to remember them.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator
from threading import Lock
from typing import Any

from .http import AsyncHTTPTransport, HTTPTransport


class OwnClients:
    """Makes clients, keeps them, and closes them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocking: Any = None
        self._by_loop: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._tls: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (OwnClients, ())

    def transport(self) -> HTTPTransport:
        """Return what sends with blocking calls."""
        import httpx2

        from .punctual import keep_deadlines, within

        with self._lock:
            if self._blocking is None:
                self._blocking = httpx2.Client(verify=self._context())
                keep_deadlines(self._blocking)
                weakref.finalize(self, self._blocking.close)
            return HTTPTransport(self._blocking, within)

    async def atransport(self) -> AsyncHTTPTransport:
        """Return what sends in the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        client: Any = self._by_loop.get(loop)
        if client is None or client.is_closed:
            keeper = _keep(self._context())
            client = await anext(keeper)
            client.finite_memory_keeper = keeper  # alive as long as the client
            self._by_loop[loop] = client
        return AsyncHTTPTransport(client)

    def close(self) -> None:
        """Close the blocking client; the next request makes a new one."""
        with self._lock:
            client, self._blocking = self._blocking, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the client of the running event loop, and the blocking one."""
        import asyncio

        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        self.close()

    def _context(self) -> Any:
        import httpx2

        if self._tls is None:  # takes some 20 ms, and serves all clients
            self._tls = httpx2.create_ssl_context()
        return self._tls


async def _keep(context: Any) -> AsyncGenerator[Any, None]:
    import httpx2

    client = httpx2.AsyncClient(verify=context)
    try:
        yield client
    finally:
        await client.aclose()
