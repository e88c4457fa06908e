"""Connections to a PostgreSQL server, kept for the next thread that needs one."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Sequence
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Lock, get_ident, local
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


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


class Slot:
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


class Pool:
    """The connections of one process. An interrupt (Ctrl-C) at any moment loses none of them."""

    def __init__(self, most: int) -> None:
        self.pid = os.getpid()
        self.slots = [Slot() for _ in range(most)]
        self.thread = local()  # .held: what it has borrowed
        self._lock = Lock()
        self._waiting = 0
        self._freed: SimpleQueue[None] = SimpleQueue()

    def take(self, timeout: float) -> Slot | None:
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

    def free(self, slot: Slot) -> None:
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


def has_news(connection: psycopg.Connection[Any]) -> bool:
    """Whether something came in that nobody asked for, which is how a server says goodbye."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
