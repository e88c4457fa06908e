"""The index: which messages hold a term. One interface, so that all stores rank alike.

An index is derived from the transcript and can be built again from it at any time. It is brought
up to date when it is searched, not when a message is appended.

A store that keeps an index of its own implements `GrowingIndex`; `InMemoryIndex` says in short
what it has to answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeAlias

from .analysis import Document

Facts: TypeAlias = tuple[int, int, str, int]
"""What ranking needs to know of a message: length, session, speaker and flags, see `Document`.

A plain tuple, which is taken apart three times as fast: a search does so with all that it scores.
"""


class IndexChanged(Exception):
    """An index is no longer what it was: bring it up to date, and ask it again from the start."""


class Index(ABC):
    """Finds the messages that hold a term.

    Every question is asked as of a place in the transcript, `stop`, and the answer depends on
    nothing behind it: how far the index has come makes no difference to what is found.
    """

    @abstractmethod
    def terms_before(self, stop: int) -> int:
        """Return how many terms the messages before `stop` have together."""

    @abstractmethod
    def postings(self, term: str, stop: int, limit: int) -> Sequence[int]:
        """Return the newest `limit` messages before `stop` that hold `term`, in ascending order."""

    def postings_of(self, terms: Iterable[str], stop: int, limit: int) -> list[Sequence[int]]:
        """Return the `postings` of several terms."""
        return [self.postings(term, stop, limit) for term in terms]

    @abstractmethod
    def facts(self, places: Sequence[int]) -> list[Facts]:
        """Return what is known of each of some messages, all of which are indexed."""

    @abstractmethod
    def session_end(self, start: int) -> int:
        """Return the place after the last message of the session that began at `start`."""

    @abstractmethod
    def speakers(self, stop: int) -> frozenset[str]:
        """Return the names of all who spoke before `stop`."""


class GrowingIndex(Index):
    """An index of one session, which grows with it. Any method may raise `IndexChanged`.

    Attributes:
        problem: why it cannot be kept where it should be, and is kept in memory instead; None
            where nothing is wrong.
    """

    problem: str | None = None

    @property
    def epoch(self) -> object:
        """Equal for as long as nothing of the session is forgotten; asked after `size`."""
        return None

    @property
    @abstractmethod
    def size(self) -> int:
        """How many messages are indexed: those from 0 up to it.

        Asked before each search; what other processes indexed by then counts.
        """

    @abstractmethod
    def add(self, documents: Iterable[Document]) -> None:
        """Index the next messages, in order, all or none."""

    def steady(self) -> AbstractContextManager[object]:
        """Return a context in which nobody changes it, or `IndexChanged` is raised."""
        return nullcontext()

    def keep(self) -> None:
        """Keep what was added for other processes, if it is not kept yet."""


class Contents(NamedTuple):
    """What an `InMemoryIndex` holds.

    Attributes:
        postings: for each term the messages that hold it, in ascending order.
        facts: one each a message.
        speakers: names, each with the first message of whom it names, in the order of these.
    """

    postings: Mapping[str, array[int]]
    facts: Sequence[Facts]
    speakers: Sequence[tuple[str, int]]


class InMemoryIndex(GrowingIndex):
    """An index in this process's memory: about 100 bytes a message, beside its terms.

    Args:
        start: the place of the first message that it will have; those before are elsewhere.
    """

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._postings: dict[str, array[int]] = {}
        self._facts: list[Facts] = []
        self._sums = array("Q", [0])
        self._starts = array("I")
        self._first: dict[str, int] = {}  # name -> the first message of whom it names

    @property
    def size(self) -> int:
        """See `GrowingIndex.size`."""
        return self._start + len(self._facts)

    def add(self, documents: Iterable[Document]) -> None:
        """See `GrowingIndex.add`."""
        for place, terms, length, session, speaker, flags in list(documents):
            for term in terms:
                if (found := self._postings.get(term)) is None:
                    found = self._postings[term] = array("I")
                found.append(place)
            if not self._starts or self._starts[-1] != session:
                self._starts.append(session)
            self._facts.append((length, session, speaker, flags))
            self._sums.append(self._sums[-1] + length)
            self._first.setdefault(speaker, place)

    def terms_before(self, stop: int) -> int:
        """See `Index.terms_before`."""
        return self._sums[stop - self._start]

    def postings(self, term: str, stop: int, limit: int) -> Sequence[int]:
        """See `Index.postings`."""
        found = self._postings.get(term)
        if found is None:
            return ()
        end = bisect_left(found, stop)
        return found[max(0, end - limit) : end]

    def facts(self, places: Sequence[int]) -> list[Facts]:
        """See `Index.facts`."""
        facts, start = self._facts, self._start
        return [facts[i - start] for i in places]

    def session_end(self, start: int) -> int:
        """See `Index.session_end`."""
        after = bisect_right(self._starts, start)
        return self._starts[after] if after < len(self._starts) else self.size

    def speakers(self, stop: int) -> frozenset[str]:
        """See `Index.speakers`."""
        return frozenset(name for name, first in self._first.items() if first < stop)

    def contents(self) -> Contents:
        """Return all that it holds, to be kept elsewhere; not to be changed."""
        return Contents(self._postings, self._facts, [*self._first.items()])
