"""One conversation as the page sees it. All methods but the constructor may run in any thread."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

from finite_memory_core import ConfigError, FiniteMemoryError, Memory, Message, StoreError
from finite_memory_core.events import (
    Appended,
    Evicted,
    Forgotten,
    MemoryEvent,
    Summarized,
    TurnEnded,
    TurnFailed,
)
from finite_memory_core.eviction import Eviction
from finite_memory_core.recall import Hit
from finite_memory_core.settings import Settings
from finite_memory_core.stores.base import Store

from .journal import Journal, Turn, columns, from_columns
from .reading import ReadOnly
from .replaying import places_of
from .rows import (
    ARCHIVED,
    FORGOTTEN,
    PINNED,
    RECALLED,
    SUMMARY,
    UNKNOWN,
    WINDOW,
    Rows,
    beginning,
    text_of,
)

MOST_TEXTS = 200
"""Texts of one request."""
FORGOT = "forgotten"
"""The kind of the event that a memory writes where messages were forgotten."""
FIRST_TEXTS = 30
"""So many come with a snapshot or a change: those at the end, which are seen first."""
_UNTOLD = {
    PINNED: "pinned: it never leaves",
    WINDOW: "stands in the context; nothing has had to leave since it came",
    RECALLED: "brought back for the question",
    SUMMARY: "left, and the summary stands for it; why was not heard here, and is not stored",
    ARCHIVED: "left; why was not heard here, and is not stored",
    FORGOTTEN: "forgotten; nothing of it is left",
    UNKNOWN: "where it is now is not known yet",
}


class Vanished(FiniteMemoryError):
    """The session is not in the store any more."""


class Refused(FiniteMemoryError):
    """This conversation is only looked at, or cannot do that; why is said."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in a context, as a server says.

    Attributes:
        window: the places that stand.
        recalled: those that were brought back.
        count: how many messages there were; all since stand too.
    """

    window: frozenset[int]
    recalled: frozenset[int]
    count: int

    def letter(self, index: int, role: str) -> str:
        """Return where a message is."""
        if index >= self.count or index in self.window:
            return PINNED if role in "sd" else WINDOW
        return RECALLED if index in self.recalled else ARCHIVED

    def letters(self, roles: Sequence[str]) -> str:
        """Return where each message is, given who speaks in each."""
        return "".join(self.letter(index, role) for index, role in enumerate(roles))


class View(ABC):
    """One conversation.

    Args:
        session_id: its name.

    Attributes:
        id: its name.
        can: what can be done with it: ``"texts"``, ``"search"``, ``"preview"``, ``"change"``.
        journal: what was heard.
        anew: whether all of it is still to be read, at first and after `begin_anew`.
    """

    can: tuple[str, ...] = ()

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.journal = Journal()
        self._lock = RLock()
        self._rows = Rows()
        self._places = ""
        self._told = 0
        self._state: dict[str, Any] = {}
        self.anew = True

    # -- what a kind of view says ---------------------------------------------------------------

    @abstractmethod
    def _read(self) -> None:
        """Bring the rows up to date.

        Raises:
            Vanished: the session is gone.
            StoreError: it cannot be read.
        """

    @abstractmethod
    def _located(self) -> str:
        """Return where each row's message is now, a letter each."""

    @abstractmethod
    def _described(self) -> dict[str, Any]:
        """Return budget, policy and figures."""

    # -- what the page is told ------------------------------------------------------------------

    def refresh(self) -> tuple[str, dict[str, Any]] | None:
        """Return what has changed since the last call, and the name of the event; None for nothing.

        Raises:
            Vanished, StoreError: see `_read`; then the next one begins anew, for part of what has
                changed may have been looked at and not been told.
        """
        with self._lock:
            try:
                return self._refreshed()
            except BaseException:
                self.begin_anew()
                raise

    def _refreshed(self) -> tuple[str, dict[str, Any]] | None:
        before, old = len(self._rows), self._places
        self._read()
        places, state = self._located(), self._described()
        with self.journal.lock:
            turns = self.journal.since(self._told)
            self._told = self.journal.taken
        moved = [[i, b] for i, (a, b) in enumerate(zip(old, places, strict=False)) if a != b]
        same = len(places) == len(old) and not moved and not turns and state == self._state
        self._places, self._state = places, state
        if self.anew:
            self.anew = False
            return "reset", {}
        if same:
            return None
        return "update", {
            **self._rows.to_dict(before),
            "places": places[before:],
            "moved": moved,
            "turns": self._turns(turns),
            "state": state,
            "texts": self._first_texts(before),
        }

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, as it was told last."""
        with self._lock:
            with self.journal.lock:
                turns = self.journal.since(0, self._told)
            return {
                "id": self.id,
                "can": self.can,
                **self._rows.to_dict(),
                "places": self._places,
                "turns": self._turns(turns),
                "state": self._state,
                "texts": self._first_texts(max(0, len(self._places) - FIRST_TEXTS)),
            }

    @property
    def quick(self) -> bool:
        """Whether to look for changes takes no longer than to ask a thread to."""
        return False

    def _first_texts(self, start: int) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return a few texts from `start` on, which are seen at once."""
        return []

    def _turns(self, turns: list[Turn]) -> dict[str, list[Any]]:
        known = "texts" in self.can  # or there are no costs of messages to add up
        full = [self._rows.full(turn.messages) if known else None for turn in turns]
        return {**columns(turns), "full": full}

    def begin_anew(self) -> None:
        """Let the next refresh tell everyone to read all of it again."""
        with self._lock:
            self._rows = Rows()
            self._places = ""
            self._told = 0
            self.anew = True

    def take_history(self, result: dict[str, Any]) -> None:
        """Take in what a replay found of the time before anyone listened."""
        with self._lock, self.journal.lock:
            heard = self.journal.turns[self.journal.past :]
            past = from_columns(result["turns"])
            if heard:
                past = [turn for turn in past if turn.messages < heard[0].messages]
            self.journal.begin(past, heard)
            for name in ("reasons", "spans"):
                known: dict[int, Any] = getattr(self.journal, name)
                for key, value in result[name].items():
                    known.setdefault(int(key), value)
        self.begin_anew()

    def why(self, index: int) -> str:
        """Return why the message at `index` is where it is."""
        place = self._places[index]
        if place == FORGOTTEN:
            return _UNTOLD[place]
        with self.journal.lock:
            heard = self.journal.why(index)
        stayed = heard.startswith(("stayed", "it was too large"))
        if place in (PINNED, WINDOW) and not stayed:
            return _UNTOLD[place]
        if place in (ARCHIVED, SUMMARY) and stayed:
            return _UNTOLD[place]
        return heard or _UNTOLD[place]

    # -- what only some can ---------------------------------------------------------------------

    def texts(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Return the beginnings of messages, and why each is where it is."""
        raise Refused(f"no texts from {start} to {stop}: they need a store (--store)")

    def message(self, index: int) -> dict[str, Any]:
        """Return one message whole."""
        raise Refused(f"no text of message {index}: it needs a store (--store)")

    def search(self, query: str, limit: int) -> list[Hit]:
        """Return what the archive has for a question, the best first."""
        raise Refused(f"nothing to search for {query!r:.80} ({limit}): it needs a store (--store)")

    def dry_run(self, budget: int | None, policy: str | None) -> dict[str, Any]:
        """Return what an eviction would do now."""
        raise Refused(f"no dry run ({budget}, {policy}): it needs a store (--store)")

    def pin(self, index: int, *, pinned: bool) -> None:
        """Keep a message in the context for good, or no longer."""
        raise Refused(
            f"message {index} cannot be {'pinned' if pinned else 'unpinned'} here: the program "
            "that talks sends the conversation anew with every request"
        )

    def forget(self, index: int) -> int:
        """Truly remove a message; return how many went."""
        raise Refused(
            f"message {index} cannot be forgotten here: the program that talks would send it again"
        )

    def said(self) -> Iterator[Message]:
        """Yield all messages, those that are pinned now pinned from the start."""
        raise Refused("nothing to export: texts need a store (--store)")

    def asked(self, budget: int | None, policy: str | None) -> dict[str, Any]:
        """Return what a replay with other settings is to do; None for this session's own."""
        raise Refused(f"no replay ({budget}, {policy}): it needs a store (--store)")


class Kept(View):
    """A conversation of which a store holds the words."""

    can: tuple[str, ...] = ("texts", "search", "preview")

    def __init__(self, store: Store, session_id: str) -> None:
        super().__init__(session_id)
        self._store = store

    def _read(self) -> None:
        session = self._store.session(self.id)
        if session is None:
            raise Vanished(f"session {self.id!r} is gone from the store")
        have, there = len(self._rows), session.version.messages
        if there > have:
            self._rows.extend(self._store.messages(self.id, have, there))
        elif there < have:  # deleted, and begun again
            self.begin_anew()
            self._rows.extend(self._store.messages(self.id, 0, there))

    def _with_gone(self, places: str) -> str:
        if not self._rows.gone:
            return places
        return "".join(FORGOTTEN if i in self._rows.gone else p for i, p in enumerate(places))

    def texts(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Return the beginnings of messages, and why each is where it is."""
        with self._lock:
            stop = min(stop, start + MOST_TEXTS, len(self._places))
            found = list(self._store.messages(self.id, start, stop))
            return [
                self._told_text(index, counted.message)
                for index, counted in enumerate(found, start)
            ]

    def _first_texts(self, start: int) -> list[dict[str, Any]]:
        return self.texts(start, start + FIRST_TEXTS)

    def _told_text(self, index: int, message: Message) -> dict[str, Any]:
        text = text_of(message)
        shown = beginning(text)
        told: dict[str, Any] = {"index": index, "text": shown, "why": self.why(index)}
        if len(shown) < len(text):
            told["more"] = len(text) - len(shown)
        if message.name:
            told["name"] = message.name
        if message.timestamp is not None:
            told["time"] = message.timestamp.isoformat()
        return told

    def message(self, index: int) -> dict[str, Any]:
        """Return one message whole."""
        with self._lock:
            if not 0 <= index < len(self._places):
                raise ConfigError(f"there is no message {index}; there are {len(self._places)}")
            counted = next(self._store.messages(self.id, index, index + 1), None)
            if counted is None:
                raise Vanished(f"message {index} of session {self.id!r} is gone")
            told = self._told_text(index, counted.message)
        told.pop("more", None)
        return {**told, "text": text_of(counted.message), "role": counted.message.role.value,
                "tokens": counted.tokens}  # fmt: skip

    def search(self, query: str, limit: int) -> list[Hit]:
        """Return what the archive has for a question, the best first."""
        hits = self._memory().search(query, limit)
        with self._lock:
            there = self._places
        standing = (PINNED, WINDOW)
        return [h for h in hits if h.index >= len(there) or there[h.index] not in standing]

    def dry_run(self, budget: int | None, policy: str | None) -> dict[str, Any]:
        """Return what an eviction would do now."""
        return told_eviction(self._memory().dry_run(budget=budget, policy=policy))

    def said(self) -> Iterator[Message]:
        """Yield all messages, those that are pinned now pinned from the start."""
        with self._lock:
            places = self._places
        for index, counted in enumerate(self._store.messages(self.id, 0, len(places))):
            message = counted.message
            if places[index] == PINNED and not message.pinned and not message.role.instructs:
                message = Message.from_dict({**message.to_dict(), "pinned": True})
            yield message

    def asked(self, budget: int | None, policy: str | None) -> dict[str, Any]:
        """Return what a replay with other settings is to do; None for this session's own."""
        settings = self._settings()
        return {
            "budget": settings.budget if budget is None else budget,
            "policy": settings.policy if policy is None else policy,
            "low_water": settings.low_water,
            "reserve": settings.reserve,
            "oversize": settings.oversize,
            "recall": settings.recall,
        }

    @abstractmethod
    def _memory(self) -> Memory:
        """Return a memory of this conversation as it stands."""

    @abstractmethod
    def _settings(self) -> Settings:
        """Return what the conversation was made with."""


def told_eviction(eviction: Eviction) -> dict[str, Any]:
    """Return an eviction as the page is told it."""
    return {
        "policy": eviction.policy,
        "before": eviction.before,
        "after": eviction.after,
        "room": eviction.room,
        "ms": round(eviction.ms, 3),
        "stood_in": eviction.stood_in,
        "left": [[d.index, d.messages, d.reason] for d in eviction.decisions if not d.kept],
        "kept": sum(d.kept for d in eviction.decisions),
    }


def described(settings: Settings) -> dict[str, Any]:
    """Return settings as the page shows them."""
    return {
        "budget": settings.budget,
        "policy": settings.policy,
        "low_water": settings.low_water,
        "reserve": settings.reserve,
        "recall": bool(settings.recall),
    }


_WRITTEN = (Appended, Evicted, Forgotten, Summarized, TurnEnded, TurnFailed)
"""Events that are told when all is written; others fall into a turn, which may yet be undone."""


class Live(Kept):
    """The conversation of a chat in this process. It is an observer of the chat's memory.

    Args:
        memory: the chat's.
        changed: called when there is something to tell; from whatever thread.
    """

    can = ("texts", "search", "preview", "change")

    def __init__(self, memory: Memory, changed: Callable[[], object]) -> None:
        super().__init__(memory.store, memory.session_id)
        self.memory = memory
        self._changed = changed
        self._captured: dict[str, Any] = {}
        self._forgot = False
        if memory.summary:  # what left before is told by it
            stands = {i for block in memory.blocks for i in range(block.index, block.end)}
            self.journal.folded.update(set(range(memory.stats.messages)) - stands)
        self.capture()

    def hear(self, event: MemoryEvent) -> None:
        """Take note of an event; of what stands now only a list is copied."""
        self.journal(event)
        if isinstance(event, Forgotten):
            self._forgot = True
        if isinstance(event, _WRITTEN):
            self.capture()

    def capture(self) -> None:
        """Look at what stands now, which no event tells where something was pinned."""
        memory = self.memory
        self._captured = {
            "blocks": memory.blocks,
            "stats": memory.stats,
            "summary": memory.summary,
            "ledger": memory.ledger,
        }
        self._changed()

    @property
    def quick(self) -> bool:
        """Whether to look for changes takes no longer than to ask a thread to."""
        return bool(self._places) and not self.anew and not self._forgot

    def _read(self) -> None:
        if self._forgot:
            self._forgot = False  # before it is read: what is forgotten meanwhile is read again
            self.begin_anew()
        super()._read()

    def _located(self) -> str:
        with self.journal.lock:
            places = places_of(self._captured["blocks"], len(self._rows), self.journal)
        return self._with_gone(places)

    def _described(self) -> dict[str, Any]:
        captured, stats = self._captured, self._captured["stats"]
        with self.journal.lock:
            notes = list(self.journal.notes)
        return {
            **described(self.memory.settings),
            "held": stats.tokens_held,
            "seen": stats.tokens_seen,
            "evictions": stats.evictions,
            "summary": captured["summary"],
            "ledger": list(captured["ledger"]),
            "spent": stats.spent.to_dict(),
            "notes": notes,
        }

    def _memory(self) -> Memory:
        return self.memory

    def _settings(self) -> Settings:
        return self.memory.settings

    def pin(self, index: int, *, pinned: bool) -> None:
        """Keep a message in the context for good, or no longer."""
        self.memory.pin(index) if pinned else self.memory.unpin(index)
        self.capture()

    def forget(self, index: int) -> int:
        """Truly remove a message; return how many went."""
        return len(self.memory.forget(index))


class Stored(Kept):
    """A conversation in a store that others write.

    Args:
        store: where it is.
        session_id: its name.
        standing: what stands, as whoever writes it says; None where nobody does, and it is told
            by resuming the session.
    """

    def __init__(
        self, store: Store, session_id: str, standing: Callable[[], Standing | None]
    ) -> None:
        super().__init__(store, session_id)
        self._standing = standing
        self._resumed: tuple[Any, Memory] | None = None
        self._problem = ""
        self._forgotten = -1

    def _read(self) -> None:
        told = self._store.last_event(self.id, FORGOT)
        forgotten = -1 if told is None else told[0]
        if forgotten != self._forgotten:  # by another process, and the places stay what they were
            self._forgotten = forgotten
            self.begin_anew()
        super()._read()

    def _memory(self) -> Memory:
        session = self._store.session(self.id)
        if session is None:
            raise Vanished(f"session {self.id!r} is gone from the store")
        with self._lock:
            if self._resumed is None or self._resumed[0] != session.version:
                memory = Memory.resume(ReadOnly(self._store), self.id)
                self._resumed = session.version, memory
            return self._resumed[1]

    def _settings(self) -> Settings:
        from finite_memory_core import resuming

        try:
            return resuming.find(self._store, self.id)[1]
        except StoreError as error:
            raise Vanished(str(error)) from error

    def _located(self) -> str:
        count = len(self._rows)
        standing = self._standing()
        if standing is not None:
            return self._with_gone(standing.letters(self._rows.roles))
        try:
            memory = self._memory()
        except Vanished:
            raise
        except FiniteMemoryError as error:
            self._problem = f"where messages are cannot be told: {error}"
            return self._with_gone(UNKNOWN * count)
        self._problem = ""
        return self._with_gone(_resumed_places(memory, count))

    def _described(self) -> dict[str, Any]:
        told = {**described(self._settings()), "seen": self._rows.sums[-1], "summary": "",
                "ledger": [], "notes": [self._problem] if self._problem else []}  # fmt: skip
        if self._resumed is not None and self._standing() is None:
            memory = self._resumed[1]
            told |= {"held": memory.stats.tokens_held, "summary": memory.summary,
                     "ledger": list(memory.ledger)}  # fmt: skip
        return told


def _resumed_places(memory: Memory, count: int) -> str:
    journal = Journal()
    if memory.summary:
        journal.folded.update(range(count))
    return places_of(memory.blocks, count, journal)


class Counted(View):
    """A conversation of which nobody here holds a word: how many messages, and which stand.

    Attributes:
        count: how many messages there are.
        held: the tokens of the context that was sent last.
    """

    def __init__(
        self, session_id: str, settings: Settings, standing: Callable[[], Standing | None]
    ) -> None:
        super().__init__(session_id)
        self._settings = settings
        self._standing = standing
        self.count = 0
        self.held = 0

    def _read(self) -> None:
        if self.count < len(self._rows):
            self.begin_anew()
        rows = self._rows
        missing = self.count - len(rows)
        rows.roles += UNKNOWN * missing
        rows.tokens += [0] * missing
        rows.sizes += [0] * missing
        rows.sums += [0] * missing

    def _located(self) -> str:
        standing = self._standing()
        if standing is None:
            return UNKNOWN * len(self._rows)
        return standing.letters(self._rows.roles)

    def _described(self) -> dict[str, Any]:
        return {**described(self._settings), "held": self.held, "summary": "", "ledger": [],
                "notes": []}  # fmt: skip


def exported(view: View) -> Iterator[bytes]:
    """Yield a conversation as JSON in the OpenAI chat shape, which ``finite-memory replay`` reads.

    Raises:
        Refused: there are no texts.
    """
    said = view.said()  # which may be refused before anything is written
    yield b'{"messages": ['
    for index, message in enumerate(said):
        line = json.dumps(message.to_dict(), ensure_ascii=False)
        yield ((",\n" if index else "\n") + line).encode()
    yield b"\n]}\n"
