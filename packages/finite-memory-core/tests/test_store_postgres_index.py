"""The index that a PostgreSQL database keeps: the answers of the one in memory, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    InMemoryStore,
    Memory,
    Message,
    PostgresStore,
    Recall,
    StoreError,
)
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.index import Facts, GrowingIndex, InMemoryIndex
from finite_memory_core.stores import packed_index
from finite_memory_core.stores.base import Counted, Version
from finite_memory_core.stores.packed_index import PackedIndex

from .examples import some
from .postgres_cluster import Cluster
from .recalling import FACTS, chat, recalled_text, talked
from .strategies import CORE, messages, quarter_bytes, timestamps
from .test_store_index import QUESTIONS, answers, batches, everything

EMPTY = Version(0, 0)


@pytest.fixture
def store(postgres: Cluster) -> Iterator[PostgresStore]:
    """Return an empty store in a schema of its own."""
    with PostgresStore(postgres.dsn(), schema=postgres.schema()) as opened:
        yield opened


@pytest.fixture
def count(store: PostgresStore) -> int:
    """Fill the store with a chat whose index holds most of it; return its number of messages."""
    said = chat(150)
    store.create("s", "{}")
    store.append("s", EMPTY, [Counted(m, 1) for m in said], ())
    ranked(store, store.index("s"), len(said))
    return len(said)


def ranked(store: PostgresStore, index: GrowingIndex, count: int) -> list[object]:
    archive = Archive(store, "s", index)
    rankings = [archive.search(question, count, everything) for question in QUESTIONS]
    return [(r.found, r.match, [r.parts(place) for place, _ in r.found]) for r in rankings]


def test_rankings_are_the_same_to_the_last_bit(store: PostgresStore, count: int) -> None:
    """Places, scores, parts and the gate's number, also for another object."""
    index = store.index("s")
    assert ranked(store, InMemoryIndex(), count) == ranked(store, index, count)
    assert index.problem is None


