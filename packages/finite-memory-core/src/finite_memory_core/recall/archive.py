"""The archive: the messages that are not in the context, and the search in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice

from ..errors import StoreError
from ..messages import Message
from ..stores.base import Store
from . import analysis
from .index import GrowingIndex, IndexChanged
from .ranking import Ranking, rank

_BATCH = 2_000
_ATTEMPTS = 5
_UNTIMED = 16
"""When a message was said is compared with the last of so many before it that has a time."""


class Archive:
    """Searches the transcript of one session.

    Args:
        store: where the transcript is.
        session_id: the session's name.
        index: which messages hold which terms; brought up to date before each search.
    """

    def __init__(self, store: Store, session_id: str, index: GrowingIndex) -> None:
        self._store = store
        self._session_id = session_id
        self._index = index

    def search(self, text: str, stop: int, eligible: Callable[[int], bool]) -> Ranking:
        """Return the messages that answer `text`, best first.

        Args:
            text: what is asked.
            stop: only messages before this place in the transcript are searched.
            eligible: whether a message may be found, by its place in the transcript.
        """
        for _ in range(_ATTEMPTS):
            with suppress(IndexChanged):
                self._catch_up(stop)
                with self._index.steady():
                    query = analysis.query(text, self._index.speakers(stop))
                    return rank(query, self._index, stop, eligible)
        raise StoreError(
            f"other processes changed session {self._session_id!r} during {_ATTEMPTS} attempts to "
            "search it; ask again"
        )

    @property
    def problem(self) -> str | None:
        """Why the index is not where it should be; None where it is."""
        return self._index.problem

    def read(self, index: int) -> Message:
        """Return one message of the transcript."""
        return next(self._store.messages(self._session_id, index, index + 1)).message

    def _catch_up(self, stop: int) -> None:
        documents = self._documents(self._index.size, stop)
        while batch := list(islice(documents, _BATCH)):
            self._index.add(batch)

    def _documents(self, start: int, stop: int) -> Iterator[analysis.Document]:
        if start >= stop:
            return
        session = self._index.facts([start - 1])[start - 1].session if start else 0
        first = max(0, start - _UNTIMED)  # how far the index has come must make no difference
        said: deque[datetime | None] = deque(maxlen=_UNTIMED)
        stored = self._store.messages(self._session_id, first, stop)
        for index, (message, _) in enumerate(stored, first):
            if index >= start:
                if analysis.begins_session(_newest(said), message.timestamp):
                    session = index
                yield analysis.document(index, message, session)
            said.append(message.timestamp)


def _newest(said: deque[datetime | None]) -> datetime | None:
    return next((time for time in reversed(said) if time is not None), None)
