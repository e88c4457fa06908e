"""The journal: what happened since the last commit, for the store, for observers, in numbers."""

from __future__ import annotations

from .events import FellBack, MemoryEvent
from .stats import Totals
from .stores.base import Counted, Event
from .tracing import Stopwatch


class Journal:
    """What a fold and its summary write down.

    Attributes:
        session_id: the session that events are of.
        totals: see `Totals`; never begun anew.
        staged: messages since the last commit.
        events: what a resume must know, since the last commit.
        notices: what observers will hear, since the last commit.
        watch: times the steps of the turn that is under way; None where nobody listens.
    """

    __slots__ = ("events", "notices", "session_id", "staged", "totals", "watch")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.totals = Totals()
        self.watch: Stopwatch | None = None
        self.staged: list[Counted] = []
        self.events: list[Event] = []
        self.notices: list[MemoryEvent] = []

    def clear(self) -> None:
        """Begin anew: it is all written, or known to whoever asked for it."""
        self.staged, self.events, self.notices = [], [], []

    def count(self, **more: int) -> None:
        """Add to the totals."""
        self.totals = self.totals.plus(fallback=None, **more)

    def tell(self, notice: MemoryEvent) -> None:
        """Tell the observers, once it is written."""
        self.notices.append(notice)

    def fall_back(self, what: str, why: str) -> None:
        """Count, and tell observers, that something stood in for `what`, and `why`."""
        self.totals = self.totals.plus(fallback=what)
        self.notices.append(FellBack(self.session_id, what, why))
