"""A store in a PostgreSQL database: many threads, processes and machines on the same sessions.

An append is one statement, which writes only where the session is still at the version that was
named: of two writers one waits for the other and is then told. Each row carries a CRC-32 of its
fields. Needs psycopg 3, the extra ``postgres``.

This module knows nothing of what settings and events mean.
"""

from __future__ import annotations

import json
from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConflictError
from .base import Counted, Event, Session, Version, check_session_id, conflict
from .database import HEADS, DatabaseStore, Head
from .postgres_pool import Database
from .postgres_server import SCHEMA, PostgresServer, digest

if TYPE_CHECKING:
    from ..recall.index import GrowingIndex

_PAGE_BYTES = 1 << 18  # how much text is read at once
_PAGE_ROWS = 1_000

_SCOPED = f"{HEADS} WHERE scope_digest = ? ORDER BY key DESC LIMIT ?"
_CREATE = (
    "INSERT INTO session (digest, id, settings, messages, events, checksum)"
    " VALUES (?, ?, ?, 0, 0, ?) ON CONFLICT (digest) DO NOTHING RETURNING key"
)
_APPEND = """
    WITH head AS (
        UPDATE session SET messages = messages + ?, events = events + ?
        WHERE digest = ? AND messages = ? AND events = ? RETURNING key
    ), said AS (
        INSERT INTO message SELECT head.key, new.* FROM head
        CROSS JOIN unnest(?::bigint[], ?::bigint[], ?::text[], ?::bigint[]) AS new
    ), happened AS (
        INSERT INTO event SELECT head.key, new.* FROM head
        CROSS JOIN unnest(?::bigint[], ?::text[], ?::bigint[], ?::text[], ?::bigint[]) AS new
    )
    SELECT key FROM head
"""
_LAST_EVENT = """
    SELECT event.* FROM session CROSS JOIN LATERAL (
        SELECT index, kind, at, body, checksum FROM event
        WHERE session = session.key AND kind = ? ORDER BY index DESC LIMIT 1
    ) AS event WHERE digest = ?
"""
_PICK = (
    "SELECT message.index, tokens, body, message.checksum FROM session"
    " JOIN message ON message.session = session.key"
    " WHERE digest = ? AND message.index = ANY(?::bigint[])"
)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Log:
    """One of a session's two logs: its table, its columns, and how a page of it is read."""

    def __init__(self, name: str, columns: str) -> None:
        fields = f"index, {columns}, checksum"
        self.name = name
        self.page = (
            f"SELECT {fields} FROM ("
            f"SELECT {fields}, sum(octet_length(body)) OVER (ORDER BY index) - octet_length(body)"
            f" AS before FROM {name} WHERE session = ? AND index >= ? AND index < ?"
            f" ORDER BY index LIMIT {_PAGE_ROWS}"
            f") AS page WHERE before < {_PAGE_BYTES} ORDER BY index"
        )
        changes = ", ".join(f"{column} = ?" for column in [*columns.split(", "), "checksum"])
        self.replace = f"UPDATE {name} SET {changes} WHERE session = ? AND index = ?"


_MESSAGES = _Log("message", "tokens, body")
_EVENTS = _Log("event", "kind, at, body")


