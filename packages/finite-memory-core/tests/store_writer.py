"""What the processes of the store tests run: writers of turns that can be told apart."""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from finite_memory_core.errors import ConflictError, StoreError
from finite_memory_core.messages import Message, ToolCall
from finite_memory_core.stores import Counted, Event, PostgresStore, SQLiteStore, Store, Version

TURN = 4  # messages


def turn(writer: str, number: int) -> tuple[list[Counted], list[Event]]:
    """Return one turn: a question, a tool call, its result, an answer, and an event."""
    name = f"{writer}/{number}"
    size = random.Random(name).choice([0, 10, 100, 5_000, 50_000])
    messages = [
        Message.user(f"ask {name}"),
        Message.assistant(tool_calls=(ToolCall(name, "look", '{"at": "ü"}'),)),
        Message.tool(f"found {name} " + "名" * size, tool_call_id=name),
        Message.assistant(f"answer {name}"),
    ]
    return [Counted(message, number) for message in messages], [Event("usage", number, name)]


def turns_in(store: Store) -> list[str]:
    """Return the names of the turns in session ``s``; fail unless each is whole."""
    session = store.session("s")
    assert session is not None
    messages, events = list(store.messages("s")), list(store.events("s"))
    assert Version(len(messages), len(events)) == session.version
    names = [event.body for event in events]
    for i, name in enumerate(names):
        writer, number = name.split("/")
        expected = turn(writer, int(number))
        assert expected == (messages[TURN * i : TURN * (i + 1)], [events[i]])
    assert TURN * len(names) == len(messages)
    return names


def opened(place: str) -> Store:
    """Open the store at a path, or at the URL of a database, with its schema behind a ``#``."""
    if not place.startswith("postgresql://"):
        return SQLiteStore(place, timeout=60)
    dsn, _, schema = place.rpartition("#")
    return PostgresStore(dsn, schema=schema, timeout=60)


def write_until_killed(place: str) -> None:
    """Append turns for ever; write each one's name to standard output when it is acknowledged."""
    _say("ready")
    with opened(place) as store:
        if isinstance(store, SQLiteStore):
            with store._file.borrowed() as db:
                db.execute("PRAGMA wal_autocheckpoint = 30")  # so that some kills hit a checkpoint
        number = version_of(store).events  # one a turn; the parent has read them all
        while True:
            store.append("s", Version(TURN * number, number), *turn("k", number))
            _say(f"k/{number}")
            number += 1


def write_in_a_race(place: str, writer: str, count: str) -> None:
    """Append `count` turns, against another process that does the same."""
    with opened(place) as store:
        version, conflicts, number = version_of(store), 0, 0
        _say("ready")
        sys.stdin.readline()
        while number < int(count):
            try:
                store.append("s", version, *turn(writer, number))
            except ConflictError:
                conflicts += 1
                version = version_of(store)
            else:
                version = Version(version.messages + TURN, version.events + 1)
                number += 1
        _say(f"{conflicts}")


def write_until_full(folder: str, means: str) -> None:
    """Append turns until there is no room, make room, go on; say the error, and that all is well.

    Args:
        folder: where the store is made.
        means: what makes the room small: "disk" is a disk of 1 MB, which needs a user that may
            mount one, otherwise it is "pages", SQLite's own limit; "limit" is the process's limit
            on the size of a file.
    """
    small = {"disk": _small_disk, "limit": _small_files, "pages": _small_database}[means]
    path = Path(folder) / "store.db"
    grow = small(path)
    with SQLiteStore(path) as store:
        store.create("s", "{}")
        grow = grow or _small_pages(store)
        error, number = "", 0
        while not error:
            try:
                store.append("s", Version(TURN * number, number), *turn("f", number))
                number += 1
            except StoreError as failure:
                error = str(failure)
        expected = [f"f/{i}" for i in range(number)]
        _check(expected == turns_in(store) and number > 0)
        grow()
        store.append("s", Version(TURN * number, number), *turn("f", number))
    with SQLiteStore(path) as store:
        _check([*expected, f"f/{number}"] == turns_in(store))
    _say(error)
    _say("sound and whole again")


def _small_disk(path: Path) -> Callable[[], None] | None:
    """Mount a small disk that only this process sees; None where that is not allowed."""
    libc, user, group = ctypes.CDLL(None), os.geteuid(), os.getegid()
    new_user_and_mounts = 0x10000000 | 0x00020000
    if not hasattr(libc, "unshare") or libc.unshare(new_user_and_mounts):
        return None
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if libc.mount(b"none", os.fsencode(path.parent), b"tmpfs", 0, b"size=1m"):
        return None
    ballast = path.with_name("ballast")
    ballast.write_bytes(bytes(400_000))
    return ballast.unlink


def _small_files(path: Path) -> Callable[[], None]:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _small_database(path: Path) -> None:
    """Leave it to `_small_pages`."""


def _small_pages(store: SQLiteStore) -> Callable[[], None]:
    def limit(pages: int) -> None:
        with store._file.borrowed() as db:
            db.execute(f"PRAGMA max_page_count = {pages}")

    limit(100)
    return lambda: limit(1 << 30)


def _check(holds: bool) -> None:
    if not holds:
        raise SystemExit("the store does not hold what was acknowledged")


def version_of(store: Store) -> Version:
    """Return the version of session ``s``."""
    session = store.session("s")
    assert session is not None
    return session.version


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    WRITERS: dict[str, Callable[..., None]] = {
        "until_killed": write_until_killed,
        "in_a_race": write_in_a_race,
        "until_full": write_until_full,
    }
    WRITERS[sys.argv[1]](*sys.argv[2:])
