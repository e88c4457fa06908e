"""What stores in a database have in common: a session's head, and how damage is told."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, NamedTuple

from ..errors import CorruptError, StoreError
from ..messages import Message
from .base import Counted, Session, Store, Version

HEADS = "SELECT key, id, settings, messages, events, checksum FROM session"
"""Reads what `DatabaseStore._checked_head` takes."""


class Head(NamedTuple):
    """A session's head and the number that stands for the session in the tables."""

    key: int
    session: Session


class DatabaseStore(Store):
    """A store with a table of sessions; what a row looks like is a subclass's."""

    @property
    @abstractmethod
    def _where(self) -> str:
        """Where the database is, as an error names it."""

    @abstractmethod
    def _fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return all rows of a statement that reads."""

    @abstractmethod
    def _head(self, session_id: str) -> Head | None:
        """Return a session's head, None where there is no such session."""

    @abstractmethod
    def _checked_head(self, row: tuple[Any, ...]) -> Head:
        """Return the head that is in a row of `HEADS`, checked."""

    def session(self, session_id: str) -> Session | None:
        """See `Store.session`."""
        head = self._head(session_id)
        return None if head is None else head.session

    def sessions(self) -> list[Session]:
        """See `Store.sessions`."""
        return [self._checked_head(row).session for row in self._fetch(f"{HEADS} ORDER BY key")]

    def _version(self, session_id: str) -> Version | None:
        head = self._head(session_id)
        return None if head is None else head.session.version

    def _counted(self, session_id: str, index: int, tokens: int, body: str | bytes) -> Counted:
        try:
            return Counted(Message.from_dict(json.loads(body)), tokens)
        except ValueError as error:
            raise self._altered(f"message {index} of session {session_id!r}") from error

    def _altered(self, what: str) -> CorruptError:
        return CorruptError(
            f"{what} in {self._where} is not what was written (its checksum differs); restore "
            "a backup"
        )

    def _missing(self, head: Head, log: str, index: int) -> StoreError:
        """Return the error that the row at `index` of a log is not there."""
        name, now = head.session.id, self._head(head.session.id)
        if now is None or now.key != head.key:
            return StoreError(f"session {name!r} was deleted while it was being read")
        return CorruptError(
            f"{log} {index} of session {name!r} is missing from {self._where}; restore a backup"
        )
