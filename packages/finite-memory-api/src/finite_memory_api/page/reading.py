"""A store that is only read, so that whoever looks on changes nothing for whoever writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finite_memory_core import StoreError
from finite_memory_core.stores.base import Counted, Event, Session, Version
from finite_memory_core.stores.wrapping import WrappedStore


class ReadOnly(WrappedStore):
    """Reads another store; what a resumed memory notes for itself is dropped.

    It has no index, no vectors and no scopes: a search builds an index of its own, over this
    session alone, and leaves the store's to who writes.
    """

    def create(self, session_id: str, settings: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise self._refused(session_id)

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """Write nothing."""

    def erase(
        self,
        session_id: str,
        version: Version,  # noqa: ARG002
        messages: Mapping[int, Counted],  # noqa: ARG002
        events: Mapping[int, Event],  # noqa: ARG002
        appended: Sequence[Event],  # noqa: ARG002
    ) -> bool:
        """Refuse."""
        raise self._refused(session_id)

    def set_scope(self, session_id: str, scope: str | None) -> None:
        """Write nothing."""

    def scoped(self, scope: str, limit: int) -> list[Session]:  # noqa: ARG002
        """Return none."""
        return []

    def index(self, session_id: str) -> None:
        """Return none."""

    def vectors(self, session_id: str) -> None:
        """Return none."""

    def delete(self, session_id: str) -> None:
        """Refuse."""
        raise self._refused(session_id)

    def close(self) -> None:
        """Leave the store open: it belongs to another."""

    def _refused(self, session_id: str) -> StoreError:
        return StoreError(f"session {session_id!r} cannot be changed: this store is only looked at")