class PostgresStore(DatabaseStore):
    """Keeps sessions in a PostgreSQL database (extra ``postgres``).

    An object serves all threads of its process; any number of processes, on any machines, may use
    the database. A forked child gets connections of its own. Where a connection is lost, the call
    that met it raises `StoreError`, and the next one connects again.

    Args:
        dsn: the database, as ``postgresql://user:password@host:5432/database`` or in any other
            form that libpq takes; what it leaves out comes from ``PGHOST``, ``~/.pgpass`` and
            what else libpq reads.
        schema: the schema that the tables are kept in, made if there is none.
        timeout: seconds to wait for another writer before giving up, >= 0.
        connections: how many connections this object opens at most, >= 1.

    Raises:
        MissingExtraError: psycopg is not installed.
        ConfigError: `dsn` cannot be read, or another argument is out of range.
        StoreError: the database cannot be reached or used, or the schema is another application's.
        VersionError: a newer release made the schema.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = SCHEMA,
        timeout: float = 5.0,
        connections: int = 10,
    ) -> None:
        self._server = PostgresServer(dsn, schema, timeout, connections)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def name(self) -> str:
        """Where the database is, without the password."""
        return self._server.name

    def create(self, session_id: str, settings: str) -> None:
        """See `Store.create`."""
        check_session_id(session_id)
        values = (digest(session_id), session_id, settings, _checksum(session_id, settings))
        with self._server.borrowed() as db:
            if db.execute(_CREATE, values).fetchone() is None:
                raise ConflictError(f"session {session_id!r} exists already; resume it instead")

    @property
    def _where(self) -> str:
        return self.name

    def _fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._server.borrowed() as db:
            return db.execute(statement, values).fetchall()

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """See `Store.append`.

        Where the connection is lost, or an interrupt comes, the turn may be written all the same;
        the version that is named keeps it from being written twice.
        """
        said = _columns(
            version.messages, [(tokens, _encode(m.to_dict())) for m, tokens in messages], 2
        )
        happened = _columns(version.events, events, 3)
        values = (len(messages), len(events), digest(session_id), *version, *said, *happened)
        with self._server.borrowed() as db:
            if db.execute(_APPEND, values).fetchone() is None:
                raise ConflictError(conflict(session_id, version, self._version(session_id)))

    def erase(
        self,
        session_id: str,
        version: Version,
        messages: Mapping[int, Counted],
        events: Mapping[int, Event],
        appended: Sequence[Event],
    ) -> bool:
        """See `Store.erase`. The database no longer tells what stood there.

        Its files do until it is vacuumed, and its write-ahead log, replicas and backups for as
        long as they are kept; so the answer is always False.
        """
        from .packed_index import drop

        bodies = {i: (tokens, _encode(m.to_dict())) for i, (m, tokens) in messages.items()}
        with self._server.transaction() as db:
            head = self._held(db, session_id)
            if head is None or head.session.version != version:
                found = head.session.version if head else None
                raise ConflictError(conflict(session_id, version, found))
            self._replace(db, head, _MESSAGES, bodies)
            self._replace(db, head, _EVENTS, events)
            grown = _columns(version.events, appended, 3)
            db.execute(_APPEND, (0, len(appended), digest(session_id), *version, *_NONE, *grown))
            drop(db, head.key)
        return False

    def _replace(
        self, db: Database, head: Head, log: _Log, rows: Mapping[int, tuple[Any, ...]]
    ) -> None:
        changed = db.executemany(
            log.replace,
            [(*row, _checksum(index, *row), head.key, index) for index, row in rows.items()],
        )
        if changed != len(rows):
            raise self._missing(head, log.name, min(rows))

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        """See `Store.messages`. Between two messages nothing is locked and no connection held."""
        head = self._head(session_id)
        if head is None:
            return
        end = head.session.version.messages
        for index, fields in self._read(
            head, _MESSAGES, start, end if stop is None else min(stop, end)
        ):
            yield self._counted(session_id, index, *fields)

    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """See `Store.events`."""
        head = self._head(session_id)
        if head is not None:
            for _, fields in self._read(head, _EVENTS, start, head.session.version.events):
                yield Event(*fields)

    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """See `Store.last_event`."""
        rows = self._fetch(_LAST_EVENT, kind, digest(session_id))
        row = rows[0] if rows else None
        return None if row is None else (row[0], Event(*self._checked(session_id, _EVENTS, row)))

    def pick(self, session_id: str, indices: Sequence[int]) -> dict[int, Counted]:
        """See `Store.pick`."""
        rows = self._fetch(_PICK, digest(session_id), [*indices])
        return {
            row[0]: self._counted(session_id, row[0], *self._checked(session_id, _MESSAGES, row))
            for row in rows
        }

    def set_scope(self, session_id: str, scope: str | None) -> None:
        """See `Store.set_scope`."""
        wanted = None if scope is None else digest(scope)
        with self._server.transaction() as db:
            statement = "SELECT scope_digest FROM session WHERE digest = ?"
            row = db.execute(statement, (digest(session_id),)).fetchone()
            if row is None:
                raise ConflictError(conflict(session_id, Version(0, 0), None))
            if row[0] != wanted:
                db.execute(
                    "UPDATE session SET scope = ?, scope_digest = ? WHERE digest = ?",
                    (scope, wanted, digest(session_id)),
                )

    def scoped(self, scope: str, limit: int) -> list[Session]:
        """See `Store.scoped`."""
        rows = self._fetch(_SCOPED, digest(scope), limit)
        return [self._checked_head(row).session for row in reversed(rows)]

    def index(self, session_id: str) -> GrowingIndex:
        """See `Store.index`. It is kept in the database, and grows when it is searched."""
        from .postgres_index import PostgresIndex  # only where something is searched

        return PostgresIndex(self._server, digest(session_id))

    def delete(self, session_id: str) -> None:
        """See `Store.delete`. The database's files hold what was said until it is vacuumed."""
        from .packed_index import remove

        with self._server.transaction() as db:
            head = self._held(db, session_id)
            if head is None:
                return
            for table in ("message", "event"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (head.key,))
            remove(db, head.key)
            db.execute("DELETE FROM session WHERE key = ?", (head.key,))

    def close(self) -> None:
        """See `Store.close`."""
        self._server.close()

    def _head(self, session_id: str) -> Head | None:
        rows = self._fetch(f"{HEADS} WHERE digest = ?", digest(session_id))
        row = rows[0] if rows else None
        return None if row is None else self._checked_head(row)

    def _held(self, db: Database, session_id: str) -> Head | None:
        """Return a session's head; until the transaction ends nobody else writes to it."""
        row = db.execute(f"{HEADS} WHERE digest = ? FOR UPDATE", (digest(session_id),)).fetchone()
        return None if row is None else self._checked_head(row)

    def _checked_head(self, row: tuple[Any, ...]) -> Head:
        key, id_, settings, messages, events, checksum = row
        if checksum != _checksum(id_, settings):
            raise self._altered(f"the head of session {id_!r}")
        return Head(key, Session(id_, settings, Version(messages, events)))

    def _read(
        self, head: Head, log: _Log, start: int, stop: int
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Yield index and checked fields of the rows in [start, stop), a page at a time."""
        while start < stop:
            page = self._fetch(log.page, head.key, start, stop)
            for row in page:
                if row[0] != start:
                    raise self._missing(head, log.name, start)
                yield start, self._checked(head.session.id, log, row)
                start += 1
            if not page:
                raise self._missing(head, log.name, start)

    def _checked(self, session_id: str, log: _Log, row: tuple[Any, ...]) -> tuple[Any, ...]:
        index, *fields, checksum = row
        if checksum != _checksum(index, *fields):
            raise self._altered(f"{log.name} {index} of session {session_id!r}")
        return tuple(fields)


def _checksum(*fields: object) -> int:
    return crc32(b"\0".join([str(field).encode() for field in fields]))


def _columns(start: int, rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return rows, the first at index `start`, column by column, with index and checksum."""
    full = [(i, *row, _checksum(i, *row)) for i, row in enumerate(rows, start)]
    return [[row[column] for row in full] for column in range(width + 2)]


_NONE = _columns(0, (), 2)
