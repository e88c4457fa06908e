"""The steps of a running summary, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from finite_memory_core import FactsDropped, FellBack, Message, Summarized
from finite_memory_core.accounting import Accountant
from finite_memory_core.background import Job, Request
from finite_memory_core.blocks import Block
from finite_memory_core.counting import TokenCounter
from finite_memory_core.journal import Journal
from finite_memory_core.summary import Offer, Running, Vetted, Waiting
from finite_memory_core.summary_keeping import SummaryKeeper

from .strategies import characters

FACTS = "Ada pays 1,250 euros in Turin."


class Answering:
    """A summarizer that answers, or raises, what it was told to."""

    ledger_share = 0.5

    def __init__(self, answer: str | Exception = "They talked.", background: bool = False) -> None:
        self.answer = answer
        self.background = background
        self.asked: list[tuple[str, Sequence[Block], int]] = []

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        self.asked.append((previous, blocks, max_tokens))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def keeper(summarizer: Answering | None) -> tuple[SummaryKeeper, Journal]:
    journal = Journal("s")
    return SummaryKeeper(summarizer, Accountant(characters), journal), journal


def blocks(*texts: str, start: int = 0) -> list[Block]:
    return [Block(start + i, (Message.user(text),), 10) for i, text in enumerate(texts)]


def waiting(*places: int, tokens: int = 10) -> tuple[Waiting, ...]:
    return tuple(Waiting(place, place + 1, tokens) for place in places)


def test_what_stands_is_a_pinned_message() -> None:
    """Counted, before all places of the transcript; none where there is nothing to show."""
    keeps, _ = keeper(None)
    assert keeps.block(Running()) is None
    block = keeps.block(Running("They talked."))
    assert block is not None
    assert (-1, True) == (block.index, block.pinned)
    assert block.messages[0].text.endswith("They talked.")
    assert Accountant(characters).message(block.messages[0]) == block.tokens


@pytest.mark.parametrize(
    ("summarizer", "expected"),
    [(None, False), (Answering(), False), (Answering(background=True), True)],
)
def test_who_works_in_the_background_says_so(summarizer: Answering | None, expected: bool) -> None:
    """By an attribute, which others need not have."""
    assert keeper(summarizer)[0].in_background is expected
    assert keeper(object())[0].in_background is False  # type: ignore[arg-type]


# -- at once --------------------------------------------------------------------------------------


def test_what_leaves_is_folded_in_and_told() -> None:
    """The new text stands, with how much went into it."""
    summarizer = Answering()
    keeps, journal = keeper(summarizer)
    left = blocks("one", "two")
    assert Running("They talked.") == keeps.fold_in(Running("Before."), left, 300, 1_000)
    assert [("Before.", left)] == [asked[:2] for asked in summarizer.asked]
    assert [Summarized("s", "They talked.", 2, 20, ())] == journal.notices
    assert (1, 0, 0) == (
        journal.totals.summaries,
        journal.totals.unsummarized,
        journal.totals.facts_dropped,
    )


def test_facts_that_the_text_lacks_stand_in_the_ledger() -> None:
    """And are told with it."""
    keeps, journal = keeper(Answering())
    running = keeps.fold_in(Running(), blocks(FACTS), 600, 1_000)
    assert [f"user: {FACTS}"] == [fact.text for fact in running.ledger]
    assert [Summarized("s", "They talked.", 1, 10, (f"user: {FACTS}",))] == journal.notices


def test_facts_that_there_is_no_room_for_are_told() -> None:
    """Word for word, and counted."""
    keeps, journal = keeper(Answering())
    more = "Bob pays 980 euros in Rome, since the 3rd of May."
    room = Accountant(characters).message(keeps.block(Running("They talked.")).messages[0])  # type: ignore[union-attr]
    running = keeps.fold_in(Running(), blocks(FACTS, more), room, 1_000)
    assert () == running.ledger
    assert FactsDropped("s", (f"user: {FACTS}", f"user: {more}")) in journal.notices
    assert 2 == journal.totals.facts_dropped


def test_a_summarizer_that_fails_leaves_the_old_text() -> None:
    """It is told why; what left is in no summary, nor is what waited."""
    keeps, journal = keeper(Answering(OSError("down")))
    running = keeps.fold_in(
        Running("Before.", waiting=waiting(1, 2, 3)), blocks("one", "two"), 300, 1_000
    )
    assert Running("Before.") == running
    why = "OSError: down; the previous summary stands"
    assert [FellBack("s", "summarizer", why)] == journal.notices
    assert 5 == journal.totals.unsummarized
    assert {"summarizer": 1} == journal.totals.fallbacks


def test_an_offer_is_withdrawn_by_what_is_folded_in_at_once() -> None:
    """What waited for another summarizer is in no summary."""
    keeps, journal = keeper(Answering())
    running = Running("Before.", waiting=waiting(1), offer=Offer("Offered.", 1))
    assert Running("They talked.") == keeps.fold_in(running, blocks("one"), 300, 1_000)
    assert 1 == journal.totals.unsummarized


def test_without_a_summarizer_or_blocks_nothing_happens() -> None:
    """The same summary stands."""
    running = Running("Before.")
    assert keeper(None)[0].fold_in(running, blocks("one"), 300, 1_000) is running
    assert keeper(Answering())[0].fold_in(running, [], 300, 1_000) is running


def test_a_text_that_no_longer_fits_is_cut() -> None:
    """The room may be smaller than it was; that is told."""
    keeps, journal = keeper(Answering(OSError("down")))
    running = Running("They met. They talked of the weather at great length, and of bees.")
    room = Accountant(characters).message(keeps.block(Running("They met.")).messages[0]) + 9  # type: ignore[union-attr]
    assert "They met." == keeps.fold_in(running, blocks("one"), room, 1_000).text.strip()
    why = f"the summary was cut: its room is {room} tokens now"
    assert FellBack("s", "summarizer", why) in journal.notices


# -- in the background ----------------------------------------------------------------------------


def test_what_leaves_waits() -> None:
    """Nobody is asked; what waits is what a context holds, the newest of it."""
    summarizer = Answering(background=True)
    keeps, journal = keeper(summarizer)
    running = keeps.fold_in(Running("Before."), blocks("one", "two"), 300, 20)
    assert Running("Before.", waiting=waiting(0, 1)) == running
    running = keeps.fold_in(running, blocks("three", start=2), 300, 20)
    assert Running("Before.", waiting=waiting(1, 2)) == running
    assert [] == summarizer.asked
    assert [] == journal.notices
    assert (1, 0) == (journal.totals.unsummarized, journal.totals.summaries)
    assert () == keeps.fold_in(running, blocks("four", start=3), 300, 9).waiting
    assert 4 == journal.totals.unsummarized


def test_what_is_on_offer_stands_from_the_next_eviction_on() -> None:
    """With as many of those that waited as it has in it; the others go on waiting."""
    keeps, journal = keeper(Answering(background=True))
    running = Running("Before.", waiting=waiting(0, 1, 2), offer=Offer("Offered.", 2))
    assert Running("Offered.", waiting=waiting(2, 3)) == keeps.fold_in(
        running, blocks("four", start=3), 300, 1_000
    )
    assert [Summarized("s", "Offered.", 2, 20, ())] == journal.notices
    assert 1 == journal.totals.summaries


def test_an_offer_can_stand_now() -> None:
    """The rest goes on waiting."""
    keeps, journal = keeper(Answering(background=True))
    running = Running("Before.", waiting=waiting(0, 1, 2), offer=Offer("Offered.", 2))
    assert Running("Offered.", waiting=waiting(2)) == keeps.swap(running, 300)
    assert [Summarized("s", "Offered.", 2, 20, ())] == journal.notices
    assert running.text == keeps.swap(replace(running, offer=None), 300).text


def test_an_answer_that_is_put_off_waits_too() -> None:
    """At most what a context holds; where nothing waits it is in no summary, if there is one."""
    (block,) = blocks("late", start=7)
    keeps, journal = keeper(Answering(background=True))
    assert waiting(3, 7) == keeps.put_off(Running(waiting=waiting(3)), block, 20).waiting
    assert waiting(7) == keeps.put_off(Running(waiting=waiting(3)), block, 19).waiting
    assert 1 == journal.totals.unsummarized
    for summarizer, lost in ((Answering(), 1), (None, 0)):
        keeps, journal = keeper(summarizer)
        running = Running("Before.")
        assert keeps.put_off(running, block, 20) is running
        assert lost == journal.totals.unsummarized


def test_a_request_holds_all_that_is_needed() -> None:
    """The summary, what waits, the room and the counter."""
    keeps, _ = keeper(Answering(background=True))
    running = Running("Before.", waiting=waiting(4, 5))
    places = dict(zip(waiting(4, 5), blocks("a", "b", start=4), strict=True))
    request = keeps.request(running, places.__getitem__, 300)
    assert request is not None
    assert running is request.running
    assert [*places.values()] == request.read()
    assert 5 == request.count("count")
    opening = Accountant(characters).message(keeps.block(Running(".")).messages[0])  # type: ignore[union-attr]
    assert 300 - opening == request.max_tokens


def test_a_request_leaves_room_for_the_ledger_that_its_summarizer_wants() -> None:
    """A share of the room, or none."""
    running = Running(FACTS, waiting=waiting(4))
    found = []
    for share in (0.0, 0.25, 0.5):
        summarizer = Answering(background=True)
        summarizer.ledger_share = share
        request = keeper(summarizer)[0].request(running, lambda w: blocks("a")[0], 300)
        assert request is not None
        found.append(request.max_tokens)
    whole = found[0]
    needed = len(FACTS) + 1
    assert [whole, whole - min(int(0.25 * whole), needed), whole - needed] == found


@pytest.mark.parametrize(
    ("summarizer", "running"),
    [
        (None, Running(waiting=waiting(1))),
        (Answering(), Running(waiting=waiting(1))),
        (Answering(background=True), Running("Before.")),
    ],
)
def test_nothing_is_requested_in_vain(summarizer: Answering | None, running: Running) -> None:
    """Where nobody works in the background, or nothing waits."""
    assert keeper(summarizer)[0].request(running, lambda w: blocks("x")[0], 300) is None


def job(running: Running, answer: object, max_tokens: int = 100) -> Job:
    """Return a job that has ended with this answer, or failed with it."""
    made = Job(Answering(), Request(running, lambda: blocks("one"), max_tokens, characters))
    made.blocks = blocks("one")
    if isinstance(answer, BaseException):
        made.error = answer
    else:
        made.answer = answer
    return made


def test_what_comes_of_a_job_is_looked_at() -> None:
    """A text that may stand; or none, and why."""
    keeps, _ = keeper(Answering(background=True))
    running = Running("Before.", waiting=waiting(0))
    previous = "the previous summary stands"
    assert Vetted("They met.", None) == keeps.vet(running, job(running, "They met."), 300)
    assert Vetted(None, f"OSError: down; {previous}") == keeps.vet(
        running, job(running, OSError("down")), 300
    )
    assert Vetted(None, f"it came too late; {previous}") == keeps.vet(
        replace(running, text="Other."), job(running, "They met."), 300
    )
    assert Vetted(None, "a room of 300 tokens holds no summary; raise summary_share") == keeps.vet(
        running, job(running, "They met.", 0), 300
    )
    assert keeps.vet(running, job(running, "He paid 77 euros.", 100), 300).text is None
    assert Vetted("Hm.", None) == keeps.vet(running, job(running, "Hm.", 3), 300)
    assert Vetted("H", None) == keeps.vet(running, job(running, "H", 1), 300)
    assert "Hm." != keeps.vet(running, job(running, "Hm.", 2), 300).text


def test_what_may_stand_is_on_offer() -> None:
    """With how many it has in it; what may not changes nothing, and is told."""
    keeps, journal = keeper(Answering(background=True))
    running = Running("Before.", waiting=waiting(0, 1))
    offered = keeps.take(running, Vetted("They met.", None), 2)
    assert replace(running, offer=Offer("They met.", 2)) == offered
    assert [] == journal.notices
    assert keeps.take(running, Vetted(None, "wrong"), 2) is running
    assert [FellBack("s", "summarizer", "wrong")] == journal.notices
    assert Offer("Cut.", 1) == keeps.take(running, Vetted("Cut.", "it was cut"), 1).offer
    assert {"summarizer": 2} == journal.totals.fallbacks
