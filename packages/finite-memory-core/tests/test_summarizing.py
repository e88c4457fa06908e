"""The extractive summary quotes, keeps facts through many rounds, and lets new ones in."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import Memory, Message
from finite_memory_core.blocks import Block
from finite_memory_core.messages import ToolCall
from finite_memory_core.policies import RollingSummary
from finite_memory_core.summarizing import ExtractiveSummarizer

from .examples import some

FACTS = {
    "Ada": "My sister Ada lives in Turin.",
    "INV-20493": "The invoice number is INV-20493.",
    "14 March": "My flight to Lisbon leaves on 14 March at 6:45.",
    "10.0.3.17": "The database runs at 10.0.3.17 on port 5433.",
    "penicillin": "I am allergic to penicillin.",
    "Okafor": "Please call Dr. Okafor at +39 011 555 0198.",
    "22 June": "We moved the deadline from Friday to 22 June.",
    "tulip-marble-92": "The wifi password is tulip-marble-92.",
}
HOW = ("I think that", "It seems to me that", "Honestly,", "On the whole", "These days")
WHAT = (
    "the weather has been rather pleasant",
    "cooking at home is a good way to relax",
    "a long walk clears the head",
    "music makes the work go faster",
    "the garden needs a bit of care",
    "it is hard to find a quiet moment",
    "small habits add up over time",
    "old books have a smell of their own",
)
SO = ("and that is fine with me.", "which is always nice.", "but who knows.", "at least for now.")


def filler(random: Random) -> str:
    """Return a turn of small talk."""
    return " ".join(
        f"{random.choice(HOW)} {random.choice(WHAT)} {random.choice(SO)}"
        for _ in range(random.randint(1, 3))
    )


def talk(memory: Memory, random: Random, rounds: int) -> None:
    """Go on with small talk until the summary was folded `rounds` times more."""
    until = memory.stats.evictions + rounds
    while memory.stats.evictions < until:
        memory.append(Message.user(filler(random)), Message.assistant(filler(random)))


@pytest.mark.parametrize("seed", range(4))
def test_facts_outlive_ten_rounds(seed: int) -> None:
    """At 2,048 tokens at least seven of eight facts in 48 turns outlive ten rounds of folding."""
    random = Random(seed)
    turns = [filler(random) for _ in range(48)]
    for i, fact in enumerate(FACTS.values()):
        turns[2 + 6 * i] = f"{fact} {filler(random)}"
    memory = Memory(2_048, RollingSummary())
    memory.append(*map(Message.user, turns))
    talk(memory, random, 10)
    assert sum(key in memory.summary for key in FACTS) >= 7


@pytest.mark.parametrize("budget", [512, 1_024, 2_048])
def test_a_new_fact_gets_in(budget: int) -> None:
    """A summary that is full of old facts takes up a new one when it leaves the window."""
    random = Random(budget)
    memory = Memory(budget, RollingSummary())
    memory.append(*map(Message.user, FACTS.values()))
    talk(memory, random, 4)
    memory.append(Message.user("By the way, the meeting room is B-417, said Farid."))
    at = memory.stats.messages - 1
    while any(block.index == at for block in memory.blocks):
        talk(memory, random, 1)
    assert "B-417" in memory.summary


sentence = st.sampled_from(
    [
        "Ada lives in Turin.",
        "It is 12:30.",
        "Tea?",
        "昨天我去了北京。",
        "x = 1\ny  =  2",
        "no end",
        "…",
    ]
)
texts = st.lists(sentence, min_size=1, max_size=4).map(" ".join)


@given(st.lists(texts, max_size=8), st.lists(texts, max_size=8), st.integers(0, 60))
@settings(max_examples=some(60))
def test_every_line_was_said(first: list[str], second: list[str], room: int) -> None:
    """Through two folds each line is a speaker and words of theirs, and the whole fits the room."""
    summarizer, summary = ExtractiveSummarizer(), ""
    for said in (first, second):
        blocks = [Block(i, (Message.user(t, name="A\nB"),), 1) for i, t in enumerate(said)]
        summary = summarizer.summarize(summary, blocks, room, len)
        assert len(summary) <= room
    everything = "\n".join(" ".join(text.split()) for text in [*first, *second])
    for line in summary.split("\n") if summary else ():
        speaker, _, quoted = line.partition(": ")
        assert "A B" == speaker
        assert quoted
        assert quoted in everything


def test_calls_are_told_and_questions_are_not() -> None:
    """A tool call is a line with its name and arguments; questions only ask."""
    call = ToolCall("c", "weather", '{\n  "city": "Turin"\n}')
    block = Block(
        0,
        (
            Message.assistant("Shall I look? I will ask the meteorologists.", tool_calls=(call,)),
            Message.tool("Rain until 18:00.", tool_call_id="c", name="weather"),
        ),
        1,
    )
    summary = ExtractiveSummarizer().summarize("", [block], 1_000, len)
    assert [
        'assistant: called weather { "city": "Turin" }',
        "assistant: I will ask the meteorologists.",
        "weather: Rain until 18:00.",
    ] == summary.split("\n")


def test_what_is_said_again_is_quoted_once() -> None:
    """A sentence that stands in the summary is not added to it again."""
    block = Block(0, (Message.user("Ada lives in Turin."),), 1)
    summarizer = ExtractiveSummarizer()
    summary = summarizer.summarize("", [block, block], 1_000, len)
    assert "user: Ada lives in Turin." == summary
    assert summary == summarizer.summarize(summary, [block], 1_000, len)


def test_a_counter_whose_parts_do_not_add_up_is_obeyed() -> None:
    """The size of the whole is what counts, even if it is more than that of its lines."""
    block = Block(
        0, (Message.user("Ada lives in Turin. Bob lives in Rome. Eve lives in Bonn."),), 1
    )
    summary = ExtractiveSummarizer().summarize("", [block], 60, lambda text: len(text) ** 2 // 25)
    assert 1 == len(summary.split("\n"))
