"""The PostgreSQL store, on a server of its own: the contract, its schema, and what goes wrong."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from finite_memory_core import ConfigError, ConflictError, CorruptError, Memory, Message, StoreError
from finite_memory_core.errors import MissingExtraError, VersionError
from finite_memory_core.stores import (
    Counted,
    Event,
    PostgresStore,
    Store,
    Version,
    postgres,
    postgres_pool,
    postgres_schema,
    postgres_server,
)
from finite_memory_core.testing.stores import DurableStoreContract, counted

from .examples import some
from .postgres_cluster import SECRET, Cluster
from .test_store_sqlite import COUNTED, EVENTS, STEP, TwoStores

EMPTY = Version(0, 0)


class Place:
    """A schema of a test's own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.schema = cluster, cluster.schema()

    def open(self, user: str = "owner", **settings: float) -> PostgresStore:
        return PostgresStore(self.cluster.dsn(user), schema=self.schema, **settings)  # type: ignore[arg-type]

    def execute(self, statement: str) -> list[object]:
        """Run a statement as the superuser; ``{}`` stands for the schema."""
        return self.cluster.execute(statement.format(f'"{self.schema}".'))


@pytest.fixture
def place(postgres: Cluster) -> Place:
    return Place(postgres)


@pytest.fixture
def store(place: Place) -> Iterator[PostgresStore]:
    """Return a store with session ``s``: three messages and an event."""
    with place.open() as opened:
        opened.create("s", '{"budget": 1}')
        said = counted("alpha", "bravo", "charlie")
        opened.append("s", EMPTY, said, [Event("pin", 0, '"delta"')])
        yield opened


class TestPostgres(DurableStoreContract):
    """A store in a database keeps the contract."""

    @pytest.fixture(autouse=True)
    def _place(self, place: Place) -> None:
        self.place = place

    def open(self) -> Store:
        return self.place.open()


@settings(deadline=None, max_examples=some(50), suppress_health_check=list(HealthCheck))
@given(st.lists(COUNTED, max_size=4), st.lists(EVENTS, max_size=4))
def test_what_was_written_is_read(
    postgres: Cluster, messages: list[Counted], events: list[Event]
) -> None:
    """Any messages and events come back equal, and so do their dictionaries."""
    with PostgresStore(postgres.dsn(), schema="of_any_message") as store:
        store.delete("s")
        store.create("s", "{}")
        store.append("s", EMPTY, messages, events)
        read = list(store.messages("s"))
        assert messages == read
        assert [c.message.to_dict() for c in messages] == [c.message.to_dict() for c in read]
        assert events == list(store.events("s"))


