"""A store in one SQLite file: what was acknowledged survives a crash and a loss of power.

The file is in write-ahead-log mode and every transaction is synced before it is acknowledged. A row
is found by its `place`, ``session key << 32 | index``, which is SQLite's own row id: a session lies
together in the file, without an index. Each row carries a CRC-32 of its fields.

This module knows nothing of what settings and events mean.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from binascii import crc32
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple

from ..errors import ConfigError, ConflictError, CorruptError, StoreError, VersionError
from ..messages import Message
from .base import Counted, Event, Session, Store, Version, check_session_id, conflict

_APPLICATION_ID = 0x464D454D  # "FMEM", in the file's header

# _STEPS[n] takes a file from schema version n to n + 1. Add steps; never change one.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE session (key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
        " settings TEXT NOT NULL, messages INTEGER NOT NULL, events INTEGER NOT NULL,"
        " checksum INTEGER NOT NULL)",
        "CREATE TABLE message (place INTEGER PRIMARY KEY, tokens INTEGER NOT NULL,"
        " body TEXT NOT NULL, checksum INTEGER NOT NULL)",
        "CREATE TABLE event (place INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL,"
        " body TEXT NOT NULL, checksum INTEGER NOT NULL)",
        # An index of SQLite ends in the row id, so this one finds the newest event of a kind.
        "CREATE INDEX event_by_kind ON event (kind)",
    ),
)

_SHIFT = 32  # bits of a place that hold the index
_CHECKED_BYTES = 64 << 20  # on opening, files up to this size are checked whole
_PAGE_BYTES = 1 << 18  # how much text is read at once
_IN_RANGE = "WHERE place >= ? AND place < ? ORDER BY place"

_HEADS = "SELECT key, id, settings, messages, events, checksum FROM session"
_LAST_EVENT = (
    "SELECT place, kind, at, body, checksum FROM event"
    " WHERE kind = ? AND place >= ? AND place < ? ORDER BY place DESC LIMIT 1"
)

# What a user can do about each of SQLite's result codes.
_ADVICE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreError,
        "is locked by another connection for longer than the timeout; end the program that holds "
        "it (lsof or fuser shows which), or open the store with a longer timeout",
    ),
    sqlite3.SQLITE_READONLY: (
        StoreError,
        "is read-only; make the file and its directory writable, or use another file",
    ),
    sqlite3.SQLITE_FULL: (
        StoreError,
        "cannot grow, the disk is full; make room and try again. Nothing of this turn was written",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreError,
        "cannot be read or written; check the disk, its quota and the limit on file sizes",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreError,
        "cannot be opened; check that its directory exists and that you may write to both",
    ),
    sqlite3.SQLITE_NOTADB: (
        CorruptError,
        "is no SQLite database; it was not touched. Name another file, or restore a backup",
    ),
    sqlite3.SQLITE_CORRUPT: (
        CorruptError,
        "is damaged; restore a backup, or save what can be read with sqlite3's .recover",
    ),
}

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Log(NamedTuple):
    """One of a session's two logs: what its rows are called, and how a range of them is read."""

    name: str
    select: str


_MESSAGES = _Log("message", f"SELECT place, tokens, body, checksum FROM message {_IN_RANGE}")
_EVENTS = _Log("event", f"SELECT place, kind, at, body, checksum FROM event {_IN_RANGE}")


class _Head(NamedTuple):
    """A session's head and the number that stands for the session in places."""

    key: int
    session: Session

    def place(self, index: int) -> int:
        """Return the place of the row at `index`."""
        return self.key << _SHIFT | index


