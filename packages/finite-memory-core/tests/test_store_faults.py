"""What goes wrong with files: each fault has its error, its advice, and leaves the store sound."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finite_memory_core.errors import CorruptError, StoreError
from finite_memory_core.stores import Event, SQLiteStore, Version, sqlite, sqlite_file
from finite_memory_core.testing.stores import counted

from . import store_writer

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file permissions and limits")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a closed store's file: session ``s`` with three messages and an event."""
    path = tmp_path / "store.db"
    with SQLiteStore(path) as store:
        store.create("s", '{"budget": 1}')
        store.append(
            "s", Version(0, 0), counted("alpha", "bravo", "charlie"), [Event("pin", 0, '"delta"')]
        )
    return path


# Not a store


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A path that names a directory asks for a file in it."""
    with pytest.raises(StoreError, match=r"is a directory; name a file in it"):
        SQLiteStore(tmp_path)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    """A path into a directory that is not there names that directory, and makes nothing."""
    with pytest.raises(StoreError, match=r"there is no directory .*missing; make it first"):
        SQLiteStore(tmp_path / "missing" / "store.db")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"x", b"Dear diary,\n" * 1_000, bytes(range(256)) * 64])
def test_other_bytes_are_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file that is no database stays as it is, and nothing is put beside it."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=r"notes.txt is no SQLite database; it was not touched"):
        SQLiteStore(path)
    assert content == path.read_bytes()
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("statement", [
    "CREATE TABLE session (id TEXT)", "PRAGMA application_id = 7", "PRAGMA user_version = 1",
])  # fmt: skip
def test_another_applications_database_is_left_alone(tmp_path: Path, statement: str) -> None:
    """A sound database that is not ours is refused without a byte changed."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute(statement)
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"other.db is another application's database"):
        SQLiteStore(path)
    assert before == path.read_bytes()


# Damage


def test_a_truncated_file_is_refused(path: Path) -> None:
    """A file whose end is missing is not opened."""
    content = path.read_bytes()
    for size in (1, 20, 100, 4_096, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(CorruptError, match=r"store.db is (damaged|no SQLite database)"):
            SQLiteStore(path)
        assert content[:size] == path.read_bytes()


def test_a_file_of_zeros_is_refused(path: Path) -> None:
    """A file whose content a crash turned into zeros is not taken for a new one."""
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CorruptError, match=r"store.db is no SQLite database"):
        SQLiteStore(path)


def test_a_damaged_page_is_refused(path: Path) -> None:
    """Structure that is broken is found on opening."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"charlie") // 4_096 * 4_096
    content[start + 8 : start + 16] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=r"store.db is damaged; restore a backup"):
        SQLiteStore(path)


def test_a_large_file_opens_without_reading_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit, damage is found when the damaged part is read."""
    path.write_bytes(path.read_bytes().replace(b"bravo", b"brav0"))
    monkeypatch.setattr(sqlite_file, "_CHECKED_BYTES", 0)
    with SQLiteStore(path) as store:
        assert counted("alpha") == list(store.messages("s", 0, 1))
        with pytest.raises(CorruptError):
            list(store.messages("s"))


@pytest.mark.parametrize(
    ("word", "read", "error"),
    [
        (
            b"bravo",
            lambda s: list(s.messages("s")),
            "message 1 of session 's' in .*store.db is not",
        ),
        (b"delta", lambda s: list(s.events("s")), "event 0 of session 's' in .*store.db is not"),
        (b"delta", lambda s: s.last_event("s", "pin"), "event 0 of session 's' in .*store.db is n"),
        (b"budget", lambda s: s.session("s"), "the head of session 's' in .*store.db is not"),
        (b"budget", lambda s: s.sessions(), "the head of session 's' in .*store.db is not"),
    ],
)
@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_named(
    path: Path, word: bytes, read: Callable[[SQLiteStore], object], error: str, bit: int
) -> None:
    """Where a row is not what was written, reading it says which row of which session."""
    content = bytearray(path.read_bytes())
    content[content.rindex(word)] ^= 1 << bit
    path.write_bytes(content)
    with SQLiteStore(path) as store, pytest.raises(CorruptError, match=error):
        read(store)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE message SET body = replace(body, 'bravo', 'BRAVO')", "message 1 of .* checksum"),
        ("UPDATE message SET body = 5 WHERE body LIKE '%bravo%'", "message 1 of .* checksum"),
        ("UPDATE message SET tokens = tokens + 1 WHERE tokens = 7", "message 2 of .* checksum"),
        ("UPDATE message SET tokens = 'x' WHERE tokens = 7", "message 2 of .* checksum"),
        ("DELETE FROM message WHERE body LIKE '%bravo%'", "message 1 of .* is missing"),
        ("DELETE FROM message WHERE body LIKE '%charlie%'", "message 2 of .* is missing"),
        ("UPDATE session SET messages = 2", "the head of session 's'"),
        ("UPDATE session SET id = CAST(id AS BLOB)", None),
        ("UPDATE event SET at = 3", "event 0 of .* checksum"),
        ("UPDATE event SET kind = 'x'", "event 0 of .* checksum"),
    ],
)
def test_an_edited_row_is_refused(path: Path, statement: str, error: str | None) -> None:
    """What other programs changed is noticed, and nothing of it is returned as ours."""
    db = sqlite3.connect(path)
    with db:
        db.execute(statement)
    db.close()
    with SQLiteStore(path) as store:
        if error is None:
            assert None is store.session("s")
            return
        with pytest.raises(CorruptError, match=error):
            _ = list(store.messages("s")), list(store.events("s"))


