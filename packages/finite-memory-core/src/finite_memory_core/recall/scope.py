"""Searching several sessions as one: those of a scope, one after another, the asking one last.

What other sessions hold counts as of the moment of the search; of the asking one, as of the place
of its question. For a given state of the store the answer is always the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StoreError
from ..stores.base import Counted, Session, Store
from .archive import ATTEMPTS, Archive
from .index import Facts, GrowingIndex, Index, IndexChanged, InMemoryIndex
from .ranking import Ranking

if TYPE_CHECKING:
    from .dense import Dense

MOST_TOGETHER = 100
"""No more sessions than this are searched with the asking one: the newest of the scope."""
_ENDS = 4
"""So many messages at either end tell whether a session is still the one that was indexed."""


class Part(NamedTuple):
    """An index, and how many of its messages are searched."""

    source: GrowingIndex
    stop: int


class JoinedIndex(Index):
    """Indexes one after another as one: the messages of each stand behind those before it."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.stops = [part.stop for part in parts]
        self.starts = [*accumulate(self.stops, initial=0)]

    def part_of(self, place: int) -> int:
        """Return the number of the part that a place lies in."""
        return bisect_right(self.starts, place, hi=len(self.parts)) - 1

    def _before(self, stop: int) -> Iterator[tuple[int, Part]]:
        """Yield where each part begins, and what of it lies before `stop`."""
        for start, part in zip(self.starts, self.parts, strict=False):
            if start < stop:
                yield start, Part(part.source, min(part.stop, stop - start))

    def terms_before(self, stop: int) -> int:
        """See `Index.terms_before`."""
        return sum(part.source.terms_before(part.stop) for _, part in self._before(stop))

    def postings(self, term: str, stop: int, limit: int) -> Sequence[int]:
        """See `Index.postings`."""
        found: list[int] = []
        for start, part in reversed([*self._before(stop)]):
            if len(found) == limit:
                break
            places = part.source.postings(term, part.stop, limit - len(found))
            found[:0] = [start + place for place in places]
        return found

    def facts(self, places: Sequence[int]) -> list[Facts]:
        """See `Index.facts`."""
        of_part: dict[int, list[int]] = {}
        for place in places:
            of_part.setdefault(self.part_of(place), []).append(place)
        found: dict[int, Facts] = {}
        for number, asked in of_part.items():
            start, source = self.starts[number], self.parts[number].source
            own = source.facts([place - start for place in asked])
            for place, (length, session, speaker, flags) in zip(asked, own, strict=True):
                found[place] = length, start + session, speaker, flags
        return [found[place] for place in places]

    def session_end(self, start: int) -> int:
        """See `Index.session_end`."""
        number = self.part_of(start)
        first, part = self.starts[number], self.parts[number]
        return first + min(part.stop, part.source.session_end(start - first))

    def speakers(self, stop: int) -> frozenset[str]:
        """See `Index.speakers`."""
        parts = (part.source.speakers(part.stop) for _, part in self._before(stop))
        return frozenset[str]().union(*parts)

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Return a context in which none of the parts changes; see `GrowingIndex.steady`."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.source.steady())
            yield


class _Opened(NamedTuple):
    """The archive of another session, and what tells whether it still holds.

    Attributes:
        archive: it.
        forgotten: the last time that something was forgotten, when it was opened.
        ends: the first and the last messages that are indexed.
    """

    archive: Archive
    forgotten: object = None
    ends: Mapping[int, Counted] = MappingProxyType({})


