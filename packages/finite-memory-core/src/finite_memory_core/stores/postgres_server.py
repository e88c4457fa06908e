"""A PostgreSQL database of ours: reached, checked, brought to our schema, and lent to threads.

All that psycopg raises is turned into our errors here, and no password comes into one. This module
knows nothing of what is kept in the tables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..errors import ConfigError, CorruptError, MissingExtraError, StoreError, VersionError
from .postgres_pool import Database, Pool, Slot, has_news
from .postgres_schema import STEPS

if TYPE_CHECKING:
    import psycopg

SCHEMA = "finite_memory"
"""The schema that the tables are in unless another is named."""
_LOCK = 0x464D454D  # "FMEM", the first half of the advisory lock that migrations hold
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OLDEST = 120_000  # PostgreSQL 12

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
        self._pool = self._inherited = Pool(most)
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
            self._inherited, self._pool = self._pool, Pool(self._most)
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

    def _ready(self, slot: Slot) -> Database:
        """Return a slot's connection, a new one where the server has closed the last meanwhile."""
        if slot.db is not None and (not self._at_rest(slot) or has_news(slot.db.connection)):
            slot.close()
        if slot.db is None:
            slot.db = Database(self._connect())
        return slot.db

    def _at_rest(self, slot: Slot) -> bool:
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
            if version < len(STEPS) and self._read_only:
                raise StoreError(
                    f"schema {self._schema!r} of {self.name} has version {version}, and this "
                    f"release reads {len(STEPS)}; open it once with a PostgresStore, which brings "
                    "it up"
                )
            if version < len(STEPS):
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
        if version > len(STEPS):
            raise VersionError(
                f"schema {self._schema!r} of {self.name} has version {version}, written by a newer "
                f"release; this one reads up to {len(STEPS)}. Upgrade finite-memory-core; nothing "
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
            for number, step in enumerate(STEPS[version:], version + 1):
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