@pytest.mark.parametrize("body", ["", "[]", "{", '{"role": "nobody", "content": "x"}'])
def test_a_row_that_holds_no_message_is_refused(path: Path, body: str) -> None:
    """A row whose checksum is right but whose text is no message is still not returned."""
    db = sqlite3.connect(path)
    with db:
        checksum = sqlite._checksum(1, 5, body)
        statement = "UPDATE message SET body = ?, checksum = ? WHERE body LIKE '%bravo%'"
        assert db.execute(statement, (body, checksum)).rowcount == 1
    db.close()
    with SQLiteStore(path) as store, pytest.raises(CorruptError, match="message 1 of session 's'"):
        list(store.messages("s"))


def test_swapped_rows_are_refused(path: Path) -> None:
    """Two rows that changed places are not what was written."""
    db = sqlite3.connect(path)
    with db:
        bodies = db.execute("SELECT body, checksum, tokens, place FROM message").fetchall()
        for row, (*_, place) in zip(bodies[::-1], bodies, strict=True):
            statement = "UPDATE message SET body = ?, checksum = ?, tokens = ? WHERE place = ?"
            db.execute(statement, (*row[:3], place))
    db.close()
    with SQLiteStore(path) as store, pytest.raises(CorruptError, match="message 0 of session 's'"):
        list(store.messages("s"))


def test_a_row_too_many_is_refused_on_append(path: Path) -> None:
    """An append does not overwrite a row that should not be there, and changes nothing."""
    db = sqlite3.connect(path)
    with db:
        db.execute("INSERT INTO message SELECT max(place) + 1, 1, 'x', 1 FROM message")
    db.close()
    with SQLiteStore(path) as store:
        with pytest.raises(CorruptError, match=r"store.db has rows that should not be there"):
            store.append("s", Version(3, 1), counted("new"), [])
        assert counted("alpha", "bravo", "charlie") == list(store.messages("s"))


def test_a_session_deleted_while_it_is_read(path: Path) -> None:
    """A reader whose session goes away is told so; the file is not called damaged."""
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        store.append("s", Version(3, 1), counted(*["long " * 1_000] * 500), [])
        reading = store.messages("s")
        next(reading)
        other.delete("s")
        other.create("s", "{}")
        with pytest.raises(StoreError, match="session 's' was deleted while it was being read"):
            list(reading)


@POSIX
def test_a_file_that_was_removed_takes_no_more(path: Path) -> None:
    """A file that was removed or replaced under an open store is not written in vain."""
    with SQLiteStore(path) as store:
        path.rename(path.with_name("elsewhere.db"))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"store.db was removed or replaced since it was"):
                store.append("s", Version(3, 1), counted("lost"), [])
            path.touch()
        assert counted("alpha", "bravo", "charlie") == list(store.messages("s"))


# Locked


def test_a_locked_file_says_so_and_works_again(path: Path) -> None:
    """While another program holds the write lock, appends fail; reads and later appends work."""
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder,
        SQLiteStore(path, timeout=0.05) as store,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        calls: list[Callable[[], object]] = [
            lambda: store.append("s", Version(3, 1), counted("lost"), [Event("x", 0, "0")]),
            lambda: store.create("t", "{}"),
            lambda: store.delete("s"),
        ]
        for call in calls:
            with pytest.raises(StoreError, match=r"store.db is locked .* longer timeout"):
                call()
        assert counted("alpha", "bravo", "charlie") == list(store.messages("s"))
        holder.communicate(b"end\n")
        store.append("s", Version(3, 1), counted("echo"), [])
        assert counted("alpha", "bravo", "charlie", "echo") == list(store.messages("s"))
        assert [session.id for session in store.sessions()] == ["s"]


