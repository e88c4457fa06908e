"""The SQLite store: the contract, equality with the in-memory store, its schema, its threads."""

from __future__ import annotations

import os
import sqlite3
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from finite_memory_core.errors import ConfigError, FiniteMemoryError, StoreError, VersionError
from finite_memory_core.messages import Message, ToolCall
from finite_memory_core.stores import (
    Counted,
    Event,
    InMemoryStore,
    SQLiteStore,
    Store,
    Version,
    sqlite_file,
)
from finite_memory_core.testing.stores import DurableStoreContract, StoreContract, counted

from .examples import some


class TestSQLiteFile(DurableStoreContract):
    """A store in a file keeps the contract."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "store.db"

    def open(self) -> Store:
        return SQLiteStore(self.path)


class TestSQLiteInMemory(StoreContract):
    """A store without a file keeps the contract."""

    def open(self) -> Store:
        return SQLiteStore(":memory:")


# Round trips

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
TIMES = st.datetimes() | st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 1, 1),
    timezones=st.integers(-1_439, 1_439).map(lambda m: timezone(timedelta(minutes=m))),
)
CALLS = st.builds(ToolCall, TEXT, TEXT, TEXT, st.sampled_from(["function", "custom"]))
PARTS = st.lists(
    st.dictionaries(TEXT, JSON, max_size=2).map(lambda part: {**part, "type": "text"}), min_size=1
)
MESSAGES = (
    st.builds(
        Message,
        st.sampled_from(["system", "developer", "user", "assistant"]),
        TEXT | PARTS,
        name=st.none() | TEXT,
        timestamp=st.none() | TIMES,
        pinned=st.booleans(),
        metadata=st.dictionaries(TEXT, JSON, max_size=2),
    )
    | st.builds(Message.tool, TEXT | PARTS, tool_call_id=TEXT)
    | st.builds(Message.assistant, tool_calls=st.lists(CALLS, min_size=1, max_size=3).map(tuple))
)
COUNTED = st.builds(Counted, MESSAGES, st.integers(0, 2**32 - 1))
EVENTS = st.builds(Event, st.sampled_from(["pin", "usage", "ключ"]), st.integers(0, 2**40), TEXT)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(COUNTED, max_size=4), st.lists(EVENTS, max_size=4))
def test_what_was_written_is_read(messages: list[Counted], events: list[Event]) -> None:
    """Any messages and events come back equal, and so do their dictionaries."""
    with SQLiteStore(":memory:") as store:
        store.create("s", "{}")
        store.append("s", Version(0, 0), messages, events)
        read = list(store.messages("s"))
        assert messages == read
        assert [c.message.to_dict() for c in messages] == [c.message.to_dict() for c in read]
        assert events == list(store.events("s"))


# Equality with the in-memory store

IDS = st.sampled_from(["a", "b", "ü"])


class TwoStores(RuleBasedStateMachine):
    """The same calls on both stores return the same and raise the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "store.db"
        self.stores: list[Store] = [InMemoryStore(), SQLiteStore(self.path)]

    def both(self, call: Callable[[Store], object]) -> Any:
        ours, theirs = (_outcome(call, store) for store in self.stores)
        assert ours == theirs
        return ours

    @rule(id_=IDS, body=TEXT)
    def create(self, id_: str, body: str) -> None:
        self.both(lambda store: store.create(id_, body))

    @rule(id_=IDS, messages=st.lists(COUNTED, max_size=3), events=st.lists(EVENTS, max_size=3))
    def append(self, id_: str, messages: list[Counted], events: list[Event]) -> None:
        session = self.stores[0].session(id_)
        version = session.version if session else Version(0, 0)
        self.both(lambda store: store.append(id_, version, messages, events))

    @rule(id_=IDS, version=st.builds(Version, st.integers(0, 5), st.integers(0, 5)))
    def append_at(self, id_: str, version: Version) -> None:
        self.both(lambda store: store.append(id_, version, counted("x"), [Event("pin", 0, "0")]))

    @rule(id_=IDS)
    def delete(self, id_: str) -> None:
        self.both(lambda store: store.delete(id_))

    @rule(id_=IDS, start=st.integers(0, 9), stop=st.none() | st.integers(0, 9))
    def read(self, id_: str, start: int, stop: int | None) -> None:
        self.both(lambda store: list(store.messages(id_, start, stop)))
        self.both(lambda store: list(store.events(id_, start)))

    @rule(id_=IDS, kind=st.sampled_from(["pin", "usage", "ключ", "none"]))
    def last_event(self, id_: str, kind: str) -> None:
        self.both(lambda store: store.last_event(id_, kind))

    @precondition(lambda self: self.stores[0].sessions())
    @rule()
    def reopen(self) -> None:
        self.stores[1].close()
        self.stores[1] = SQLiteStore(self.path)

    @invariant()
    def same_sessions(self) -> None:
        self.both(lambda store: store.sessions())

    def teardown(self) -> None:
        self.stores[1].close()
        self.folder.cleanup()