class TwoKinds(TwoStores):
    """The same calls on a store in memory and on one in a database return and raise the same."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.place = Place(cluster)
        self.stores[1].close()
        self.stores[1] = self.place.open()

    @precondition(lambda self: self.stores[0].sessions())
    @rule()
    def reopen(self) -> None:
        self.stores[1].close()
        self.stores[1] = self.place.open()


def test_it_does_what_a_store_in_memory_does(postgres: Cluster) -> None:
    """Whatever is called, in whatever order."""
    run_state_machine_as_test(
        lambda: TwoKinds(postgres),  # type: ignore[arg-type]  # any factory will do
        settings=settings(max_examples=some(10), stateful_step_count=20, deadline=None),
    )


# Sessions and text


def test_a_long_id_is_an_id(store: PostgresStore) -> None:
    """An id that no index of a database takes names a session, and no other."""
    rng = random.Random(5)
    long = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(20_000))
    store.create(long, "{}")
    store.create(long + "x", "{}")
    store.set_scope(long, long)
    assert [long] == [session.id for session in store.scoped(long, 9)]
    with pytest.raises(ConflictError):
        store.create(long, "{}")


def test_the_text_is_readable_by_any_client(place: Place, store: PostgresStore) -> None:
    """Bodies are plain JSON text, so that no release of ours is needed to get them back."""
    assert [('{"role":"user","content":"alpha"}',)] == place.execute(
        "SELECT body FROM {}message WHERE index = 0"
    )


def test_what_the_database_cannot_hold_is_refused(store: PostgresStore) -> None:
    """An event with a NUL is an error, and nothing of its turn is written."""
    with pytest.raises(StoreError, match=r"cannot hold that\. Nothing was written"):
        store.append("s", Version(3, 1), counted("lost"), [Event("pin", 3, "a\0b")])
    assert Version(3, 1) == _version(store)


# The cost of a call


@pytest.mark.parametrize("kind", ["rare", "often", "none"])
def test_finding_the_last_event_does_not_scan(place: Place, kind: str) -> None:
    """The pages that are read to find the newest event of a kind hardly grow with the session."""
    read = []
    with place.open() as store:
        for name, count in (("short", 20), ("long", 20_000)):
            store.create(name, "{}")
            kinds = ("rare" if i == 0 else "often" for i in range(count))
            store.append(name, EMPTY, [], [Event(each, 0, "0") for each in kinds])
            place.execute("ANALYZE {}event")
            values = (kind, postgres_server.digest(name))
            read.append(_pages_read(store, postgres._LAST_EVENT, values))
    assert read[1] <= read[0] + 6


def test_reading_a_page_does_not_scan(place: Place) -> None:
    """To go on reading in the middle of a long session costs what it costs at its beginning."""
    with place.open() as store:
        store.create("s", "{}")
        store.append("s", EMPTY, counted(*["x" * 100] * 30_000), [])
        place.execute("ANALYZE {}message")
        key = store._head("s").key  # type: ignore[union-attr]
        first, later = (
            _pages_read(store, postgres._MESSAGES.page, (key, start, 30_000))
            for start in (0, 15_000)
        )
    assert later <= first + 6


def test_resuming_asks_little_of_the_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many blocks stand in the window makes no difference to how often it is asked."""
    asked: list[str] = []
    execute = postgres_pool.Database.execute

    def listening(
        db: postgres_pool.Database, statement: str, values: Sequence[object] = ()
    ) -> object:
        asked.append(statement)
        return execute(db, statement, values)

    monkeypatch.setattr(postgres_pool.Database, "execute", listening)
    counts = []
    with place.open() as store:
        for name, budget in (("narrow", 400), ("wide", 4_000)):
            memory = Memory(budget, store=store, session_id=name)
            memory.append(*(Message.user(f"This is message {i}, no more.") for i in range(1_000)))
            asked.clear()
            resumed = Memory.resume(store, name)
            counts.append(len(asked))
            assert memory.context().messages == resumed.context().messages
    assert counts[0] == counts[1]
    assert counts[0] <= 12


def _pages_read(store: PostgresStore, statement: str, values: tuple[object, ...]) -> int:
    """Return how many pages the server looks at for a statement."""
    with store._server.borrowed() as db:
        row = db.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


# The schema


def test_an_older_schema_is_brought_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema of an older release gets the steps that it lacks and keeps what it held."""
    with place.open() as store:
        store.create("s", "{}")
    steps = (*postgres_schema.STEPS, STEP)
    monkeypatch.setattr(postgres_server, "STEPS", steps)
    with place.open() as store:
        assert ["s"] == [session.id for session in store.sessions()]
    assert [("blue",)] == place.execute("SELECT colour FROM {}session")
    assert [(len(steps),)] == place.execute("SELECT max(version) FROM {}finite_memory_version")


def test_a_failed_migration_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are taken all or none."""
    with place.open() as store:
        store.create("s", "{}")
    broken = (*postgres_schema.STEPS, STEP, ("INSERT INTO nowhere VALUES (1)",))
    with monkeypatch.context() as patch:
        patch.setattr(postgres_server, "STEPS", broken)
        with pytest.raises(StoreError, match="nowhere"):
            place.open()
    with place.open() as store:
        assert ["s"] == [session.id for session in store.sessions()]
    columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}'"
    named = columns.format(place.schema)
    assert ("colour",) not in place.cluster.execute(named)


def test_a_newer_schema_is_refused(place: Place, store: PostgresStore) -> None:
    """A schema of a newer release is not touched."""
    place.execute("INSERT INTO {}finite_memory_version VALUES (99)")
    with pytest.raises(VersionError, match=r"has version 99.*Upgrade finite-memory-core"):
        place.open()


def test_another_applications_schema_is_left_alone(place: Place) -> None:
    """A schema with tables that are not ours is refused, and gets none of ours."""
    place.cluster.execute(f"CREATE SCHEMA {place.schema}")
    place.execute("CREATE TABLE {}session (id TEXT)")
    with pytest.raises(StoreError, match="is another application's; it was not touched"):
        place.open()
    tables = f"SELECT relname FROM pg_class WHERE relnamespace = '{place.schema}'::regnamespace"
    assert [("session",)] == place.cluster.execute(f"{tables} AND relkind = 'r'")


def test_stores_in_two_schemas_are_two_stores(place: Place, store: PostgresStore) -> None:
    """What is in one schema of a database is not in another."""
    with Place(place.cluster).open() as other:
        assert [] == other.sessions()


