"""Real processes that are killed, interrupted, or race: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from finite_memory_core.stores import InMemoryStore, SQLiteStore, Store

from . import store_writer
from .examples import some
from .store_writer import TURN, turn, turns_in, version_of

ROUNDS = some(25)
KILLED = -9 if os.name == "posix" else 1  # what a killed process returns


def _child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, store_writer.__file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _kill_at_a_random_moment(place: Path | str, rng: random.Random) -> list[str]:
    """Return the turns that a writer acknowledged before it was killed."""
    with _child("until_killed", str(place)) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        for _ in range(rng.choice([0, 1, rng.randrange(2, 120)])):
            lines.append(child.stdout.readline())
        for _ in range(rng.randrange(20_000)):  # a moment, up to about a millisecond
            pass
        child.kill()
        lines += child.stdout.readlines()
    assert child.returncode == KILLED, "the writer failed before it was killed"
    assert lines[0] == "ready\n"
    return [line.strip() for line in lines[1:] if line.endswith("\n")]


def _turns_after_kill(path: Path) -> list[str]:
    with SQLiteStore(path) as store:
        with store._file.borrowed() as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
        return turns_in(store)


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After each of many kills every acknowledged turn is there, in order and whole.

    At most one turn more is there: that which was written but not yet acknowledged.
    """
    path, rng, before = tmp_path / "store.db", random.Random(20), 0
    with SQLiteStore(path) as store:
        store.create("s", "{}")
    for _ in range(ROUNDS):
        acknowledged = _kill_at_a_random_moment(path, rng)
        assert [f"k/{before + i}" for i in range(len(acknowledged))] == acknowledged
        found = _turns_after_kill(path)
        assert [f"k/{i}" for i in range(len(found))] == found
        assert len(found) - before - len(acknowledged) in (0, 1)
        before = len(found)
    assert before > ROUNDS


def test_a_killed_file_still_opens_in_plain_sqlite(tmp_path: Path) -> None:
    """What a killed process leaves is a sound database to any other program."""
    path = tmp_path / "store.db"
    with SQLiteStore(path) as store:
        store.create("s", "{}")
    acknowledged = _kill_at_a_random_moment(path, random.Random(3))
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    (count,) = db.execute("SELECT count(*) FROM message").fetchone()
    db.close()
    assert count - TURN * len(acknowledged) in (0, TURN)


def test_two_processes_never_interleave(tmp_path: Path) -> None:
    """Two writers on one session: each turn is whole and there exactly once, or a conflict.

    Both start from the same version, so that at least one of them must meet a conflict.
    """
    path, count = tmp_path / "store.db", 60
    with SQLiteStore(path) as store:
        store.create("s", "{}")
    children = [_child("in_a_race", str(path), writer, str(count)) for writer in "ab"]
    assert [_line(child) for child in children] == ["ready"] * 2
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    conflicts = sum(int(_line(child)) for child in children)
    assert [_end(child) for child in children] == [0, 0]
    with SQLiteStore(path) as store:
        found = turns_in(store)
    assert conflicts >= 1
    for writer in "ab":
        own = [name for name in found if name.startswith(writer)]
        assert [f"{writer}/{i}" for i in range(count)] == own
    assert 2 * count == len(found)


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _end(child: subprocess.Popen[str]) -> int:
    with child:
        return child.wait()


def _memory(path: Path) -> Store:
    return InMemoryStore()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
@pytest.mark.parametrize("make", [SQLiteStore, _memory])
def test_an_interrupt_leaves_a_turn_whole_or_not_there(
    tmp_path: Path, make: Callable[[Path], Store]
) -> None:
    """Ctrl-C at any moment of an append leaves no half turn, and a store that goes on."""
    rng, before = random.Random(7), signal.getsignal(signal.SIGALRM)
    with make(tmp_path / "store.db") as store:
        store.create("s", "{}")
        signal.signal(signal.SIGALRM, _interrupt)
        try:
            for number in range(300):
                _append_interrupted(store, number, 10 ** rng.uniform(-6, -3.3))
        finally:
            signal.signal(signal.SIGALRM, before)
        found = turns_in(store)
        assert sorted(set(found), key=lambda name: int(name[2:])) == found
        store.append("s", version_of(store), *turn("i", 300))
        assert [*found, "i/300"] == turns_in(store)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not inside a test tool's own hooks, nor where it is dropped."""
    caller = frame
    while caller is not None:
        tools = any(tool in caller.f_code.co_filename for tool in ("coverage", "hypothesis"))
        if tools or caller.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
            return
        caller = caller.f_back
    signal.default_int_handler(number, frame)


def _append_interrupted(store: Store, number: int, seconds: float) -> None:
    version, (messages, events) = version_of(store), turn("i", number)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            store.append("s", version, messages, events)
            _await_interrupt()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _await_interrupt()  # Python sees a signal when a function begins
    except KeyboardInterrupt:
        pass


def _await_interrupt() -> None:
    """Wait for the timer. A loop inside `try` would not do: Python 3.13 does not guard its end."""
    while signal.getitimer(signal.ITIMER_REAL)[0]:
        pass
