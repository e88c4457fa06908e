"""Replays under way: processes of their own, one at a time, whose progress is told as events."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from itertools import islice
from typing import Any

from finite_memory_core import FiniteMemoryError, Message

from .feed import framed
from .threads import apart
from .views import View

LARGEST_LINE = 256 << 20
Take = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Replays:
    """Runs one replay at a time; a new one takes the place of the one before."""

    def __init__(self) -> None:
        self._running: Process | None = None
        self._starting = asyncio.Lock()

    async def aclose(self) -> None:
        """End what runs."""
        process, self._running = self._running, None
        if process is not None:
            await _end(process)

    async def events(
        self, view: View, asked: dict[str, Any], take: Take | None = None
    ) -> AsyncIterator[bytes]:
        """Yield how far the replay is, and then what came of it, or what `take` makes of that.

        Nothing comes of one whose place another has taken.
        """
        try:
            async with aclosing(self.run(view, asked)) as run:
                async for told in run:
                    if "done" in told:
                        yield framed("progress", told)
                    elif "error" in told:
                        yield framed("failed", told)
                    else:
                        result = told["result"]
                        yield framed("done", result if take is None else await take(result))
        except FiniteMemoryError as error:
            yield framed("failed", {"error": str(error)})

    async def run(self, view: View, asked: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the process tells: ``done`` as often as it likes, ``result`` or ``error``.

        Raises:
            FiniteMemoryError: the transcript cannot be read.
        """
        async with self._starting:
            await self.aclose()
            process = self._running = await _begun()
        feeding = asyncio.create_task(_feed(process, view, asked))
        try:
            assert process.stdout is not None  # noqa: S101
            told: dict[str, Any] = {}
            async for line in process.stdout:
                if line.endswith(b"\n"):  # or it was ended while it wrote
                    told = json.loads(line)
                    yield told
            await process.wait()
            await feeding
            if told.keys() <= {"done"} and self._running is process:
                yield {"error": f"the replay ended with status {process.returncode}, and no result"}
        finally:
            feeding.cancel()
            await _end(process)


async def _begun() -> Process:
    """Return the process, which takes no module from the folder it is begun in."""
    program = (sys.executable, "-P", "-m", f"{__package__}.replaying")
    return await asyncio.create_subprocess_exec(
        *program, stdin=PIPE, stdout=PIPE, limit=LARGEST_LINE
    )


async def _end(process: Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()


async def _feed(process: Process, view: View, asked: dict[str, Any]) -> None:
    """Write the transcript to the process, as fast as it reads."""
    stdin = process.stdin
    assert stdin is not None  # noqa: S101
    try:
        stdin.write(json.dumps(asked).encode() + b"\n")
        said = view.said()
        while batch := await apart(_lines, said):
            stdin.write(batch)
            await stdin.drain()
        stdin.close()
    except ConnectionError:
        pass  # it has ended, and said why
    except BaseException:
        _kill(process)  # or it would wait for the rest
        raise


def _lines(said: Iterator[Message]) -> bytes:
    lines = (json.dumps(message.to_dict()) + "\n" for message in islice(said, 100))
    return "".join(lines).encode()
