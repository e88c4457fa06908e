"""A store in one SQLite file: what was acknowledged survives a crash and a loss of power.

The file is in write-ahead-log mode and every transaction is synced before it is acknowledged. A
row is found by its `place`, ``(session key << 32) + index``, which is SQLite's own row id: a
session lies together in the file, without an index. Each row carries a CRC-32 of its fields.

This module knows nothing of what settings and events mean.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConflictError
from .base import Counted, Event, Session, Version, check_session_id, conflict
from .database import HEADS, DatabaseStore, Head
from .sqlite_file import SQLiteFile, readable

if TYPE_CHECKING:
    from ..recall.index import GrowingIndex
    from ..recall.vectors import Vectors

_SHIFT = 32  # bits of a place that hold the index
_PAGE_BYTES = 1 << 18  # how much text is read at once
_IN_RANGE = "WHERE place >= ? AND place < ? ORDER BY place"

_LAST_EVENT = (
    "SELECT place, kind, at, body, checksum FROM event"
    " WHERE kind = ? AND place >= ? AND place < ? ORDER BY place DESC LIMIT 1"
)

_SCOPED = (
    "SELECT key, id, settings, messages, events, checksum FROM session"
    " WHERE key IN (SELECT session FROM scope WHERE name = ? ORDER BY session DESC LIMIT ?)"
    " ORDER BY key DESC"
)
_PICKED_AT_ONCE = 32
_PICK = (
    "SELECT place, tokens, body, checksum FROM message"
    f" WHERE place IN ({'?,' * (_PICKED_AT_ONCE - 1)}?)"
)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Log(NamedTuple):
    """One of a session's two logs: what its rows are called, and how a range of them is read."""

    name: str
    select: str


_MESSAGES = _Log("message", f"SELECT place, tokens, body, checksum FROM message {_IN_RANGE}")
_EVENTS = _Log("event", f"SELECT place, kind, at, body, checksum FROM event {_IN_RANGE}")


