"""Server-sent events: numbered, kept for a while, and told again to who has missed some."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any

MOST_KEPT, MOST_BYTES = 256, 8 << 20
"""So many events are kept for who was away, and the bytes of them all together."""
BEAT_SECONDS = 15.0
"""So often a comment is sent where nothing happens, which shows whether the other side is there."""


def framed(kind: str, data: Any, identity: str = "") -> bytes:
    """Return one event as it goes over the wire."""
    head = f"id: {identity}\n" if identity else ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))  # has no line ends
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()


class Feed:
    """The events of one conversation. Of one event loop, like all that is asynchronous here."""

    def __init__(self) -> None:
        self._epoch = token_hex(4)  # another process's numbers are not ours
        self._count = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._more = asyncio.Event()
        self._closed = False
        self.followers = 0

    @property
    def last(self) -> str:
        """The newest event's name."""
        return f"{self._epoch}-{self._count}"

    def publish(self, kind: str, data: Any) -> None:
        """Tell everyone."""
        self._count += 1
        event = framed(kind, data, self.last)
        self._kept.append((self._count, event))
        self._size += len(event)
        while len(self._kept) > MOST_KEPT or (self._size > MOST_BYTES and len(self._kept) > 1):
            self._size -= len(self._kept.popleft()[1])
        self._wake()

    def reset(self) -> None:
        """Tell everyone to begin anew, and keep nothing from before: it may have been forgotten."""
        self._kept.clear()
        self._size = 0
        self.publish("reset", {})

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def _since(self, name: str) -> int | None:
        """Return the number of an event; None where what followed it is not known any more."""
        epoch, _, number = name.rpartition("-")
        if epoch != self._epoch or not number.isdigit() or int(number) > self._count:
            return None
        return int(number) if int(number) >= self._oldest - 1 else None

    @property
    def _oldest(self) -> int:
        """The number of the oldest event that is kept."""
        return self._kept[0][0] if self._kept else self._count + 1

    async def follow(self, last: str) -> AsyncIterator[bytes]:
        """Yield what happens after the event `last`, for ever.

        Where that is not known any more an event says so, and the page begins anew: at first, and
        later too for who reads more slowly than things happen.
        """
        since = self._since(last)
        seen = self._count if since is None else since
        self.followers += 1
        try:
            yield framed("hello", {}) if since is not None else framed("reset", {}, self.last)
            while True:
                more = self._more
                if seen < self._oldest - 1:
                    seen = self._count
                    yield framed("reset", {}, self.last)
                elif seen < self._count:
                    seen += 1
                    yield self._kept[seen - self._oldest][1]
                if seen < self._count or more is not self._more:
                    continue
                if self._closed:
                    return
                try:
                    await asyncio.wait_for(more.wait(), BEAT_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.followers -= 1
