"""Recording: where fold, store and observers meet. What is staged is written, or undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import TYPE_CHECKING

from .errors import BusyError, FiniteMemoryError
from .events import Appended, MemoryEvent, Observer
from .fold import Fold, Mark
from .messages import Message
from .stores.base import Store, Version

if TYPE_CHECKING:
    from .forgetting import Erased
    from .turn import Turn


class Recorder:
    """Records one session.

    Args:
        fold: what the session has come to.
        store: where it is kept.
        observers: hear of what is written.

    Attributes:
        lock: held by whoever reads or changes the fold.
        turn: the turn under way, None where there is none.
        version: how far the session has come in the store.
        observer_errors: exceptions that observers raised.
        policy_ms: milliseconds that the policy took, all evictions together.
        policy_ms_max: the longest of them.
    """

    def __init__(self, fold: Fold, store: Store, observers: tuple[Observer, ...]) -> None:
        self.fold = fold
        self.store = store
        self.session_id = fold.session_id
        self.lock = RLock()
        self.turn: Turn | None = None
        self.version = Version(0, 0)
        self.observers = observers
        self.observer_errors = 0
        self.policy_ms = self.policy_ms_max = 0.0

    def refuse_during_turn(self, what: str) -> None:
        """Raise a `BusyError` if a turn is under way."""
        if self.turn is not None:
            raise BusyError(
                f"{what} was called on session {self.session_id!r} while a turn is under way on "
                "it; wait for that turn to end, or give each conversation its own memory"
            )

    # -- changes --------------------------------------------------------------------------------

    def push(self, mark: Mark, messages: Iterable[Message]) -> None:
        """Stage messages; if one is refused, everything is as it was at `mark`."""
        fold = self.fold
        try:
            for message in messages:
                fold.push(message)
        except BaseException:
            fold.rewind(mark)
            raise

    def undoing(self, mark: Mark, change: Callable[[], object]) -> None:
        """Make `change`; if it fails, everything is as it was at `mark`."""
        try:
            change()
        except BaseException:
            self.fold.rewind(mark)
            raise

    def record(self, change: Callable[[], object]) -> None:
        """Make `change` and write what came of it, or undo it."""
        mark = self.fold.mark()
        self.undoing(mark, change)
        self.commit(mark)

    def commit(self, mark: Mark, erased: Erased | None = None) -> bool:
        """Write what is staged; on failure make everything as it was at `mark`.

        Returns:
            Whether the bytes of what was `erased` are gone already.
        """
        gone = True
        fold, version = self.fold, self.version
        staged, events = fold.journal.staged, fold.journal.events
        after = Version(version.messages + len(staged), version.events + len(events))
        try:
            if erased is not None:
                gone = self.store.erase(self.session_id, version, *erased, events)
            elif staged or events:
                append = self.store.append
                if fold.journal.watch is not None:
                    append = fold.journal.watch.timed("commit", append)
                append(self.session_id, version, staged, events)
        except FiniteMemoryError:
            fold.rewind(mark)
            raise
        except BaseException:  # an interrupt may fall between the store's commit and its return
            written = False
            try:
                written = self._was_written(after)
            finally:
                if not written:
                    fold.rewind(mark)
            if written:
                self.publish(after)
            raise
        self.publish(after)
        return gone

    def _was_written(self, after: Version) -> bool:
        session = self.store.session(self.session_id)
        return session is not None and session.version == after

    # -- observers ------------------------------------------------------------------------------

    def publish(self, version: Version) -> None:
        """Tell the observers what is written now."""
        journal, start = self.fold.journal, self.version.messages
        staged, notices = journal.staged, journal.notices
        self.version = version
        journal.clear()
        if notices:
            self._time_policies(notices)
        if self.observers:
            if staged:
                tokens = sum(counted.tokens for counted in staged)
                said = tuple(counted.message for counted in staged)
                self.tell(Appended(self.session_id, start, said, tokens))
            for notice in notices:
                self.tell(notice)

    def _time_policies(self, notices: Sequence[MemoryEvent]) -> None:
        for notice in notices:
            eviction = getattr(notice, "eviction", None)
            if eviction is not None:
                self.policy_ms += eviction.ms
                self.policy_ms_max = max(self.policy_ms_max, eviction.ms)

    def tell(self, event: MemoryEvent) -> None:
        """Tell the observers; one that fails is logged and counted, and stops nothing."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                import logging  # slow to import, and hardly ever needed

                self.observer_errors += 1
                logging.getLogger(__name__).exception(
                    "observer %r failed on %s of session %s",
                    observer,
                    type(event).__name__,
                    self.session_id,
                )
