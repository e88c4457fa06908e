"""Replays under way: processes of their own, one at a time, whose progress is told as events."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from finite_memory_core import FiniteMemoryError, Message

from .feed import framed
from .views import View

LARGEST_LINE = 256 << 20
Take = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Replays:
    """Runs one replay at a time; a new one takes the place of the one before."""

    def __init__(self) -> None:
        self._running: Process | None = None

    async def aclose(self) -> None:
        """End what runs."""
        process, self._running = self._running, None
        if process is not None:
            await _end(process)

    async def events(
        self, view: View, asked: dict[str, Any], take: Take | None = None
    ) -> AsyncIterator[bytes]:
        """Yield how far the replay is, and then what came of it, or what `take` makes of that."""
        try:
            async for told in self.run(view, asked):
                if "done" in told:
                    yield framed("progress", told)
                elif "error" in told:
                    yield framed("failed", told)
                else:
                    result = told["result"]
                    yield framed("done", result if take is None else await take(result))
        except FiniteMemoryError as error:
            yield framed("failed", {"error": str(error)})

    async def run(self, view: View, asked: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield what the process tells: ``done`` as often as it likes, ``result`` or ``error``."""
        await self.aclose()
        module = f"{__package__}.replaying"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, limit=LARGEST_LINE
        )
        self._running = process
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        feeding = asyncio.create_task(_feed(process, view, asked))
        try:
            async for line in process.stdout:
                yield json.loads(line)
        finally:
            feeding.cancel()
            await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def _feed(process: Process, view: View, asked: dict[str, Any]) -> None:
    """Write the transcript to the process, as fast as it reads."""
    stdin = process.stdin
    assert stdin is not None  # noqa: S101
    with suppress(ConnectionError):
        stdin.write(json.dumps(asked).encode() + b"\n")
        said = view.said()
        while batch := await asyncio.to_thread(_lines, said):
            stdin.write(batch)
            await stdin.drain()
        stdin.close()


def _lines(said: Iterator[Message]) -> bytes:
    lines = (json.dumps(message.to_dict()) + "\n" for message in islice(said, 100))
    return "".join(lines).encode()
