"""With a store: what clients said is kept, and what a question asks for is brought back.

A client sends its whole history each time; a transcript only grows. The two are brought together
by digests: each stored message carries the digest of all up to it, so a history that goes on from
the stored one is told from one that was edited. That becomes a session of its own, a branch, named
after the digest at which it differs. The same history always comes to the same sessions, from any
worker.

A session's cursor is kept with it, as an event of each eviction, and with it what was known of the
model's tokenizer: so all workers, whatever they have learnt themselves, send the same prefix.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from finite_memory_core import ConfigError, ConflictError, Message, StoreError
from finite_memory_core.accounting import Accountant
from finite_memory_core.recall import Recall
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.choosing import Recalled, choose, fitted
from finite_memory_core.recall.index import InMemoryIndex
from finite_memory_core.settings import Settings
from finite_memory_core.stores.base import Counted, Event, Session, Store, Version

from .bounding import History
from .cursors import Cursor
from .settings import ServeSettings

DIGEST, ITEMS = "digest", "items"
Cost: TypeAlias = Callable[[History, int], int]
_Made = TypeVar("_Made")
CURSOR = "cursor"
"""The kind of the events that hold cursors."""
_TRIES = 64
"""How often another worker may be first, or a branch lead to a branch, for one request."""


def open_store(spec: str) -> Store:
    """Return the store that `spec` names.

    Raises:
        ConfigError: it names none.
        MissingExtraError: it needs psycopg, which is not installed.
        StoreError: it cannot be opened.
    """
    kind, _, rest = spec.partition(":")
    if kind == "sqlite" and rest:
        from finite_memory_core import SQLiteStore

        return SQLiteStore(rest)
    if kind in ("postgresql", "postgres"):
        from finite_memory_core import PostgresStore

        return PostgresStore(spec)
    raise ConfigError(f"a store is sqlite:PATH or postgresql://…, got one of kind {kind!r:.20}")


class Noted(NamedTuple):
    """A cursor, and by what counts were multiplied for a model when it was made."""

    cursor: Cursor
    model: str
    factor: float


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a request's history is stored, and how far the session had come then."""

    store: Store
    session_id: str
    version: Version
    settings: Recall

    def cursor(self) -> Noted | None:
        """Return the session's cursor, whichever worker made it; None before an eviction."""
        found = self.store.last_event(self.session_id, CURSOR)
        if found is None:
            return None
        told = json.loads(found[1].body)
        return Noted(Cursor.unpack(b64decode(told["cursor"])), told["model"], told["factor"])

    def note(self, cursor: Cursor, model: str, factor: float) -> None:
        """Write a cursor.

        Raises:
            ConflictError: another worker wrote to the session since; nothing was written.
        """
        packed = b64encode(cursor.pack()).decode()
        body = json.dumps({"cursor": packed, "model": model, "factor": factor})
        event = Event(CURSOR, self.version.messages, body)
        self.store.append(self.session_id, self.version, (), (event,))

    def recall(
        self,
        history: History,
        standing: Sequence[int],
        accountant: Accountant,
        room: int,
        left: int,
    ) -> Recalled:
        """Return what the archive has for the last user message.

        Args:
            history: the request's.
            standing: what need not be recalled.
            accountant: counts tokens.
            room: what is meant for it, in tokens.
            left: what there is, in tokens.
        """
        there, question = frozenset(standing), history.question
        index = self.store.index(self.session_id)
        archive = Archive(self.store, self.session_id, InMemoryIndex() if index is None else index)
        found = choose(
            archive,
            self.settings,
            accountant,
            text=history.message(question).text,
            stop=question,
            room=room,
            eligible=lambda place: place not in there,
        )
        return found if found.tokens <= left else fitted(found.hits, accountant, left)


class Archives:
    """The stored histories of all sessions."""

    def __init__(self, store: Store, settings: ServeSettings) -> None:
        self._store = store
        self._recall = Recall(share=settings.recall or 0.25)
        self._settings = Settings(
            settings.budget,
            settings.low_water,
            settings.reserve,
            "raise",
            None,
            settings.policy,
            {},
            self._recall.to_dict() if settings.recall else None,
            None,
            None,
        ).dumps()

    @property
    def store(self) -> Store:
        """The store."""
        return self._store

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def keep(self, history: History, root: str, cost: Cost, work: Callable[[Kept], _Made]) -> _Made:
        """Store what is new in `history`, once, whoever else does so; return what `work` returns.

        `work` is done again where another worker wrote to the session before it could.

        Raises:
            StoreError: it cannot be written.
        """
        name = root
        for _ in range(_TRIES):
            session = self._store.session(name)
            try:
                if session is None:
                    self._store.create(name, self._settings)
                    continue
                differs = self._differs(session, history)
                if differs is not None:
                    name = f"{root}.{history.chain[differs].hex()[:16]}"
                    continue
                version = self._append(session, history, cost)
                return work(Kept(self._store, name, version, self._recall))
            except ConflictError:
                continue  # another worker was first: look again at what it wrote
        raise StoreError(
            f"session {name!r} was written by others {_TRIES} times while a request waited for it"
        )

    def _differs(self, session: Session, history: History) -> int | None:
        """Return the first place at which the stored history is another one; None if it is not."""
        stored, chain = session.version.messages, history.chain
        both = min(stored, len(chain))
        if both == 0 or self._digest(session.id, both - 1) == chain[both - 1].hex():
            return None
        low, high = 0, both - 1  # a digest covers all before it, so the first that differs is found
        while low < high:
            middle = (low + high) // 2
            if self._digest(session.id, middle) == chain[middle].hex():
                low = middle + 1
            else:
                high = middle
        return low

    def _digest(self, session_id: str, place: int) -> object:
        stored = next(self._store.messages(session_id, place, place + 1), None)
        return None if stored is None else stored.message.metadata.get(DIGEST)

    def _append(self, session: Session, history: History, cost: Cost) -> Version:
        version = session.version
        new = range(version.messages, len(history.units))
        if not new:
            return version
        made = [Counted(_stored(history, place), cost(history, place)) for place in new]
        self._store.append(session.id, version, made, ())
        return Version(len(history.units), version.events)


def _stored(history: History, place: int) -> Message:
    """Return a unit as it is stored: what can be read, and the very text that the client sent."""
    unit, message = history.units[place], history.message(place)
    spans = ",".join(history.scanned.span(i) for i in range(unit.start, unit.stop))
    marks = {DIGEST: history.chain[place].hex(), ITEMS: f"[{spans}]"}
    return Message(message.role, message.content, pinned=message.pinned, metadata=marks)