def _outcome(call: Callable[[Store], object], store: Store) -> object:
    try:
        return call(store)
    except FiniteMemoryError as error:
        return type(error), str(error)


TwoStores.TestCase.settings = settings(max_examples=some(40), stateful_step_count=25, deadline=None)
TestTwoStores = TwoStores.TestCase


# Files


def test_a_store_is_one_file_when_closed(tmp_path: Path) -> None:
    """Closing folds the write-ahead log into the file."""
    with SQLiteStore(tmp_path / "store.db") as store:
        store.create("s", "{}")
        assert "store.db-wal" in os.listdir(tmp_path)
    assert os.listdir(tmp_path) == ["store.db"]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A file of length zero is a new store."""
    path = tmp_path / "store.db"
    path.touch()
    with SQLiteStore(path) as store:
        store.create("s", "{}")
    with SQLiteStore(path) as store:
        assert [session.id for session in store.sessions()] == ["s"]


@pytest.mark.parametrize("name", ["file:x?mode=ro", "a b%20c.db", "naïve 名.db", "-x", "#?&"])
def test_any_file_name_is_a_name(tmp_path: Path, name: str) -> None:
    """A path is a path, never a URI or an option."""
    with SQLiteStore(tmp_path / name) as store:
        store.create("s", "{}")
    assert [name] == os.listdir(tmp_path)


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the working directory does not move an open store."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("store.db") as store:
        monkeypatch.chdir("/")
        store.create("s", "{}")
        assert repr(str(tmp_path / "store.db")) in repr(store)


def test_deleted_words_are_gone_from_the_disk(tmp_path: Path) -> None:
    """After delete neither the file nor its log holds what was said."""
    ids = ["first", "second", "third", "fourth"]
    with SQLiteStore(tmp_path / "store.db") as store:
        for id_ in ids:
            store.create(id_, "{}")
            events = [Event("pin", 0, f"the {id_} event")]
            store.append(id_, Version(0, 0), counted(*[f"the {id_} secret"] * 500), events)
        while ids:
            assert all(f"the {id_} secret".encode() in _bytes_in(tmp_path) for id_ in ids)
            gone = ids.pop(0)
            store.delete(gone)
            assert f"the {gone}".encode() not in _bytes_in(tmp_path)
        with store._file.borrowed() as db:
            for table in ("session", "message", "event"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]


def _bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_every_transaction_is_synced(tmp_path: Path) -> None:
    """The file is in write-ahead-log mode, and a commit waits for the disk."""
    with SQLiteStore(tmp_path / "store.db") as store, store._file.borrowed() as db:
        found = [
            sqlite_file.pragma(db, name) for name in ("journal_mode", "synchronous", "fullfsync")
        ]
    assert found == [b"wal", 2, 1]


def test_the_text_is_readable_by_any_sqlite(tmp_path: Path) -> None:
    """Bodies are plain JSON text, so that no release of ours is needed to get them back."""
    with SQLiteStore(tmp_path / "store.db") as store:
        store.create("s", "{}")
        store.append("s", Version(0, 0), counted("naïve 名"), [])
    db = sqlite3.connect(tmp_path / "store.db")
    assert db.execute("SELECT body FROM message").fetchall() == [
        ('{"role":"user","content":"naïve 名"}',)
    ]
    db.close()


# The cost of a call


@pytest.mark.parametrize("kind", ["rare", "often"])
def test_finding_the_last_event_does_not_scan(kind: str) -> None:
    """The work to find the newest event of a kind hardly grows with the session."""
    assert _steps_to_find(kind, 20_000) <= 2 * _steps_to_find(kind, 20)


def _steps_to_find(kind: str, events: int) -> int:
    with SQLiteStore(":memory:") as store:
        store.create("s", "{}")
        rows = [Event("rare" if i == 0 else "often", 0, "0") for i in range(events)]
        store.append("s", Version(0, 0), [], rows)
        return _steps(store, lambda: store.last_event("s", kind))


def test_appending_does_not_scan() -> None:
    """An append takes as many of SQLite's steps in a long session as in a short one."""
    steps = []
    for length in (10, 20_000):
        with SQLiteStore(":memory:") as store:
            store.create("s", "{}")
            store.append("s", Version(0, 0), counted(*["x"] * length), [])
            version = Version(length, 0)
            steps.append(
                _steps(store, lambda s=store, v=version: s.append("s", v, counted("y"), []))  # type: ignore[misc]
            )
    assert steps[0] == steps[1]


