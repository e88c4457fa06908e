"""Summary jobs: when a summarizer that works in the background is asked, and when it is heard.

A job never touches the memory. Its answer is taken up by the caller's thread, between turns, and
written as an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .background import Job, start_in_thread, start_on_loop
from .blocks import Block
from .errors import BusyError
from .recording import Recorder
from .summary import Waiting


class _Asked(NamedTuple):
    """A summary that was asked for: who makes it, and whether it has yet to begin."""

    job: Job | None
    is_new: bool


class SummaryJobs:
    """The jobs of one memory, one at a time.

    Attributes:
        job: the job under way, or whose answer was not taken yet; None where there is none.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.job: Job | None = None
        self._tried: Waiting | None = None

    def drop(self) -> None:
        """Let go of a job under way: nobody will take its answer."""
        self.job = self._tried = None

    def now(self) -> bool:
        """See `Memory.summarize`."""
        before = self._before()
        tried: Waiting | None = None
        while (asked := self._asked(tried)).job is not None:
            job = asked.job
            if asked.is_new:
                job.run()
                break
            if job.loop is not None and not job.done:
                raise self._on_a_loop()
            job.wait()
            tried = job.request.running.waiting[-1]
        return self._finish(before)

    async def anow(self) -> bool:
        """See `Memory.asummarize`."""
        before = self._before()
        tried: Waiting | None = None
        while (asked := self._asked(tried)).job is not None:
            job = asked.job
            if asked.is_new:
                await job.arun()
                break
            await job.join()
            if job.stalled:
                raise self._on_a_loop()
            tried = job.request.running.waiting[-1]
        return self._finish(before)

    def _on_a_loop(self) -> BusyError:
        return BusyError(
            f"a summary of session {self._recorder.session_id!r} is being made on an event loop; "
            "await memory.asummarize() there"
        )

    def later(self, on_loop: bool) -> bool:
        """See `Memory.summarize_later`."""
        with self._recorder.lock:
            waiting = self._recorder.fold.state.running.waiting
            busy = self._recorder.turn is not None or self.job is not None
            if busy or not waiting or waiting[-1] == self._tried:
                return False
            job = self._new_job()
            if job is None:
                return False
            start_on_loop(job) if on_loop else start_in_thread(job)
            return True

    def collect(self) -> None:
        """Take in what came of the job, if it has ended; on failure it stays to be taken."""
        if self.job is not None and self.job.done:
            self._take(self.job)

    def _take(self, job: Job) -> None:
        self._recorder.record(lambda: self._offer(job))
        self.job = None

    def _offer(self, job: Job) -> None:
        fold = self._recorder.fold
        vetted = fold.summaries.vet(fold.state.running, job, fold.summary_room())
        fold.offer(vetted, len(job.request.running.waiting))

    def _new_job(self) -> Job | None:
        fold = self._recorder.fold
        running, summarizer = fold.state.running, fold.summaries.summarizer
        if summarizer is None or running.offer is not None:
            return None
        request = fold.summaries.request(running, self._reader(), fold.summary_room())
        if request is None:
            return None
        self.job, self._tried = Job(summarizer, request), running.waiting[-1]
        return self.job

    def _reader(self) -> Callable[[Waiting], Block]:
        """Return what reads a block that left; it holds the store alone, not the memory."""
        store, session_id = self._recorder.store, self._recorder.session_id

        def read(waiting: Waiting) -> Block:
            found = store.messages(session_id, waiting.start, waiting.end)
            return Block(waiting.start, tuple(c.message for c in found), waiting.tokens)

        return read

    def _before(self) -> str:
        """Return the summary that stands before a new one is asked for."""
        recorder = self._recorder
        with recorder.lock:
            recorder.refuse_during_turn("summarize")
            return recorder.fold.state.running.text

    def _asked(self, tried: Waiting | None) -> _Asked:
        """Return the job under way, or else one for what waits, on top of what is there.

        Args:
            tried: the last that the job was asked for that was waited for. Where more has left
                since it began, it may have come too late, and there is more to fold in.
        """
        recorder = self._recorder
        with recorder.lock:
            recorder.refuse_during_turn("summarize")
            if self.job is not None and self.job.done:
                tried = self._tried
            self.collect()
            if self.job is not None:
                return _Asked(self.job, is_new=False)
            recorder.record(recorder.fold.swap)
            waiting = recorder.fold.state.running.waiting
            done = not waiting or waiting[-1] == tried
            return _Asked(None if done else self._new_job(), is_new=True)

    def _finish(self, before: str) -> bool:
        recorder = self._recorder
        with recorder.lock:
            recorder.refuse_during_turn("summarize")
            self.collect()
            recorder.record(recorder.fold.swap)
            return recorder.fold.state.running.text != before
