"""A session's vectors, kept in its SQLite file.

A row is found by its place, as a message is; each carries a CRC-32. What is kept is derived from
the transcript: where a row is damaged, all of the session's are dropped and computed again.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection
from typing import Any

from ..errors import ConflictError, CorruptError, StoreError
from ..recall.vectors import Head, Vectors, changed
from .sqlite_file import SQLiteFile

_SHIFT = 32
_AT_ONCE = 100  # rows to a query
_HEAD = "SELECT embedder, size, erased, checksum FROM embedded WHERE session = ?"
_SOME = f"SELECT place, packed, checksum FROM vector WHERE place IN ({'?,' * (_AT_ONCE - 1)}?)"
_RUN = (
    "SELECT place, packed, checksum FROM vector WHERE place >= ? AND place < ? ORDER BY place"
    " LIMIT 1000"
)


def remove(db: Connection, key: int) -> None:
    """Remove all that is kept for a session that is deleted, in the caller's transaction."""
    db.execute("DELETE FROM embedded WHERE session = ?", (key,))
    places = key << _SHIFT, (key + 1) << _SHIFT
    db.execute("DELETE FROM vector WHERE place >= ? AND place < ?", places)


def forget(db: Connection, key: int, places: Iterable[int]) -> None:
    """Remove the vectors of some messages, in the caller's transaction; they keep ``b""``."""
    embedder, size, erased = _head(db, key)
    _put_head(db, key, Head(embedder, size, erased + 1))
    emptied = [(*_row(key, place, b"")[1:], (key << _SHIFT) + place) for place in places]
    db.executemany("UPDATE vector SET packed = ?, checksum = ? WHERE place = ?", emptied)


class SQLiteVectors(Vectors):
    """The vectors of a session in a file; see `Vectors`."""

    def __init__(self, file: SQLiteFile, session_id: str) -> None:
        self._file = file
        self._session_id = session_id
        self._damage_seen = False

    def _key(self, db: Connection) -> int:
        row = db.execute("SELECT key FROM session WHERE id = ?", (self._session_id,)).fetchone()
        if row is None:
            raise StoreError(f"session {self._session_id!r} is not in the store (deleted?)")
        key: int = row[0]
        return key

    def head(self) -> Head:
        """See `Vectors.head`. Where a row was found damaged, all are dropped now."""
        if self._damage_seen:
            self.restart("")
            self._damage_seen = False
        with self._file.borrowed() as db:
            return _head(db, self._key(db))

    def restart(self, embedder: str) -> None:
        """See `Vectors.restart`."""
        with self._file.transaction() as db:
            key = self._key(db)
            erased = _head(db, key).erased
            remove(db, key)
            _put_head(db, key, Head(embedder, 0, erased))

    def add(self, head: Head, packed: Sequence[bytes]) -> None:
        """See `Vectors.add`."""
        with self._file.transaction() as db:
            key = self._key(db)
            found = _head(db, key)
            if found != head:
                raise ConflictError(changed(head, found))
            rows = [_row(key, place, p) for place, p in enumerate(packed, head.size)]
            db.executemany("INSERT INTO vector VALUES (?, ?, ?)", rows)
            _put_head(db, key, head._replace(size=head.size + len(packed)))

    def read(self, places: Iterable[int]) -> dict[int, bytes]:
        """See `Vectors.read`."""
        wanted = [*places]
        found: dict[int, bytes] = {}
        with self._file.borrowed() as db:
            first = self._key(db) << _SHIFT
            for start in range(0, len(wanted), _AT_ONCE):
                some = [first + place for place in wanted[start : start + _AT_ONCE]]
                some += [-1] * (_AT_ONCE - len(some))
                found.update(self._checked(first, db.execute(_SOME, some).fetchall()))
        return found

    def run(self, start: int, stop: int) -> Iterator[bytes]:
        """See `Vectors.run`."""
        while start < stop:
            with self._file.borrowed() as db:
                first = self._key(db) << _SHIFT
                page = db.execute(_RUN, (first + start, first + stop)).fetchall()
            for place, packed in self._checked(first, page):
                if place != start:
                    raise self._damaged(start)
                yield packed
                start += 1
            if not page:
                raise self._damaged(start)

    def forget(self, places: Iterable[int]) -> None:
        """See `Vectors.forget`."""
        with self._file.transaction() as db:
            forget(db, self._key(db), places)

    def _checked(self, first: int, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, bytes]]:
        for place, packed, checksum in rows:
            if checksum != _checksum(packed, place):
                raise self._damaged(place - first)
            yield place - first, packed

    def _damaged(self, place: int) -> CorruptError:
        self._damage_seen = True  # nothing can be written here: this may be within a snapshot
        return CorruptError(
            f"the vector of message {place} of session {self._session_id!r} in {self._file.path} "
            "is not what was written; the next search drops all of them and computes them again"
        )


def _head(db: Connection, key: int) -> Head:
    row = db.execute(_HEAD, (key,)).fetchone()
    if row is None:
        return Head("", 0)
    embedder, size, erased, checksum = row
    if checksum != _checksum(embedder, key, size, erased):
        return Head("", 0, erased if isinstance(erased, int) else 0)  # they are computed again
    return Head(embedder.decode(), size, erased)


def _put_head(db: Connection, key: int, head: Head) -> None:
    embedder, size, erased = head
    checksum = _checksum(embedder.encode(), key, size, erased)
    row = (key, embedder, size, erased, checksum)
    db.execute("INSERT OR REPLACE INTO embedded VALUES (?, ?, ?, ?, ?)", row)


def _row(key: int, place: int, packed: bytes) -> tuple[int, bytes, int]:
    at = (key << _SHIFT) + place
    return at, packed, _checksum(packed, at)


def _checksum(content: bytes, *fields: object) -> int:
    return crc32(content, crc32(repr(fields).encode()))