@settings(CORE, max_examples=some(25))
@given(
    said=st.lists(st.tuples(messages, timestamps), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    unkept=st.integers(1, 12),
    places=st.integers(1, 4),
)
def test_the_answers_are_those_of_the_index_in_memory(
    postgres: Cluster,
    said: list[tuple[Message, datetime | None]],
    sizes: list[int],
    unkept: int,
    places: int,
) -> None:
    """For any transcript, in any batches, as of any place, also for another object."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        store = stack.enter_context(PostgresStore(postgres.dsn(), schema="of_any_answer"))
        patch.setattr(packed_index, "UNKEPT", unkept)
        patch.setattr(packed_index, "MOST_UNKEPT", 2 * unkept)
        patch.setattr(packed_index, "_ROW_PLACES", places)
        store.delete("s")
        store.create("s", "{}")
        store.append("s", EMPTY, [Counted(m, 1) for m, _ in said], ())
        documents = list(Archive(store, "s", InMemoryIndex())._documents(0, len(said)))
        terms = sorted({term for document in documents for term in document.terms})[:20]
        memory, index = InMemoryIndex(), store.index("s")
        memory.add(documents)
        for number, batch in enumerate(batches(documents, sizes)):
            if number % 3 == 2:  # another object goes on
                index = store.index("s")
                index.add(documents[index.size : batch[0].place])
            index.add(batch)
        index.keep()
        again = store.index("s")
        for stop in {1, len(said) // 2, len(said)}:
            assert answers(memory, terms, stop) == answers(again, terms, stop)


def test_contexts_are_the_same_as_without_a_database(store: PostgresStore) -> None:
    """Where the transcript is kept makes no difference to what is recalled."""
    kept, held = talked(150, store=store), talked(150)
    for question in QUESTIONS:
        assert held.context(question).messages == kept.context(question).messages
        assert held.search(question) == kept.search(question)
        resumed = Memory.resume(store, "s", counter=quarter_bytes)
        assert held.context(question).messages == resumed.context(question).messages


def test_sessions_of_a_scope_are_searched_as_one(store: PostgresStore) -> None:
    """What was said in another session of the scope is found, as it is with a store in memory."""
    found = []
    for each in (store, InMemoryStore()):
        settings = {"store": each, "recall": Recall(scope="user:ada")}
        talked(60, session_id="one", **settings)
        hits = talked(60, session_id="two", **settings).search("walnuts")
        found.append([(hit.session_id, hit.index, hit.score) for hit in hits])
    assert found[0] == found[1]
    assert {"one", "two"} == {session for session, _, _ in found[0]}


def test_a_word_of_any_length_is_found(store: PostgresStore) -> None:
    """A term that no index of a database takes is kept all the same."""
    word = "".join(chr(97 + i * i % 26) + chr(97 + i % 25) for i in range(2_000))
    said = [Counted(Message.user(f"The word is {word}."), 1), *(Counted(m, 1) for m in chat(100))]
    store.create("s", "{}")
    store.append("s", EMPTY, said, ())
    for _ in range(2):
        found = Archive(store, "s", store.index("s")).search(word, len(said), everything)
        assert 0 == found.found[0][0]


def test_a_turn_does_not_wait_for_an_index_that_is_written(
    postgres: Cluster, store: PostgresStore, count: int
) -> None:
    """Only other writers of the index, and those who forget, wait for it."""
    index = store.index("s")
    assert isinstance(index, PackedIndex)
    schema = store._server._schema
    with PostgresStore(postgres.dsn(), schema=schema, timeout=0.1) as other:
        with store._server.passing() as db:
            index._hold(db)
            other.append("s", Version(count, 0), [Counted(Message.user("More."), 1)], ())
            with pytest.raises(StoreError, match="is locked by another transaction"):
                other.delete("s")
            later = other.index("s")
            later.add(Archive(other, "s", later)._documents(count, count + 1))
            later.keep()
            assert "is locked by another transaction" in str(later.problem)
        other.delete("s")


def test_another_process_need_not_index_again(store: PostgresStore, count: int) -> None:
    """The index of a session is that of all who use the database."""
    assert count == store.index("s").size


def test_two_writers_do_not_confuse_it(postgres: Cluster, store: PostgresStore) -> None:
    """Handles that append and search in turn find the same, and what is kept is right."""
    said = chat(300)
    store.create("s", "{}")
    with PostgresStore(postgres.dsn(), schema=store._server._schema) as other:
        stores = (store, other)
        archives = [Archive(each, "s", each.index("s")) for each in stores]
        for start in range(0, len(said), 30):
            batch = [Counted(m, 1) for m in said[start : start + 30]]
            stores[start // 30 % 2].append("s", Version(start, 0), batch, ())
            for archive in archives if start % 4 else archives[::-1]:
                found = archive.search("greyhound in Turin", start + 30, everything)
                alone = Archive(store, "s", InMemoryIndex())
                assert alone.search("greyhound in Turin", start + 30, everything)[:2] == found[:2]
        assert ranked(store, InMemoryIndex(), 600) == ranked(other, other.index("s"), 600)


DAMAGE = {
    "format": "UPDATE indexed SET format = '0'",
    "state": "UPDATE indexed SET size = size - 1",
    "no state": "DELETE FROM indexed",
    "places": "UPDATE posting SET places = decode(repeat('00', length(places)), 'hex')",
    "no places": "DELETE FROM posting",
    "a word": "DELETE FROM posting WHERE term = 'greyhound'",
    "a place": "UPDATE posting SET first = first + 1",
    "facts": "UPDATE fact SET entries = decode(repeat('00', length(entries)), 'hex')",
    "no facts": "DELETE FROM fact",
    "names": "UPDATE speaker SET name = 'Eve'",
    "no names": "DELETE FROM speaker",
    "no table of postings": "DROP TABLE posting",
    "no table": "DROP TABLE indexed",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_index_is_built_again_or_done_without(
    store: PostgresStore, count: int, statement: str
) -> None:
    """What was changed by others is noticed; the answers are right, and it is said."""
    wanted = ranked(store, InMemoryIndex(), count)
    with store._server.borrowed() as db:
        db.execute(statement)
    index = store.index("s")
    assert wanted == ranked(store, index, count)
    assert index.problem is not None
    assert wanted == ranked(store, store.index("s"), count)


def test_what_is_forgotten_is_in_no_table(store: PostgresStore) -> None:
    """Neither transcript nor index tell it any more, and that the files may is counted."""
    memory = talked(150, store=store)
    assert FACTS[2] in recalled_text(memory, "greyhound")
    memory.forget(*[i for i, m in enumerate(memory.transcript) if "greyhound" in m.text])
    assert "greyhound" not in recalled_text(memory, "greyhound")
    with store._server.borrowed() as db:
        for table, column in (("message", "body"), ("event", "body"), ("posting", "term::text")):
            told = db.execute(f"SELECT string_agg({column}, ' ') FROM {table}").fetchone()
            assert "greyhound" not in str(told)
    assert 1 == memory.stats.fallbacks["erase"]


def test_a_deleted_session_leaves_no_row(store: PostgresStore, count: int) -> None:
    """All tables are empty when their only session is gone."""
    store.delete("s")
    with store._server.borrowed() as db:
        for table in ("session", "message", "event", "posting", "fact", "speaker", "indexed"):
            assert [] == db.execute(f"SELECT * FROM {table}").fetchall()


def test_a_reader_that_may_not_write_recalls_all_the_same(
    postgres: Cluster, store: PostgresStore
) -> None:
    """A user without the right to write keeps the index in memory, and is told."""
    said = chat(150)
    store.create("s", "{}")
    store.append("s", EMPTY, [Counted(m, 1) for m in said], ())
    postgres.let_read("reader", store._server._schema)
    with PostgresStore(postgres.dsn("reader"), schema=store._server._schema) as reading:
        index = reading.index("s")
        assert ranked(store, InMemoryIndex(), 300) == ranked(reading, index, 300)
        assert "the index is kept in memory" in str(index.problem)


def test_a_search_whose_connection_is_lost_says_so_and_the_next_one_works(
    postgres: Cluster, store: PostgresStore, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost connection is no reason to build an index of one's own."""
    index = store.index("s")
    assert isinstance(index, PackedIndex)
    wanted = ranked(store, index, count)
    archive = Archive(store, "s", index)

    facts = index.facts

    def cut(places: Sequence[int]) -> list[Facts]:
        postgres.cut_connections()
        index._known.clear()
        index._chunks.clear()
        return facts(places)

    with monkeypatch.context() as patch:
        patch.setattr(index, "facts", cut)
        with pytest.raises(StoreError, match="cannot be reached any more"):
            archive.search(QUESTIONS[0], count, lambda _: True)
    assert wanted == ranked(store, index, count)
    assert index.problem is None
