"""A blocking client that keeps a deadline, whatever the server does.

httpx2's timeouts are between two bytes: a server that drips a byte a second into its headers is
never too slow for them. So each wait for the network is cut to what is left until the deadline of
the thread that waits, which `within` sets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2

_AT_ONCE = 1 << 14
"""Bytes that are written before the deadline is looked at again: what is sent of a buffer starts
the wait for the rest of it anew. A TLS record holds as many."""


class _Due(threading.local):
    at = float("inf")


_DUE = _Due()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let no wait of this thread last beyond so many seconds from now."""
    _DUE.at = time.monotonic() + seconds
    try:
        yield
    finally:
        _DUE.at = float("inf")


def keep_deadlines(client: Any) -> None:
    """Have a client of httpx2, not yet used, keep the deadlines that `within` sets."""
    for transport in (client._transport, *client._mounts.values()):
        if transport is not None:
            pool = transport._pool
            pool._network_backend = _Backend(pool._network_backend)


def _cut(timeout: float | None, late: type[Exception]) -> float | None:
    left = _DUE.at - time.monotonic()
    if left <= 0:
        raise late("the deadline is over")
    return left if timeout is None or left < timeout else timeout


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, inner: httpcore2.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *more: Any, **named: Any
    ) -> httpcore2.NetworkStream:
        timeout = _cut(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, timeout, *more, **named))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _cut(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _AT_ONCE):
            piece = buffer[start : start + _AT_ONCE]
            self._inner.write(piece, _cut(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        timeout = _cut(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
