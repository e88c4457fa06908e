"""Facts: what is one in which script, whether a summary keeps it, and what was never said."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import Block, Message, ToolCall
from finite_memory_core.facts import Fact, Said, facts_in, facts_of, invented, sources, values
from finite_memory_core.summarizing import ExtractiveSummarizer

from .examples import some
from .strategies import messages


def keys(text: str, kind: str) -> set[str]:
    return {value.key for value in values(text) if value.kind == kind}


NUMBERS = {
    "The rent is 1,250 euros.": {"1250"},
    "Die Miete beträgt 1.250,50 Euro.": {"1250,50"},
    "At 06:45, or 7:05.": {"6:45", "7:5"},
    "Version 3.11 of 2024-05-03.": {"3.11", "2024:5:3"},
    "It is 14th, 5km and 250mg.": {"14", "5", "250"},
    "a 10-year-old dog": {"10"},
    "السعر ١٢٥٠ درهم": {"1250"},
    "कीमत १२५० रुपये": {"1250"},
    "家賃は１２５０円です。": {"1250"},
    "1. first\n2. second": set(),
    "No digits here.": set(),
}


@pytest.mark.parametrize(("text", "found"), NUMBERS.items())
def test_numbers_are_read_in_every_script(text: str, found: set[str]) -> None:
    """A number is its value: separators, leading zeros and the script of its digits are not."""
    assert found == keys(text, "number")


CODES = {
    "The id is INV-20493.": {"inv-20493"},
    "注文番号はINV-20493です。": {"inv-20493"},
    "wifi: tulip-marble-92": {"tulip-marble-92"},
    "See https://example.org/a?b=1, please.": {"https://example.org/a?b=1"},
    "Mail ada@example.org.": {"ada@example.org"},
    "It is in /srv/app/config.yaml.": {"/srv/app/config.yaml"},
    "Open ~/notes/todo.txt or C:\\Temp\\x.log": {"~/notes/todo.txt", "c:\\temp\\x.log"},
    "Run `make all` in main.py": {"make all", "main.py"},
    "Set max_policy_ms.": {"max_policy_ms"},
    "see #4137 by @ada": {"#4137", "@ada"},
    "and/or, he/she, e.g. this": set(),
}


@pytest.mark.parametrize(("text", "found"), CODES.items())
def test_identifiers_are_read_whole(text: str, found: set[str]) -> None:
    """Identifiers, paths, URLs and addresses stay in one piece, without the full stop."""
    assert found == keys(text, "code")


NAMES = {
    "My sister Ada lives in Turin.": {"ada", "turin"},
    "Okafor called about it.": {"okafor"},
    "Okafor's car is red.": {"okafor"},
    "Everything is fine. Cooking is nice.": set(),
    "Meine Schwester Ada wohnt in einer Wohnung in Turin.": {"ada", "turin"},
    "Моя сестра Анна живёт в Риге.": {"анна", "риге"},
    "Η αδελφή μου η Μαρία μένει εδώ.": {"μαρία"},
    "妹はトリノに住んでいます。": {"トリノ"},
    "We meet on Monday.": set(),
    "ALL OF THIS IS LOUD": set(),
}


@pytest.mark.parametrize(("text", "found"), NAMES.items())
def test_names_have_capitals(text: str, found: set[str]) -> None:
    """Words with a capital inside a sentence, or that act at its beginning; no German nouns."""
    assert found == keys(text, "name")


def block(*texts: str) -> Block:
    return Block(0, tuple(map(Message.user, texts)), 1)


STATED = [
    "The rent is 1,250 euros.",
    "We never restart the primary.",
    "I am allergic to peanuts.",
    "We decided to use another database.",
    "The train leaves on Friday.",
    "Can you book a table for 4?",
    "Wir nehmen das nicht.",
    "Je ne mange pas de viande.",
    "No me gusta el mar.",
    "Я не ем мясо.",
    "我不吃肉。",
    "肉は食べないです。",
    "나는 고기를 먹지 않아요.",
    "لا آكل اللحم.",
    "मैं मांस नहीं खाती।",
    "ฉันไม่กินเนื้อ",
    "Et yemem, hayır.",
    "En syö lihaa, se ei käy.",
]


@pytest.mark.parametrize("text", STATED)
def test_it_is_a_fact(text: str) -> None:
    """Values, negations and decisions make a sentence one, in many languages."""
    assert (Fact(0, f"user: {text}"),) == facts_of(block(text))


SMALL_TALK = [
    "How are you?",
    "It was rather nice.",
    "Where does Ada live?",
    "That is fine with me.",
]


@pytest.mark.parametrize("text", SMALL_TALK)
def test_it_is_none(text: str) -> None:
    """Small talk is no fact, nor is a question that only names somebody."""
    assert () == facts_of(block(text))


def test_facts_say_who_and_where() -> None:
    """Each is a line with its speaker, and knows its message; tool calls are facts too."""
    call = ToolCall("c", "book", '{"table": 4}')
    said = Block(
        7,
        (
            Message.assistant("Well. I will book it for 19:30.", tool_calls=(call,), name="Bot"),
            Message.tool("Booked as ZX-81.", tool_call_id="c", name="book"),
        ),
        1,
    )
    assert [
        Fact(7, 'Bot: called book {"table": 4}'),
        Fact(7, "Bot: I will book it for 19:30."),
        Fact(8, "book: Booked as ZX-81."),
    ] == [*facts_of(said)]


def test_a_long_sentence_is_kept_in_pieces() -> None:
    """None is longer than the limit, none is changed, and no value is lost."""
    text = ", ".join(f"item {i} costs {i * 37} euros" for i in range(100, 160))
    pieces = [fact.said for fact in facts_of(block(text))]
    assert text == " ".join(pieces)
    assert max(map(len, pieces)) <= 240
    endless = [fact.said for fact in facts_of(block("x1" * 500))]
    assert "x1" * 500 == "".join(endless)


KEPT = [
    ("The rent is 1,250 euros.", "They pay 1250 euros of rent."),
    ("The flight is on 14 March at 06:45.", "A flight leaves March 14th at 6:45."),
    ("Ada has 3 dogs.", "Ada's 3 dogs are well."),
    ("We never restart the primary.", "The primary is never restarted; we never restart it."),
    ("Моя сестра Анна живёт в Риге.", "Анна — сестра, живёт в Рига."),
]


@pytest.mark.parametrize(("fact", "summary"), KEPT)
def test_a_summary_keeps_a_fact_in_its_own_words(fact: str, summary: str) -> None:
    """All values stand there, however they are written."""
    assert Said([summary]).keeps(Fact(0, f"user: {fact}"))


LOST = [
    ("The rent is 1,250 euros.", "The rent was discussed."),
    ("Ada has 3 dogs.", "Ada has 3 cats."),
    ("Ada has 3 dogs.", "Ada has dogs."),
    ("We never restart the primary.", "We restart the primary."),
    ("We decided to use Postgres.", "Postgres is a database."),
    ("My sister Ada lives in Turin.", "My sister lives in Turin."),
    ("I am allergic to peanuts.", "We are allergic to work."),
]


@pytest.mark.parametrize(("fact", "summary"), LOST)
def test_a_summary_loses_a_fact(fact: str, summary: str) -> None:
    """A value, its unit or a "not" that is missing makes it lost."""
    assert not Said([summary]).keeps(Fact(0, f"user: {fact}"))


SOURCE = (
    "My sister Ada moved to Turin on 14 March 2024, with two dogs. The rent is 1,250 euros, the "
    "number INV-20493, the train is at 06:45. Her lawyer is Maria Okafor of Italy."
)
TRUE = [
    "Ada lives in Turin since March 14, 2024 and pays 1250 euros.",
    "The invoice is INV-20493. She has 2 dogs.",
    "The train leaves at 6:45. Okafor's client is Ada.",
    "1. Ada moved.\n2. The lawyer is Maria Okafor.",
    "Earlier, everything was arranged. The Turinese flat costs 1,250 euros.",
    "The user said that her sister moved on 2024-03-14.",
    "She moved on 14/03/2024, or 3/14/2024.",
    "Mrs Okafor, an Italian, is a lawyer.",
    "All was well. Most is arranged. Dinner is at home.",
]
LIES = [
    ("Ada lives in Turin and pays 1,350 euros.", "1350"),
    ("Ada lives in Berlin.", "berlin"),
    ("Zelda lives in Turin.", "zelda"),
    ("Her lawyer is Marie Okafor.", "marie"),
    ("The train leaves at 6:50.", "6:50"),
    ("The invoice is INV-20494.", "inv-20494"),
    ("She has 3 dogs.", "3"),
    ("See https://example.org for it.", "https://example.org"),
    ("The 7th of March it was.", "7"),
    ("She moved on 2025-03-14.", "2025:3:14"),
    ("She is a Spanish lawyer.", "spanish"),
]


@pytest.mark.parametrize("summary", TRUE)
def test_the_truth_is_let_through(summary: str) -> None:
    """Other words for what was said are no lie."""
    assert invented(summary, Said([SOURCE, "user"])) is None


@pytest.mark.parametrize(("summary", "lie"), LIES)
def test_a_lie_is_found(summary: str, lie: str) -> None:
    """A number, a name or an identifier that was never said is named."""
    assert repr(lie) in (invented(summary, Said([SOURCE])) or "")


def test_what_is_known_beside_the_words_may_be_stated() -> None:
    """Speakers' names and the days on which they spoke are said too."""
    said = Block(
        0, (Message.user("I moved.", name="Farid", timestamp=datetime(2024, 5, 3, 9, 30)),), 1
    )
    known = Said(sources("", [said]))
    assert invented("On 3 May 2024 it was Farid who moved.", known) is None
    assert invented("On 4 May 2024 it was Farid who moved.", known) is not None


@given(st.lists(messages, max_size=4), st.lists(messages, max_size=4), st.integers(20, 400))
@settings(max_examples=some(60), deadline=None)
def test_quotations_are_never_refused(
    first: list[Message], second: list[Message], room: int
) -> None:
    """Whatever is said, in whatever script: the extractive summary of it states nothing new."""
    summary = ""
    for said in (first, second):
        blocks = [Block(i, (message,), 1) for i, message in enumerate(said)]
        made = ExtractiveSummarizer().summarize(summary, blocks, room, len)
        assert invented(made, Said(sources(summary, blocks))) is None
        for fact in facts_in(made):
            assert Said([made]).keeps(fact)
        summary = made
