"""A store for looking only: nothing on disk changes, not even a log beside the file.

A PostgreSQL database is opened read-only.

`SQLiteStore` makes a missing file, brings an old one to the present schema and folds the log in
when it closes. Here the file is opened read-only, and as immutable where no other program has it
open, so that SQLite makes no log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from urllib.parse import quote

from ..errors import ConfigError, StoreError
from ..stores.base import Counted, Event, Store, Version
from ..stores.memory import InMemoryStore
from ..stores.sqlite import SQLiteStore
from ..stores.sqlite_file import SQLiteFile
from .stores import is_database


class _ReadOnlyFile(SQLiteFile):
    """An `SQLiteFile` that is only read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._timeout = 5.0
        self._lock = RLock()
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._identity = None
        with self._translated():
            self._db = sqlite3.connect(
                _uri(path), self._timeout, isolation_level=None, check_same_thread=False, uri=True
            )
            try:
                self._look(self._db)
            except BaseException:
                self.close()
                raise

    def _look(self, db: sqlite3.Connection) -> None:
        db.text_factory = bytes
        if self._schema_version(db) == 0:
            raise StoreError(f"{self.path} is an empty database; no session was ever kept in it")
        self._check_whole(db)


def _uri(path: Path) -> str:
    logged = path.with_name(f"{path.name}-wal").exists()  # open elsewhere, or left by a crash
    return f"file:{quote(str(path.absolute()))}?{'mode=ro' if logged else 'immutable=1'}"


class _Snapshot(SQLiteStore):
    """Reads sessions; what a resumed memory notes for itself is dropped."""

    def __init__(self, path: Path) -> None:
        self._file = _ReadOnlyFile(path)

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """Write nothing."""


def _database(url: str) -> Store:
    from ..stores.postgres import PostgresStore
    from ..stores.postgres_server import PostgresServer

    class DatabaseSnapshot(PostgresStore):
        """Reads sessions; what a resumed memory notes for itself is dropped."""

        def __init__(self) -> None:
            self._server = PostgresServer(url, read_only=True)

        def append(
            self,
            session_id: str,
            version: Version,
            messages: Sequence[Counted],
            events: Sequence[Event],
        ) -> None:
            """Write nothing."""

    return DatabaseSnapshot()


def open_snapshot(path: str) -> Store:
    """Return a store to look into: an SQLite file, a database, or what `Memory.save` wrote.

    Raises:
        ConfigError: there is no such file.
        StoreError: it cannot be read, or is nothing of ours.
    """
    if is_database(path):
        return _database(path)
    place = Path(path)
    try:
        with place.open("rb") as file:
            opening = file.read(1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path}: {reason}; give the path of a store") from error
    if opening == b"{":
        from ..persistence import read

        store = InMemoryStore()
        read(place, store)
        return store
    return _Snapshot(place)
