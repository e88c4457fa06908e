"""Questions of every kind: clear behaviour, no exception out of a turn, bounded work."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import ConfigError, Memory, Message
from finite_memory_core.recall import Recall
from finite_memory_core.recall.analysis import MOST_CHARACTERS, query

from .recalling import FACTS, IndexedStore, recalled_text, talked
from .strategies import CORE, quarter_bytes

NOTHING_TO_FIND = {
    "empty": "",
    "spaces": " \n\t ",
    "stop words": "What was it that you did there?",
    "emoji": "👩‍👩‍👧‍👦 🇮🇹 🙂",
    "punctuation": "?!... -- ()",
    "never said": "xyzzy plugh",
    "a lone surrogate": "\ud83d",
    "NUL": "\0",
    "another script": "Ψηφιδωτό",
}
SYNTAX = (
    '"greyhound"',
    "greyhound*",
    "NEAR(greyhound)",
    "greyhound AND adopted NOT x",
    "text:greyhound",
    "(greyhound",
    "^greyhound",
    "greyhound'; DROP TABLE messages; --",
    "{greyhound} + -greyhound",
    "\ud83dgreyhound\udc4d",
)


@pytest.mark.parametrize("text", NOTHING_TO_FIND.values(), ids=NOTHING_TO_FIND)
def test_a_question_without_a_word_that_was_said_finds_nothing(text: str) -> None:
    """Nothing is recalled rather than anything at random."""
    memory = talked(recall=Recall(gate=0.0))
    assert [] == memory.search(text)
    assert () == memory.context(text).recalled


@pytest.mark.parametrize("text", SYNTAX)
def test_search_syntax_is_only_text(text: str) -> None:
    """No query language: its characters mean nothing, the words in it are looked for."""
    memory = talked(recall=Recall(gate=0.0))
    found = [hit.message.text for hit in memory.search(text, 1)]
    assert [FACTS[2]] == found
    assert FACTS[2] in recalled_text(memory, text)


@CORE
@given(
    text=st.text(st.characters())
    | st.text(st.sampled_from('"*()^:-+ANDORNEAR \ud800é妹'), max_size=40)
)
def test_no_question_fails(text: str) -> None:
    """Any text can be asked, lone surrogates included."""
    memory = _MEMORY
    for term in query(text, ["Ann", "Bob"]).terms:
        assert term.encode()
    assert memory.context(text).token_count <= memory.budget
    assert len(memory.search(text, 3)) <= 3


_MEMORY = talked(30)


def test_of_a_very_long_question_the_ends_are_read() -> None:
    """What is asked stands at the beginning or the end of what is pasted."""
    pasted = "".join(f"line{i} " for i in range(130_000))
    assert len(pasted) > 1_000_000
    asked = query(f"greyhound {pasted} walnuts", ())
    assert {"greyhound", "walnut"} <= set(asked.terms)
    assert len(asked.terms) <= MOST_CHARACTERS // 2
    memory = talked(recall=Recall(gate=0.0))
    text = recalled_text(memory, f"greyhound {pasted} walnuts")
    assert FACTS[2] in text
    assert FACTS[4] in text


def test_a_very_long_question_costs_no_more_than_a_long_one() -> None:
    """The number of look-ups is bounded, however long the text."""
    counts = []
    for length in (MOST_CHARACTERS, 1_000_000):
        store = IndexedStore()
        memory = talked(store=store)
        memory.search(" ".join(f"w{i}" for i in range(length // 4)))
        counts.append(store.counting.lookups)
    assert counts[1] <= 1.1 * counts[0]


def test_a_long_message_is_asked_like_any_other() -> None:
    """A megabyte as the last message, clipped in the context, is no error of recall."""
    memory = Memory(400, recall=Recall(gate=0.0), counter=quarter_bytes, oversize="clip")
    memory.append(*talked().transcript)
    memory.append(Message.user("greyhound? " + "word " * 200_000))
    assert memory.context().token_count <= 400


@pytest.mark.parametrize("wrong", [None, 5, b"greyhound", ["greyhound"]])
def test_a_query_must_be_text(wrong: object) -> None:
    """What is no text is refused before anything else."""
    with pytest.raises(ConfigError, match="a query must be text"):
        _MEMORY.search(wrong)  # type: ignore[arg-type]
    if wrong is not None:
        with pytest.raises(ConfigError, match="a query must be text"):
            _MEMORY.context(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "3", None])
def test_a_limit_must_be_a_number_of_messages(wrong: object) -> None:
    """A limit below 1 is refused, not read as no limit."""
    with pytest.raises(ConfigError, match="limit of 1 or more"):
        _MEMORY.search("greyhound", wrong)  # type: ignore[arg-type]
