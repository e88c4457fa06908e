"""A session's search index, kept in tables of the database that its transcript is in.

What is kept is derived from the transcript and can be dropped at any time: it is built again at
the next search. Of each term the places of its messages are kept in packed rows, of the messages
what ranking needs to know, 64 to a row. The newest few messages are indexed in memory, so that a
turn writes nothing; every 128 messages they are written together. Each row carries a CRC-32.

Where it cannot be written, or was damaged and cannot be dropped, all of it is in memory, and
`problem` says why.
"""

from __future__ import annotations

import sys
from array import array
from binascii import crc32
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from ..errors import CorruptError, StoreError
from ..recall.analysis import VERSION, Document
from ..recall.index import Facts, GrowingIndex, IndexChanged, InMemoryIndex

FORMAT = f"1 {VERSION} {sys.byteorder}"
"""What is kept in another format is dropped and built again."""

UNKEPT = 128
"""So many messages are indexed in memory before they are written."""
MOST_UNKEPT = 16_384
"""So many are written at once where a whole transcript is indexed."""
_SHIFT = 32
_CHUNK = 64  # messages to a row of facts
_ROW_PLACES = 224  # places to a row of postings: so many fit a page of SQLite's without overflow
_AT_ONCE = 50  # rows of facts to a query
_MOST_CHUNKS = 512  # rows of facts held in memory, 1 KiB each
_MOST_KNOWN = 8_192  # facts of messages held in memory, some 150 bytes each
_MOST_PLACES = 1 << 18  # places of postings held in memory, 4 bytes each
_MOST_REMEMBERED = 512  # postings of a term with more places are read each time
_TERM_PLACES = 64  # what a term itself takes, in places

_MOST_SUMMED = 20_000  # of so many messages the postings are checked whole when it is opened

_STATE = (
    "SELECT key, format, generation, size, terms, speakers, postings, indexed.checksum"
    " FROM session LEFT JOIN indexed ON indexed.session = key WHERE "
)
_SUM = "SELECT CAST(coalesce(sum(checksum), 0) AS BIGINT) FROM posting WHERE session = ?"
_NEWEST = (
    "SELECT first, number, places, checksum FROM posting WHERE session = ? AND term = ?"
    " AND first < ? ORDER BY first DESC LIMIT ?"
)
_FACTS = (
    f"SELECT place, before, entries, checksum FROM fact WHERE place IN ({'?,' * (_AT_ONCE - 1)}?)"
)
_PUT_STATE = (
    "INSERT INTO indexed VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET"
    " format = excluded.format, generation = excluded.generation, size = excluded.size,"
    " terms = excluded.terms, speakers = excluded.speakers, postings = excluded.postings,"
    " checksum = excluded.checksum"
)
_PUT_POSTING = (
    "INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session, term, first)"
    " DO UPDATE SET number = excluded.number, places = excluded.places,"
    " checksum = excluded.checksum"
)
_PUT_FACT = (
    "INSERT INTO fact VALUES (?, ?, ?, ?) ON CONFLICT (place) DO UPDATE SET"
    " before = excluded.before, entries = excluded.entries, checksum = excluded.checksum"
)


class Cursor(Protocol):
    """What a statement answers, row by row."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def close(self) -> None: ...


class Database(Protocol):
    """A connection. In statements ``?`` stands for a value."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor: ...
    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object: ...


class Tables(Protocol):
    """A database with the tables of an index, lent to one thread at a time."""

    def borrowed(self) -> AbstractContextManager[Database]:
        """Lend a connection."""

    def passing(self) -> AbstractContextManager[Database]:
        """Write all or nothing of what can be made again; a loss of power may undo it."""

    def snapshot(self) -> AbstractContextManager[Database]:
        """Read what belongs together, while others may write."""


class _State(NamedTuple):
    """How far an index has come.

    Attributes:
        generation: how often it was dropped.
        size: how many messages are kept in it.
        terms: how many terms they have together.
        speakers: how many names they are said under.
        postings: the sum of the checksums of its postings.
    """

    generation: int = 0
    size: int = 0
    terms: int = 0
    speakers: int = 0
    postings: int = 0


