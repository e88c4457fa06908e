"""A store that is only read, so that whoever looks on changes nothing for whoever writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finite_memory_core import StoreError
from finite_memory_core.stores.base import Counted, Event, Session, Store, Version


class ReadOnly(Store):
    """Reads another store; what a resumed memory notes for itself is dropped.

    It keeps no index: a search builds one of its own, and leaves the store's to who writes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, session_id: str, settings: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise StoreError(f"session {session_id!r} cannot be made: this store is only looked at")

    def session(self, session_id: str) -> Session | None:
        """Return a session's head."""
        return self._store.session(session_id)

    def sessions(self) -> list[Session]:
        """Return all heads."""
        return self._store.sessions()

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """Write nothing."""

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        """Yield messages."""
        return self._store.messages(session_id, start, stop)

    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """Yield events."""
        return self._store.events(session_id, start)

    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """Return the newest event of a kind."""
        return self._store.last_event(session_id, kind)

    def pick(self, session_id: str, indices: Sequence[int]) -> dict[int, Counted]:
        """Return some messages."""
        return self._store.pick(session_id, indices)

    def set_scope(self, session_id: str, scope: str | None) -> None:
        """Write nothing."""

    def delete(self, session_id: str) -> None:
        """Refuse."""
        raise StoreError(f"session {session_id!r} cannot be deleted: this store is only looked at")

    def close(self) -> None:
        """Leave the store open: it belongs to another."""