def _steps(store: SQLiteStore, call: Callable[[], object]) -> int:
    """Return how many instructions SQLite's virtual machine ran during `call`."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    with store._file.borrowed() as db:
        db.set_progress_handler(tick, 1)
        call()
        db.set_progress_handler(None, 1)
    return count


# Schema versions

STEP = ("ALTER TABLE session ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'",)


def _file_of_this_release(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create("s", '{"budget": 1}')
        store.append("s", Version(0, 0), counted("hello"), [Event("pin", 0, "0")])


def test_an_older_schema_is_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an older release gets the steps that it lacks and keeps what it held."""
    path = tmp_path / "store.db"
    _file_of_this_release(path)
    monkeypatch.setattr(sqlite_file, "_STEPS", (*sqlite_file._STEPS, STEP))
    with SQLiteStore(path) as store, store._file.borrowed() as db:
        assert counted("hello") == list(store.messages("s"))
        assert db.execute("SELECT colour FROM session").fetchall() == [(b"blue",)]
        assert len(sqlite_file._STEPS) == sqlite_file.pragma(db, "user_version")


def test_a_failed_migration_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are taken all or none."""
    path = tmp_path / "store.db"
    _file_of_this_release(path)
    with monkeypatch.context() as patch:
        patch.setattr(
            sqlite_file, "_STEPS", (*sqlite_file._STEPS, STEP, ("INSERT INTO nowhere VALUES (1)",))
        )
        with pytest.raises(StoreError, match="no such table: nowhere"):
            SQLiteStore(path)
    with SQLiteStore(path) as store, store._file.borrowed() as db:
        assert counted("hello") == list(store.messages("s"))
        assert len(sqlite_file._STEPS) == sqlite_file.pragma(db, "user_version")
        assert b"colour" not in [row[1] for row in db.execute("PRAGMA table_info(session)")]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer release is not touched."""
    path = tmp_path / "store.db"
    _file_of_this_release(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(VersionError, match=r"schema version 99.*Upgrade finite-memory-core"):
        SQLiteStore(path)
    assert before == path.read_bytes()


# Threads, processes, arguments


def test_many_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    """Processes that open a file that is not there yet all succeed, and share it."""
    script = (
        "import sys\n"
        "from finite_memory_core.stores import SQLiteStore\n"
        "sys.stdin.readline()\n"
        "with SQLiteStore(sys.argv[1], timeout=60) as store:\n"
        "    store.create(sys.argv[2], '{}')\n"
    )
    path = tmp_path / "store.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), name], stdin=subprocess.PIPE, text=True
        )
        for name in string.ascii_lowercase[:6]
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0] * 6
    with SQLiteStore(path) as store:
        assert set("abcdef") == {session.id for session in store.sessions()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_must_open_its_own(tmp_path: Path) -> None:
    """A store that crossed a fork refuses to work in the child, and still works in the parent."""
    script = (
        "import os, sys\n"
        "from finite_memory_core.stores import SQLiteStore\n"
        "with SQLiteStore(sys.argv[1]) as store:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            store.create('child', '{}')\n"
        "        except Exception as error:\n"
        "            os.write(1, f'{type(error).__name__}: {error}'.encode())\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    store.create('parent', '{}')\n"
        "    os.write(1, f' {[session.id for session in store.sessions()]}'.encode())\n"
    )
    output = subprocess.check_output(
        [sys.executable, "-c", script, tmp_path / "store.db"], text=True
    )
    assert output.startswith("StoreError: ")
    assert "SQLite cannot cross a fork; open it again in process" in output
    assert output.endswith(" ['parent']")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Every use of a closed store raises StoreError."""
    store = SQLiteStore(tmp_path / "store.db")
    store.close()
    calls: list[Callable[[], object]] = [
        lambda: store.create("s", "{}"),
        lambda: store.session("s"),
        store.sessions,
        lambda: store.append("s", Version(0, 0), [], []),
        lambda: list(store.messages("s")),
        lambda: list(store.events("s")),
        lambda: store.last_event("s", "pin"),
        lambda: store.delete("s"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"store.db is closed; open it again"):
            call()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_is_not_negative(timeout: float) -> None:
    """A timeout that is no length of time is refused."""
    with pytest.raises(ConfigError, match=r"timeout must be >= 0 seconds, got"):
        SQLiteStore(":memory:", timeout=timeout)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_is_text(path: str) -> None:
    """A path that no file can have is refused."""
    with pytest.raises(ConfigError, match="must be text without NUL"):
        SQLiteStore(path)


def test_sqlite_is_imported_when_it_is_asked_for() -> None:
    """Importing the stores imports neither the SQLite store nor, through it, sqlite3."""
    script = (
        "import sys, finite_memory_core.stores as stores\n"
        "print('finite_memory_core.stores.sqlite' in sys.modules)\n"
        "print(stores.SQLiteStore.__module__, 'SQLiteStore' in dir(stores))\n"
        "print(hasattr(stores, 'NoSuchStore'))\n"
    )
    output = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert output.split("\n")[:3] == ["False", "finite_memory_core.stores.sqlite True", "False"]
