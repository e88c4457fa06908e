"""A turn: what is said in it becomes part of the memory together, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from .backends.base import Prices, Usage
from .context import Context
from .errors import BusyError, ContextOverflowError
from .fold import Fold, Mark
from .messages import Message
from .tracing import Stopwatch

if TYPE_CHECKING:
    from .memory import Memory
    from .reported import Reports


class Turn:
    """A turn under way: staged in memory, written when it ends well, undone when it does not.

    Attributes:
        watch: times its steps; None where the memory has no observers.
    """

    def __init__(self, memory: Memory, mark: Mark) -> None:
        self._memory = memory
        self._recorder = memory._recorder
        self._mark = mark
        self.watch: Stopwatch | None = None
        if self._recorder.observers:
            self.watch = self._recorder.fold.journal.watch = Stopwatch()

    def append(self, *messages: Message) -> None:
        """Stage messages; see `Memory.append`. If it raises, only this call is undone."""
        recorder = self._recorder
        with recorder.lock:
            self._require_open()
            mark = recorder.fold.mark()
            if self.watch is None:
                recorder.push(mark, messages)
            else:
                self.watch.timed("append", recorder.push)(mark, messages)

    def context(self, query: str | None = None) -> Context:
        """Return what the model should see now, what is staged included."""
        self._require_open()
        return self._memory.context(query)

    def reckon(self, prices: Prices, idle: float | None = None) -> None:
        """Fit the memory to what requests cost, before the turn's messages are appended.

        Where the memory was made with ``low_water="auto"`` it is chosen from `prices`. Where no
        cached prefix is alive, what would have to leave soon leaves now: rewriting the prefix
        costs nothing then.

        Args:
            prices: what the provider charges.
            idle: seconds since the last reply; None where that is unknown.
        """
        self._change(lambda fold, reports: reports.reckon(fold, prices, idle))

    def overflow(self, context: Context, error: ContextOverflowError) -> None:
        """Learn from a provider that refused `context` as too long, and evict to low water.

        Raises:
            BudgetError: what must stay does not fit what the model takes.
        """
        self._change(lambda fold, reports: reports.overflow(fold, context, error))

    def report_usage(
        self,
        context: Context,
        usage: int | Usage,
        prices: Prices | None = None,
        idle: float | None = None,
    ) -> None:
        """Account for the turn's reply; see `Memory.report_usage`."""
        self._change(lambda fold, reports: reports.usage(fold, context, usage, prices, idle))

    def fall_back(self, what: str, why: str) -> None:
        """Count, and when the turn is written tell observers, that `what` was done otherwise."""
        self._change(lambda fold, _: fold.journal.fall_back(what, why))

    def _change(self, change: Callable[[Fold, Reports], object]) -> None:
        """Make a change to the memory. If it raises, only this change is undone."""
        recorder, reports = self._recorder, self._memory._reports
        with recorder.lock:
            self._require_open()
            recorder.undoing(recorder.fold.mark(), lambda: change(recorder.fold, reports))

    def commit(self) -> None:
        """Write everything that is staged, in one transaction. If it raises, nothing is kept."""
        recorder = self._recorder
        with recorder.lock:
            self._require_open()
            recorder.turn = None
            try:
                recorder.commit(self._mark)
            finally:  # an observer may have begun another turn, which has its own
                if recorder.turn is None:
                    recorder.fold.journal.watch = None

    def rollback(self) -> None:
        """Undo everything that is staged. Harmless on a turn that has ended."""
        recorder = self._recorder
        with recorder.lock:
            if recorder.turn is self:
                recorder.turn = recorder.fold.journal.watch = None
                recorder.fold.rewind(self._mark)

    def _require_open(self) -> None:
        if self._recorder.turn is not self:
            raise BusyError("this turn has ended already; begin a new one with memory.turn()")

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.rollback()
        elif self._recorder.turn is self:
            self.commit()
