"""Real processes on one database, killed, interrupted or racing: nothing is lost or twice."""

from __future__ import annotations

import contextlib
import gc
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from finite_memory_core import (
    CallableBackend,
    Chat,
    ConflictError,
    Memory,
    Message,
    PostgresStore,
    StoreError,
)

from .examples import some
from .postgres_cluster import Cluster
from .store_writer import turn, turns_in, version_of
from .test_store_kill import (
    KILLED,
    _append_interrupted,
    _child,
    _end,
    _interrupt,
    _kill_at_a_random_moment,
    _line,
)

ROUNDS = some(6)


@pytest.fixture
def store(postgres: Cluster) -> Iterator[PostgresStore]:
    """Return a store with the empty session ``s``."""
    with PostgresStore(postgres.dsn(), schema=postgres.schema(), timeout=60) as opened:
        opened.create("s", "{}")
        yield opened


@pytest.fixture
def place(postgres: Cluster, store: PostgresStore) -> str:
    """Return what tells another process where the store is."""
    return f"{postgres.dsn()}#{store._server._schema}"


def test_kill_loses_nothing_that_was_acknowledged(store: PostgresStore, place: str) -> None:
    """After each of many kills every acknowledged turn is there, in order and whole.

    At most one turn more is there: that which was written but not yet acknowledged.
    """
    rng, before = random.Random(20), 0
    for _ in range(ROUNDS):
        acknowledged = _kill_at_a_random_moment(place, rng)
        assert [f"k/{before + i}" for i in range(len(acknowledged))] == acknowledged
        # The killed writer's session may still be at its last statement; this waits for it.
        with store._server.transaction() as db:
            db.execute("SELECT 1 FROM session FOR UPDATE")
        found = turns_in(store)
        assert [f"k/{i}" for i in range(len(found))] == found
        assert len(found) - before - len(acknowledged) in (0, 1)
        before = len(found)
    assert before > ROUNDS


def test_two_processes_never_interleave(store: PostgresStore, place: str) -> None:
    """Two writers on one session: each turn is whole and there exactly once, or a conflict."""
    count = 40
    children = [_child("in_a_race", place, writer, str(count)) for writer in "ab"]
    assert ["ready"] * 2 == [_line(child) for child in children]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    conflicts = sum(int(_line(child)) for child in children)
    assert [0, 0] == [_end(child) for child in children]
    found = turns_in(store)
    assert conflicts >= 1
    for writer in "ab":
        assert [f"{writer}/{i}" for i in range(count)] == [n for n in found if n[0] == writer]
    assert 2 * count == len(found)


def test_two_workers_on_one_session_neither_lose_nor_double_a_turn(
    postgres: Cluster, store: PostgresStore
) -> None:
    """Workers that resume and chat: what each acknowledged is there once, question by answer."""
    Memory(600, store=store, session_id="chat")
    done: list[str] = []
    ready = threading.Barrier(3)

    def work(name: str) -> None:
        with PostgresStore(postgres.dsn(), schema=store._server._schema, timeout=60) as own:
            ready.wait()
            for number in range(12):
                asked = f"{name}/{number}"
                while not _turn(own, asked):
                    pass
                done.append(asked)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [counted.message.text for counted in store.messages("chat")]
    assert [f"You said {asked}" for asked in texts[::2]] == texts[1::2]
    assert sorted(done) == sorted(texts[::2])
    assert 36 == len(done)


def _turn(store: PostgresStore, asked: str) -> bool:
    memory = Memory.resume(store, "chat")
    try:
        Chat(CallableBackend(lambda c: f"You said {c.messages[-1].text}"), memory).send(asked)
    except ConflictError:
        return False
    return True


# A connection that is interrupted while it is made is left to the garbage collector, by psycopg.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_an_interrupt_leaves_a_turn_whole_or_not_there(store: PostgresStore) -> None:
    """Ctrl-C at any moment of an append leaves no half turn, and a store that goes on."""
    rng, before = random.Random(7), signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, _interrupt)
    try:
        for number in range(100):
            _append_interrupted(store, number, 10 ** rng.uniform(-5, -2.3))
    finally:
        signal.signal(signal.SIGALRM, before)
    found = turns_in(store)
    assert sorted(set(found), key=lambda name: int(name[2:])) == found
    store.append("s", version_of(store), *turn("i", 100))
    assert [*found, "i/100"] == turns_in(store)
    gc.collect()


class Wire:
    """Stands between a client and a server, and can be cut when the server has answered."""

    def __init__(self, server: Path, folder: Path) -> None:
        self.cut = False
        self._server = server
        self._ends: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._ends += [client, server]
                server.connect(str(self._server))
                self._run(self._carry, client, server, False)
                self._run(self._carry, server, client, True)

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if answers and self.cut:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End all connections, and take no more."""
        ends = [self._listener, *self._ends]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in ends:
            end.close()


def test_a_turn_whose_answer_is_lost_is_there_once(postgres: Cluster, store: PostgresStore) -> None:
    """The server wrote it, the client never heard: the next try is told, and nothing is twice."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="wire-"))
        wire = Wire(postgres.folder / ".s.PGSQL.5432", Path(name))
        stack.enter_context(contextlib.closing(wire))
        dsn = postgres.dsn().replace(quote(str(postgres.folder), safe=""), quote(name, safe=""))
        with PostgresStore(dsn, schema=store._server._schema) as far:
            memory = Memory(600, store=far, session_id="m")
            memory.append(Message.user("One."))
            wire.cut = True
            with pytest.raises(StoreError, match=r"cannot be reached any more.*resume the session"):
                memory.append(Message.user("Two."))
            wire.cut = False
            assert 1 == len(memory.context().messages)
            with pytest.raises(ConflictError):
                memory.append(Message.user("Two."))
            memory = Memory.resume(far, "m")
            assert ["One.", "Two."] == [message.text for message in memory.transcript]
            memory.append(Message.user("Three."))
    assert ["One.", "Two.", "Three."] == [c.message.text for c in store.messages("m")]


def test_a_writer_that_is_killed_holds_nothing(store: PostgresStore, place: str) -> None:
    """What a killed writer held is free when the server notices; the session goes on."""
    script = (
        "import sys, time\n"
        "from finite_memory_core.stores import PostgresStore\n"
        "dsn, _, schema = sys.argv[1].rpartition('#')\n"
        "with PostgresStore(dsn, schema=schema) as store, store._server.transaction() as db:\n"
        "    db.execute('UPDATE session SET messages = 99')\n"
        "    print('holding', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert "holding\n" == child.stdout.readline()
        child.kill()
    assert child.returncode == KILLED
    store.append("s", version_of(store), *turn("a", 0))
    assert ["a/0"] == turns_in(store)
