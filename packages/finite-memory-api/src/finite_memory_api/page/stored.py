"""A conversation in a store that others write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finite_memory_core import FiniteMemoryError, Memory, StoreError
from finite_memory_core.settings import Settings
from finite_memory_core.stores.base import Store

from .journal import Journal
from .kept import Kept, described
from .reading import ReadOnly
from .replaying import places_of
from .rows import UNKNOWN
from .views import Standing, Vanished

FORGOT = "forgotten"
"""The kind of the event that a memory writes where messages were forgotten."""


class Stored(Kept):
    """A conversation in a store that others write.

    Args:
        store: where it is.
        session_id: its name.
        standing: what stands, as whoever writes it says; None where nobody does, and it is told
            by resuming the session.
    """

    def __init__(
        self, store: Store, session_id: str, standing: Callable[[], Standing | None]
    ) -> None:
        super().__init__(store, session_id)
        self._standing = standing
        self._resumed: tuple[Any, Memory] | None = None
        self._problem = ""
        self._forgotten = -1

    def _read(self) -> None:
        told = self._store.last_event(self.id, FORGOT)
        forgotten = -1 if told is None else told[0]
        if forgotten != self._forgotten:  # by another process, and the places stay what they were
            self._forgotten = forgotten
            self.begin_anew()
        super()._read()

    def _memory(self) -> Memory:
        session = self._store.session(self.id)
        if session is None:
            raise Vanished(f"session {self.id!r} is gone from the store")
        with self._lock:
            if self._resumed is None or self._resumed[0] != session.version:
                memory = Memory.resume(ReadOnly(self._store), self.id)
                self._resumed = session.version, memory
            return self._resumed[1]

    def _settings(self) -> Settings:
        from finite_memory_core import resuming

        try:
            return resuming.find(self._store, self.id)[1]
        except StoreError as error:
            raise Vanished(str(error)) from error

    def _located(self) -> str:
        count = len(self._rows)
        standing = self._standing()
        if standing is not None:
            return self._with_gone(standing.letters(self._rows.roles))
        try:
            memory = self._memory()
        except Vanished:
            raise
        except FiniteMemoryError as error:
            self._problem = f"where messages are cannot be told: {error}"
            return self._with_gone(UNKNOWN * count)
        self._problem = ""
        return self._with_gone(_resumed_places(memory, count))

    def _described(self) -> dict[str, Any]:
        told = {**described(self._settings()), "seen": self._rows.sums[-1], "summary": "",
                "ledger": [], "notes": [self._problem] if self._problem else []}  # fmt: skip
        if self._resumed is not None and self._standing() is None:
            memory = self._resumed[1]
            told |= {"held": memory.stats.tokens_held, "summary": memory.summary,
                     "ledger": list(memory.ledger)}  # fmt: skip
        return told


def _resumed_places(memory: Memory, count: int) -> str:
    journal = Journal()
    if memory.summary:
        journal.folded.update(range(count))
    return places_of(memory.blocks, count, journal)