def test_a_file_locked_while_it_is_made_says_so(tmp_path: Path) -> None:
    """A new file that another program holds cannot be made a store until it lets go."""
    path = tmp_path / "store.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=r"store.db is locked"):
        SQLiteStore(path, timeout=0.05)
    db.execute("ROLLBACK")
    with SQLiteStore(path, timeout=0.05) as store:
        assert store.sessions() == []
    db.close()


def test_a_reader_elsewhere_delays_the_switch_to_the_log(path: Path) -> None:
    """A file that is read elsewhere cannot change its journal mode; the store gives up in time."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("BEGIN")
    db.execute("SELECT * FROM session").fetchall()
    with pytest.raises(StoreError, match=r"store.db is locked"):
        SQLiteStore(path, timeout=0.02)
    db.close()
    with SQLiteStore(path, timeout=0.02) as store, store._file.borrowed() as own:
        assert sqlite_file.pragma(own, "journal_mode") == b"wal"


def test_a_file_system_without_shared_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite cannot keep a write-ahead log, the store says so and is not opened."""
    real = sqlite_file.pragma
    monkeypatch.setattr(
        sqlite_file,
        "pragma",
        lambda db, name: b"delete" if name.startswith("journal_mode") else real(db, name),
    )
    with pytest.raises(StoreError, match=r"store.db cannot share a write-ahead log .*local disk"):
        SQLiteStore(tmp_path / "store.db")


# Read-only, permissions


@contextlib.contextmanager
def _ordinary_user() -> Iterator[None]:
    """Be a user whom permissions hold: root becomes nobody, others stay what they are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared(path: Path) -> Iterator[Path]:
    """Return a copy of the store in a directory that any user may enter and write."""
    folder = Path(tempfile.mkdtemp())
    copy = folder / "store.db"
    shutil.copy(path, copy)
    folder.chmod(0o777)
    copy.chmod(0o666)
    try:
        yield copy
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


@POSIX
def test_a_read_only_file_can_be_read(shared: Path) -> None:
    """Where only the file is read-only, sessions are read; writing says what to do."""
    shared.chmod(0o444)
    with _ordinary_user(), SQLiteStore(shared) as store:
        assert counted("alpha", "bravo", "charlie") == list(store.messages("s"))
        with pytest.raises(StoreError, match=r"store.db is read-only; make the file and its dir"):
            store.append("s", Version(3, 1), counted("lost"), [])


@POSIX
def test_a_read_only_directory_is_refused(shared: Path) -> None:
    """In a directory that cannot be written a store can be neither opened nor made."""
    shared.parent.chmod(0o555)
    shared.chmod(0o444)
    with _ordinary_user():
        for path in (shared, shared.with_name("new.db")):
            with pytest.raises(StoreError, match=r"(new|store).db (is read-only|cannot be opened)"):
                SQLiteStore(path)
    assert os.listdir(shared.parent) == ["store.db"]


@POSIX
def test_an_unreadable_file_is_refused(shared: Path) -> None:
    """A file that may not be read is refused with advice."""
    shared.chmod(0)
    with (
        _ordinary_user(),
        pytest.raises(StoreError, match=r"store.db cannot be opened; check .* you may write"),
    ):
        SQLiteStore(shared)


# Full


@POSIX
@pytest.mark.parametrize(
    ("means", "error"),
    [
        ("pages", "store.db cannot grow, the disk is full; make room and try again"),
        ("disk", "store.db cannot grow, the disk is full; make room and try again"),
        ("limit", "store.db cannot be read or written; check the disk, its quota and the limit"),
    ],
)
def test_a_full_disk_costs_only_the_turn_that_met_it(
    tmp_path: Path, means: str, error: str
) -> None:
    """What was acknowledged before stays whole, and with new room the same store goes on."""
    lines = subprocess.check_output(
        [sys.executable, store_writer.__file__, "until_full", str(tmp_path), means], text=True
    ).splitlines()
    assert error in lines[0]
    assert lines[1] == "sound and whole again"
