"""A PostgreSQL database of ours: reached, checked, brought to our schema, and lent to threads.

All that psycopg raises is turned into our errors here, and no password comes into one. This module
knows how the tables are made, and nothing of what is kept in them.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from queue import Empty, SimpleQueue
from threading import Lock, get_ident, local
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..errors import ConfigError, CorruptError, MissingExtraError, StoreError, VersionError

if TYPE_CHECKING:
    import psycopg

SCHEMA = "finite_memory"
"""The schema that the tables are in unless another is named."""
_LOCK = 0x464D454D  # "FMEM", the first half of the advisory lock that migrations hold
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OLDEST = 120_000  # PostgreSQL 12

# _STEPS[n] takes a schema from version n to n + 1. Add steps; never change one.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        # A session is found by the SHA-256 of its id: an index takes no long text.
        """
        CREATE TABLE session (
            key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest BYTEA NOT NULL UNIQUE,
            id TEXT NOT NULL,
            settings TEXT NOT NULL,
            messages BIGINT NOT NULL,
            events BIGINT NOT NULL,
            checksum BIGINT NOT NULL,
            scope TEXT,
            scope_digest BYTEA
        ) WITH (fillfactor = 80)
        """,
        "CREATE INDEX session_by_scope ON session (scope_digest, key)",
        """
        CREATE TABLE message (
            session BIGINT NOT NULL,
            index BIGINT NOT NULL,
            tokens BIGINT NOT NULL,
            body TEXT NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, index)
        )
        """,
        """
        CREATE TABLE event (
            session BIGINT NOT NULL,
            index BIGINT NOT NULL,
            kind TEXT COLLATE "C" NOT NULL,
            at BIGINT NOT NULL,
            body TEXT NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, index)
        )
        """,
        "CREATE INDEX event_by_kind ON event (session, kind, index)",
        # From here on derived from the transcripts: see `packed_index`.
        """
        CREATE TABLE indexed (
            session BIGINT PRIMARY KEY,
            format TEXT NOT NULL,
            generation BIGINT NOT NULL,
            size BIGINT NOT NULL,
            terms BIGINT NOT NULL,
            speakers BIGINT NOT NULL,
            postings BIGINT NOT NULL,
            checksum BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE posting (
            session BIGINT NOT NULL,
            term BYTEA NOT NULL,
            first BIGINT NOT NULL,
            number BIGINT NOT NULL,
            places BYTEA NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, term, first)
        )
        """,
        """
        CREATE TABLE fact (
            place BIGINT PRIMARY KEY,
            before BIGINT NOT NULL,
            entries BYTEA NOT NULL,
            checksum BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE speaker (
            session BIGINT NOT NULL,
            number BIGINT NOT NULL,
            name TEXT NOT NULL,
            first BIGINT NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, number)
        )
        """,
    ),
)

# What a user can do about each of the server's error codes; of classes, by their first two signs.
_ADVICE: dict[str, tuple[type[StoreError], str]] = {
    "25006": (
        StoreError,
        (
            "takes no writes (a standby, or a read-only role); connect to the primary. Nothing "
            "was written"
        ),
    ),
    "42501": (
        StoreError,
        (
            "refuses that to this user; let its owner GRANT USAGE on the schema, and SELECT, "
            "INSERT, UPDATE and DELETE on its tables. Nothing was written"
        ),
    ),
    "53100": (StoreError, "cannot grow, the disk is full; make room. Nothing was written"),
    "55P03": (
        StoreError,
        (
            "is locked by another transaction for longer than the timeout; end it "
            "(pg_stat_activity shows which), or open the store with a longer timeout. Nothing was "
            "written"
        ),
    ),
    "57014": (StoreError, "was told to stop, or took longer than its statement_timeout"),
    "42P01": (
        CorruptError,
        "misses a table, or hides it; GRANT USAGE on the schema, or restore a backup",
    ),
    "42703": (CorruptError, "misses a column that was there; restore a backup"),
    "22": (StoreError, "cannot hold that. Nothing was written"),
    "23": (CorruptError, "has rows that should not be there; restore a backup"),
    "40": (StoreError, "could not do two things at once; try again. Nothing was written"),
    "54": (StoreError, "cannot hold that. Nothing was written"),
    "XX": (CorruptError, "is damaged; restore a backup"),
}
_LOST = (
    "cannot be reached any more; what was being written is there whole or not at all: resume the "
    "session before it goes on"
)
_NEVER_REACHED = (
    "cannot be reached; check that the server runs, that the database exists (createdb makes one), "
    "and that user and password are right"
)


class Unreachable(StoreError):
    """The server could not be reached, or not any more. It may be back the next time."""


class Database:
    """A connection that is lent. In statements ``?`` stands for a value."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.in_snapshot = False

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Run a statement; several, parted by semicolons, where there are no values."""
        return self.connection.execute(_marked(statement), values or None, binary=bool(values))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> int:
        """Run a statement for each row, sent together; return how many rows it changed."""
        with self.connection.cursor() as cursor:
            cursor.executemany(_marked(statement), rows)
            return max(0, cursor.rowcount)


@lru_cache
def _marked(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


class _Slot:
    """Room for a connection, which is opened when it is first used.

    Attributes:
        owner: the thread that uses it now; None for nobody.
        db: the connection; None where there is none yet, or the last one was closed.
    """

    def __init__(self) -> None:
        self.owner: int | None = None
        self.db: Database | None = None

    def close(self) -> None:
        """Close the connection."""
        db, self.db = self.db, None
        if db is not None:
            db.connection.close()


class _Pool:
    """The connections of one process. An interrupt (Ctrl-C) at any moment loses none of them."""

    def __init__(self, most: int) -> None:
        self.pid = os.getpid()
        self.slots = [_Slot() for _ in range(most)]
        self.thread = local()  # .held: what it has borrowed
        self._lock = Lock()
        self._waiting = 0
        self._freed: SimpleQueue[None] = SimpleQueue()

    def take(self, timeout: float) -> _Slot | None:
        """Take a slot that nobody uses; None where none becomes free in time."""
        me, deadline = get_ident(), monotonic() + timeout
        while True:
            with self._lock:
                for slot in self.slots:
                    if slot.owner in (None, me):  # its own where an interrupt kept it from freeing
                        slot.owner = me
                        return slot
                self._waiting += 1
            try:
                self._freed.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                return None
            finally:
                with self._lock:
                    self._waiting -= 1

    def free(self, slot: _Slot) -> None:
        """Let others have a slot."""
        with self._lock:
            slot.owner = None
            if self._waiting:
                self._freed.put(None)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            for slot in self.slots:
                if slot.owner is None:
                    slot.close()


class PostgresServer:
    """A database on a server. Each thread that uses it has a connection for as long as it does.

    Connections are kept for the next that needs one. A forked child makes its own.

    Args:
        dsn: where it is; a URL or keywords, as libpq takes them.
        schema: the schema that our tables are in.
        timeout: seconds to wait for a lock, and for a connection to become free, >= 0.
        most: how many connections there may be, >= 1.
        read_only: whether to change nothing, not even a schema of an older release.

    Raises:
        ConfigError, MissingExtraError, StoreError, VersionError: see `PostgresStore`.
    """

    def __init__(
        self,
        dsn: str,
        schema: str = SCHEMA,
        timeout: float = 5.0,
        most: int = 10,
        *,
        read_only: bool = False,
    ) -> None:
        self._psycopg = _psycopg()
        if not timeout >= 0:
            raise ConfigError(f"timeout must be >= 0 seconds, got {timeout!r}")
        if type(most) is not int or most < 1:
            raise ConfigError(f"connections must be a whole number >= 1, got {most!r}")
        if type(schema) is not str or not _SCHEMA.fullmatch(schema):
            raise ConfigError(
                f"schema must be letters, digits and underscores, at most 63, got {schema!r:.80}"
            )
        self._schema = schema
        self._timeout = timeout
        self._most = most
        self._read_only = read_only
        self._parameters = self._read(dsn)
        self.name = _shown(self._parameters)
        self._closed = False
        self._pool = self._inherited = _Pool(most)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections that nobody uses now; those in use follow when they are free."""
        self._closed = True
        if self._pool.pid == os.getpid():  # a forked child leaves its parent's alone
            self._pool.close()

    # -- lending ----------------------------------------------------------------------------------

    @contextmanager
    def borrowed(self) -> Iterator[Database]:
        """Lend a connection to this thread; the same one where it holds one already."""
        if self._pool.pid != os.getpid():  # what was inherited is the parent's: kept, not used
            self._inherited, self._pool = self._pool, _Pool(self._most)
        pool = self._pool
        held: Database | None = getattr(pool.thread, "held", None)
        with self._translated():
            if held is not None:
                yield held
                return
            if self._closed:
                raise StoreError(f"the store {self.name} is closed; open it again")
            slot = pool.take(min(self._timeout, 1e6))
            if slot is None:
                raise StoreError(
                    f"all {self._most} connections to {self.name} are in use for longer than the "
                    "timeout; open the store with more connections"
                )
            try:
                held = pool.thread.held = self._ready(slot)
                yield held
            finally:
                pool.thread.held = None
                if not self._at_rest(slot) or self._closed:
                    slot.close()
                pool.free(slot)

    def _ready(self, slot: _Slot) -> Database:
        """Return a slot's connection, a new one where the server has closed the last meanwhile."""
        if slot.db is not None and (not self._at_rest(slot) or _has_news(slot.db.connection)):
            slot.close()
        if slot.db is None:
            slot.db = Database(self._connect())
        return slot.db

    def _at_rest(self, slot: _Slot) -> bool:
        """Whether a connection is open and in no transaction."""
        idle = self._psycopg.pq.TransactionStatus.IDLE
        return slot.db is not None and slot.db.connection.info.transaction_status == idle

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[Database]:
        """Write all or nothing."""
        with self.borrowed() as db:
            try:
                db.execute(begin)
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._roll_back(db)
                raise

    @contextmanager
    def passing(self) -> Iterator[Database]:
        """Write what can be made again, as `transaction` does; a server's crash may undo it."""
        with self.transaction("BEGIN; SET LOCAL synchronous_commit = off") as db:
            yield db

    @contextmanager
    def snapshot(self) -> Iterator[Database]:
        """Read what belongs together, while others may write."""
        with self.borrowed() as db:
            if db.in_snapshot:
                yield db
                return
            try:
                db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                db.in_snapshot = True
                yield db
            finally:
                db.in_snapshot = False
                self._roll_back(db)

    def _roll_back(self, db: Database) -> None:
        """End a transaction. A connection that cannot is closed when it is given back."""
        with suppress(self._psycopg.Error):
            if not db.connection.closed:
                db.execute("ROLLBACK")

    # -- reaching ---------------------------------------------------------------------------------

    def _read(self, dsn: str) -> dict[str, Any]:
        """Return a DSN's parameters with ours. What libpq says of it may quote a password."""
        if not isinstance(dsn, str):
            raise ConfigError(f"a DSN is text, got {type(dsn).__name__}")
        given = None
        if not _misplaces(dsn):
            with suppress(self._psycopg.Error, UnicodeError, ValueError):
                given = self._psycopg.conninfo.conninfo_to_dict(dsn)
        if given is None:
            raise ConfigError(
                "that is no DSN; it should look like postgresql://user:password@host:5432/database,"
                " with %-escapes for @, / and % in the password (it is not shown here)"
            )
        ours = {
            "search_path": f'"{self._schema}"',
            "lock_timeout": f"{max(1, round(1000 * min(self._timeout, 1e6)))}",
            "default_transaction_isolation": r"read\ committed",
            **({"default_transaction_read_only": "on"} if self._read_only else {}),
        }
        options = " ".join(
            ["-c synchronous_commit=on", str(given.get("options") or "")]
            + [f"-c {name}={value}" for name, value in ours.items()]
        )
        defaults = {"connect_timeout": 10, "application_name": "finite-memory"}
        return {**defaults, **given, "client_encoding": "UTF8", "options": options}

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection: psycopg.Connection[Any] = self._psycopg.connect(
                **self._parameters, autocommit=True
            )
        except self._psycopg.OperationalError as error:
            raise Unreachable(self._told(_NEVER_REACHED, error)) from error
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn psycopg's errors into ours."""
        try:
            yield
        except self._psycopg.Error as error:
            raise self._ours(error) from error

    def _ours(self, error: psycopg.Error) -> StoreError:
        code = error.sqlstate or ("22" if isinstance(error, self._psycopg.DataError) else "08")
        if code in ("57P01", "57P02", "57P03") or code.startswith("08"):
            return Unreachable(self._told(_LOST, error))
        kind, advice = _ADVICE.get(code) or _ADVICE.get(code[:2]) or (StoreError, "cannot be used")
        return kind(self._told(advice, error))

    def _told(self, advice: str, error: psycopg.Error) -> str:
        said = " ".join(str(error).split())
        return f"{self.name} {advice} ({error.sqlstate or type(error).__name__}: {said})"

    # -- preparing --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Check that the schema is ours, and bring it to our version."""
        with self.borrowed() as db:
            info = db.connection.info
            if info.server_version < _OLDEST:
                raise StoreError(f"{self.name} is older than PostgreSQL 12; upgrade it")
            encoding = info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise StoreError(
                    f"{self.name} keeps text as {encoding}, which not all text has a place in; "
                    "make a database with ENCODING 'UTF8'"
                )
            version = self._schema_version(db)
            if version < len(_STEPS) and self._read_only:
                raise StoreError(
                    f"schema {self._schema!r} of {self.name} has version {version}, and this "
                    f"release reads {len(_STEPS)}; open it once with a PostgresStore, which brings "
                    "it up"
                )
            if version < len(_STEPS):
                self._migrate()

    def _schema_version(self, db: Database) -> int:
        """Return the schema's version, 0 where it is new. Only reads."""
        tables = {
            name
            for (name,) in db.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = ? AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
                (self._schema,),
            )
        }
        if not tables:
            return 0
        if "finite_memory_version" not in tables:
            raise StoreError(
                f"schema {self._schema!r} of {self.name} is another application's; it was not "
                "touched. Name another schema"
            )
        # By its full name, so that a schema that this user may not use is told as such.
        newest = f'SELECT max(version) FROM "{self._schema}".finite_memory_version'
        row = db.execute(newest).fetchone()
        version = int(row[0]) if row and row[0] is not None else 0
        if version > len(_STEPS):
            raise VersionError(
                f"schema {self._schema!r} of {self.name} has version {version}, written by a newer "
                f"release; this one reads up to {len(_STEPS)}. Upgrade finite-memory-core; nothing "
                "was changed"
            )
        return version

    def _migrate(self) -> None:
        """Take the steps that the schema lacks, all or none; other processes wait."""
        with self.transaction() as db:
            second = crc32(self._schema.encode()) - (1 << 31)
            db.execute("SELECT pg_advisory_xact_lock(?::int, ?::int)", (_LOCK, second))
            version = self._schema_version(db)  # another process may have been here
            known = "SELECT 1 FROM pg_namespace WHERE nspname = ?"
            if db.execute(known, (self._schema,)).fetchone() is None:
                db.execute(f'CREATE SCHEMA "{self._schema}"')
            if version == 0:
                db.execute("CREATE TABLE finite_memory_version (version INTEGER NOT NULL)")
            for number, step in enumerate(_STEPS[version:], version + 1):
                for statement in step:
                    db.execute(statement)
                db.execute("INSERT INTO finite_memory_version VALUES (?)", (number,))


