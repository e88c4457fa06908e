"""Keeping a summary: what of blocks that leave is folded in now, what waits, and what then stands.

A summarizer that answers at once is asked when blocks leave. For one that works in the background
they wait, at most as many as a context holds; what it made of them is on offer until the next
eviction, when the prefix of the context changes anyway. Each step takes a `Running` and returns the
next, and writes down what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .accounting import Accountant
from .background import Request
from .blocks import Block
from .events import FactsDropped, Summarized
from .journal import Journal
from .summary import (
    Offer,
    Running,
    Summarizer,
    Vetted,
    Waiting,
    ask,
    carry,
    failure,
    summary_message,
    text_tokens,
    too_small,
    vet,
)

if TYPE_CHECKING:
    from .background import Job


class SummaryKeeper:
    """The steps of one session's summary.

    Args:
        summarizer: makes it; None for no summary.
        accountant: counts it.
        journal: where it is written down what happened.
    """

    def __init__(
        self, summarizer: Summarizer | None, accountant: Accountant, journal: Journal
    ) -> None:
        self.summarizer = summarizer
        self._accountant = accountant
        self._journal = journal

    @property
    def in_background(self) -> bool:
        """Whether the summarizer is only asked when nobody waits."""
        return bool(getattr(self.summarizer, "background", False))

    def block(self, running: Running) -> Block | None:
        """Return what stands in the context; None where there is no summary."""
        if not running.shown:
            return None
        message = summary_message(running.shown)
        return Block(-1, (message,), self._accountant.message(message), pinned=True)

    # -- when blocks leave ----------------------------------------------------------------------

    def fold_in(self, running: Running, left: Sequence[Block], room: int, most: int) -> Running:
        """Fold in what left, now or later; what must not be lost goes into the ledger.

        Args:
            running: the summary so far.
            left: what leaves now, oldest first.
            room: the tokens that the summary may take.
            most: the tokens of blocks that may wait.

        Raises:
            CounterError: the counter broke its contract.
        """
        if self.summarizer is None or not left:
            return running
        waiting: tuple[Waiting, ...] = ()
        if self.in_background:
            text, folded = _offered(running)
            waiting = (*running.waiting[len(folded) :], *map(_waiting, left))
        else:
            text, folded = self._asked(self.summarizer, running, left, room)
        stands = self._stand(running, text, folded, left, room)
        return replace(stands, waiting=self._bounded(waiting, most), offer=None)

    def put_off(self, running: Running, block: Block, most: int) -> Running:
        """Leave a block to be folded in later or never; no summary grows now."""
        if self.in_background:
            waiting = (*running.waiting, _waiting(block))
            return replace(running, waiting=self._bounded(waiting, most))
        if self.summarizer is not None:
            self._journal.count(unsummarized=1)
        return running

    def _asked(
        self, summarizer: Summarizer, running: Running, left: Sequence[Block], room: int
    ) -> tuple[str, tuple[Waiting, ...]]:
        """Return the text that stands from now on, and what of `left` is in it."""
        journal = self._journal
        asking = ask if journal.watch is None else journal.watch.timed("summary", ask)
        vetted = asking(summarizer, running, left, room, self._accountant)
        if vetted.problem is not None:
            self._journal.fall_back("summarizer", vetted.problem)
        lost = len(left) if vetted.text is None else 0
        self._journal.count(unsummarized=lost + len(running.waiting))
        return (running.text, ()) if vetted.text is None else (vetted.text, (*map(_waiting, left),))

    def _bounded(self, waiting: tuple[Waiting, ...], most: int) -> tuple[Waiting, ...]:
        """Return the newest of `waiting` that a context holds: no request may grow for ever.

        The others stay in the archive, in no summary.
        """
        start = len(waiting)
        while start and waiting[start - 1].tokens <= most:
            start -= 1
            most -= waiting[start].tokens
        self._journal.count(unsummarized=start)
        return waiting[start:]

    def _stand(
        self,
        running: Running,
        text: str,
        folded: Sequence[Waiting],
        left: Sequence[Block],
        room: int,
    ) -> Running:
        """Let `text`, which has `folded` in it, stand, with a ledger of the facts that it lacks."""
        journal = self._journal
        stands, lacking = carry(running, text, left, room, self._accountant)
        if stands.text != text:
            why = f"the summary was cut: its room is {room} tokens now"
            journal.fall_back("summarizer", why)
        if lacking:
            dropped = tuple(fact.text for fact in lacking)
            journal.count(facts_dropped=len(dropped))
            journal.tell(FactsDropped(journal.session_id, dropped))
        if stands.text != running.text:
            journal.count(summaries=1)
            ledger = tuple(fact.text for fact in stands.ledger)
            tokens = sum(block.tokens for block in folded)
            journal.tell(Summarized(journal.session_id, stands.text, len(folded), tokens, ledger))
        return stands

    # -- in the background ----------------------------------------------------------------------

    def request(
        self, running: Running, read: Callable[[Waiting], Block], room: int
    ) -> Request | None:
        """Return what a summary of all that waits is to be made of; None where nothing waits.

        Args:
            running: the summary so far.
            read: returns a block that left.
            room: the tokens that the summary may take.
        """
        if self.summarizer is None or not (self.in_background and running.waiting):
            return None
        count = self._accountant
        most = text_tokens(self.summarizer, running, (), room, count)
        return Request(running, lambda: [*map(read, running.waiting)], most, count.text)

    def vet(self, running: Running, job: Job, room: int) -> Vetted:
        """Return what of a job's answer may stand; nothing where it comes too late."""
        asked, max_tokens = job.request.running, job.request.max_tokens
        if max_tokens <= 0:
            return too_small(room)
        if job.error is not None:
            return Vetted(None, failure(job.error))
        if not running.still(asked):
            return Vetted(None, "it came too late; the previous summary stands")
        return vet(job.answer, asked.whole, job.blocks, max_tokens, self._accountant)

    def take(self, running: Running, vetted: Vetted, blocks: int) -> Running:
        """Take in what came of a summary of the first `blocks` of those that wait."""
        if vetted.problem is not None:
            self._journal.fall_back("summarizer", vetted.problem)
        if vetted.text is None:
            return running
        return replace(running, offer=Offer(vetted.text, blocks))

    def swap(self, running: Running, room: int) -> Running:
        """Let the summary on offer stand now."""
        text, folded = _offered(running)
        stands = self._stand(running, text, folded, (), room)
        return replace(stands, waiting=running.waiting[len(folded) :], offer=None)


def _offered(running: Running) -> tuple[str, tuple[Waiting, ...]]:
    """Return the text on offer and what is folded in there; the present text where none is."""
    offer = running.offer
    return (running.text, ()) if offer is None else (offer.text, running.waiting[: offer.blocks])


def _waiting(block: Block) -> Waiting:
    return Waiting(block.index, block.end, block.tokens)