class SQLiteStore(DatabaseStore):
    """Keeps sessions in an SQLite file; any number of threads and processes may use the file.

    An object serves all threads of the process that made it; a forked child opens its own.

    Args:
        path: the file, made if there is none; ``":memory:"`` for a store without a file.
        timeout: seconds to wait for another writer before giving up, >= 0.

    Raises:
        StoreError: the file cannot be opened, or is another application's database.
        CorruptError: it is no database, or damaged. Of a file up to 32 MiB all that was said is
            checked; of a larger one only header, schema and length. Each row is checked when it
            is read. A damaged index is no error: it is built again.
        VersionError: a newer release wrote it.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 5.0) -> None:
        self._file = SQLiteFile(path, timeout)

    def __repr__(self) -> str:
        return f"SQLiteStore({self._file.path!r})"

    def create(self, session_id: str, settings: str) -> None:
        """See `Store.create`."""
        check_session_id(session_id)
        with self._file.transaction() as db:
            if self._head(session_id) is not None:
                raise ConflictError(f"session {session_id!r} exists already; resume it instead")
            db.execute(
                "INSERT INTO session (id, settings, messages, events, checksum)"
                " VALUES (?, ?, 0, 0, ?)",
                (session_id, settings, _checksum(session_id, settings, 0, 0)),
            )

    @property
    def _where(self) -> str:
        return self._file.path

    def _fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._file.borrowed() as db:
            return db.execute(statement, values).fetchall()

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """See `Store.append`. An interrupt (Ctrl-C) may come when the turn is already written."""
        bodies = [(tokens, _encode(message.to_dict())) for message, tokens in messages]
        grown = Version(version.messages + len(messages), version.events + len(events))
        with self._file.transaction() as db:
            head = self._head(session_id)
            if head is None or head.session.version != version:
                found = head.session.version if head else None
                raise ConflictError(conflict(session_id, version, found))
            db.executemany(
                "INSERT INTO message VALUES (?, ?, ?, ?)", _rows(head, version.messages, bodies)
            )
            db.executemany(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?)", _rows(head, version.events, events)
            )
            db.execute(
                "UPDATE session SET messages = ?, events = ?, checksum = ? WHERE key = ?",
                (*grown, _checksum(session_id, head.session.settings, *grown), head.key),
            )

    def erase(
        self,
        session_id: str,
        version: Version,
        messages: Mapping[int, Counted],
        events: Mapping[int, Event],
        appended: Sequence[Event],
    ) -> bool:
        """See `Store.erase`. What stood there is overwritten, in the file and in its log.

        Where a reader kept the log from being emptied, the next erasure that meets none does it,
        or the last one to close the file.
        """
        from . import packed_index, sqlite_vectors

        bodies = {i: (tokens, _encode(m.to_dict())) for i, (m, tokens) in messages.items()}
        grown = Version(version.messages, version.events + len(appended))
        with self._file.transaction() as db:
            head = self._head(session_id)
            if head is None or head.session.version != version:
                found = head.session.version if head else None
                raise ConflictError(conflict(session_id, version, found))
            self._replace(db, head, _MESSAGES, "tokens = ?, body = ?", bodies)
            self._replace(db, head, _EVENTS, "kind = ?, at = ?, body = ?", events)
            db.executemany(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?)", _rows(head, version.events, appended)
            )
            db.execute(
                "UPDATE session SET events = ?, checksum = ? WHERE key = ?",
                (grown.events, _checksum(session_id, head.session.settings, *grown), head.key),
            )
            packed_index.drop(db, head.key)
            sqlite_vectors.forget(db, head.key, messages)
        return self._file.fold_log()

    def _replace(
        self,
        db: Connection,
        head: Head,
        log: _Log,
        columns: str,
        rows: Mapping[int, tuple[Any, ...]],
    ) -> None:
        for index, fields in rows.items():
            changed = db.execute(
                f"UPDATE {log.name} SET {columns}, checksum = ? WHERE place = ?",
                (*fields, _checksum(index, *fields), _place(head, index)),
            )
            if changed.rowcount != 1:
                raise self._missing(head, log.name, index)

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        """See `Store.messages`. Between two messages nothing is locked and no reader is open."""
        head = self._head(session_id)
        if head is None:
            return
        end = head.session.version.messages
        for index, (tokens, body) in self._read(
            head, _MESSAGES, start, end if stop is None else min(stop, end)
        ):
            yield self._counted(session_id, index, tokens, body)

    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """See `Store.events`."""
        head = self._head(session_id)
        if head is not None:
            for _, fields in self._read(head, _EVENTS, start, head.session.version.events):
                yield _event(*fields)

    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """See `Store.last_event`."""
        with self._file.borrowed() as db:
            head = self._head(session_id)
            if head is None:
                return None
            places = _place(head, 0), _place(head, head.session.version.events)
            row = db.execute(_LAST_EVENT, (kind, *places)).fetchone()
        if row is None:
            return None
        index = row[0] - _place(head, 0)
        return index, _event(*self._checked(head, _EVENTS, index, row))

    def pick(self, session_id: str, indices: Sequence[int]) -> dict[int, Counted]:
        """See `Store.pick`."""
        head = self._head(session_id)
        if head is None:
            return {}
        end = head.session.version.messages
        wanted = sorted({_place(head, index) for index in indices if 0 <= index < end})
        found: dict[int, Counted] = {}
        with self._file.borrowed() as db:
            for start in range(0, len(wanted), _PICKED_AT_ONCE):
                some = wanted[start : start + _PICKED_AT_ONCE]
                some += some[-1:] * (_PICKED_AT_ONCE - len(some))
                for row in db.execute(_PICK, some).fetchall():
                    index = row[0] - _place(head, 0)
                    found[index] = self._counted(
                        session_id, index, *self._checked(head, _MESSAGES, index, row)
                    )
        return found

    def set_scope(self, session_id: str, scope: str | None) -> None:
        """See `Store.set_scope`."""
        with self._file.borrowed() as db:
            head = self._head(session_id)
            if head is None:
                raise ConflictError(conflict(session_id, Version(0, 0), None))
            row = db.execute("SELECT name FROM scope WHERE session = ?", (head.key,)).fetchone()
        if row == (None if scope is None else (scope.encode(),)):
            return
        with self._file.transaction() as db:
            if scope is None:
                db.execute("DELETE FROM scope WHERE session = ?", (head.key,))
            else:
                db.execute("INSERT OR REPLACE INTO scope VALUES (?, ?)", (head.key, scope))

    def scoped(self, scope: str, limit: int) -> list[Session]:
        """See `Store.scoped`."""
        rows = self._fetch(_SCOPED, scope, limit)
        return [self._checked_head(row).session for row in reversed(rows)]

    def index(self, session_id: str) -> GrowingIndex:
        """See `Store.index`. It is kept in the file, and grows when it is searched."""
        from .packed_index import PackedIndex  # only where something is searched

        return PackedIndex(self._file, session_id)

    def vectors(self, session_id: str) -> Vectors:
        """See `Store.vectors`. They are kept in the file."""
        from .sqlite_vectors import SQLiteVectors  # only where there is an embedder

        return SQLiteVectors(self._file, session_id)

    def delete(self, session_id: str) -> None:
        """See `Store.delete`. What was said is overwritten, in the file and in its log."""
        from . import packed_index, sqlite_vectors

        with self._file.transaction() as db:
            head = self._head(session_id)
            if head is None:
                return
            sqlite_vectors.remove(db, head.key)
            places = _place(head, 0), _place(head, 1 << _SHIFT)
            for table in ("message", "event"):
                db.execute(f"DELETE FROM {table} WHERE place >= ? AND place < ?", places)
            packed_index.remove(db, head.key)
            db.execute("DELETE FROM scope WHERE session = ?", (head.key,))
            db.execute("DELETE FROM session WHERE key = ?", (head.key,))
        self._file.fold_log()

    def close(self) -> None:
        """See `Store.close`. The last one to close a file folds its write-ahead log into it."""
        self._file.close()

    def _head(self, session_id: str) -> Head | None:
        try:
            rows = self._fetch(f"{HEADS} WHERE id = ?", session_id)
        except UnicodeEncodeError:  # no session can have such an id
            return None
        return self._checked_head(rows[0]) if rows else None

    def _checked_head(self, row: tuple[Any, ...]) -> Head:
        key, id_, settings, messages, events, checksum = row
        if checksum != _checksum(id_, settings, messages, events):
            raise self._altered(f"the head of session {readable(id_)!r}")
        version = Version(messages, events)
        return Head(key, Session(id_.decode(), settings.decode(), version))

    def _read(
        self, head: Head, log: _Log, start: int, stop: int
    ) -> Iterator[tuple[int, list[Any]]]:
        """Yield index and checked fields of the rows in [start, stop), a page at a time."""
        while start < stop:
            page = self._page(log, _place(head, start), _place(head, stop))
            for row in page:
                yield start, self._checked(head, log, start, row)
                start += 1
            if not page:
                raise self._missing(head, log.name, start)

    def _page(self, log: _Log, first: int, end: int) -> list[tuple[Any, ...]]:
        page, size = [], 0
        with self._file.borrowed() as db:
            for row in (cursor := db.execute(log.select, (first, end))):
                page.append(row)
                size += getsizeof(row[-2])  # of whatever type: it is not yet checked
                if size > _PAGE_BYTES:
                    break
            cursor.close()
        return page

    def _checked(self, head: Head, log: _Log, index: int, row: tuple[Any, ...]) -> list[Any]:
        place, *fields, checksum = row
        if place != _place(head, index):
            raise self._missing(head, log.name, index)
        if checksum != _checksum(index, *fields):
            raise self._altered(f"{log.name} {index} of session {head.session.id!r}")
        return fields


def _place(head: Head, index: int) -> int:
    """Return the place of the row at `index`."""
    return (head.key << _SHIFT) + index


def _checksum(*fields: object) -> int:
    return crc32(b"\0".join([f if type(f) is bytes else str(f).encode() for f in fields]))


def _rows(head: Head, start: int, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for index, fields in enumerate(rows, start):
        yield _place(head, index), *fields, _checksum(index, *fields)


def _event(kind: bytes, at: int, body: bytes) -> Event:
    return Event(kind.decode(), at, body.decode())
