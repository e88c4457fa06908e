"""An SQLite file of ours: found, checked, brought to our schema, and lent to one thread at a time.

All that SQLite raises is turned into our errors here. This module knows how the tables are made,
and nothing of what is kept in them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from ..errors import ConfigError, CorruptError, StoreError, VersionError

_APPLICATION_ID = 0x464D454D  # "FMEM", in the file's header

# _STEPS[n] takes a file from schema version n to n + 1. Add steps; never change one.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE session (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            settings TEXT NOT NULL,
            messages INTEGER NOT NULL,
            events INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE message (
            place INTEGER PRIMARY KEY,
            tokens INTEGER NOT NULL,
            body TEXT NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE event (
            place INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            at INTEGER NOT NULL,
            body TEXT NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        # An index of SQLite ends in the row id, so this one finds the newest event of a kind.
        "CREATE INDEX event_by_kind ON event (kind)",
    ),
    (
        # From here on derived from the transcripts: see `packed_index`.
        """
        CREATE TABLE indexed (
            session INTEGER PRIMARY KEY,
            format TEXT NOT NULL,
            generation INTEGER NOT NULL,
            size INTEGER NOT NULL,
            terms INTEGER NOT NULL,
            speakers INTEGER NOT NULL,
            postings INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE posting (
            session INTEGER NOT NULL,
            term BLOB NOT NULL,
            first INTEGER NOT NULL,
            number INTEGER NOT NULL,
            places BLOB NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (session, term, first)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE fact (
            place INTEGER PRIMARY KEY,
            before INTEGER NOT NULL,
            entries BLOB NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE speaker (
            session INTEGER NOT NULL,
            number INTEGER NOT NULL,
            name TEXT NOT NULL,
            first INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (session, number)
        ) WITHOUT ROWID
        """,
        # Derived from them by an embedder: see `sqlite_vectors`.
        """
        CREATE TABLE embedded (
            session INTEGER PRIMARY KEY,
            embedder TEXT NOT NULL,
            size INTEGER NOT NULL,
            erased INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE vector (
            place INTEGER PRIMARY KEY,
            packed BLOB NOT NULL,
            checksum INTEGER NOT NULL
        )
        """,
        # Which sessions are searched together.
        "CREATE TABLE scope (session INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "CREATE INDEX scope_by_name ON scope (name)",
    ),
)

_CHECKED_BYTES = 32 << 20  # on opening, files up to this size are checked whole
_SAID = ("session", "message", "event", "scope")  # what cannot be made again; checked on opening

# What a user can do about each of SQLite's result codes.
_ADVICE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreError,
        (
            "is locked by another connection for longer than the timeout; end the program that "
            "holds it (lsof or fuser shows which), or open the store with a longer timeout"
        ),
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
    sqlite3.SQLITE_CONSTRAINT: (
        CorruptError,
        "has rows that should not be there; restore a backup. Nothing of this turn was written",
    ),
    sqlite3.SQLITE_CORRUPT: (
        CorruptError,
        "is damaged; restore a backup, or save what can be read with sqlite3's .recover",
    ),
}


class SQLiteFile:
    """An open file in write-ahead-log mode; every transaction is synced before it is acknowledged.

    Args:
        path: the file, made if there is none; ``":memory:"`` for none.
        timeout: seconds to wait for another writer before giving up, >= 0.

    Raises:
        StoreError, CorruptError, VersionError: see `SQLiteStore`.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float) -> None:
        if not timeout >= 0:
            raise ConfigError(f"timeout must be >= 0 seconds, got {timeout!r}")
        self.path = _location(path)
        self._timeout = timeout
        self._lock = RLock()
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        try:
            with self._translated():
                self._db = sqlite3.connect(
                    self.path, timeout=timeout, isolation_level=None, check_same_thread=False
                )
                self._prepare(self._db)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the last one to do so folds the write-ahead log into the file."""
        if os.getpid() != self._pid:
            return  # a forked child must not touch its parent's locks
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
            kind, advice = _ADVICE.get(_code(error), (StoreError, "cannot be used"))
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise kind(f"{self.path} {advice} ({name}: {error})") from error

    @contextmanager
    def borrowed(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread at a time."""
        if os.getpid() != self._pid:
            raise StoreError(
                f"the store {self.path} was opened by process {self._pid}, and SQLite cannot "
                f"cross a fork; open it again in process {os.getpid()}"
            )
        with self._lock, self._translated():
            if self._db is None:
                raise StoreError(f"the store {self.path} is closed; open it again")
            yield self._db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing. Other writers wait for their turn."""
        with self.borrowed() as db:
            if self._identity is not None and self._identity != _identity(self.path):
                raise StoreError(
                    f"{self.path} was removed or replaced since it was opened; open it again. "
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

    def fold_log(self) -> bool:
        """Fold the write-ahead log into the file and empty it; return whether that could be done.

        A reader elsewhere keeps it from that for as long as it reads; it is waited for.
        """
        with self.borrowed() as db:
            return not pragma(db, "wal_checkpoint(TRUNCATE)")

    @contextmanager
    def passing(self) -> Iterator[sqlite3.Connection]:
        """Write what can be made again, as `transaction` does; a loss of power may undo it."""
        with self.borrowed() as db:
            db.execute("PRAGMA synchronous = NORMAL")
            try:
                with self.transaction():
                    yield db
            finally:
                db.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read what belongs together, while other processes may write; other threads wait."""
        with self.borrowed() as db:
            if db.in_transaction:  # a snapshot within a snapshot
                yield db
                return
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Check that the file is ours and whole, and bring it to our schema."""
        db.text_factory = bytes  # text that is no UTF-8 must reach the checksum
        for setting in ("synchronous = FULL", "fullfsync = ON", "secure_delete = ON"):
            db.execute(f"PRAGMA {setting}")
        db.execute("BEGIN")  # so that what is read of the header belongs together
        version = self._schema_version(db)
        db.execute("COMMIT")
        self._check_whole(db)
        if version < len(_STEPS):
            self._migrate(db)
        if self.path != ":memory:":
            self._log_ahead(db)
            self._identity = _identity(self.path)

    def _schema_version(self, db: sqlite3.Connection) -> int:
        """Return the file's schema version, 0 for a new file. Only reads."""
        version: int = pragma(db, "user_version")
        owner = pragma(db, "application_id")
        new = owner == version == 0 and not pragma(db, "schema_version")
        if owner != _APPLICATION_ID and not new:
            raise StoreError(
                f"{self.path} is another application's database (application id {owner:#x}); it "
                "was not touched. Name another file"
            )
        if version > len(_STEPS):
            raise VersionError(
                f"{self.path} has schema version {version}, written by a newer release; this one "
                f"reads up to {len(_STEPS)}. Upgrade finite-memory-core; nothing was changed"
            )
        return version

    def _check_whole(self, db: sqlite3.Connection) -> None:
        size = pragma(db, "page_count") * pragma(db, "page_size")
        found = b"ok"
        if size <= _CHECKED_BYTES:
            checks = (pragma(db, f"integrity_check({table})") for table in _SAID if _has(db, table))
            found = next((answer for answer in checks if answer != b"ok"), b"ok")
        if not _size(f"{self.path}-wal") and 0 < _size(self.path) < size:
            found = b"the end of the file is missing"  # SQLite fills up a last page with zeros
        if found != b"ok":
            _, advice = _ADVICE[sqlite3.SQLITE_CORRUPT]
            raise CorruptError(f"{self.path} {advice} ({readable(found)})")

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Take the steps that the file lacks, all or none."""
        with self.transaction():
            for step in _STEPS[self._schema_version(db) :]:  # another process may have been here
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(_STEPS)}")

    def _log_ahead(self, db: sqlite3.Connection) -> None:
        """Switch a new file to the write-ahead log, which its header then remembers."""
        deadline = time.monotonic() + self._timeout
        while pragma(db, "journal_mode") != b"wal":
            try:
                mode = pragma(db, "journal_mode = WAL")
            except sqlite3.OperationalError as error:  # SQLite does not wait for a lock here
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.001)
                continue
            if mode != b"wal":
                raise StoreError(
                    f"the file system of {self.path} cannot share a write-ahead log (a network "
                    "drive?); put the store on a local disk"
                )


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def _location(path: str | os.PathLike[str]) -> str:
    """Return the absolute path, so that it is no URI and no change of directory moves it."""
    place = os.fsdecode(path)
    if place == ":memory:":
        return place
    if not place or "\0" in place:
        raise ConfigError(f"a store's path must be text without NUL, got {place!r}")
    place = os.path.abspath(place)
    if os.path.isdir(place):
        raise StoreError(f"{place} is a directory; name a file in it")
    if not os.path.isdir(os.path.dirname(place)):
        raise StoreError(f"there is no directory {os.path.dirname(place)}; make it first")
    if _size(place) == 1:  # which SQLite takes for an empty file and overwrites
        raise CorruptError(f"{place} {_ADVICE[sqlite3.SQLITE_NOTADB][1]}")
    return place


def _size(path: str) -> int:
    """Return a file's size in bytes, 0 if there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from one that replaced it, None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def pragma(db: sqlite3.Connection, name: str) -> Any:
    """Return the first value that a pragma answers."""
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def _has(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def readable(value: object) -> str:
    """Return what a damaged column says, as far as it can be read."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
