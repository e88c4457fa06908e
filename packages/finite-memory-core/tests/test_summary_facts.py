"""The fact gate: what a summary loses stands in its ledger, and what was never said is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    BackendSummarizer,
    Block,
    CallableBackend,
    ExtractiveSummarizer,
    FactsDropped,
    FellBack,
    Memory,
    MemoryEvent,
    Message,
    RollingSummary,
    Summarized,
    TokenCounter,
)
from finite_memory_core.policies import POLICIES

from .checks import mark_of, recount, say, state
from .examples import some
from .strategies import conversations, quarter, quarter_bytes
from .test_summarizing import FACTS, filler, talk
from .test_summary import Scripted

KINDS = {
    "4,250 euros": "The budget for the kitchen is 4,250 euros.",
    "9 October": "The audit is on 9 October.",
    "07:40": "My train leaves at 07:40.",
    "Okonkwo": "The new tenant is Mrs Okonkwo.",
    "ZX-81-4471": "The order id is ZX-81-4471.",
    "/srv/app/config.yaml": "The settings are in /srv/app/config.yaml now.",
    "never restart": "You must never restart the primary on weekends.",
    "Postgres": "We decided to use Postgres for the books.",
}
SPOKEN = {
    "German": {
        "1.250 Euro": "Die Miete beträgt 1.250 Euro.",
        "14. März": "Der Flug geht am 14. März.",
        "Erdnüsse": "Ich bin gegen Erdnüsse allergisch.",
        "Okafor": "Meine Ärztin heißt Okafor.",
    },
    "Russian": {
        "1250": "Квартира стоит 1250 евро.",
        "14 марта": "Самолёт улетает 14 марта.",
        "орехи": "У меня аллергия на орехи.",
        "Окафор": "Моего врача зовут Окафор.",
    },
    "Arabic": {
        "١٢٥٠": "الإيجار ١٢٥٠ درهم.",
        "البصرة": "قررنا الانتقال إلى البصرة.",
        "الفول": "عندي حساسية من الفول.",
        "6:45": "القطار في الساعة 6:45.",
    },
    "Hindi": {
        "१२५०": "किराया १२५० रुपये है।",
        "मूंगफली": "मुझे मूंगफली से एलर्जी है।",
        "6:45": "गाड़ी 6:45 बजे है।",
        "सोमवार": "बैठक सोमवार को है।",
    },
    "Japanese": {
        "1250円": "家賃は1250円です。",
        "トリノ": "妹はトリノに住んでいます。",
        "落花生": "落花生にアレルギーがあります。",
        "大阪支店": "大阪支店に決めました。",
    },
    "Chinese": {
        "1250": "房租是1250块。",
        "花生": "我对花生过敏。",
        "都灵": "我们决定搬到都灵去。",
        "6:45": "火车六号6:45开。",
    },
}
TALK = {
    "German": ("Das Wetter ist heute recht angenehm.", "Ein Spaziergang macht den Kopf frei."),
    "Russian": ("Погода сегодня довольно приятная.", "Прогулка освежает голову."),
    "Arabic": ("الطقس لطيف جدا هذا الصباح.", "المشي يريح البال كثيرا."),
    "Hindi": ("मौसम आज काफ़ी सुहाना है।", "टहलने से मन हल्का होता है।"),
    "Japanese": ("今日はとても気持ちのいい天気ですね。", "散歩をすると頭がすっきりします。"),
    "Chinese": ("天气真的很舒服。", "散步让人心情好起来。"),
}


def vague(previous: str, blocks: Sequence[Block], max_tokens: int) -> str:
    """Summarize as models do when they are not told better: labels instead of values."""
    return "They talked about several things."


def stands_in(memory: Memory, keys: Sequence[str]) -> list[str]:
    """Return which of `keys` the model can read in the message that is the summary."""
    shown = [m.text for m in memory.context() if mark_of(m) == "summary"]
    return [key for key in keys if key in "".join(shown)]


def planted(memory: Memory, facts: dict[str, str], random: Random) -> Memory:
    """Say eight facts in 48 turns of small talk, and go on for ten rounds of folding."""
    turns = [filler(random) for _ in range(48)]
    for i, fact in enumerate(facts.values()):
        turns[2 + 6 * i] = f"{fact} {filler(random)}"
    memory.append(*map(Message.user, turns))
    talk(memory, random, 10)
    return memory


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("facts", [FACTS, KINDS], ids=["facts", "kinds"])
@pytest.mark.parametrize("budget", [1_024, 4_096])
def test_facts_outlive_ten_rounds_with_the_default_summarizer(
    budget: int, facts: dict[str, str], seed: int
) -> None:
    """Eight of eight planted facts stand in summary or ledger after ten rounds of folding."""
    memory = Memory(budget, "rolling_summary", counter=quarter_bytes)
    planted(memory, facts, Random(seed))
    assert [*facts] == stands_in(memory, [*facts])


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_facts_outlive_a_summarizer_that_keeps_none(seed: int, background: bool) -> None:
    """Seven of eight are values or decisions, and stand word for word whatever the model does."""
    backend = CallableBackend(lambda context: "They talked about several things.")
    summarizer = BackendSummarizer(backend, background=background)
    memory = Memory(2_048, "sliding", summarizer=summarizer, counter=quarter_bytes)
    planted(memory, KINDS, Random(seed))
    memory.summarize()
    assert [*KINDS] == stands_in(memory, [*KINDS])
    assert "They talked about several things." == memory.summary
    assert memory.stats.facts_held == len(memory.ledger) >= 8


@pytest.mark.parametrize("language", SPOKEN)
def test_facts_outlive_ten_rounds_in_many_languages(language: str) -> None:
    """Numbers, names, negations and decisions of six languages in five scripts are kept."""
    facts = SPOKEN[language]
    random = Random(language)
    memory = Memory(1_500, "rolling_summary", counter=quarter_bytes)
    for fact in facts.values():
        memory.append(Message.user(fact), Message.assistant(random.choice(TALK[language])))
    while memory.stats.evictions < 11:
        memory.append(Message.user(" ".join(random.choices(TALK[language], k=3))))
    assert [*facts] == stands_in(memory, [*facts])


@pytest.mark.parametrize("policy", POLICIES)
def test_any_policy_has_a_gate(policy: str) -> None:
    """Whatever decides who leaves: the values of what left stand in the ledger."""
    memory = Memory(600, policy, summarizer=Scripted(vague), counter=quarter)
    memory.append(Message.user("The order id is ZX-81-4471."))
    memory.append(*(Message.user(filler(Random(i))) for i in range(60)))
    assert "They talked about several things." == memory.summary
    assert [] != [m for m in memory.context() if "ZX-81-4471" in m.text]


def lied(answer: str, **more: Any) -> tuple[Memory, list[MemoryEvent]]:
    """Return a memory whose summarizer tells the truth once, and then only `answer`."""
    heard: list[MemoryEvent] = []

    def tell(previous: str, blocks: Sequence[Block], max_tokens: int) -> str:
        return answer if previous else "Ada lives in Turin."

    memory = Memory(
        400, summarizer=Scripted(tell), counter=quarter, observers=[heard.append], **more
    )
    memory.append(Message.user("My sister Ada lives in Turin, in a flat of 3 rooms."))
    memory.append(*(Message.user(filler(Random(i))) for i in range(30)))
    return memory, heard


LIES = {
    "Ada lives in Turin and owes 9,999 euros.": "the number '9999', which was never said",
    "Ada lives in Turin with Bartholomew.": "the name 'bartholomew', which was never said",
    "Ada lives in Turin, see https://example.org.": "'https://example.org', which was never said",
    "Ada lives in Turin, in 4 rooms.": "the number '4', which was never said",
}


@pytest.mark.parametrize(("lie", "why"), LIES.items())
def test_a_summary_that_lies_is_refused(lie: str, why: str) -> None:
    """The old summary stands, stats and an event say which number or name was never said."""
    memory, heard = lied(lie)
    assert "Ada lives in Turin." == memory.summary
    whys = [event.why for event in heard if isinstance(event, FellBack)]
    assert whys
    assert all(why in told and "the previous summary stands" in told for told in whys)
    assert len(whys) == memory.stats.fallbacks["summarizer"]
    blocks = sum(event.blocks for event in heard if isinstance(event, Summarized))
    assert memory.stats.blocks_evicted == blocks + memory.stats.unsummarized
    assert all(lie not in message.text for message in memory.context())


def test_a_summary_in_other_words_is_let_through() -> None:
    """What was said may be put otherwise."""
    memory, _ = lied("Turin is where Ada lives; the flat has three rooms, or 3.")
    assert "Turin is where Ada lives; the flat has three rooms, or 3." == memory.summary
    assert not memory.stats.fallbacks


def test_what_the_summary_takes_up_leaves_the_ledger() -> None:
    """A fact stands once: in the ledger only while the summary lacks it."""
    says = ["Nothing much.", "The rent is 1,250 euros.", "Nothing much."]
    memory = Memory(
        400, summarizer=Scripted(lambda p, b, m: says[min(2, memory.stats.evictions - 1)]),
        counter=quarter,
    )  # fmt: skip
    memory.append(Message.user("The rent is 1,250 euros."))
    held = []
    for i in range(60):
        before = memory.stats.evictions
        memory.append(Message.user(f"{filler(Random(i))}"))
        if memory.stats.evictions > before:
            held.append([line for line in memory.ledger if "1,250" in line])
    assert ["user: The rent is 1,250 euros."] == held[0]
    assert [] == held[1]
    assert ["The rent is 1,250 euros."] == held[2] == held[-1]


def test_what_the_ledger_has_no_room_for_is_counted() -> None:
    """The facts that stand nowhere are named by an event, and the stats count them."""
    heard: list[MemoryEvent] = []
    memory = Memory(
        400, summarizer=Scripted(vague), counter=quarter, observers=[heard.append]
    )  # fmt: skip
    facts = [f"The code of door {i} is K-{i * 7919}." for i in range(100, 160)]
    memory.append(*map(Message.user, facts))
    dropped = [f for event in heard if isinstance(event, FactsDropped) for f in event.facts]
    assert dropped
    assert len(dropped) == memory.stats.facts_dropped
    assert len(memory.ledger) == memory.stats.facts_held > 0
    there = {m.text for m in memory.context()}
    gone = [f"user: {fact}" for fact in facts if fact not in there]
    assert sorted(gone) == sorted([*dropped, *memory.ledger])


@given(
    said=conversations(max_turns=20),
    budget=st.sampled_from([200, 400, 900]),
    policy=st.sampled_from(POLICIES),
    answer=st.sampled_from(["", "Ada.", "They talked. " * 200, "x" * 5_000, "1998 euros", None]),
    share=st.sampled_from([0.05, 0.15, 0.6]),
)
@settings(max_examples=some(60), deadline=None)
def test_the_size_is_enforced(
    said: list[Message], budget: int, policy: str, answer: str | None, share: float
) -> None:
    """Whatever a summarizer says: summary and ledger together stay within their share."""
    summarizer: Any = ExtractiveSummarizer() if answer is None else Scripted(lambda p, b, m: answer)
    memory = Memory(
        budget,
        RollingSummary(summarizer, share) if policy == "rolling_summary" else policy,
        summarizer=summarizer,
        counter=quarter,
        oversize="clip",
    )
    say(memory, said)
    most = share if policy == "rolling_summary" else 0.15
    for message in memory.context():
        if mark_of(message) == "summary":
            assert recount(message, quarter) <= most * budget
            assert all(line in message.text for line in memory.ledger)


@pytest.mark.parametrize("answer", [vague, lambda p, b, m: "9 lies"], ids=["vague", "lie"])
def test_a_resumed_memory_has_the_same_ledger(
    answer: Callable[[str, Sequence[Block], int], str],
) -> None:
    """Summary, ledger and counts come back from the checkpoint, and go on alike."""
    memory = Memory(500, summarizer=Scripted(answer), counter=quarter, session_id="s")
    for i, fact in enumerate([*FACTS.values(), *KINDS.values()]):
        memory.append(Message.user(f"{fact} {filler(Random(i))}"))
        resumed = Memory.resume(memory.store, "s", counter=quarter, summarizer=Scripted(answer))
        assert state(memory) == state(resumed)
        assert memory.ledger == resumed.ledger
    assert memory.ledger


def test_the_previous_summary_and_its_ledger_are_given() -> None:
    """Each summary is made of the one before and of what it lost."""
    given_: list[str] = []

    class Noting:
        def summarize(
            self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
        ) -> str:
            given_.append(previous)
            return f"Round of number {len(given_)}." if len(given_) < 4 else "Round."

    memory = Memory(400, summarizer=Noting(), counter=quarter)
    memory.append(Message.user("The rent is 1,250 euros, and these are 1, 2, 3 words."))
    memory.append(*(Message.user(filler(Random(i))) for i in range(60)))
    assert "" == given_[0]
    assert given_[1].startswith("Round of number 1.\nuser: The rent is 1,250 euros")
    assert given_[2].startswith("Round of number 2.\n")