def digest(text: str) -> bytes:
    """Return what a session or a scope is found by. Text that none can have has one too."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _psycopg() -> ModuleType:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError(
            "PostgresStore needs psycopg, which is not installed or finds no libpq "
            f"({error}). Install it with: pip install 'finite-memory-core[postgres]'"
        ) from error
    return psycopg


def _misplaces(dsn: str) -> bool:
    """Whether a URL has an ``@`` where libpq would take half of a password for host or database."""
    url = re.match(r"postgres(?:ql)?://(?P<authority>[^/?]*)(?P<path>/[^?]*)?", dsn)
    return bool(url and (url["authority"].count("@") > 1 or "@" in (url["path"] or "")))


def _shown(parameters: Mapping[str, Any]) -> str:
    """Return where a database is, without its password."""
    place = str(parameters.get("host") or parameters.get("hostaddr") or "")
    if place.startswith("/"):
        place = place.replace("/", "%2F")
    user = f"{parameters['user']}@" if parameters.get("user") else ""
    port = f":{parameters['port']}" if parameters.get("port") else ""
    service = f"?service={parameters['service']}" if parameters.get("service") else ""
    return f"postgresql://{user}{place}{port}/{parameters.get('dbname') or ''}{service}"


def _has_news(connection: psycopg.Connection[Any]) -> bool:
    """Whether something came in that nobody asked for, which is how a server says goodbye."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