def test_many_processes_may_make_the_schema_at_once(place: Place) -> None:
    """Processes that open a schema that is not there yet all succeed, and share it."""
    script = (
        "import sys\n"
        "from finite_memory_core.stores import PostgresStore\n"
        "sys.stdin.readline()\n"
        "with PostgresStore(sys.argv[1], schema=sys.argv[2], timeout=60) as store:\n"
        "    store.create(sys.argv[3], '{}')\n"
    )
    command = [sys.executable, "-c", script, place.cluster.dsn(), place.schema]
    children = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, text=True) for name in "abcd"
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
    assert [0] * 4 == [child.returncode for child in children]
    with place.open() as store:
        assert set("abcd") == {session.id for session in store.sessions()}


# Who may do what


def test_a_reader_reads_and_writes_nothing(place: Place, store: PostgresStore) -> None:
    """A user with the right to read sees all; a write is refused, with what to grant."""
    place.cluster.let_read("reader", place.schema)
    with place.open("reader") as reading:
        assert counted("alpha", "bravo", "charlie") == list(reading.messages("s"))
        writes: list[Callable[[], object]] = [
            lambda: reading.create("t", "{}"),
            lambda: reading.append("s", Version(3, 1), counted("x"), []),
            lambda: reading.set_scope("s", "x"),
            lambda: reading.delete("s"),
        ]
        for write in writes:
            with pytest.raises(StoreError, match="refuses that to this user; let its owner GRANT"):
                write()
    assert Version(3, 1) == _version(store)


def test_a_stranger_is_told_what_is_missing(place: Place, store: PostgresStore) -> None:
    """A user without any right gets an error that says which to grant."""
    if not place.cluster.execute("SELECT 1 FROM pg_roles WHERE rolname = 'stranger'"):
        place.cluster.execute("CREATE ROLE stranger LOGIN")
    with pytest.raises(StoreError, match="refuses that to this user; let its owner GRANT USAGE"):
        place.open("stranger")
    with pytest.raises(StoreError, match="refuses that to this user"):
        Place(place.cluster).open("stranger")


def test_a_database_that_takes_no_writes_says_so(place: Place, store: PostgresStore) -> None:
    """What a standby answers to a write is an error that names the way out."""
    dsn = f"{place.cluster.dsn()}&options=-c%20default_transaction_read_only%3Don"
    with PostgresStore(dsn, schema=place.schema) as reading:
        assert 3 == len(list(reading.messages("s")))
        with pytest.raises(StoreError, match="takes no writes"):
            reading.append("s", Version(3, 1), counted("x"), [])


def test_a_turn_is_durable_whatever_the_server_defaults_to(place: Place) -> None:
    """A server that acknowledges before it has written is told not to, unless the DSN asks."""
    with place.open() as store, store._server.borrowed() as db:
        assert ("on",) == db.execute("SHOW synchronous_commit").fetchone()
    asked = f"{place.cluster.dsn()}&options=-c%20synchronous_commit%3Dremote_apply"
    with PostgresStore(asked, schema=place.schema) as store, store._server.borrowed() as db:
        assert ("remote_apply",) == db.execute("SHOW synchronous_commit").fetchone()


# Passwords


def test_a_password_opens_and_is_never_told(place: Place) -> None:
    """Neither repr, nor errors, nor their tracebacks tell it: right, wrong, or out of place."""
    cluster = place.cluster
    if not cluster.execute("SELECT 1 FROM pg_roles WHERE rolname = 'secretive'"):
        cluster.execute(f"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{SECRET}'")
    with PostgresStore(cluster.dsn("secretive", password=SECRET), schema=place.schema) as store:
        store.create("s", "{}")
        told = [repr(store)]
    assert told[0].startswith("PostgresStore('postgresql://secretive@")
    wrong = SECRET[::-1]
    bad = [
        cluster.dsn("secretive", password=wrong),
        cluster.dsn("secretive", "no_such", password=SECRET),
        f"postgresql://secretive:{SECRET}@/postgres",
        f"postgresql://secretive:{SECRET}@localhost:1/postgres",
        f"password={SECRET} nonsense",
        f"password={SECRET} host='",
        f"postgresql://x@localhost/{SECRET}?password={SECRET}",
        "postgresql://secretive:h0rse/ttery@localhost:1/x",
        "postgresql://secretive:h0rse/ttery@localhost:1/x?connect_timeout=2",
        "postgres://secretive:h0rse@ttery@localhost:1/x",
        "postgresql://secretive:h0rse:staple@localhost:1/x",
        "postgresql://secretive:h0rse?staple@localhost:1/x",
        "postgresql://secretive:h0rse#staple@localhost:1/x",
    ]
    for dsn in bad:
        with pytest.raises((StoreError, ConfigError)) as caught:
            PostgresStore(dsn, schema=place.schema)
        told.append("".join(traceback.format_exception(caught.value)))
    parts = (SECRET, wrong, "h0rse", "ttery", "staple")
    lines = [line for text in told for line in text.splitlines() if not line.startswith("    ")]
    assert [] == [line for line in lines if any(part in line for part in parts)]


