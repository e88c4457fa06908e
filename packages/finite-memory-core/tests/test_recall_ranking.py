"""Which messages answer a question: the ranking, its parts, and the bounds of its work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from math import isclose, log

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import InMemoryStore, Memory, Message
from finite_memory_core.recall import ranking, related
from finite_memory_core.recall.analysis import Query, document, query
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.choosing import MOST_READ
from finite_memory_core.recall.index import InMemoryIndex
from finite_memory_core.recall.ranking import (
    LEAST_RANKED,
    MOST_LENDING,
    MOST_OF_SESSION,
    MOST_POSTINGS,
    MOST_SCORED,
    MOST_SESSIONS,
    MOST_TERMS,
    Ranking,
    rank,
)
from finite_memory_core.stores.base import Counted, Version

from .recalling import CountingIndex, CountingStore, IndexedStore, chat, talked
from .strategies import CORE, messages, quarter_bytes, timestamps

QUESTIONS = (
    "Where does Ada live?",
    "When does the flight leave?",
    "What did Bob adopt in May 2023?",
    "walnuts",
    "What happened in 2023?",
)


PARTS = {
    "words", "neighbours", "session", "related", "speaker", "when", "date", "question", "length",
}  # fmt: skip


def everything(place: int) -> bool:
    return True


def search(said: list[Message], text: str, stop: int | None = None) -> Ranking:
    """Search all of `said`, the index built at once."""
    return archive(said).search(text, len(said) if stop is None else stop, everything)


def archive(said: list[Message], index: InMemoryIndex | None = None) -> Archive:
    store = InMemoryStore()
    store.create("s", "{}")
    store.append("s", Version(0, 0), [Counted(message, 1) for message in said], ())
    return Archive(store, "s", InMemoryIndex() if index is None else index)


def best(said: list[str] | list[Message], text: str) -> str:
    told = [Message.user(m) if isinstance(m, str) else m for m in said]
    return told[search(told, text).found[0][0]].text


# -- what each part is for ------------------------------------------------------------------------


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    """The message with the word that few others have comes first."""
    said = ["the garden was wet"] * 8 + ["a heron came", "the garden was dry"]
    assert "a heron came" == best(said, "heron in the garden?")


def test_an_answer_beside_the_words_of_the_question_is_found() -> None:
    """A message without one of its words gets a share of the score of the one before it."""
    said = ["hm"] * 20 + ["Which dog did you adopt?", "Biscuit, a greyhound."] + ["hm"] * 20
    found = search([Message.user(text) for text in said], "Who adopted a dog?")
    first = [said[place] for place, _ in found.found[:2]]
    assert {"Which dog did you adopt?", "Biscuit, a greyhound."} == set(first)
    assert "neighbours" in found.parts(said.index("Biscuit, a greyhound."))


def test_nothing_is_lent_across_a_silence() -> None:
    """A message of the next day is no neighbour."""
    times = [datetime(2023, 5, day, 12) for day in (1, 2)]
    said = [Message.user(t, timestamp=at) for t, at in zip(("dog", "cat"), times, strict=True)]
    assert "neighbours" not in search(said, "dog").parts(1)
    said = [Message.user(text) for text in ("dog", "cat")]
    assert "neighbours" in search(said, "dog").parts(1)


@pytest.mark.parametrize(
    ("part", "text", "expected"),
    [
        ("speaker", "What pet did Ann want?", "I want a pet, said Ann's friend."),
        ("when", "When did the pet come?", "The pet came yesterday."),
        ("date", "Which pet in March 2021?", "A pet."),
        ("session", "pet zebra", "A pet."),
    ],
)
def test_each_part_is_told(part: str, text: str, expected: str) -> None:
    """What raised a message's score is told by name."""
    at = datetime(2021, 3, 4)
    said = [
        Message.user("I want a pet, said Ann's friend.", name="Ann", timestamp=at),
        Message.user("The pet came yesterday.", name="Bob", timestamp=at),
        Message.user("A pet.", name="Bob", timestamp=at),
        Message.user("Is it a zebra?", name="Bob", timestamp=at),
    ]
    found = search(said, text)
    place = [m.text for m in said].index(expected)
    assert part in found.parts(place)
    assert "question" in found.parts(3)


