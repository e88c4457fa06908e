"""Recalling: what is brought back for a question, and the search that a program asks for.

It reads a fold's window and the store, and changes neither.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from threading import Lock, Thread
from typing import TYPE_CHECKING, NamedTuple

from ..blocks import Block
from ..errors import ConflictError, FiniteMemoryError, StoreError
from ..events import FellBack
from ..messages import Message
from ..policies.base import Deadline, DeadlineExceeded
from ..stores.base import Store
from ..window import Window
from . import Hit, Recall
from .archive import Archive
from .choosing import NOTHING, Recalled, choose, fitted
from .index import InMemoryIndex

if TYPE_CHECKING:
    from ..fold import Fold
    from .dense import Dense

_LEFT = "the vectors of what was said last are left to the next search"


class _Until(Deadline):
    """A deadline that passes when the session is reset, or something of it forgotten.

    Attributes:
        over: whether it has passed.
        done: whether nothing is left to do until then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.over = self.done = False

    def check(self) -> None:
        """See `Deadline.check`."""
        if self.over:
            raise DeadlineExceeded("the session is no longer what it was")


class _Later(NamedTuple):
    """A thread that computes vectors, and how to end it."""

    thread: Thread
    dense: Dense
    until: _Until

    @property
    def works(self) -> bool:
        """Whether it is at work: it may be alive after that, and is not after a fork."""
        return not self.until.done and self.thread.is_alive()


