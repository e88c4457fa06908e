"""What a store costs: time, not CPU, for a store waits for a disk and a server.

Each call is measured beside its floor: the same bytes by one bare statement of the same driver.
The PostgreSQL server is one of our tests', on this machine, over a Unix socket, with fsync on.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any, NamedTuple

from finite_memory_core import Memory, Message, PostgresStore, Recall, SQLiteStore, Store
from finite_memory_core.stores import Counted, Event, Version
from finite_memory_core.testing.streams import plain_chat

from ..options import BUDGET, Options
from ..tables import Table

SIZES = (200, 20_000)
TURNS, SEARCHES = 500, 60
_CLUSTER = "packages/finite-memory-core/tests/postgres_cluster.py"
_DURABLE = "listen_addresses = ''\n"
_NOTE = (
    "Milliseconds of wall clock, p50 / p99. A turn is a question and an answer of about 40 words "
    "each and an event, durable when it returns. The floor is one bare statement that writes the "
    "same bytes with the same driver and is as durable. A search asks for eight words of something "
    "that was said, when the index is built; resuming reads the last checkpoint and what its "
    "window holds."
)


class Subject(NamedTuple):
    """A store, and how to write some text into its database without it."""

    name: str
    store: Store
    write: Callable[[str], object]


def tables(options: Options) -> list[Table]:
    """Measure everything."""
    rows = []
    with ExitStack() as stack:
        for subject in _subjects(stack):
            print(subject.name, file=sys.stderr, flush=True)
            rows.append(_row(subject, options))
        if len(rows) == 1:
            rows.append(["PostgresStore", *["no server, or no driver"] * (len(_columns()) - 1)])
    return [Table("What a store costs, SQLite and PostgreSQL", _columns(), rows, [_NOTE])]


def _columns() -> list[str]:
    sizes = [f"{what}, {size:,} held" for what in ("turn", "search", "resume") for size in SIZES]
    return ["", "floor of a turn", *sizes]


def _subjects(stack: ExitStack) -> Iterator[Subject]:
    folder = Path(stack.enter_context(TemporaryDirectory()))
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    stack.callback(bare.close)
    for setting in ("journal_mode = WAL", "synchronous = FULL"):
        bare.execute(f"PRAGMA {setting}")
    bare.execute("CREATE TABLE bare (body TEXT)")
    insert = "INSERT INTO bare VALUES ("
    store = stack.enter_context(SQLiteStore(folder / "store.db"))
    yield Subject("SQLiteStore", store, lambda body: bare.execute(f"{insert}?)", (body,)))
    cluster = _cluster()
    try:
        server = stack.enter_context(cluster.running(_DURABLE))
    except cluster.NoServer as reason:
        print(reason, file=sys.stderr)
        return
    import psycopg

    db = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
    db.execute("CREATE TABLE bare (body TEXT)")
    yield Subject(
        "PostgresStore",
        stack.enter_context(PostgresStore(server.dsn())),
        lambda body: db.execute(f"{insert}%s)".encode(), (body,)),
    )


def _cluster() -> Any:
    """Return the module of the tests that starts a server; it is no part of a distribution."""
    place = Path(__file__).resolve().parents[2] / _CLUSTER
    spec = spec_from_file_location("postgres_cluster", place)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(place)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _row(subject: Subject, options: Options) -> list[str]:
    turns, searches = (100, 12) if options.quick else (TURNS, SEARCHES)
    said = _chat(SIZES[-1] + 2 * turns)
    floor = [_timed(subject.write, _body(pair)) for pair in _pairs(said[: 2 * turns])]
    memories = {size: _held(subject.store, said[:size]) for size in SIZES}
    appended = [_appends(subject.store, f"{size}", said, size, turns) for size in SIZES]
    searched = [_searches(memories[size], said[:size], searches) for size in SIZES]
    resumed = [
        [_timed(Memory.resume, subject.store, f"m{size}") for _ in range(searches)]
        for size in SIZES
    ]
    return [subject.name, *map(_told, [floor, *appended, *searched, *resumed])]


def _chat(length: int) -> list[Message]:
    steps = plain_chat(seed=1, turns=length // 2 + 1, budget=BUDGET)
    return [message for step in steps for message in step.messages][:length]


def _pairs(said: list[Message]) -> Iterator[list[Message]]:
    yield from (said[i : i + 2] for i in range(0, len(said), 2))


def _body(messages: list[Message]) -> str:
    return "".join(json.dumps(message.to_dict(), ensure_ascii=False) for message in messages)


def _held(store: Store, said: list[Message]) -> Memory:
    memory = Memory(BUDGET, store=store, session_id=f"m{len(said)}", recall=Recall())
    for start in range(0, len(said), 100):
        memory.append(*said[start : start + 100])
    memory.search(said[0].text)  # which builds the index
    return memory


def _appends(store: Store, name: str, said: list[Message], size: int, turns: int) -> list[int]:
    store.create(name, "{}")
    store.append(name, Version(0, 0), [Counted(message, 50) for message in said[:size]], [])
    spent = []
    for number, pair in zip(range(turns), _pairs(said[size:]), strict=False):
        version = Version(size + 2 * number, number)
        event = Event("usage", version.messages, '{"input_tokens": 1000}')
        turn = [Counted(message, 50) for message in pair]
        spent.append(_timed(store.append, name, version, turn, [event]))
    return spent


def _searches(memory: Memory, said: list[Message], times: int) -> list[int]:
    step = max(1, len(said) // times)
    asked = [" ".join(message.text.split()[:8]) for message in said[::step]]
    return [_timed(memory.search, question) for question in asked[:times]]


def _timed(call: Callable[..., object], *arguments: object) -> int:
    began = perf_counter_ns()
    call(*arguments)
    return perf_counter_ns() - began


def _told(spent: list[int]) -> str:
    ordered = sorted(spent)
    p50, p99 = (ordered[max(0, -(-len(ordered) * share // 100) - 1)] for share in (50, 99))
    return f"{p50 / 1e6:.2f} / {p99 / 1e6:.2f}"