# What goes wrong on the way


def test_a_password_may_stand_in_the_query(place: Place) -> None:
    """An ``@`` behind the question mark is no sign of a password that is out of place."""
    cluster = place.cluster
    if not cluster.execute("SELECT 1 FROM pg_roles WHERE rolname = 'secretive'"):
        cluster.execute(f"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{SECRET}'")
    dsn = f"{cluster.dsn('secretive')}&application_name=a@b&password={SECRET.replace('%', '%25')}"
    with PostgresStore(dsn, schema=place.schema) as store:
        assert [] == store.sessions()


@pytest.mark.parametrize("dsn", ["nonsense", "mysql://host/x", "postgresql://h/d?no_such=1", 7])
def test_what_is_no_dsn_is_refused(postgres: Cluster, dsn: str) -> None:
    """Text that libpq does not take is a ConfigError that shows how one looks."""
    with pytest.raises(ConfigError, match="DSN"):
        PostgresStore(dsn)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"timeout": -1}, "timeout must be >= 0"),
        ({"timeout": float("nan")}, "timeout must be >= 0"),
        ({"connections": 0}, "connections must be"),
        ({"connections": True}, "connections must be"),
        ({"schema": 'x"; DROP'}, "schema must be"),
        ({"schema": ""}, "schema must be"),
        ({"schema": "x" * 64}, "schema must be"),
    ],
)
def test_what_cannot_be_set_is_refused(
    postgres: Cluster, wrong: dict[str, object], told: str
) -> None:
    """An argument that is out of range is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=told):
        PostgresStore(postgres.dsn(), **wrong)  # type: ignore[arg-type]


def test_no_server_and_no_database_are_told(postgres: Cluster) -> None:
    """Where nothing answers, or there is no such database, the error says so."""
    with pytest.raises(StoreError, match=r"cannot be reached; check.*no_such"):
        PostgresStore(postgres.dsn(database="no_such"))
    with pytest.raises(StoreError, match="cannot be reached; check that the server runs"):
        PostgresStore("postgresql://localhost:1/x")


def test_a_database_of_another_encoding_is_refused(postgres: Cluster) -> None:
    """Where not all text has a place, nothing is put."""
    postgres.execute("CREATE DATABASE western ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"keeps text as LATIN1.*ENCODING 'UTF8'"):
        PostgresStore(postgres.dsn(database="western"))


def test_without_psycopg_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing driver is a MissingExtraError that says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'finite-memory-core\[postgres\]'"):
        PostgresStore("postgresql://localhost/x")


def test_a_connection_that_was_lost_while_idle_is_replaced(
    place: Place, store: PostgresStore
) -> None:
    """Nobody notices that a connection ended which nobody used."""
    place.cluster.cut_connections()
    assert Version(3, 1) == _version(store)


def test_a_connection_that_is_lost_in_a_turn_is_told_and_the_store_goes_on(
    place: Place, store: PostgresStore
) -> None:
    """Nothing of the turn is written, the error says what to do, and the next call connects."""

    def turn() -> None:
        with store._server.transaction() as db:
            db.execute("UPDATE session SET messages = 99")
            place.cluster.cut_connections()
            db.execute("UPDATE session SET events = 99")

    with pytest.raises(StoreError, match=r"cannot be reached any more.*resume the session"):
        turn()
    store.append("s", Version(3, 1), counted("delta"), [])
    assert Version(4, 1) == _version(store)


def test_a_server_that_crashes_and_comes_back_has_all_that_was_acknowledged(
    place: Place, store: PostgresStore
) -> None:
    """While it is away a turn fails and leaves the memory as it was; then it goes on."""
    memory = Memory(400, store=store, session_id="m")
    memory.append(Message.user("One."), Message.assistant("Two."))
    before = memory.context().messages
    place.cluster.stop("immediate")
    try:
        with pytest.raises(StoreError, match="cannot be reached"):
            memory.append(Message.user("Three."))
    finally:
        place.cluster.start()
    assert before == memory.context().messages
    memory.append(Message.user("Three."))
    assert ["One.", "Two.", "Three."] == [c.message.text for c in store.messages("m")]
    assert counted("alpha", "bravo", "charlie") == list(store.messages("s"))


def test_a_session_that_another_program_holds_is_told(place: Place, store: PostgresStore) -> None:
    """A writer waits no longer than the timeout, and writes nothing then."""
    with place.open(timeout=0.05) as other, store._server.transaction() as db:
        db.execute("SELECT 1 FROM session FOR UPDATE")
        with pytest.raises(StoreError, match="is locked by another transaction"):
            other.append("s", Version(3, 1), counted("x"), [])
        assert 3 == len(list(other.messages("s")))
    assert Version(3, 1) == _version(store)


@pytest.mark.parametrize(
    ("damage", "read", "told"),
    [
        (
            "UPDATE {}message SET body = replace(body, 'bravo', 'brav0')",
            lambda s: list(s.messages("s")),
            "message 1 of session 's'.*its checksum differs",
        ),
        (
            "UPDATE {}message SET tokens = 1 WHERE index = 2",
            lambda s: s.pick("s", [2]),
            "message 2 of session 's'.*its checksum differs",
        ),
        (
            "DELETE FROM {}message WHERE index = 1",
            lambda s: list(s.messages("s")),
            "message 1 of session 's' is missing",
        ),
        (
            "DELETE FROM {}message WHERE index = 2",
            lambda s: list(s.messages("s")),
            "message 2 of session 's' is missing",
        ),
        (
            "UPDATE {}event SET body = '1'",
            lambda s: s.last_event("s", "pin"),
            "event 0 of session 's'.*its checksum differs",
        ),
        (
            "UPDATE {}session SET settings = '1'",
            lambda s: s.session("s"),
            "the head of session 's'.*its checksum differs",
        ),
        ("DROP TABLE {}message", lambda s: list(s.messages("s")), "misses a table"),
        (
            "DELETE FROM {}message WHERE index = 1",
            lambda s: s.erase("s", Version(3, 1), dict.fromkeys([1], counted("x")[0]), {}, []),
            "message 1 of session 's' is missing",
        ),
    ],
)
def test_damage_is_found_when_it_is_read(
    place: Place,
    store: PostgresStore,
    damage: str,
    read: Callable[[PostgresStore], object],
    told: str,
) -> None:
    """Rows that are not what was written are never taken for it."""
    place.execute(damage)
    with pytest.raises(CorruptError, match=told):
        read(store)


def test_a_session_that_is_deleted_while_it_is_read_is_told(store: PostgresStore) -> None:
    """A reader that is overtaken by a deletion gets an error, not the half of it."""
    long = [Counted(Message.user("x" * 10_000), 1)] * 100
    store.append("s", Version(3, 1), long, [])
    reading = store.messages("s")
    next(reading)
    store.delete("s")
    with pytest.raises(StoreError, match="was deleted while it was being read"):
        list(reading)


# Threads and forks


def test_more_threads_than_connections_take_turns(place: Place, store: PostgresStore) -> None:
    """Threads wait for a connection; where none becomes free in time, the error says so."""
    with place.open(connections=2) as few:
        done: list[int] = []

        def work() -> None:
            for number in range(20):
                assert few.session("s") is not None
                done.append(number)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 160 == len(done)
    with place.open(connections=1, timeout=0.01) as one, one._server.borrowed():
        failures: list[str] = []

        def fail() -> None:
            try:
                one.session("s")
            except StoreError as error:
                failures.append(str(error))

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert "all 1 connections" in failures[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_connections_of_its_own(place: Place, store: PostgresStore) -> None:
    """A server that forks its workers hands the store on; both go on, also when one closes."""
    script = (
        "import os, sys\n"
        "from finite_memory_core.stores import PostgresStore\n"
        "with PostgresStore(sys.argv[1], schema=sys.argv[2]) as store:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        store.create('child', '{}')\n"
        "        store.close()\n"
        "        os._exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    store.create('parent', '{}')\n"
    )
    arguments = [place.cluster.dsn(), place.schema]
    subprocess.run([sys.executable, "-W", "error", "-c", script, *arguments], check=True)
    assert ["s", "child", "parent"] == [session.id for session in store.sessions()]


def test_a_closed_store_says_so(place: Place) -> None:
    """Every use of a closed store raises StoreError."""
    store = place.open()
    store.close()
    calls: list[Callable[[], object]] = [
        lambda: store.create("s", "{}"),
        lambda: store.session("s"),
        store.sessions,
        lambda: store.append("s", EMPTY, [], []),
        lambda: list(store.messages("s")),
        lambda: store.last_event("s", "pin"),
        lambda: store.delete("s"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="is closed; open it again"):
            call()


def _version(store: Store) -> Version:
    session = store.session("s")
    assert session is not None
    return session.version
