"""The index that a SQLite file keeps: the answers of the one in memory, whatever happens to it."""

from __future__ import annotations

import sqlite3
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import FiniteMemoryError, Memory, Message, SQLiteStore, StoreError
from finite_memory_core.recall import Recall
from finite_memory_core.recall.analysis import Document
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.index import GrowingIndex, IndexChanged, InMemoryIndex
from finite_memory_core.stores import packed_index
from finite_memory_core.stores.base import Counted, Version

from .examples import some
from .recalling import FACTS, chat, recalled_text, talked
from .strategies import CORE, messages, quarter_bytes, timestamps

QUESTIONS = ("Where does Ada live?", "greyhound", "When does my flight leave?", "walnuts in 2023")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def everything(place: int) -> bool:
    return True


def answers(index: GrowingIndex, terms: Sequence[str], stop: int) -> dict[str, object]:
    """Return all that can be asked of an index as of `stop`."""
    everyone = index.facts(range(stop))
    return {
        "facts": everyone,
        "postings": {
            (term, limit): list(index.postings(term, stop, limit))
            for term in terms
            for limit in (1, 3, 5, 10_000)
        },
        "speakers": index.speakers(stop),
        "terms": index.terms_before(stop),
        "ends": {start: min(stop, index.session_end(start)) for _, start, _, _ in everyone},
    }


def ranked(store: SQLiteStore, index: GrowingIndex, count: int) -> list[object]:
    archive = Archive(store, "s", index)
    rankings = [archive.search(question, count, everything) for question in QUESTIONS]
    return [(r.found, r.match, [r.parts(place) for place, _ in r.found]) for r in rankings]


def filled(path: Path, turns: int = 150) -> int:
    """Make a file whose index holds most of a chat; return how many messages it has."""
    said = chat(turns)
    with SQLiteStore(path) as store:
        store.create("s", "{}")
        store.append("s", Version(0, 0), [Counted(m, 1) for m in said], ())
        ranked(store, store.index("s"), len(said))
    return len(said)


def expected(path: Path, count: int) -> list[object]:
    with SQLiteStore(path) as store:
        return ranked(store, InMemoryIndex(), count)


def execute(path: Path, statement: str, *values: object) -> int:
    db = sqlite3.connect(path)
    with db:
        changed = db.execute(statement, values).rowcount
    db.close()
    return changed


# -- the same answers -----------------------------------------------------------------------------