class ScopedArchive(Archive):
    """Searches a session together with the others of its scope.

    Args:
        store: where they are.
        session_id: the asking session.
        index: its index.
        scope: what the sessions have in common.
        dense_of: makes what compares meanings in a session; None without an embedder.
        skipped: see `Archive`.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        index: GrowingIndex,
        scope: str,
        dense_of: Callable[[str], Dense] | None = None,
        skipped: Callable[[str], object] = str,
    ) -> None:
        own = None if dense_of is None else dense_of(session_id)
        super().__init__(store, session_id, index, own, skipped)
        self._scope = scope
        self._dense_of = dense_of
        self._others: dict[str, _Opened] = {}
        self._ids = [session_id]
        self._joined = JoinedIndex([Part(index, 0)])

    def search(
        self,
        text: str,
        stop: int,
        eligible: Callable[[int], bool],
        max_ms: float | None = None,
    ) -> Ranking:
        """See `Archive.search`; `stop` and `eligible` are about the asking session."""
        for _ in range(ATTEMPTS):
            with suppress(IndexChanged):
                self._join(stop)
                joined, (*_, base, end) = self._joined, self._joined.starts

                def may_be_found(place: int, base: int = base) -> bool:
                    return place < base or eligible(place - base)

                similar = self._compared(text, end, max_ms)
                with joined.steady():
                    return self._ranked(text, joined, end, may_be_found, similar)
        raise self._unsteady("search them")

    def _unsteady(self, doing: str) -> StoreError:
        return StoreError(
            f"other processes changed sessions of scope {self._scope!r} during {ATTEMPTS} attempts "
            f"to {doing}; ask again"
        )

    def _indexed(self, stop: int) -> int:
        self._join(stop)
        for opened in self._others.values():
            opened.archive.source.keep()
        self.source.keep()
        return self._joined.starts[-1]

    def _compared_with(self, stop: int) -> list[tuple[int, Dense, int]]:
        archives = [*(self._others[id_].archive for id_ in self._ids[:-1]), self]
        parts = zip(self._joined.starts, archives, self._joined.stops, strict=False)
        return [
            (start, archive.dense, min(count, stop - start))
            for start, archive, count in parts
            if archive.dense is not None and start < stop
        ]

    def _join(self, stop: int) -> None:
        """Bring all indexes up to date."""
        found = self._store.scoped(self._scope, MOST_TOGETHER + 1)
        heads = [head for head in found if head.id != self.session_id][-MOST_TOGETHER:]
        known, self._others = self._others, {}
        parts = []
        for head in heads:
            opened = self._others[head.id] = self._opened(head, known.get(head.id))
            is_ours = isinstance(opened.archive.source, InMemoryIndex)  # to ask others takes long
            before = opened.archive.source.size if is_ours else 0
            indexed = opened.archive.caught_up(head.version.messages)
            if head.id not in known:
                opened.archive.source.keep()  # or every process would index a short session anew
            if is_ours and before < indexed:
                self._others[head.id] = opened._replace(ends=self._ends(opened.archive))
            parts.append(Part(opened.archive.source, indexed))
        own = self.caught_up(stop)
        self._ids = [*(head.id for head in heads), self.session_id]
        self._joined = JoinedIndex([*parts, Part(self.source, own)])

    def _opened(self, head: Session, known: _Opened | None) -> _Opened:
        """Return the archive of another session: the one known, where it still holds."""
        if known is not None and not isinstance(known.archive.source, InMemoryIndex):
            return known  # a store's own index looks after itself
        index = None if known is not None else self._store.index(head.id)
        if index is not None:
            return _Opened(self._archive_of(head.id, index))
        forgotten = self._store.last_event(head.id, "forgotten")
        if known is None or (known.forgotten, known.ends) != (
            forgotten,
            self._ends(known.archive),
        ):
            return _Opened(self._archive_of(head.id, InMemoryIndex()), forgotten)
        return known

    def _archive_of(self, session_id: str, index: GrowingIndex) -> Archive:
        dense = None if self._dense_of is None else self._dense_of(session_id)
        return Archive(self._store, session_id, index, dense)

    def _ends(self, archive: Archive) -> Mapping[int, Counted]:
        """Return the first and the last messages that are indexed, as they stand there now.

        A session that was deleted and begun anew under its name has others there: the same
        instructions and the same thanks may be, the same questions between them hardly.
        """
        size = archive.source.size
        looked_at = {*range(min(_ENDS, size)), *range(max(0, size - _ENDS), size)}
        return self._store.pick(archive.session_id, sorted(looked_at))

    def _epoch(self) -> object:
        return [(part.source, part.source.epoch) for part in self._joined.parts]

    def _located(self, place: int) -> tuple[str, int]:
        number = self._joined.part_of(place)
        return self._ids[number], place - self._joined.starts[number]

    @property
    def problem(self) -> str | None:
        """See `Archive.problem`; of the first session that has one."""
        others = (opened.archive.problem for opened in self._others.values())
        return next((why for why in (super().problem, *others) if why is not None), None)
