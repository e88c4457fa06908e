"""The archive: the messages that are not in the context, and the search in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import EmbedderError, StoreError
from ..messages import Message
from ..policies.base import CannotDecide, Deadline
from ..stores.base import Store
from ..tombstone import is_tombstone
from . import Hit, analysis
from .index import GrowingIndex, Index, IndexChanged
from .ranking import Ranking, Similar, rank

if TYPE_CHECKING:
    from .dense import Dense

ATTEMPTS = 5
"""So often a search begins anew because other processes changed what it was reading."""
_BATCH = 2_000
_READ_AT_ONCE = 32
_MOST_TERMS = 1 << 15
"""So many terms are remembered of the messages that were read for `terms_at`."""
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

    Attributes:
        session_id, dense: as given.
        source: the index.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        index: GrowingIndex,
        dense: Dense | None = None,
        skipped: Callable[[str], object] = str,
    ) -> None:
        self._store = store
        self.session_id = session_id
        self.source = index
        self.dense = dense
        self._skipped = skipped
        self._compared_from = index.epoch
        self._terms_from: object = None
        self._terms: dict[tuple[str, int], tuple[str, ...]] = {}
        self._terms_count = 0

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
        for _ in range(ATTEMPTS):
            with suppress(IndexChanged):
                end = self.caught_up(stop)
                similar = self._compared(text, end, max_ms)
                with self.source.steady():
                    return self._ranked(text, self.source, end, eligible, similar)
        raise self._unsteady("search it")

    def _unsteady(self, doing: str) -> StoreError:
        return StoreError(
            f"other processes changed session {self.session_id!r} during {ATTEMPTS} attempts to "
            f"{doing}; ask again"
        )

    def _compared(self, text: str, stop: int, max_ms: float | None) -> Similar | None:
        """Return what the embedder says of `text`; None without one, or where it failed."""
        if self.dense is None or not (stop and text.strip()):
            return None
        from .dense import compare_all  # only where there is an embedder

        try:
            return compare_all(self._compared_with(stop), text, Deadline(max_ms))
        except (EmbedderError, StoreError, CannotDecide) as error:
            self._skipped(f"{error}; words alone were searched")
            return None

    def _compared_with(self, stop: int) -> list[tuple[int, Dense, int]]:
        """Return where sessions begin, their vectors, and how many of their messages count."""
        return [] if self.dense is None else [(0, self.dense, stop)]

    def _ranked(
        self,
        text: str,
        index: Index,
        stop: int,
        eligible: Callable[[int], bool],
        similar: Similar | None,
    ) -> Ranking:
        query = analysis.query(text, index.speakers(stop))
        if similar is not None:
            try:
                return rank(query, index, stop, eligible, self.terms_at, similar)
            except StoreError as error:
                self._skipped(f"{error}; words alone were searched")
        return rank(query, index, stop, eligible, self.terms_at)

    def catch_up(self, stop: int) -> int:
        """Bring everything up to date with the messages before `stop`; return the new vectors.

        Raises:
            EmbedderError: the embedder failed.
            StoreError: something could not be read or written.
        """
        for _ in range(ATTEMPTS):
            with suppress(IndexChanged):
                end = self._indexed(stop)
                parts = self._compared_with(end)
                return sum(dense.catch_up(count, None, Deadline()) for _, dense, count in parts)
        raise self._unsteady("index what it holds")

    def _indexed(self, stop: int) -> int:
        """Bring what is indexed up to date and keep it; return how many messages that is."""
        self.caught_up(stop)
        self.source.keep()
        return stop

    def terms_at(self, places: Sequence[int]) -> Sequence[Collection[str]]:
        """Return the different terms of the messages at places that were found.

        Those that were read last are remembered, until something is forgotten.
        """
        epoch = self._epoch()
        if epoch != self._terms_from or self._terms_count > _MOST_TERMS:
            self._terms_from, self._terms, self._terms_count = epoch, {}, 0
        known, located = self._terms, [self._located(place) for place in places]
        new = [place for place, at in zip(places, located, strict=True) if at not in known]
        for place, message in zip(new, self.read(new), strict=True):
            terms = known[self._located(place)] = _terms(message)
            self._terms_count += len(terms)
        return [known[at] for at in located]

    def _epoch(self) -> object:
        """Return what is equal for as long as nothing that is searched is forgotten."""
        return self.source.epoch

    @property
    def problem(self) -> str | None:
        """Why the index is not where it should be; None where it is."""
        return self.source.problem

    def hits(self, ranking: Ranking, wanted: int = _READ_AT_ONCE) -> Iterator[Hit]:
        """Yield what was found, best first, without what was forgotten or deleted since.

        Args:
            ranking: what was found.
            wanted: how many are wanted, so that no more are read.
        """
        found = iter(ranking.found)
        while batch := list(islice(found, min(wanted, _READ_AT_ONCE))):
            messages = self.read([place for place, _ in batch])
            for (place, score), message in zip(batch, messages, strict=True):
                if message is not None and not is_tombstone(message):
                    session_id, index = self._located(place)
                    yield Hit(index, message, score, ranking.parts(place), session_id)

    def read(self, places: Sequence[int]) -> list[Message | None]:
        """Return the messages at places that were found; None for one that is there no more."""
        located = [self._located(place) for place in places]
        wanted: dict[str, list[int]] = {}
        for session_id, index in located:
            wanted.setdefault(session_id, []).append(index)
        found = {name: self._store.pick(name, indices) for name, indices in wanted.items()}
        picked = (found[session_id].get(index) for session_id, index in located)
        return [None if counted is None else counted.message for counted in picked]

    def _located(self, place: int) -> tuple[str, int]:
        """Return the session, and the place in its transcript, of a place that was found."""
        return self.session_id, place

    def caught_up(self, stop: int) -> int:
        """Index all messages before `stop` that there are; return how many these are."""
        indexed = self.source.size
        if self.dense is not None and self._compared_from != self.source.epoch:
            self._compared_from = self.source.epoch
            self.dense.changed()
        if indexed < stop:
            documents = self._documents(indexed, stop)
            while batch := list(islice(documents, _BATCH)):
                self.source.add(batch)
            indexed = self.source.size  # which also writes what was added, if it is enough
        return min(stop, indexed)

    def _documents(self, start: int, stop: int) -> Iterator[analysis.Document]:
        if start >= stop:
            return
        session = self.source.facts([start - 1])[0][1] if start else 0
        first = max(0, start - _UNTIMED)  # how far the index has come must make no difference
        said: deque[datetime | None] = deque(maxlen=_UNTIMED)
        stored = self._store.messages(self.session_id, first, stop)
        for index, (message, _) in enumerate(stored, first):
            if index >= start:
                if analysis.begins_session(_newest(said), message.timestamp):
                    session = index
                yield analysis.document(index, message, session)
            said.append(message.timestamp)


def _terms(message: Message | None) -> tuple[str, ...]:
    """Return the terms of a message; of one that was forgotten since none."""
    if message is None or is_tombstone(message):
        return ()
    return tuple(dict.fromkeys(analysis.terms(analysis.searchable(message))))


def _newest(said: deque[datetime | None]) -> datetime | None:
    return next((time for time in reversed(said) if time is not None), None)
