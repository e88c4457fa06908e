"""A conversation of which a store holds the words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from finite_memory_core import ConfigError, Memory, Message
from finite_memory_core.eviction import Eviction
from finite_memory_core.recall import Hit
from finite_memory_core.settings import Settings
from finite_memory_core.stores.base import Store

from .rows import FORGOTTEN, PINNED, WINDOW, beginning, text_of
from .views import FIRST_TEXTS, Vanished, View

MOST_TEXTS = 200
"""Texts of one request."""


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
