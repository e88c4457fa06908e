"""Summaries: what leaves is folded in, the size is enforced, a failure keeps the old one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from finite_memory_core import (
    Block,
    CounterError,
    ExtractiveSummarizer,
    FellBack,
    Memory,
    MemoryEvent,
    Message,
    RollingSummary,
    Summarized,
    TokenCounter,
)

from .checks import state
from .strategies import prose, quarter


class Scripted:
    """A summarizer that says what it is told to."""

    def __init__(self, answer: Callable[[str, Sequence[Block], int], Any]) -> None:
        self.answer = answer

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        return self.answer(previous, blocks, max_tokens)  # type: ignore[no-any-return]


def summarized(answer: Callable[[str, Sequence[Block], int], Any], **more: Any) -> Memory:
    """Return a memory whose summaries are `answer`'s, after some evictions."""
    memory = Memory(400, "sliding", summarizer=Scripted(answer), counter=quarter, **more)
    memory.append(Message.system("Be brief."))
    for i in range(40):
        memory.append(Message.user(prose(i, 80)))
    return memory


def test_what_left_is_folded_in_once_each() -> None:
    """Every block that leaves is given to the summarizer, once, in order."""
    seen: list[int] = []

    def note(previous: str, blocks: Sequence[Block], max_tokens: int) -> str:
        seen.extend(block.index for block in blocks)
        return f"Up to number {seen[-1] - 1}."

    memory = summarized(note)
    assert list(range(1, len(seen) + 1)) == seen
    assert f"Up to number {seen[-1] - 1}." == memory.summary
    context = memory.context()
    assert ["system", "user", "user"] == [m.role for m in context.messages[:3]]
    assert {"finite_memory": "summary"} == context[1].metadata
    facts = "\n".join(["", "", "[Said word for word:]", *memory.ledger] if memory.ledger else [])
    shown = f"[Summary of the earlier conversation]\n{memory.summary}{facts}"
    assert shown == context[1].text
    assert memory.stats.summaries == memory.stats.evictions
    assert memory.stats.blocks_evicted == len(seen)


def failing(error: Exception) -> Callable[[str, Sequence[Block], int], str]:
    """Return an answer that is one summary, and then `error`."""

    def answer(previous: str, blocks: Sequence[Block], max_tokens: int) -> str:
        if previous:
            raise error
        return "Ada lives in Turin."

    return answer


BAD: list[tuple[str, Callable[[str, Sequence[Block], int], Any]]] = [
    ("RuntimeError: no model; the previous summary stands", failing(RuntimeError("no model"))),
    ("must be text, got NoneType", lambda p, b, m: None if p else "Ada lives in Turin."),
    ("has a NUL", lambda p, b, m: "\0" if p else "Ada lives in Turin."),
    ("an empty summary; the previous", lambda p, b, m: " " if p else "Ada lives in Turin."),
    ("no sentence of it fits", lambda p, b, m: "x" * 9_000 if p else "Ada lives in Turin."),
]


@pytest.mark.parametrize(("why", "answer"), BAD)
def test_a_summarizer_that_fails_loses_nothing(
    why: str, answer: Callable[[str, Sequence[Block], int], Any]
) -> None:
    """The summary before stands, the conversation goes on, and stats and an event say why."""
    heard: list[MemoryEvent] = []
    memory = summarized(answer, observers=[heard.append])
    assert "Ada lives in Turin." == memory.summary
    fell = [event for event in heard if isinstance(event, FellBack)]
    assert why in fell[0].why
    assert {"summarizer": len(fell)} == memory.stats.fallbacks
    assert 1 == memory.stats.summaries == sum(isinstance(e, Summarized) for e in heard)


def test_a_summary_that_is_too_long_is_cut_at_a_sentence() -> None:
    """Whole sentences stay, within the share of the budget, and the cut is told."""
    memory = summarized(lambda p, b, m: "One two three four. " * 100)
    assert memory.summary.endswith("four. ")
    tokens = 4 + quarter(memory.context()[1].text)
    assert tokens <= 0.15 * 400
    assert memory.stats.fallbacks["summarizer"] >= 1


def test_a_summary_gives_way_to_what_must_stay() -> None:
    """A question that fits only without the summary is shown whole; the summary comes back."""
    memory = Memory(400, "rolling_summary", counter=quarter)
    for i in range(40):
        memory.append(Message.user(prose(9 * i, 80)))
    summary = memory.summary
    assert summary
    memory.append(Message.user("x" * 4 * (400 - 3 - 4)))
    context = memory.context()
    assert 1 == len(context.messages)
    assert 400 == context.token_count
    resumed = Memory.resume(memory.store, memory.session_id, counter=quarter)
    assert state(memory) == state(resumed)
    memory.append(Message.user("Go on."))
    assert {"finite_memory": "summary"} == memory.context()[0].metadata


def test_a_counter_that_fails_in_a_summarizer_is_not_hidden() -> None:
    """The counter's fault is the counter's, whoever calls it."""
    bad = False

    def counter(text: str) -> int:
        return -1 if bad else len(text) // 4

    class Spoiling:
        def summarize(
            self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
        ) -> str:
            nonlocal bad
            bad = True
            try:
                return str(count("x"))
            finally:
                bad = False

    memory = Memory(100, summarizer=Spoiling(), counter=counter)
    with pytest.raises(CounterError, match="returned -1"):
        memory.append(*(Message.user(prose(i, 80)) for i in range(40)))


def test_a_room_too_small_for_a_summary_is_told() -> None:
    """Where the share of the budget holds not even the opening, an event says what to raise."""
    memory = Memory(60, RollingSummary(summary_share=0.05), counter=quarter)
    for i in range(10):
        memory.append(Message.user(prose(i, 80)))
    assert "" == memory.summary
    assert memory.stats.fallbacks["summarizer"] >= 1


def test_the_extractive_summary_quotes() -> None:
    """Each line is what somebody said, names and numbers first, questions left out."""
    blocks = [
        Block(0, (Message.user("Where was I? My sister Ada moved to Turin in 1998."),), 1),
        Block(1, (Message.assistant("I see. Well, well.", name="Bot"),), 1),
        Block(2, (Message.user("The rent is 1,250 euros. It is what it is."),), 1),
    ]
    text = ExtractiveSummarizer().summarize("user: Bo has a dog.", blocks, 25, quarter)
    lines = text.split("\n")
    assert quarter(text) <= 25
    assert "user: My sister Ada moved to Turin in 1998." in lines
    assert not any("?" in line for line in lines)
    said = [*(b.text for b in blocks), "Bo has a dog."]
    assert all(any(line.partition(": ")[2] in s for s in said) for line in lines)
