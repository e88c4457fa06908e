"""The archive: the messages that are not in the context, and the search in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import CorruptError, EmbedderError, StoreError
from ..messages import Message
from ..policies.base import CannotDecide, Deadline
from ..stores.base import Store
from . import analysis
from .index import Index
from .ranking import Ranking, rank

if TYPE_CHECKING:
    from .dense import Dense

_BATCH = 500
_UNTIMED = 16
"""When a message was said is compared with the last of so many before it that has a time."""


class Archive:
    """Searches the transcript of one session.

    Args:
        store: where the transcript is.
        session_id: the session's name.
        index: which messages hold which terms; brought up to date before each search.
        dense: compares meanings; None without an embedder.
        skipped: called with the reason when a search did without `dense`.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        index: Index,
        dense: Dense | None = None,
        skipped: Callable[[str], object] = str,
    ) -> None:
        self._dense = dense
        self._skipped = skipped
        self._store = store
        self._session_id = session_id
        self._index = index

    def search(
        self,
        text: str,
        stop: int,
        eligible: Callable[[int], bool],
        max_ms: float | None = None,
    ) -> Ranking:
        """Return the messages that answer `text`, best first.

        Args:
            text: what is asked.
            stop: only messages before this place in the transcript are searched.
            eligible: whether a message may be found, by its place in the transcript.
            max_ms: how long the embedder may take, in milliseconds; None for no limit.
        """
        self._catch_up(stop)
        query = analysis.query(text, self._index.speakers(stop))
        if self._dense is not None and stop and text.strip():
            try:
                similar = self._dense.compare(text, stop, Deadline(max_ms))
                return rank(query, self._index, stop, eligible, self._terms_at, similar)
            except (EmbedderError, StoreError, CannotDecide) as error:
                self._skipped(f"{error}; words alone were searched")
                if isinstance(error, CorruptError):
                    with suppress(StoreError):
                        self._dense.drop()
        return rank(query, self._index, stop, eligible, self._terms_at)

    def index(self, stop: int) -> int:
        """Bring everything up to date with the messages before `stop`; return the new vectors.

        Raises:
            EmbedderError: the embedder failed.
            StoreError: something could not be read or written.
        """
        self._catch_up(stop)
        return 0 if self._dense is None else self._dense.catch_up(stop, None, Deadline())

    def _terms_at(self, places: Sequence[int]) -> Sequence[frozenset[str]]:
        return [frozenset(analysis.terms(analysis.searchable(self.read(i)))) for i in places]

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
