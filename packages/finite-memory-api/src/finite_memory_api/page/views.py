"""One conversation as the page sees it. All methods but the constructor may run in any thread."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

from finite_memory_core import FiniteMemoryError, Message
from finite_memory_core.recall import Hit

from .journal import Journal, Turn, columns, from_columns
from .rows import (
    ARCHIVED,
    FORGOTTEN,
    PINNED,
    RECALLED,
    SUMMARY,
    UNKNOWN,
    WINDOW,
    Rows,
)

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
