"""Fakes for tests of code that uses Finite Memory: no model, no disk, no waiting."""

from __future__ import annotations

import re
from binascii import crc32
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from ..backends.base import Backend, Delta, Usage
from ..context import Context
from ..errors import BackendError, StoreError
from ..messages import Message
from ..stores.base import Counted, Event, Store, Version
from ..stores.wrapping import WrappedStore

Line: TypeAlias = "str | Message | BaseException | Sequence[str | Delta | BaseException]"
"""One reply of a script: text, a message, an error to raise, or any of it piece by piece."""


class ScriptedBackend(Backend):
    """Gives the replies of a script, one a turn, and keeps the contexts that it was shown.

    ::

        backend = ScriptedBackend("Hello.", ["Half a rep", ConnectionError("gone")])

    Args:
        script: the replies, in order. Text arrives word by word.
        usage: what each reply is said to cost; None to say nothing.

    Attributes:
        contexts: what it was shown, in order.

    Raises:
        BackendError: from `stream`, when the script has no more replies.
    """

    name = "scripted"

    def __init__(self, *script: Line, usage: Usage | None = None) -> None:
        self._script = script
        self._usage = usage
        self.contexts: list[Context] = []

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        self.contexts.append(context)
        asked = len(self.contexts)
        if asked > len(self._script):
            raise BackendError(
                f"reply {asked} was asked for, but the script has {len(self._script)}; give "
                "ScriptedBackend as many replies as there are turns"
            )
        line = self._script[asked - 1]
        message = line if isinstance(line, Message) else None
        for piece in _pieces(line):
            if isinstance(piece, BaseException):
                raise piece
            delta = Delta(piece) if isinstance(piece, str) else piece
            yield delta
            if delta.finish is not None:
                return
        finish = "tool_calls" if message is not None and message.tool_calls else "stop"
        yield Delta(finish=finish, usage=self._usage, message=message)


def _pieces(line: Line) -> Sequence[str | Delta | BaseException]:
    if isinstance(line, BaseException):
        return [line]
    if isinstance(line, str | Message):
        text = line if isinstance(line, str) else line.text
        return re.findall(r"\s*\S+\s*", text) or [text]
    return line


class FailingStore(WrappedStore):
    """Passes everything on to another store, but fails at chosen appends; an erasure is one too.

    Args:
        store: does the work.
        fail_at: which appends fail, counted from 1: one number or several.
        error: what is raised; None for a `StoreError`.
        written: whether a failing append writes before it fails, as when the connection breaks
            between the commit and its answer.

    Attributes:
        appends: how many appends were tried.
    """

    def __init__(
        self,
        store: Store,
        fail_at: int | Iterable[int],
        *,
        error: BaseException | None = None,
        written: bool = False,
    ) -> None:
        super().__init__(store)
        self._fail_at = {fail_at} if isinstance(fail_at, int) else frozenset(fail_at)
        self._error = error
        self._written = written
        self.appends = 0

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """See `Store.append`."""
        with self._failing() as passes:
            if passes:
                self._store.append(session_id, version, messages, events)

    def erase(
        self,
        session_id: str,
        version: Version,
        messages: Mapping[int, Counted],
        events: Mapping[int, Event],
        appended: Sequence[Event],
    ) -> bool:
        """See `Store.erase`."""
        with self._failing() as passes:
            return passes and self._store.erase(session_id, version, messages, events, appended)

    @contextmanager
    def _failing(self) -> Iterator[bool]:
        """Say whether to pass it on, and fail afterwards where it should."""
        self.appends += 1
        fails = self.appends in self._fail_at
        yield self._written or not fails
        if fails:
            raise self._error or StoreError(f"append {self.appends} was made to fail")


class WordEmbedder:
    """Knows texts by their words, each word a dimension; no model, and always the same.

    Args:
        alike: words that mean the same as others: ``{"sibling": "sister"}``.
        dimension: of its vectors; words share one where there are more of them.
        name: what it is called where its vectors are stored.

    Attributes:
        batches: the texts that it was given, batch by batch.
    """

    def __init__(
        self,
        alike: Mapping[str, str] | None = None,
        *,
        dimension: int = 512,
        name: str = "words",
    ) -> None:
        self._alike = dict(alike or {})
        self._dimension = dimension
        self.name = name
        self.batches: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Embedder.embed`."""
        self.batches.append([*texts])
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self._dimension
        for word in re.findall(r"\w+", text.lower()):
            vector[crc32(self._alike.get(word, word).encode()) % self._dimension] += 1.0
        return vector


class TickingClock:
    """A clock for `Chat(clock=...)` that goes on by `step` each time that it is read."""

    def __init__(
        self,
        start: datetime = datetime(2025, 1, 1, tzinfo=UTC),
        step: timedelta = timedelta(minutes=1),
    ) -> None:
        self._next = start
        self._step = step

    def __call__(self) -> datetime:
        """Return the time, at first `start`."""
        now = self._next
        self._next += self._step
        return now