def drop(db: Database, key: int) -> None:
    """Drop all that is kept for the session with `key`, in the caller's transaction.

    What others still hold of it in memory they will not write.
    """
    row = db.execute("SELECT generation FROM indexed WHERE session = ?", (key,)).fetchone()
    before = row[0] if row is not None and isinstance(row[0], int) else 0
    remove(db, key)
    _put_state(db, key, _State(generation=before + 1))


def remove(db: Database, key: int) -> None:
    """Remove all that is kept for a session that is deleted, in the caller's transaction."""
    for table in ("posting", "speaker", "indexed"):
        db.execute(f"DELETE FROM {table} WHERE session = ?", (key,))
    places = key << _SHIFT, (key + 1) << _SHIFT
    db.execute("DELETE FROM fact WHERE place >= ? AND place < ?", places)


def _put_state(db: Database, key: int, state: _State) -> None:
    row = (key, FORMAT, *state, _checksum(FORMAT.encode(), key, *state))
    db.execute(_PUT_STATE, row)


def _checksum(content: object, *fields: object) -> int:
    """Return the checksum of a row, whatever a damaged one holds."""
    whole = content if isinstance(content, bytes) else repr(content).encode()
    return crc32(whole, crc32(repr(fields).encode()))


def _as_bytes(text: object) -> bytes:
    """Return a column of text, which some databases give as it is and some as UTF-8."""
    return text if isinstance(text, bytes) else str(text).encode()