def test_two_named_speakers_raise_neither() -> None:
    """Only a question about one speaker prefers what that one said."""
    said = [Message.user("a pet", name="Ann"), Message.user("a pet", name="Bob")]
    found = search(said, "Do Ann and Bob have a pet?")
    assert not any("speaker" in found.parts(place) for place in (0, 1))


@pytest.mark.parametrize("role", ["user", "assistant", "tool", "system"])
def test_roles_and_tools_are_no_speakers(role: str) -> None:
    """A question with the word ``user`` in it looks for that word."""
    said = [
        Message.user("yes"),
        Message.assistant("no"),
        Message.tool("x", tool_call_id="1", name=role),
        Message.user(f"the {role} is broken"),
    ]
    found = search(said, f"Which {role} is it?")
    assert 3 == found.found[0][0]
    assert "speaker" not in {*found.parts(2), *found.parts(3)}


def test_a_question_that_is_only_a_time_finds_what_was_said_then() -> None:
    """Even where no message has a word of it."""
    said = [
        Message.user(f"number {i}", timestamp=datetime(2020 + i // 12, i % 12 + 1, 3))
        for i in range(36)
    ]
    expected = {"2021": range(12, 24), "in March": (2, 14, 26), "March 2022": (26,)}
    for text, places in expected.items():
        found = search(said, text)
        assert set(places) == {p for p, _ in found.found if "date" in found.parts(p)}
        assert set(places) == {p for p, _ in found.found[: len(places)]}
        assert 1.0 == found.match


def test_messages_that_say_the_same_are_ranked_newest_first() -> None:
    """Among equals the newer one comes first, as what was said last holds."""
    said = [Message.user("the code is 17", timestamp=datetime(2023, i, 1)) for i in range(1, 6)]
    assert [4, 3, 2, 1, 0] == [place for place, _ in search(said, "code").found]


# -- scores ---------------------------------------------------------------------------------------

said_lists = st.lists(messages, min_size=1, max_size=30)
asked = st.sampled_from(QUESTIONS) | st.sampled_from(["Turin 1998", "сестра", "妹妹", "ok"])


@CORE
@given(said=said_lists, text=asked)
def test_the_parts_add_up_to_the_score(said: list[Message], text: str) -> None:
    """The score is explained, to rounding: Python 3.12 adds up floats more exactly than 3.11."""
    found = search(said, text)
    for place, score in found.found:
        parts = found.parts(place)
        assert isclose(score, sum(parts.values()), abs_tol=1e-12)
        assert set(parts) <= PARTS
        assert all(parts.values())
    assert [score for _, score in found.found] == sorted(
        (score for _, score in found.found), reverse=True
    )
    assert 0.0 <= found.match <= 1.0
    assert len({place for place, _ in found.found}) == len(found.found)


def test_the_parts_of_a_chat_add_up() -> None:
    """With every part among them."""
    told: set[str] = set()
    for text in (*QUESTIONS, "When did Ann sleep well?"):
        found = search(chat(40), text)
        for place, score in found.found:
            parts = found.parts(place)
            assert isclose(score, sum(parts.values()), abs_tol=1e-12)
            told.update(parts)
    assert told == PARTS


def test_a_session_holds_what_its_messages_hold_together() -> None:
    """Two messages with a word each make a better session than one with one of them."""
    days = [datetime(2023, 5, day) for day in (1, 1, 1, 2, 2)]
    texts = ["the dog", "the cat", "hm", "the dog", "ah"]
    said = [Message.user(t, timestamp=at) for t, at in zip(texts, days, strict=True)]
    found = search(said, "dog cat")
    assert found.parts(2)["session"] == ranking.SESSION
    assert found.parts(4)["session"] < ranking.SESSION


def test_only_what_may_be_found_opens_the_gate() -> None:
    """A message that stands in the context already is no match."""
    said = [Message.user(text) for text in ("dog and cat", "dog", "hm")]
    found = archive(said).search("dog and cat", 3, lambda place: place != 0)
    assert 0.0 < found.match < 1.0
    assert search(said, "dog and cat").match == 1.0


def test_nothing_behind_the_question_is_found() -> None:
    """Neighbours behind it get nothing, and speakers who come later are not known yet."""
    said = [Message.user("the dog", name="Bob")] * 5 + [Message.user("dog", name="Ann")] * 5
    index = InMemoryIndex()
    searched = archive(said, index)
    searched.search("dog", 10, everything)
    assert set(range(5)) == {place for place, _ in searched.search("dog", 5, everything).found}
    assert {"Bob"} == index.speakers(5)
    assert {"Bob", "Ann"} == index.speakers(6)


@CORE
@given(said=said_lists, text=asked, data=st.data())
def test_how_far_the_index_has_come_makes_no_difference(
    said: list[Message], text: str, data: st.DataObject
) -> None:
    """Caught up in any steps, beyond the place that is asked about too, it finds the same."""
    stop = data.draw(st.integers(0, len(said)))
    steps = data.draw(st.lists(st.integers(0, len(said)), max_size=4))
    stepped = archive(said)
    for step in steps:
        stepped.search("ada", step, everything)
    expected = archive(said[:stop]).search(text, stop, everything)
    found = stepped.search(text, stop, everything)
    assert expected[:2] == found[:2]
    for place, _ in found.found:
        assert expected.parts(place) == found.parts(place)


@CORE
@given(times=st.lists(timestamps, min_size=1, max_size=40), data=st.data())
def test_sessions_do_not_depend_on_the_steps(
    times: list[datetime | None], data: st.DataObject
) -> None:
    """Messages without a time in between, and times that go back, make no difference."""
    said = [Message.user("dog", timestamp=at) for at in times]
    whole, stepped = InMemoryIndex(), InMemoryIndex()
    archive(said, whole).search("dog", len(said), everything)
    other = archive(said, stepped)
    for step in sorted(data.draw(st.lists(st.integers(1, len(said)), max_size=6))):
        other.search("dog", step, everything)
    other.search("dog", len(said), everything)
    assert whole.facts(range(len(said))) == stepped.facts(range(len(said)))


def test_a_reply_without_a_time_does_not_hide_a_silence() -> None:
    """Sessions are found in chats where only the user's messages have a time."""
    at = datetime(2023, 5, 1)
    said = [
        Message.user("one", timestamp=at),
        Message.assistant("two"),
        Message.user("three", timestamp=at + timedelta(hours=3)),
    ]
    index = InMemoryIndex()
    archive(said, index).search("one", 3, everything)
    assert [0, 0, 2] == [session for _, session, _, _ in index.facts(range(3))]


@pytest.mark.parametrize(("between", "starts"), [(15, [0, 16]), (16, [0])])
def test_a_time_far_back_begins_no_session(between: int, starts: list[int]) -> None:
    """A time is compared with the last of the sixteen messages before that has one."""
    at = datetime(2023, 5, 1)
    said = [Message.user("x", timestamp=at), *[Message.user("x")] * between]
    said.append(Message.user("x", timestamp=at + timedelta(days=3)))
    index = InMemoryIndex()
    archive(said, index).search("x", len(said), everything)
    sessions = {session for _, session, _, _ in index.facts(range(len(said)))}
    assert starts == sorted(sessions)


def test_scores_are_the_same_in_every_process() -> None:
    """No order of a set or a hash goes into them."""
    program = (
        "import json; from tests.test_recall_ranking import QUESTIONS, search, chat; "
        "print(json.dumps([[list(r) for r in search(chat(40), q).found] for q in QUESTIONS]))"
    )
    folder = os.path.dirname(os.path.dirname(__file__))
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    own = [[list(ranked) for ranked in search(chat(40), text).found] for text in QUESTIONS]
    assert [own] == [json.loads(text) for text in printed]


# -- bounds ---------------------------------------------------------------------------------------

NEAR = MOST_SCORED + MOST_LENDING * len(ranking.KERNEL)
MOST_FACTS = NEAR + MOST_SESSIONS * MOST_OF_SESSION + LEAST_RANKED


def long_archive(count: int, text: Callable[[int], str]) -> CountingIndex:
    index = CountingIndex()
    index.add(document(i, Message.user(text(i)), 0) for i in range(count))
    index.lookups = index.places = index.facts_read = 0
    return index


@pytest.mark.parametrize("count", [2_000, 30_000])
def test_the_work_of_a_search_is_bounded(count: int) -> None:
    """However long the archive, so many postings and facts are read, and no more."""
    index = long_archive(count, lambda i: f"red {'green' if i % 2 else 'blue'} w{i % 97} w{i}")
    asked = query("red green blue w5 w7 w11", ())
    found = rank(asked, index, count, everything)
    assert index.lookups == len(asked.terms)
    assert index.places <= len(asked.terms) * MOST_POSTINGS
    assert index.facts_read <= MOST_FACTS
    assert len(found.found) <= MOST_FACTS


def test_of_a_question_with_too_many_terms_the_rarest_are_looked_for() -> None:
    """Those that were never said take no place among them."""
    texts = [f"rare{i}" for i in range(MOST_TERMS)] + ["common"] * 50
    index = long_archive(len(texts), texts.__getitem__)
    unsaid = [f"unsaid{i}" for i in range(50)]
    terms = ("common", *unsaid, *texts[:MOST_TERMS])
    found = rank(Query(terms, None, False, None), index, len(texts), everything)
    with_words = {place for place, _ in found.found if "words" in found.parts(place)}
    assert set(range(MOST_TERMS)) == with_words


def test_a_common_word_raises_what_a_rarer_one_found() -> None:
    """A word in most of a long archive decides among the messages with the rarer word."""
    count = MOST_POSTINGS * 3
    index = long_archive(
        count, lambda i: f"{'salt' if i % 4 else 'plain'} {'heron' * (i % 900 == 1)}"
    )
    found = rank(query("salt heron", ()), index, count, everything)
    herons = [i for i in range(count) if i % 900 == 1]
    assert set(herons) <= {place for place, _ in found.found[: len(herons)]}
    assert found.match > 0.99


def test_what_is_added_up_is_bounded() -> None:
    """Words in different messages, each below the bound, do not go beyond it together."""
    count = MOST_POSTINGS * 3 - 3
    index = long_archive(count, lambda i: ("red", "green", "blue")[i % 3])
    matches = ranking._match(query("red green blue", ()), index, count)
    assert len(matches.held) <= MOST_POSTINGS


def test_a_term_weighs_its_rarity_squared() -> None:
    """The square of the logarithm of how many messages lack it for each that has it."""
    index = long_archive(40, lambda i: "red" if i < 8 else "blue")
    matches = ranking._match(query("blue red", ()), index, 40)
    expected = [log(1 + (40 - n + 0.5) / (n + 0.5)) ** 2 for n in (8, 32)]
    assert pytest.approx(expected) == list(matches.weights)


def test_a_word_beyond_the_bound_weighs_what_it_would_without_one() -> None:
    """In how many messages it is, is estimated from those that are read."""
    count = MOST_POSTINGS * 4
    places = range(1, count, 2)
    estimated = ranking._frequency(places[-MOST_POSTINGS:], count)
    assert len(places) == pytest.approx(estimated, rel=0.01)


def test_what_is_read_from_the_store_is_bounded() -> None:
    """A context reads the messages that it may quote, however many were found."""
    store = CountingStore()
    memory = talked(1_500, store=store, budget=400)
    memory.search("greyhound")
    for text in QUESTIONS:
        before = store.read
        memory.context(text)
        assert store.read - before <= MOST_READ + 1


def test_a_message_is_indexed_once() -> None:
    """Searching again reads and indexes only what is new."""
    store = IndexedStore()
    index = store.counting
    memory = talked(400, store=store)
    memory.search("greyhound")
    before = (index.added, store.read)
    assert memory.search("greyhound", limit=3)
    assert before[0] == index.added
    assert store.read <= before[1] + 3 + related.MOST_READ
    memory.append(*chat(5))
    memory.search("greyhound", limit=1)
    assert before[0] + 10 == index.added


def test_a_store_that_keeps_an_index_is_searched_in_it() -> None:
    """The memory builds none of its own where the store offers one."""
    store = IndexedStore()
    memory, plain = talked(store=store), talked()
    for text in QUESTIONS:
        assert plain.context(text).messages == memory.context(text).messages
    assert store.counting.size


def test_what_left_at_other_budgets_is_ranked_alike() -> None:
    """The ranking knows nothing of the window but what stands in it."""
    small, large = (Memory(budget, recall=None, counter=quarter_bytes) for budget in (200, 2_000))
    for memory in (small, large):
        memory.append(*chat(60))
    there = {hit.index for hit in large.search("greyhound", 10_000)}
    ranked = [hit.index for hit in small.search("greyhound", 10_000)]
    assert there < set(ranked)
    assert [i for i in ranked if i in there] == [
        hit.index for hit in large.search("greyhound", 10_000)
    ]