@settings(CORE, max_examples=some(60))
@given(
    said=st.lists(st.tuples(messages, timestamps), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    unkept=st.integers(1, 12),
    places=st.integers(1, 4),
    data=st.data(),
)
def test_the_answers_are_those_of_the_index_in_memory(
    said: list[tuple[Message, datetime | None]],
    sizes: list[int],
    unkept: int,
    places: int,
    data: st.DataObject,
) -> None:
    """For any transcript, in any batches, as of any place, also after opening the file again."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(packed_index, "UNKEPT", unkept)
        patch.setattr(packed_index, "MOST_UNKEPT", 2 * unkept)
        patch.setattr(packed_index, "_ROW_PLACES", places)
        patch.setattr(packed_index, "_MOST_KNOWN", 7)
        patch.setattr(packed_index, "_MOST_CHUNKS", 1)
        store = SQLiteStore(Path(folder) / "s.db")
        store.create("s", "{}")
        store.append("s", Version(0, 0), [Counted(m, 1) for m, _ in said], ())
        documents = list(Archive(store, "s", InMemoryIndex())._documents(0, len(said)))
        terms = sorted({term for document in documents for term in document.terms})
        memory = InMemoryIndex()
        memory.add(documents)
        index = store.index("s")
        for batch in batches(documents, sizes):
            if data.draw(st.booleans()):
                index = store.index("s")
                index.add(documents[index.size : batch[0].place])
            index.add(batch)
            if data.draw(st.booleans()):
                assert batch[-1].place + 1 == index.size
        for stop in {0, 1, len(said) // 2, len(said)}:
            assert answers(memory, terms, stop) == answers(index, terms, stop)
        index.keep()
        again = store.index("s")
        assert len(said) == again.size
        assert answers(memory, terms, len(said)) == answers(again, terms, len(said))
        store.close()


def batches(documents: list[Document], sizes: list[int]) -> Iterator[list[Document]]:
    start, number = 0, 0
    while start < len(documents):
        yield documents[start : start + sizes[number % len(sizes)]]
        start += sizes[number % len(sizes)]
        number += 1


def test_rankings_are_the_same_to_the_last_bit(path: Path) -> None:
    """Places, scores, parts and the gate's number, now and after opening the file again."""
    count = filled(path, 400)
    wanted = expected(path, count)
    with SQLiteStore(path) as store:
        assert wanted == ranked(store, store.index("s"), count)


def test_contexts_are_the_same_with_either_store(path: Path) -> None:
    """Where the transcript is kept makes no difference to what is recalled."""
    with SQLiteStore(path) as store:
        filed, held = talked(150, store=store), talked(150)
        for question in QUESTIONS:
            assert held.context(question).messages == filed.context(question).messages
            assert held.search(question) == filed.search(question)
            resumed = Memory.resume(store, "s", counter=quarter_bytes)
            assert held.context(question).messages == resumed.context(question).messages


# -- what is read, written and held ---------------------------------------------------------------


class ReadingStore(SQLiteStore):
    """Counts the messages that are read from it."""

    read = 0

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        for counted in super().messages(session_id, start, stop):
            self.read += 1
            yield counted


def test_a_resumed_session_does_not_read_its_transcript_again(path: Path) -> None:
    """The first search reads the newest messages, those it returns, and no others."""
    count = filled(path, 600)
    with ReadingStore(path) as store:
        Archive(store, "s", store.index("s")).search("greyhound", count, everything)
        assert store.read <= packed_index.UNKEPT + 16


def test_appending_writes_nothing_of_it(path: Path) -> None:
    """An index grows when it is searched, and by many messages at once."""
    with SQLiteStore(path) as store:
        memory = talked(20, store=store)
        rows = "SELECT (SELECT count(*) FROM posting) + (SELECT count(*) FROM indexed)"
        with store._file.borrowed() as db:
            assert (0,) == db.execute(rows).fetchone()
            for i in range(20):
                memory.append(Message.user(f"Once more, {i}."))
                memory.context("greyhound")
            assert (0,) == db.execute(rows).fetchone()
            memory.append(*chat(60))
            memory.context("greyhound")
            assert db.execute(rows).fetchone() > (0,)


def test_it_holds_a_bounded_part_of_itself_in_memory(path: Path) -> None:
    """Searching many messages takes little memory: they are not all held."""
    count = filled(path, 10_000)
    with SQLiteStore(path) as store:
        index = store.index("s")
        tracemalloc.start()
        try:
            for question in QUESTIONS:
                Archive(store, "s", index).search(question, count, everything)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 2_000_000


def test_a_deleted_session_leaves_nothing_in_it(path: Path) -> None:
    """Neither a row nor a word stays in the file."""
    filled(path)
    with SQLiteStore(path) as store:
        store.delete("s")
        with store._file.borrowed() as db:
            for table in ("posting", "fact", "speaker", "indexed", "scope"):
                assert [] == db.execute(f"SELECT * FROM {table}").fetchall()
    assert b"greyhound" not in path.read_bytes()


def test_an_id_that_is_used_again_gets_an_index_of_its_own(path: Path) -> None:
    """An index that was opened for a deleted session answers for the new one of that name."""
    filled(path)
    with SQLiteStore(path) as store:
        index = store.index("s")
        archive = Archive(store, "s", index)
        assert archive.search("greyhound", 300, everything).found
        store.delete("s")
        assert not archive.search("greyhound", 300, everything).found
        store.create("s", "{}")
        store.append("s", Version(0, 0), [Counted(Message.user("A zebra."), 1)], ())
        assert [0] == [place for place, _ in archive.search("zebra", 1, everything).found]
        assert not archive.search("greyhound", 1, everything).found


# -- other processes ------------------------------------------------------------------------------


def test_two_writers_do_not_confuse_it(path: Path) -> None:
    """Handles that append and search in turn find the same, and what is kept is right."""
    said = chat(300)
    with SQLiteStore(path) as one, SQLiteStore(path) as two:
        one.create("s", "{}")
        archives = [Archive(store, "s", store.index("s")) for store in (one, two)]
        for start in range(0, len(said), 30):
            batch = [Counted(m, 1) for m in said[start : start + 30]]
            (one, two)[start // 30 % 2].append("s", Version(start, 0), batch, ())
            first, second = archives if start % 4 else archives[::-1]
            for archive in (first, second, first):
                found = archive.search("greyhound in Turin", start + 30, everything)
                alone = Archive(one, "s", InMemoryIndex())
                assert alone.search("greyhound in Turin", start + 30, everything)[:2] == found[:2]
    wanted = expected(path, len(said))
    with SQLiteStore(path) as store:
        assert wanted == ranked(store, store.index("s"), len(said))


# -- what goes wrong ------------------------------------------------------------------------------

DAMAGE = {
    "format": "UPDATE indexed SET format = '0'",
    "state": "UPDATE indexed SET size = size - 1",
    "no state": "DELETE FROM indexed",
    "places": "UPDATE posting SET places = zeroblob(length(places))",
    "no places": "DELETE FROM posting",
    "a word": "DELETE FROM posting WHERE term = CAST('greyhound' AS BLOB)",
    "no number": "UPDATE posting SET places = 5",
    "no generation": "UPDATE indexed SET generation = 'x'",
    "no entries": "UPDATE fact SET entries = 5",
    "no name": "UPDATE speaker SET name = 5",
    "a place": "UPDATE posting SET first = first + 1",
    "facts": "UPDATE fact SET entries = zeroblob(length(entries))",
    "no facts": "DELETE FROM fact",
    "sums": "UPDATE fact SET before = before + 1",
    "names": "UPDATE speaker SET name = 'Eve'",
    "no names": "DELETE FROM speaker",
    "no table of postings": "DROP TABLE posting",
    "no table of facts": "DROP TABLE fact",
    "no table": "DROP TABLE indexed",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_index_is_built_again(path: Path, statement: str) -> None:
    """What was changed by others is noticed; the answers are right, and it is said."""
    count = filled(path, 300)
    wanted = expected(path, count)
    execute(path, statement)
    with SQLiteStore(path) as store:
        index = store.index("s")
        assert wanted == ranked(store, index, count)
        assert index.problem is not None
    with SQLiteStore(path) as store:
        assert wanted == ranked(store, store.index("s"), count)


def test_damaged_pages_of_it_cost_only_the_index(path: Path) -> None:
    """Where its pages are unreadable the file still opens; the answers come from memory."""
    count = filled(path, 300)
    wanted = expected(path, count)
    db = sqlite3.connect(path)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'posting'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size + 1 : (root - 1) * size + 40] = b"\xff" * 39
    path.write_bytes(content)
    with SQLiteStore(path) as store:
        index = store.index("s")
        assert wanted == ranked(store, index, count)
        assert "kept in memory" in str(index.problem)


def test_an_index_of_another_release_is_built_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was analysed by other rules is dropped, not mixed."""
    count = filled(path)
    wanted = expected(path, count)
    monkeypatch.setattr(packed_index, "FORMAT", "2 of tomorrow")
    with SQLiteStore(path) as store:
        assert wanted == ranked(store, store.index("s"), count)
    with SQLiteStore(path) as store, store._file.borrowed() as db:
        assert (b"2 of tomorrow",) == db.execute("SELECT format FROM indexed").fetchone()


def test_where_it_cannot_be_written_it_is_in_memory(path: Path) -> None:
    """A file that takes no more: recall works, and the stats and an event say so, once."""
    heard: list[object] = []
    with SQLiteStore(path) as store:
        memory = talked(150, store=store, observers=[heard.append])
        with store._file.borrowed() as db:
            db.execute("PRAGMA query_only = ON")
        assert FACTS[2] in recalled_text(memory, "greyhound")
        assert FACTS[0] in recalled_text(memory, "Where does Ada live?")
        assert 1 == memory.stats.fallbacks["index"]
        assert 1 == len([e for e in heard if getattr(e, "what", "") == "index"])
        with store._file.borrowed() as db:
            db.execute("PRAGMA query_only = OFF")
    with SQLiteStore(path) as store:
        memory = Memory.resume(store, "s", counter=quarter_bytes)
        assert FACTS[2] in recalled_text(memory, "greyhound")
        assert "index" not in memory.stats.fallbacks


def test_a_full_file_costs_recall_nothing(path: Path) -> None:
    """No room for the index is no error of a search."""
    with SQLiteStore(path) as store:
        memory = talked(150, store=store)
        with store._file.borrowed() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages}")
        assert FACTS[2] in recalled_text(memory, "greyhound")
        assert 1 == memory.stats.fallbacks["index"]


def test_a_locked_file_costs_recall_nothing(path: Path) -> None:
    """While another program writes, the index grows in memory, and is kept when it is done."""
    with SQLiteStore(path, timeout=0.01) as store:
        memory = talked(150, store=store)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert FACTS[2] in recalled_text(memory, "greyhound")
        assert 1 == memory.stats.fallbacks["index"]
        holder.execute("ROLLBACK")
        holder.close()
        memory.append(*chat(200))
        assert FACTS[2] in recalled_text(memory, "greyhound")
        assert 1 == memory.stats.fallbacks["index"]
        assert memory._recaller._searched().problem is None
        with store._file.borrowed() as db:
            assert db.execute("SELECT size FROM indexed").fetchone() > (500,)


def test_what_is_wrong_with_the_transcript_is_not_hidden(path: Path) -> None:
    """A damaged message is an error of the search, not a reason to build the index again."""
    with SQLiteStore(path) as store:
        talked(40, store=store)
    execute(
        path,
        "UPDATE message SET body = replace(body, 'Ada', 'Eve')"
        " WHERE place = (SELECT min(place) FROM message)",
    )
    with SQLiteStore(path) as store:
        memory = Memory.resume(store, "s", counter=quarter_bytes, recall=Recall(gate=0.0))
        with pytest.raises(FiniteMemoryError, match="is not what was written"):
            memory.search("walnuts")


STRANGE = ("", "\0", "🙂", '"greyhound" NEAR(', "x" * 1_000_000, "\ud83d", "妹妹", "a'; DROP TABLE")


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_any_question_can_be_asked_of_it(path: Path, text: str) -> None:
    """No text is a query language to it."""
    filled(path)
    with SQLiteStore(path) as store:
        alone = Archive(store, "s", InMemoryIndex()).search(text, 300, everything)
        found = Archive(store, "s", store.index("s")).search(text, 300, everything)
        assert alone[:2] == found[:2]


def test_indexing_recovers_as_a_search_does(path: Path) -> None:
    """An index that was damaged meanwhile is made again by `Memory.index`, not complained of."""
    with SQLiteStore(path) as store:
        memory = talked(store=store)
        memory.index()
        execute(path, "UPDATE posting SET checksum = checksum + 1")
        memory.append(*chat(5))
        assert 0 == memory.index()
        assert memory.search("greyhound")


def test_an_index_that_never_rests_is_a_store_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `Memory.index` raises then is in the tree, and says what to do."""

    def changed(*_: object) -> None:
        raise IndexChanged("another process changed the index")

    with SQLiteStore(path) as store:
        memory = talked(store=store)
        monkeypatch.setattr(packed_index.PackedIndex, "keep", changed)
        with pytest.raises(StoreError, match="5 attempts to index what it holds; ask again"):
            memory.index()
