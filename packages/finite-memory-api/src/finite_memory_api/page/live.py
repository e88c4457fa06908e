"""The conversation of a chat in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finite_memory_core import Memory
from finite_memory_core.events import (
    Appended,
    Evicted,
    Forgotten,
    MemoryEvent,
    Summarized,
    TurnEnded,
    TurnFailed,
)
from finite_memory_core.settings import Settings

from .kept import Kept, described
from .replaying import places_of

_WRITTEN = (Appended, Evicted, Forgotten, Summarized, TurnEnded, TurnFailed)
"""Events that are told when all is written; others fall into a turn, which may yet be undone."""


class Live(Kept):
    """The conversation of a chat in this process. It is an observer of the chat's memory.

    Args:
        memory: the chat's.
        changed: called when there is something to tell; from whatever thread.
    """

    can = ("texts", "search", "preview", "change")

    def __init__(self, memory: Memory, changed: Callable[[], object]) -> None:
        super().__init__(memory.store, memory.session_id)
        self.memory = memory
        self._changed = changed
        self._captured: dict[str, Any] = {}
        self._forgot = False
        if memory.summary:  # what left before is told by it
            stands = {i for block in memory.blocks for i in range(block.index, block.end)}
            self.journal.folded.update(set(range(memory.stats.messages)) - stands)
        self.capture()

    def hear(self, event: MemoryEvent) -> None:
        """Take note of an event; of what stands now only a list is copied."""
        self.journal(event)
        if isinstance(event, Forgotten):
            self._forgot = True
        if isinstance(event, _WRITTEN):
            self.capture()

    def capture(self) -> None:
        """Look at what stands now, which no event tells where something was pinned."""
        memory = self.memory
        self._captured = {
            "blocks": memory.blocks,
            "stats": memory.stats,
            "summary": memory.summary,
            "ledger": memory.ledger,
        }
        self._changed()

    @property
    def quick(self) -> bool:
        """Whether to look for changes takes no longer than to ask a thread to."""
        return bool(self._places) and not self.anew and not self._forgot

    def _read(self) -> None:
        if self._forgot:
            self._forgot = False  # before it is read: what is forgotten meanwhile is read again
            self.begin_anew()
        super()._read()

    def _located(self) -> str:
        with self.journal.lock:
            places = places_of(self._captured["blocks"], len(self._rows), self.journal)
        return self._with_gone(places)

    def _described(self) -> dict[str, Any]:
        captured, stats = self._captured, self._captured["stats"]
        with self.journal.lock:
            notes = list(self.journal.notes)
        return {
            **described(self.memory.settings),
            "held": stats.tokens_held,
            "seen": stats.tokens_seen,
            "evictions": stats.evictions,
            "summary": captured["summary"],
            "ledger": list(captured["ledger"]),
            "spent": stats.spent.to_dict(),
            "notes": notes,
        }

    def _memory(self) -> Memory:
        return self.memory

    def _settings(self) -> Settings:
        return self.memory.settings

    def pin(self, index: int, *, pinned: bool) -> None:
        """Keep a message in the context for good, or no longer."""
        self.memory.pin(index) if pinned else self.memory.unpin(index)
        self.capture()

    def forget(self, index: int) -> int:
        """Truly remove a message; return how many went."""
        return len(self.memory.forget(index))