class PackedIndex(GrowingIndex):
    """The index of a session in a database; see `GrowingIndex`.

    Args:
        tables: the database.
        session: what tells the session in its table, in the column `_column`.
    """

    _column = "id"
    _passing_errors: tuple[type[StoreError], ...] = ()  # no reason to do without the database

    def __init__(self, tables: Tables, session: object) -> None:
        self._tables = tables
        self._session = session
        self._alone = False  # nothing of it is in the file
        self._damage: StoreError | None = None
        self._summed = False
        self._take(0, _State())
        with suppress(IndexChanged), self._guarded():  # `size` recovers
            self._look()

    def _take(self, key: int, state: _State, names: Sequence[tuple[str, int]] = ()) -> None:
        """Go on from what is kept; what is indexed in memory only is forgotten."""
        self._key = key
        self._kept = state
        self._names = [*names]
        self._unkept = InMemoryIndex(state.size)
        self._write_at = UNKEPT
        self._chunks: dict[int, tuple[int, memoryview]] = {}
        self._known: dict[int, Facts] = {}
        self._places: dict[tuple[str, int, int], array[int]] = {}
        self._places_count = 0

    @property
    def epoch(self) -> object:
        """See `GrowingIndex.epoch`. With what is forgotten goes the whole index."""
        return self._key, self._kept.generation

    # -- growing --------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """See `GrowingIndex.size`."""
        if self._damage is not None:
            self._recover(self._damage)
        if not self._alone:
            with self._guarded():
                self._look()
            if self._unkept.size - self._kept.size >= self._write_at:
                self.keep()
        return self._unkept.size

    def _look(self) -> None:
        """Take in what other processes did since the last time."""
        with self._tables.borrowed() as db:
            key, state = self._state(db)
            if (key, state) != (self._key, self._kept):
                self._take(key, state)
                self._names = self._read_names(db)
                if not self._summed and state.size <= _MOST_SUMMED:
                    self._check_sum(db)
                self._summed = True

    def _check_sum(self, db: Database) -> None:
        """Raise `CorruptError` where rows of postings are missing, whose terms would be too."""
        if db.execute(_SUM, (self._key,)).fetchone() != (self._kept.postings,):
            raise CorruptError("its postings are not all there")

    def _recover(self, error: StoreError) -> None:
        """Drop an index that is damaged; do without the file where that cannot be done either."""
        self._damage = None
        try:
            if not isinstance(error, CorruptError):
                raise error
            with self._tables.passing() as db:
                self._hold(db)
                drop(db, self._key_of(db))
            self.problem = f"the index is built again: {error}"
        except self._passing_errors:
            self._damage = error
            raise
        except StoreError:
            self._alone = True
            self.problem = f"the index is kept in memory: {error}"
        self._take(0, _State())

    def add(self, documents: Iterable[Document]) -> None:
        """See `GrowingIndex.add`. A long transcript is written in large parts: rows fill up."""
        self._unkept.add(documents)
        if self._unkept.size - self._kept.size >= max(MOST_UNKEPT, self._write_at):
            self.keep()

    def keep(self) -> None:
        """See `GrowingIndex.keep`."""
        count = self._unkept.size - self._kept.size
        if self._alone or not count:
            return
        try:
            with self._tables.passing() as db:
                state = self._write(db)
        except CorruptError as error:
            self._damage = error
            raise IndexChanged(str(error)) from error
        except StoreError as error:
            self.problem = f"the index is kept in memory: {error}"
            self._write_at = 2 * count
            return
        if self._write_at > UNKEPT:  # it could not be written before
            self.problem = None
        self._take(self._key, state, [*self._names, *self._new_names()])

    def _hold(self, db: Database) -> None:
        """Keep others from writing this index for as long as the transaction lasts.

        Where a transaction that writes keeps all others from it, there is nothing to do.
        """

    def _key_of(self, db: Database) -> int:
        statement = f"SELECT key FROM session WHERE {self._column} = ?"
        row = db.execute(statement, (self._session,)).fetchone()
        return 0 if row is None else int(row[0])

    def _state(self, db: Database) -> tuple[int, _State]:
        """Return the session's key, 0 if it is gone, and how far its index has come.

        Raises:
            CorruptError: it is of another format, or damaged.
        """
        row = db.execute(f"{_STATE} {self._column} = ?", (self._session,)).fetchone()
        if row is None:
            return 0, _State()
        key, format_, *numbers, checksum = row
        if format_ is None:
            return key, _State()
        state = _State(*numbers)
        if (found := _as_bytes(format_)) != FORMAT.encode():
            told = found.decode(errors="replace")
            raise CorruptError(f"it has format {told!r}, this release keeps {FORMAT!r}")
        if checksum != _checksum(found, key, *state):
            raise CorruptError("its state is not what was written")
        return key, state

    def _require_unchanged(self, db: Database) -> None:
        if self._state(db) != (self._key, self._kept):
            raise IndexChanged("another process changed the index")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Raise `IndexChanged` for what goes wrong with the file; `size` then recovers."""
        try:
            yield
        except self._passing_errors:
            raise
        except StoreError as error:
            self._damage = error
            raise IndexChanged(str(error)) from error

    @contextmanager
    def steady(self) -> Iterator[None]:
        """See `GrowingIndex.steady`: all is read from one snapshot of the file."""
        if self._alone:
            yield
            return
        with self._tables.snapshot() as db:
            with self._guarded():
                self._require_unchanged(db)
            yield

    # -- writing --------------------------------------------------------------------------------

    def _write(self, db: Database) -> _State:
        self._hold(db)
        self._require_unchanged(db)
        if not self._key:
            raise StoreError("the session is not in the store (deleted?)")
        postings, facts, _ = self._unkept.contents()
        added = self._write_postings(db, postings)
        lengths, sessions, speakers, flags = zip(*facts, strict=True)
        numbers = self._write_speakers(db)
        self._write_facts(db, (lengths, sessions, [numbers[name] for name in speakers], flags))
        kept = self._kept
        state = _State(
            kept.generation,
            self._unkept.size,
            kept.terms + sum(lengths),
            kept.speakers + len(self._new_names()),
            kept.postings + added,
        )
        _put_state(db, self._key, state)
        return state

    def _write_postings(self, db: Database, postings: Mapping[str, array[int]]) -> int:
        """Return by how much the sum of the checksums grew."""
        key, rows, replaced = self._key, [], 0
        grown = sorted((self._name(term), places) for term, places in postings.items())
        kept = self._newest_kept(db, [name for name, _ in grown])
        for (name, places), newest in zip(grown, kept, strict=True):  # as they lie in the file
            number, first, packed = 0, places[0], places.tobytes()
            if newest is not None:
                found = self._checked_places(name, *newest)
                number = newest[1] + 1
                if len(found) < 4 * _ROW_PLACES:
                    number, first, packed = newest[1], newest[0], found + packed
                    replaced += newest[3]
            for start in range(0, len(packed), 4 * _ROW_PLACES):
                row = packed[start : start + 4 * _ROW_PLACES]
                if start:
                    first, number = array("I", row[:4])[0], number + 1
                rows.append((key, name, first, number, row, _checksum(row, key, name, number)))
        db.executemany(_PUT_POSTING, rows)
        return sum(row[-1] for row in rows) - replaced

    def _name(self, term: str) -> bytes:
        """Return what a term is called in the tables."""
        return term.encode()

    def _newest_kept(self, db: Database, names: Sequence[bytes]) -> Iterable[Any]:
        """Yield of each term the newest row of postings; None where there is none."""
        for name in names:
            yield db.execute(_NEWEST, (self._key, name, self._kept.size, 1)).fetchone()

    def _checked_places(
        self, term: bytes, first: int, number: int, places: bytes, checksum: int
    ) -> bytes:
        if (
            checksum != _checksum(places, self._key, term, number)
            or first != array("I", places[:4])[0]
        ):
            raise CorruptError("a row of postings is not what was written")
        return places

    def _new_names(self) -> list[tuple[str, int]]:
        known = {name for name, _ in self._names}
        return [(name, at) for name, at in self._unkept.contents().speakers if name not in known]

    def _write_speakers(self, db: Database) -> dict[str, int]:
        """Return the number of each name that is kept now."""
        new = self._new_names()
        numbers = {name: n for n, (name, _) in enumerate([*self._names, *new])}
        key = self._key
        db.executemany(
            "INSERT INTO speaker VALUES (?, ?, ?, ?, ?)",
            [
                (key, (n := numbers[name]), name, at, _checksum(name.encode(), key, n, at))
                for name, at in new
            ],
        )
        return numbers

    def _write_facts(self, db: Database, columns: tuple[Sequence[int], ...]) -> None:
        size, before = self._kept.size, self._kept.terms
        chunk, filled = divmod(size, _CHUNK)
        if filled:
            before, entries = self._chunk(chunk)
            old = [entries[c * _CHUNK : c * _CHUNK + filled] for c in range(4)]
            columns = tuple([*o, *new] for o, new in zip(old, columns, strict=True))
        rows = []
        for start in range(0, len(columns[0]), _CHUNK):
            packed = array("I")
            for column in columns:
                part = array("I", column[start : start + _CHUNK])
                packed += part + array("I", bytes(4 * (_CHUNK - len(part))))
            place, content = (self._key << _SHIFT) + chunk, packed.tobytes()
            rows.append((place, before, content, _checksum(content, place, before)))
            before += sum(packed[:_CHUNK])
            chunk += 1
        db.executemany(_PUT_FACT, rows)

    # -- reading --------------------------------------------------------------------------------

    def _read_names(self, db: Database) -> list[tuple[str, int]]:
        rows = db.execute(
            "SELECT number, name, first, checksum FROM speaker WHERE session = ? ORDER BY number",
            (self._key,),
        ).fetchall()
        names = [(_as_bytes(name), first) for _, name, first, _ in rows]
        for expected, ((number, _, _, checksum), (name, first)) in enumerate(
            zip(rows, names, strict=True)
        ):
            if number != expected or checksum != _checksum(name, self._key, number, first):
                raise CorruptError("a speaker is not what was written")
        if len(rows) != self._kept.speakers:
            raise CorruptError("speakers are missing")
        return [(name.decode(), first) for name, first in names]

    def speakers(self, stop: int) -> frozenset[str]:
        """See `Index.speakers`."""
        kept = (name for name, first in self._names if first < stop)
        return self._unkept.speakers(stop).union(kept)

    def terms_before(self, stop: int) -> int:
        """See `Index.terms_before`."""
        kept = self._kept
        if stop >= kept.size:
            return kept.terms + self._unkept.terms_before(stop)
        number, within = divmod(stop, _CHUNK)
        with self._guarded():
            before, entries = self._chunk(number)
        return before + sum(entries[:within])

    def postings(self, term: str, stop: int, limit: int) -> Sequence[int]:
        """See `Index.postings`."""
        return self.postings_of([term], stop, limit)[0]

    def postings_of(self, terms: Iterable[str], stop: int, limit: int) -> list[Sequence[int]]:
        """See `Index.postings_of`."""
        kept = min(stop, self._kept.size)
        if not kept:
            return self._unkept.postings_of(terms, stop, limit)
        found: list[Sequence[int]] = []
        with self._guarded(), self._tables.borrowed() as db:
            for term in terms:
                new = self._unkept.postings(term, stop, limit)
                if len(new) < limit:
                    old = self._kept_postings(db, term, kept, limit)
                    new = (old + array("I", new))[-limit:] if new else old
                found.append(new)
        return found

    def _kept_postings(self, db: Database, term: str, stop: int, limit: int) -> array[int]:
        """Return the postings in the file; those of the rarer terms that were read last, from here.

        Not to be changed.
        """
        asked = term, stop, limit
        if (known := self._places.get(asked)) is not None:
            return known
        found = self._read_postings(db, self._name(term), stop, limit)
        if len(found) <= _MOST_REMEMBERED:
            if self._places_count > _MOST_PLACES:
                self._places, self._places_count = {}, 0
            self._places[asked] = found
            self._places_count += len(found) + _TERM_PLACES
        return found

    def _read_postings(self, db: Database, term: bytes, stop: int, limit: int) -> array[int]:
        packed: list[bytes] = []
        missing, expected = limit, None
        rows = limit // _ROW_PLACES + 3  # which are enough: but for the newest, all are full
        for row in (cursor := db.execute(_NEWEST, (self._key, term, stop, rows))):
            packed.append(self._checked_places(term, *row))
            if expected is not None and row[1] != expected:
                raise CorruptError("a row of postings is missing")
            expected = row[1] - 1
            missing -= len(row[2]) // 4
            if missing <= -_ROW_PLACES:  # of the newest row some may stand behind `stop`
                break
        else:
            if packed and expected != -1:
                raise CorruptError("a row of postings is missing")
        cursor.close()
        places = array("I", b"".join(reversed(packed)))
        end = bisect_left(places, stop)
        return places[max(0, end - limit) : end]

    def facts(self, places: Sequence[int]) -> list[Facts]:
        """See `Index.facts`."""
        known = self._known
        new = [i for i in places if i not in known]
        if new and len(known) + len(new) > _MOST_KNOWN:
            known.clear()
            new = [*places]
        if new:
            size = self._kept.size
            self._read_facts([i for i in new if i < size])
            unkept = [i for i in new if i >= size]
            known.update(zip(unkept, self._unkept.facts(unkept), strict=True))
        return [known[i] for i in places]

    def _read_facts(self, places: Sequence[int]) -> None:
        """Have what is known of messages that are in the file in memory."""
        with self._guarded():
            self._load({i // _CHUNK for i in places})
        known, chunks, names = self._known, self._chunks, [name for name, _ in self._names]
        for i in places:
            entries, at = chunks[i // _CHUNK][1], i % _CHUNK
            speaker = names[entries[2 * _CHUNK + at]]
            known[i] = entries[at], entries[_CHUNK + at], speaker, entries[3 * _CHUNK + at]

    def session_end(self, start: int) -> int:
        """See `Index.session_end`. Sessions only ever grow, so it is searched by halves."""
        size = self._kept.size
        low, step = start, 1
        with self._guarded():
            while low + step < size and self._session_of(low + step) <= start:
                low, step = low + step, 2 * step
            high = min(low + step, size)
            while low + 1 < high:
                middle = (low + high) // 2
                low, high = (middle, high) if self._session_of(middle) <= start else (low, middle)
        return high if high < size else max(size, self._unkept.session_end(start))

    def _session_of(self, place: int) -> int:
        return self._chunk(place // _CHUNK)[1][_CHUNK + place % _CHUNK]

    def _chunk(self, number: int) -> tuple[int, memoryview]:
        self._load({number})
        return self._chunks[number]

    def _load(self, wanted: set[int]) -> None:
        """Have the rows of facts with these numbers in memory."""
        if wanted <= self._chunks.keys():
            return
        if len(self._chunks) + len(wanted) > _MOST_CHUNKS:
            self._chunks.clear()
        missing = sorted(wanted.difference(self._chunks))
        first = self._key << _SHIFT
        with self._tables.borrowed() as db:
            for start in range(0, len(missing), _AT_ONCE):
                some = [first + number for number in missing[start : start + _AT_ONCE]]
                some += some[-1:] * (_AT_ONCE - len(some))
                for place, before, entries, checksum in db.execute(_FACTS, some):
                    if checksum != _checksum(entries, place, before):
                        raise CorruptError("a row of facts is not what was written")
                    self._chunks[place - first] = before, memoryview(entries).cast("I")
        if any(number not in self._chunks for number in missing):
            raise CorruptError("a row of facts is missing")
