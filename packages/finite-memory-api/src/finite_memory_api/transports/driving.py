"""The two loops that perform effects. Whatever ends a loop, the answer is closed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from finite_memory_core import Delta

from ..exchange import Head, Read, Send, Steps, TransportFailed, Wait


class Line(Protocol):
    """An answer that is being received; `punctual` ones keep the time that `read` is given."""

    status: int
    headers: Mapping[str, str]
    punctual: bool

    def read(self, within: float) -> bytes | None:
        """Return some bytes; None at the end. Raises `TransportFailed`."""

    def close(self) -> None:
        """Close it, and the connection if anything is left on it."""


class AsyncLine(Protocol):
    """The same, without blocking."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes | None:
        """See `Line.read`."""

    async def close(self) -> None:
        """See `Line.close`."""


class Transport(Protocol):
    """What sends requests."""

    def open(self, send: Send) -> Line:
        """Send a request; returns when the answer has begun. Raises `TransportFailed`."""
        ...


class AsyncTransport(Protocol):
    """The same, without blocking."""

    async def open(self, send: Send) -> AsyncLine:
        """See `Transport.open`."""
        ...


def drive(steps: Steps, transport: Transport) -> Iterator[Delta]:
    """Perform the effects of `steps` with blocking calls, and yield the pieces."""
    line: Line | None = None
    value: Any = None
    failed: TransportFailed | None = None
    try:
        while True:
            try:
                effect = steps.send(value) if failed is None else steps.throw(failed)
            except StopIteration:
                return
            value = failed = None
            if isinstance(effect, Delta):
                yield effect
                continue
            try:
                if isinstance(effect, Send):
                    line = transport.open(effect)
                    value = Head(line.status, line.headers, line.punctual)
                elif isinstance(effect, Read):
                    value = None if line is None else line.read(effect.within)
                elif isinstance(effect, Wait):
                    time.sleep(effect.seconds)
                elif line is not None:
                    line.close()
                    line = None
            except TransportFailed as error:
                failed = error
    finally:
        steps.close()
        if line is not None:
            line.close()


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Cancel what takes longer."""
    import anyio  # httpx2 brings it

    late = None
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        late = TransportFailed("late", f"nothing came within {seconds:g} s")
    if late is not None:
        raise late


async def adrive(steps: Steps, transport: AsyncTransport) -> AsyncIterator[Delta]:
    """Perform the effects of `steps` without blocking, and yield the pieces."""
    import anyio

    line: AsyncLine | None = None
    value: Any = None
    failed: TransportFailed | None = None
    try:
        while True:
            try:
                effect = steps.send(value) if failed is None else steps.throw(failed)
            except StopIteration:
                return
            value = failed = None
            if isinstance(effect, Delta):
                yield effect
                continue
            try:
                if isinstance(effect, Send):
                    with _within(effect.within):
                        line = await transport.open(effect)
                    value = Head(line.status, line.headers)
                elif isinstance(effect, Read):
                    with _within(effect.within):
                        value = None if line is None else await line.read()
                elif isinstance(effect, Wait):
                    await anyio.sleep(effect.seconds)
                elif line is not None:
                    await line.close()
                    line = None
            except TransportFailed as error:
                failed = error
    finally:
        steps.close()
        if line is not None:
            with anyio.CancelScope(shield=True):  # a cancelled turn must still hang up
                await line.close()
