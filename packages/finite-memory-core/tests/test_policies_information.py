"""What a block is said to hold, in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from finite_memory_core.blocks import Block
from finite_memory_core.messages import Message
from finite_memory_core.policies.dates import TIME_WORDS
from finite_memory_core.policies.information import (
    asks,
    dates,
    features,
    idf,
    information,
    keep_newest,
    names,
    newest_within,
    numbers,
)
from finite_memory_core.text.stopwords import STOP_WORDS
from finite_memory_core.text.words import words


def block(text: str, index: int = 0, tokens: int = 10) -> Block:
    return Block(index, (Message.user(text),), tokens)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My sister Ada lives in Turin.", 2),
        ("Ada lives here. She is well.", 0),
        ("we met Ada and Ada again", 1),
        ("I think that I know.", 0),
        ("Call Dr. Okafor, or Mrs. Lindqvist.", 4),
        ('He said: "No." (Yes!)', 0),
        ("Вчера Анна уехала в Москву.", 2),
        ("Ο γιατρός Νίκος ζει στην Αθήνα.", 2),
        ("Երեկ Աննան գնաց Երևան։", 2),
        ("¿Cuándo viene? ¡Mañana!", 0),
        ("EVERYTHING IS SHOUTED HERE", 0),
        ("昨天我和王芳去了北京。", 0),
        ("سافرت ليلى إلى القاهرة", 0),
        ("\n    Indented line", 0),
        ("", 0),
    ],
)
def test_names(text: str, expected: int) -> None:
    """Words capitalised inside a sentence are names, where a script has capitals."""
    assert expected == names(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INV-20493 of 2024-03-14 at 6:45, 1,204.50 in all", 4),
        ("10.0.3.17 and 10.0.3.17", 1),
        ("٣ كتب و ١٢ قلما", 2),
        ("दिनांक १४", 1),
        ("none", 0),
    ],
)
def test_numbers(text: str, expected: int) -> None:
    """Different numbers count, with their inner punctuation, in the digits of any script."""
    assert expected == numbers(text)


@pytest.mark.parametrize(
    "text",
    [
        "We met last Friday.",
        "Wir trafen uns gestern.",
        "Nous partons demain.",
        "Nos vimos ayer.",
        "Partiamo domani.",
        "Saímos na sexta-feira, amanhã.",
        "We gaan morgen.",
        "Он приехал вчера.",
        "سافر أمس",
        "वह कल आया",
        "어제 갔어요",
        "我昨天去了",
        "昨日行きました",
    ],
)
def test_dates(text: str) -> None:
    """Words of time are known in thirteen languages."""
    assert dates(block(text).terms) > 0
    assert 0 == dates(block("xyzzy qwrt").terms)


def test_words_of_time_can_be_found() -> None:
    """Each is one term as texts are split, and none is a stop word."""
    assert [] == [word for word in sorted(TIME_WORDS) if words(word) != [word]]
    assert frozenset() == TIME_WORDS & STOP_WORDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where?", True),
        ("Where? ", True),
        ('She asked "Where?"', True),
        ("**Where?**", True),
        ("在哪里？", True),
        ("أين؟", True),
        ("Where? There.", False),
        ("", False),
    ],
)
def test_asks(text: str, expected: bool) -> None:
    """A text asks if it ends in a question mark of any script, quotes and marks aside."""
    assert expected is asks(text)


def test_what_is_only_asked_about_counts_half() -> None:
    """A word in a question is worth half of one that is stated, and whole if it is stated too."""
    weights = {"garden": 4.0, "turin": 2.0}
    assert 6.0 == information(block("The garden in Turin."), weights)
    assert 5.0 == information(block("The garden. In Turin?"), weights)
    assert 3.0 == information(block("The garden in Turin?"), weights)
    assert 6.0 == information(block("The garden? In Turin, the garden."), weights)


@given(st.lists(st.text(min_size=1).map(lambda t: "a" + t.replace("\0", "")), max_size=12))
def test_statistics_of_any_text(texts: list[str]) -> None:
    """Every word has a positive weight, and a block holds its words either stated or asked."""
    blocks = [block(text, i) for i, text in enumerate(texts)]
    weights = idf(blocks)
    assert all(weight > 0 for weight in weights.values())
    for one in blocks:
        held = features(one)
        assert one.terms == held.stated | held.asked
        assert frozenset() == held.stated & held.asked
        assert held is features(one)
        assert 0 <= information(one, weights) <= sum(weights[t] for t in one.terms) + 1e-9


def test_rare_words_are_worth_more() -> None:
    """A word in one block of four is worth more than one in three of them."""
    weights = idf([block(text) for text in ("rain train", "rain", "rain garden", "blue")])
    assert weights["train"] > weights["rain"]


@given(st.lists(st.tuples(st.floats(-50, 50), st.integers(0, 20)), max_size=12), st.floats(0, 150))
def test_the_newest_rank_first(items: list[tuple[float, int]], room: float) -> None:
    """The newest that fit the room are denser than all others; nothing else changes."""
    blocks = [block("x", i, tokens) for i, (_, tokens) in enumerate(items)]
    worths = [worth for worth, _ in items]
    start = newest_within(blocks, room)
    raised = keep_newest(worths, blocks, room)
    assert sum(b.tokens for b in blocks[start:]) <= room
    assert not start or sum(b.tokens for b in blocks[start - 1 :]) > room
    assert worths[:start] == raised[:start]
    dense = [worth / max(1, b.tokens) for worth, b in zip(raised, blocks, strict=True)]
    assert max(dense[:start], default=0.0) < min(dense[start:], default=1.0 + max([0.0, *dense]))