class Recaller:
    """Searches the archive of one session, or of its scope.

    Args:
        store: where the transcript is.
        session_id: the session's name.
        recall: how much is brought back, and when; None for nothing, a search can be asked for all
            the same.
        max_ms: how long an embedder may take for a search, in milliseconds; None for no limit.

    Attributes:
        notices: what searches did without, for the observers.
        fallbacks: how often they did, by what failed: the index, or the embedder.
    """

    def __init__(
        self, store: Store, session_id: str, recall: Recall | None, max_ms: float | None
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._recall = recall
        self._max_ms = max_ms
        self._problem: str | None = None
        self._later: _Later | None = None
        self._noting = Lock()  # what computes vectors later notes from its own thread
        self.notices: list[FellBack] = []
        self.fallbacks: dict[str, int] = {}
        self.drop()

    def drop(self) -> None:
        """Let go of what earlier searches left here; wait for a batch of vectors under way."""
        if self._later is not None and self._later.works:
            with self._later.dense.lock:
                self._later.until.over = True
        self._later = None
        self._archive: Archive | None = None
        self._found_for: tuple[Window, Block | None, str, int, int] | None = None
        self._found = NOTHING

    @property
    def recalls(self) -> bool:
        """Whether anything is brought back at all."""
        return self._recall is not None

    @property
    def scope(self) -> str | None:
        """What the searched sessions have in common; None for this one alone."""
        return None if self._recall is None else self._recall.scope

    def bring_back(self, fold: Fold, query: str | None, written: int) -> Recalled:
        """Return what the archive has for the question; the same for all rounds of a turn.

        Args:
            fold: whose window is not searched.
            query: what is asked; None for the last user message.
            written: how many messages of the transcript are in the store.
        """
        if self._recall is None:
            return NOTHING
        window, question = fold.window, fold.window.question
        text = query if query is not None else question.messages[0].text if question else ""
        alone, totals = self._recall.scope is None, fold.journal.totals
        if not text or (alone and not (totals.blocks_evicted or totals.unanswered)):
            return NOTHING  # there is no archive yet
        stop = min(fold.count if question is None else question.index, written)
        room = fold.state.asked_room
        key = (window, question, text, stop, room)
        if self._found_for != key or not self._stands():
            self._found = choose(
                self._searched(),
                self._recall,
                fold.accountant,
                text=text,
                stop=stop,
                room=room,
                eligible=_outside(window),
                max_ms=self._max_ms,
            )
            self._found_for = key
            self._look_at_index()
        found, left = self._found, fold.most - window.tokens
        if found.tokens <= left:
            return found
        return fitted(found.hits, fold.accountant, left, self._session_id)

    def _stands(self) -> bool:
        """Return whether what was found in other sessions still stands there: none forgot it."""
        others: dict[str, dict[int, Message]] = {}
        for hit in self._found.hits:
            if hit.session_id != self._session_id:  # forgetting here drops what was found
                others.setdefault(hit.session_id, {})[hit.index] = hit.message
        for session_id, quoted in others.items():
            stored = self._store.pick(session_id, [*quoted])
            if quoted != {index: counted.message for index, counted in stored.items()}:
                return False
        return True

    def search(self, fold: Fold, query: str, limit: int, written: int) -> list[Hit]:
        """Return at most `limit` messages of the archive that answer `query`, best first."""
        archive = self._searched()
        ranking = archive.search(query, written, _outside(fold.window), self._max_ms)
        self._look_at_index()
        return list(islice(archive.hits(ranking, limit), limit))

    def index(self, written: int) -> int:
        """Bring the index up to date; return how many vectors were computed."""
        return self._searched().catch_up(written)

    def embed_later(self, written: int) -> bool:
        """Begin to compute the vectors that this session lacks, in a thread that ends with it.

        Returns:
            Whether it was begun: there is an embedder, and no such thread at work.
        """
        if self._recall is None or self._recall.embedder is None or not written:
            return False
        if self._later is not None and self._later.works:
            return False
        try:
            dense = self._searched().dense
        except StoreError as error:  # of what is said nothing is missing
            self._did_without("embedder", f"{error}; {_LEFT}")
            return False
        if dense is None:
            return False
        until = _Until()
        thread = Thread(
            target=self._embed, args=(dense, written, until), name="finite-memory-vectors",
            daemon=True,
        )  # fmt: skip
        try:
            thread.start()
        except RuntimeError as error:  # no thread can be had, or Python is shutting down
            self._did_without("embedder", f"{error}; {_LEFT}")
            return False
        self._later = _Later(thread, dense, until)
        return True

    def _embed(self, dense: Dense, written: int, until: _Until) -> None:
        try:
            dense.catch_up(written, None, until)
        except (ConflictError, DeadlineExceeded):
            pass  # another writer computes them, or some were forgotten; a search does the rest
        except FiniteMemoryError as error:
            self._did_without("embedder", f"{error}; {_LEFT}")
        finally:
            until.done = True

    def _searched(self) -> Archive:
        if self._archive is None:
            kept = self._store.index(self._session_id)
            index = InMemoryIndex() if kept is None else kept
            dense_of, scope = self._dense_of(), self.scope
            if scope is None:
                dense = None if dense_of is None else dense_of(self._session_id)
                self._archive = Archive(self._store, self._session_id, index, dense, self._skipped)
            else:
                from .scope import ScopedArchive  # only where there is a scope

                self._archive = ScopedArchive(
                    self._store, self._session_id, index, scope, dense_of, self._skipped
                )
        return self._archive

    def _dense_of(self) -> Callable[[str], Dense] | None:
        """Return what makes the search by meaning of a session; None without an embedder."""
        if self._recall is None or self._recall.embedder is None:
            return None
        from .dense import Source, dense_of  # only where there is an embedder

        return dense_of(Source(self._recall.embedder), self._store)

    def _look_at_index(self) -> None:
        """Count and note it, once, if the store's index is damaged or cannot be written."""
        problem = None if self._archive is None else self._archive.problem
        if problem is not None and problem != self._problem:
            self._did_without("index", problem)
        self._problem = problem

    def _skipped(self, why: str) -> None:
        self._did_without("embedder", why)

    def _did_without(self, what: str, why: str) -> None:
        with self._noting:
            self.fallbacks[what] = self.fallbacks.get(what, 0) + 1
            self.notices.append(FellBack(self._session_id, what, why))


def _outside(window: Window) -> Callable[[int], bool]:
    """Return whether a message does not stand in the window, by its place."""
    there = {i for block in window.blocks for i in range(block.index, block.end)}
    return lambda place: place not in there
