"""Summaries that are made in the background: in a thread, or as a task of an event loop.

A job knows what to fold and whom to ask, and keeps the answer until the memory takes it. It does
not know the memory: who drops a memory waits for no job, and an answer that nobody takes is lost.
All threads and tasks end with the one call that they make.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .blocks import Block
from .counting import TokenCounter
from .summary import Running, Summarizer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task


_LOOKED_AFTER = 0.5
"""So many seconds after the last look, a waiting thread looks whether the job's loop still runs."""


class Request(NamedTuple):
    """What a summary is to be made of.

    Attributes:
        running: the summary as it is, with its ledger.
        read: reads the blocks that are to be folded in.
        max_tokens: the most that the new one may cost.
        count: the counter to measure it with.
    """

    running: Running
    read: Callable[[], Sequence[Block]]
    max_tokens: int
    count: TokenCounter


class Job:
    """One summary under way.

    Attributes:
        request: what it is made of.
        blocks: what was folded in, once it has been read.
        answer: what the summarizer returned; None where it failed.
        error: what it raised; None where it did not.
        loop: the event loop that it is a task of; None for a thread.
    """

    def __init__(self, summarizer: Summarizer, request: Request) -> None:
        self.summarizer = summarizer
        self.request = request
        self.blocks: Sequence[Block] = ()
        self.answer: object = None
        self.error: BaseException | None = None
        self.loop: AbstractEventLoop | None = None
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        if self.loop is not None and self.loop.is_closed() and not self._done.is_set():
            self.fail(RuntimeError("its event loop was closed"))
        return self._done.is_set()

    @property
    def stalled(self) -> bool:
        """Whether it is a task of an event loop that stands still, and may never go on."""
        return not self.done and self.loop is not None and not self.loop.is_running()

    def wait(self) -> None:
        """Return when it has ended, or stalled."""
        while not (self.done or self.stalled):
            self._done.wait(_LOOKED_AFTER)  # nobody tells that a loop was stopped or closed

    async def join(self) -> None:
        """Return when it has ended, or stalled, without blocking the event loop."""
        from asyncio import to_thread

        await to_thread(self.wait)

    def run(self) -> None:
        """Ask the summarizer, here and now; what it raises is kept, interrupts are raised too."""
        with self._ending():
            self.answer = self.summarizer.summarize(*self._arguments())

    async def arun(self) -> None:
        """Do the same without blocking the event loop."""
        from asyncio import get_running_loop, to_thread

        self.loop = get_running_loop()
        asummarize = getattr(self.summarizer, "asummarize", None)
        with self._ending():
            if asummarize is None:
                self.answer = await to_thread(self.summarizer.summarize, *self._arguments())
            else:
                self.answer = await asummarize(*self._arguments())

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._done.set()

    def _arguments(self) -> tuple[str, Sequence[Block], int, TokenCounter]:
        request = self.request
        self.blocks = request.read()
        return request.running.whole, self.blocks, request.max_tokens, request.count

    def fail(self, error: BaseException) -> None:
        """End it before it began."""
        self.error = error
        self._done.set()


def start_in_thread(job: Job) -> None:
    """Run the job in a thread of its own, which does not keep the process alive."""
    try:
        threading.Thread(target=job.run, name="finite-memory-summary", daemon=True).start()
    except RuntimeError as error:  # no thread can be had, or Python is shutting down
        job.fail(error)


_tasks: set[Task[None]] = set()
"""Those under way: an event loop itself holds its tasks weakly."""


def start_on_loop(job: Job) -> None:
    """Run the job as a task of the running event loop; when that closes, the job is cancelled."""
    import asyncio

    job.loop = asyncio.get_running_loop()
    task = job.loop.create_task(job.arun())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
