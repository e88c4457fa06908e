"""A store in front of another, for those that change a few of its methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .base import Counted, Event, Session, Store, Version

if TYPE_CHECKING:
    from ..recall.index import GrowingIndex
    from ..recall.vectors import Vectors


class WrappedStore(Store):
    """Passes everything on to another store.

    Args:
        store: does the work.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, session_id: str, settings: str) -> None:
        """See `Store.create`."""
        self._store.create(session_id, settings)

    def session(self, session_id: str) -> Session | None:
        """See `Store.session`."""
        return self._store.session(session_id)

    def sessions(self) -> list[Session]:
        """See `Store.sessions`."""
        return self._store.sessions()

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """See `Store.append`."""
        self._store.append(session_id, version, messages, events)

    def erase(
        self,
        session_id: str,
        version: Version,
        messages: Mapping[int, Counted],
        events: Mapping[int, Event],
        appended: Sequence[Event],
    ) -> bool:
        """See `Store.erase`."""
        return self._store.erase(session_id, version, messages, events, appended)

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        """See `Store.messages`."""
        return self._store.messages(session_id, start, stop)

    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """See `Store.events`."""
        return self._store.events(session_id, start)

    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """See `Store.last_event`."""
        return self._store.last_event(session_id, kind)

    def pick(self, session_id: str, indices: Sequence[int]) -> dict[int, Counted]:
        """See `Store.pick`."""
        return self._store.pick(session_id, indices)

    def set_scope(self, session_id: str, scope: str | None) -> None:
        """See `Store.set_scope`."""
        self._store.set_scope(session_id, scope)

    def scoped(self, scope: str, limit: int) -> list[Session]:
        """See `Store.scoped`."""
        return self._store.scoped(scope, limit)

    def index(self, session_id: str) -> GrowingIndex | None:
        """See `Store.index`."""
        return self._store.index(session_id)

    def vectors(self, session_id: str) -> Vectors | None:
        """See `Store.vectors`."""
        return self._store.vectors(session_id)

    def delete(self, session_id: str) -> None:
        """See `Store.delete`."""
        self._store.delete(session_id)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()