class SQLiteStore(Store):
    """Keeps sessions in an SQLite file; any number of threads and processes may use the file.

    An object serves all threads of the process that made it; a forked child opens its own.

    Args:
        path: the file, made if there is none; ``":memory:"`` for a store without a file.
        timeout: seconds to wait for another writer before giving up, >= 0.

    Raises:
        StoreError: the file cannot be opened, or is another application's database.
        CorruptError: it is no database, or damaged. A file up to 64 MiB is checked whole; of a
            larger one only header, schema and length, and each row when it is read.
        VersionError: a newer release wrote it.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 5.0) -> None:
        if not timeout >= 0:
            raise ConfigError(f"timeout must be >= 0 seconds, got {timeout!r}")
        self._path = _location(path)
        self._timeout = timeout
        self._lock = RLock()
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        try:
            with self._translated():
                self._db = sqlite3.connect(
                    self._path, timeout, isolation_level=None, check_same_thread=False
                )
                self._prepare(self._db)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"SQLiteStore({self._path!r})"

    def create(self, session_id: str, settings: str) -> None:
        """See `Store.create`."""
        check_session_id(session_id)
        with self._transaction() as db:
            if self._head(session_id) is not None:
                raise ConflictError(f"session {session_id!r} exists already; resume it instead")
            db.execute(
                "INSERT INTO session (id, settings, messages, events, checksum)"
                " VALUES (?, ?, 0, 0, ?)",
                (session_id, settings, _checksum(session_id, settings, 0, 0)),
            )

    def session(self, session_id: str) -> Session | None:
        """See `Store.session`."""
        head = self._head(session_id)
        return None if head is None else head.session

    def sessions(self) -> list[Session]:
        """See `Store.sessions`."""
        with self._borrowed() as db:
            rows = db.execute(f"{_HEADS} ORDER BY key").fetchall()
        return [self._checked_head(row).session for row in rows]

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
        with self._transaction() as db:
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
            try:
                message = Message.from_dict(json.loads(body))
            except ValueError as error:
                raise self._damaged(session_id, _MESSAGES, index) from error
            yield Counted(message, tokens)

    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """See `Store.events`."""
        head = self._head(session_id)
        if head is not None:
            for _, fields in self._read(head, _EVENTS, start, head.session.version.events):
                yield _event(*fields)

    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """See `Store.last_event`."""
        with self._borrowed() as db:
            head = self._head(session_id)
            if head is None:
                return None
            places = head.place(0), head.place(head.session.version.events)
            row = db.execute(_LAST_EVENT, (kind, *places)).fetchone()
        if row is None:
            return None
        index = row[0] - head.place(0)
        return index, _event(*self._checked(head, _EVENTS, index, row))

    def delete(self, session_id: str) -> None:
        """See `Store.delete`. What was said is overwritten, in the file and in its log."""
        with self._transaction() as db:
            head = self._head(session_id)
            if head is None:
                return
            places = head.place(0), head.place(1 << _SHIFT)
            for table in ("message", "event"):
                db.execute(f"DELETE FROM {table} WHERE place >= ? AND place < ?", places)
            db.execute("DELETE FROM session WHERE key = ?", (head.key,))
        with self._borrowed() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """See `Store.close`. The last one to close a file folds the write-ahead log into it."""
        with self._lock, self._translated():
            db, self._db = self._db, None
            if db is not None:
                db.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            kind, advice = _ADVICE.get(code, (StoreError, "cannot be used"))
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise kind(f"{self._path} {advice} ({name}: {error})") from error

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread at a time."""
        if os.getpid() != self._pid:
            raise StoreError(
                f"the store {self._path} was opened by process {self._pid}, and SQLite cannot "
                f"cross a fork; open it again in process {os.getpid()}"
            )
        with self._lock, self._translated():
            if self._db is None:
                raise StoreError(f"the store {self._path} is closed; open it again")
            yield self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing. Other writers wait for their turn."""
        with self._borrowed() as db:
            if self._file is not None and self._file != _identity(self._path):
                raise StoreError(
                    f"{self._path} was removed or replaced since it was opened; open it again. "
                    "Nothing was written"
                )
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Check that the file is ours and whole, and bring it to our schema."""
        db.text_factory = bytes  # text that is no UTF-8 must reach the checksum
        for setting in ("synchronous = FULL", "fullfsync = ON", "secure_delete = ON"):
            db.execute(f"PRAGMA {setting}")
        version = self._schema_version(db)
        if _pragma(db, "page_count") * _pragma(db, "page_size") <= _CHECKED_BYTES:
            self._check_whole(db)
        if version < len(_STEPS):
            self._migrate(db)
        if self._path != ":memory:":
            self._log_ahead(db)
            self._file = _identity(self._path)

    def _schema_version(self, db: sqlite3.Connection) -> int:
        """Return the file's schema version, 0 for a new file. Only reads."""
        version: int = _pragma(db, "user_version")
        owner = _pragma(db, "application_id")
        new = owner == version == 0 and not _pragma(db, "schema_version")
        if owner != _APPLICATION_ID and not new:
            raise StoreError(
                f"{self._path} is another application's database (application id {owner:#x}); it "
                "was not touched. Name another file"
            )
        if version > len(_STEPS):
            raise VersionError(
                f"{self._path} has schema version {version}, written by a newer release; this one "
                f"reads up to {len(_STEPS)}. Upgrade finite-memory-core; nothing was changed"
            )
        return version

    def _check_whole(self, db: sqlite3.Connection) -> None:
        found = [row[0].decode() for row in db.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            _, advice = _ADVICE[sqlite3.SQLITE_CORRUPT]
            raise CorruptError(f"{self._path} {advice} (quick_check: {found[0]})")

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Take the steps that the file lacks, all or none."""
        with self._transaction():
            for step in _STEPS[self._schema_version(db) :]:  # another process may have been here
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(_STEPS)}")

    def _log_ahead(self, db: sqlite3.Connection) -> None:
        """Switch a new file to the write-ahead log, which its header then remembers."""
        deadline = time.monotonic() + self._timeout
        while _pragma(db, "journal_mode") != b"wal":
            try:
                mode = _pragma(db, "journal_mode = WAL")
            except sqlite3.OperationalError:  # SQLite does not wait for a lock here
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.001)
                continue
            if mode != b"wal":
                raise StoreError(
                    f"the file system of {self._path} cannot share a write-ahead log (a network "
                    "drive?); put the store on a local disk"
                )

    def _head(self, session_id: str) -> _Head | None:
        with self._borrowed() as db:
            row = db.execute(f"{_HEADS} WHERE id = ?", (session_id,)).fetchone()
        return None if row is None else self._checked_head(row)

    def _checked_head(self, row: tuple[Any, ...]) -> _Head:
        key, id_, settings, messages, events, checksum = row
        if checksum != _checksum(id_, settings, messages, events):
            raise CorruptError(
                f"the head of session {id_!r} in {self._path} is not what was written (its "
                "checksum differs); restore a backup"
            )
        version = Version(messages, events)
        return _Head(key, Session(id_.decode(), settings.decode(), version))

    def _read(
        self, head: _Head, log: _Log, start: int, stop: int
    ) -> Iterator[tuple[int, list[Any]]]:
        """Yield index and checked fields of the rows in [start, stop), a page at a time."""
        while start < stop:
            page = self._page(log, head.place(start), head.place(stop))
            for row in page:
                yield start, self._checked(head, log, start, row)
                start += 1
            if not page:
                raise self._missing(head, log, start)

    def _page(self, log: _Log, first: int, end: int) -> list[tuple[Any, ...]]:
        page, size = [], 0
        with self._borrowed() as db:
            for row in (cursor := db.execute(log.select, (first, end))):
                page.append(row)
                size += len(row[-2])
                if size > _PAGE_BYTES:
                    break
            cursor.close()
        return page

    def _checked(self, head: _Head, log: _Log, index: int, row: tuple[Any, ...]) -> list[Any]:
        place, *fields, checksum = row
        if place != head.place(index):
            raise self._missing(head, log, index)
        if checksum != _checksum(index, *fields):
            raise self._damaged(head.session.id, log, index)
        return fields

    def _damaged(self, session_id: str, log: _Log, index: int) -> CorruptError:
        return CorruptError(
            f"{log.name} {index} of session {session_id!r} in {self._path} is not what was written "
            "(its checksum differs); restore a backup"
        )

    def _missing(self, head: _Head, log: _Log, index: int) -> StoreError:
        now = self._head(head.session.id)
        if now is None or now.key != head.key:
            return StoreError(f"session {head.session.id!r} was deleted while it was being read")
        return CorruptError(
            f"{log.name} {index} of session {head.session.id!r} is missing from {self._path}; "
            "restore a backup"
        )


def _location(path: str | os.PathLike[str]) -> str:
    """Return the absolute path, so that it is no URI and no change of directory moves it."""
    place = os.fspath(path)
    if place == ":memory:":
        return place
    if not place or "\0" in place:
        raise ConfigError(f"a store's path must be text without NUL, got {place!r}")
    place = os.path.abspath(place)
    if os.path.isdir(place):
        raise StoreError(f"{place} is a directory; name a file in it")
    if not os.path.isdir(os.path.dirname(place)):
        raise StoreError(f"there is no directory {os.path.dirname(place)}; make it first")
    return place


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from one that replaced it, None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _pragma(db: sqlite3.Connection, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def _checksum(*fields: object) -> int:
    return crc32(b"\0".join([f if type(f) is bytes else str(f).encode() for f in fields]))


def _rows(
    head: _Head, start: int, rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    for index, fields in enumerate(rows, start):
        yield head.place(index), *fields, _checksum(index, *fields)


def _event(kind: bytes, at: int, body: bytes) -> Event:
    return Event(kind.decode(), at, body.decode())
