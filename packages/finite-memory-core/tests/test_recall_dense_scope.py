"""An embedder beside what else an archive can do: several sessions, and forgetting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from finite_memory_core import InMemoryStore, Memory, Message, PostgresStore, SQLiteStore, Store
from finite_memory_core.policies.base import Deadline
from finite_memory_core.recall import Recall, dense
from finite_memory_core.testing import WordEmbedder

from .postgres_cluster import Cluster
from .recalling import chat, recalled_text
from .strategies import quarter_bytes

ALIKE = {"sibling": "sister", "resides": "lives"}
QUESTION = "Which sibling resides?"
FACT = Message.user("My sister Ada lives in Quito.")


@pytest.fixture(params=["in memory", "a file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with SQLiteStore(tmp_path / "s.db") if request.param == "a file" else InMemoryStore() as store:
        yield store


def begun(store: Store, session_id: str, embedder: WordEmbedder, scope: str | None) -> Memory:
    return Memory(
        800,
        store=store,
        session_id=session_id,
        counter=quarter_bytes,
        recall=Recall(0.5, gate=0.0, embedder=embedder, scope=scope),
    )


def test_other_words_are_found_in_other_sessions(store: Store) -> None:
    """All sessions of a scope are compared, each message once; none beyond it is."""
    embedder = WordEmbedder(ALIKE)
    begun(store, "old", embedder, "user:ada").append(*chat(10), FACT, *chat(10))
    begun(store, "other", embedder, "user:bob").append(
        Message.user("My sister Zoe lives in Oslo."), *chat(10)
    )
    memory = begun(store, "new", embedder, "user:ada")
    memory.append(*chat(5))
    found = recalled_text(memory, QUESTION)
    assert "Ada lives in Quito" in found
    assert "Oslo" not in found
    hit = next(hit for hit in memory.search(QUESTION, 10) if hit.message == FACT)
    assert "old" == hit.session_id
    assert hit.parts["similar"] > 0.3
    assert {} == memory.stats.fallbacks
    assert not any("Zoe" in text for batch in embedder.batches for text in batch)
    asked = sum(map(len, embedder.batches))
    assert found == recalled_text(memory, QUESTION)
    assert asked == sum(map(len, embedder.batches))


def test_the_bounds_hold_for_all_sessions_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old sessions are searched by words where the newer ones used up what may be scanned."""
    embedder = WordEmbedder(ALIKE)
    begun(store, "old", embedder, "user:ada").append(FACT, *chat(20))
    memory = begun(store, "new", embedder, "user:ada")
    memory.append(*chat(20))
    assert "similar" in memory.search(QUESTION, 1)[0].parts
    monkeypatch.setattr(dense, "MOST_SCANNED", 10)
    found = begun_again(store, embedder).search(QUESTION, 200)
    old = [hit for hit in found if hit.session_id == "old"]
    assert not any("similar" in hit.parts for hit in old)


def test_indexing_computes_the_vectors_of_all_sessions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a search has too many to compute, `Memory.index` does, and the next one compares."""
    monkeypatch.setattr(dense, "MOST_MISSING", 8)
    said = Memory(800, store=store, session_id="old", recall=Recall(scope="user:ada"))
    said.append(FACT, *chat(10))
    memory = begun(store, "new", WordEmbedder(ALIKE), "user:ada")
    memory.append(*chat(3))
    memory.search(QUESTION)
    assert {"embedder": 1} == memory.stats.fallbacks
    assert 21 == memory.index()  # the search had room for its own six
    assert 0 == memory.index()
    assert FACT in [hit.message for hit in memory.search(QUESTION, 3)]
    assert {"embedder": 1} == memory.stats.fallbacks


def begun_again(store: Store, embedder: WordEmbedder) -> Memory:
    recall = Recall(0.5, gate=0.0, embedder=embedder, scope="user:ada")
    return Memory.resume(store, "new", recall=recall, counter=quarter_bytes)


@pytest.mark.parametrize("scope", [None, "user:ada"])
def test_a_forgotten_message_has_no_vector(store: Store, scope: str | None) -> None:
    """It is neither found again by its meaning, nor kept as numbers."""
    embedder = WordEmbedder(ALIKE)
    memory = begun(store, "a", embedder, scope)
    memory.append(FACT, *chat(40))
    assert "Quito" in recalled_text(memory, QUESTION)
    vectors = store.vectors("a")
    assert vectors is not None
    assert vectors.read([0])[0]
    memory.forget(0)
    assert b"" == vectors.read([0])[0]
    assert "Quito" not in recalled_text(memory, QUESTION)
    assert vectors.read([1])[1]
    assert {} == {what: n for what, n in memory.stats.fallbacks.items() if what == "embedder"}


def test_what_is_forgotten_while_it_is_computed_has_no_vector(store: Store) -> None:
    """The search does without the embedder that once; the next one finds all the others."""
    told = begun(store, "old", WordEmbedder(ALIKE), "user:ada")
    told.append(FACT, Message.assistant("My sister likes it there."))

    class Forgetful(WordEmbedder):
        """While it works for the first time, another one forgets what it reads."""

        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            if any("Quito" in text for text in texts):
                told.forget(0)
            return super().embed(texts)

    memory = begun(store, "new", Forgetful(ALIKE), "user:ada")
    memory.append(Message.user("Hello."))
    memory.search(QUESTION)
    assert {"embedder": 1} == memory.stats.fallbacks
    assert [Message.assistant("My sister likes it there.")] == [
        hit.message for hit in memory.search(QUESTION, 1)
    ]
    vectors = store.vectors("old")
    assert vectors is not None
    assert b"" == vectors.read([0])[0]
    assert vectors.read([1])[1]


class Watched(dict[str, Any]):
    """Calls `before` when something takes effect."""

    def before(self) -> None:
        """Do nothing; to be replaced."""

    def __setitem__(self, key: str, value: Any) -> None:
        self.before()
        super().__setitem__(key, value)


def test_what_is_computed_while_it_is_forgotten_has_no_vector() -> None:
    """Until the very moment another thread may read what stands there, and compute it again."""
    store, embedder = InMemoryStore(), WordEmbedder(ALIKE)
    store._sessions = watched = Watched()
    memory = begun(store, "s", embedder, None)
    memory.append(FACT, *chat(2))
    memory.index()
    found = dense.dense_of(dense.Source(embedder), store)("s")

    def compute() -> None:
        found.vectors.restart("")
        found.catch_up(5, None, Deadline())

    watched.before = compute  # type: ignore[method-assign]
    memory.forget(0)
    assert b"" == found.vectors.read([0])[0]
    assert found.vectors.read([1])[1]


class Unkept(SQLiteStore):
    """Keeps an index and no vectors."""

    def vectors(self, session_id: str) -> Any:
        return None


@pytest.fixture(params=["a file", "a file without vectors", "a server"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store that keeps the index, which several processes may use."""
    if request.param == "a server":
        cluster: Cluster = request.getfixturevalue("postgres")
        opened: Store = PostgresStore(cluster.dsn(), schema=cluster.schema())
    else:
        opened = (SQLiteStore if request.param == "a file" else Unkept)(tmp_path / "s.db")
    with opened as store:
        yield store


@pytest.mark.parametrize("other", ["old", "new"])
def test_what_another_one_forgot_is_not_compared(shared: Store, other: str) -> None:
    """In another session of the scope or in this one: a search is as if it were the first."""
    embedder = WordEmbedder(ALIKE)
    said = begun(shared, "old", embedder, "user:ada")
    memory = begun(shared, "new", embedder, "user:ada")
    for one in (said, memory):
        one.append(*chat(3), FACT, *chat(40))
    memory.search(QUESTION, 20)
    (place,) = [i for i, m in enumerate(memory.transcript) if m == FACT]
    Memory.resume(shared, other, counter=quarter_bytes, embedder=embedder).forget(place)
    expected = begun_again(shared, embedder).search(QUESTION, 20)
    assert expected == memory.search(QUESTION, 20)


def test_a_session_that_began_anew_is_compared_anew(
    shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the store keeps its vectors: of the old ones nothing is remembered here."""
    monkeypatch.setattr(dense, "MOST_COMPARED", 16)
    embedder = WordEmbedder(ALIKE)
    other = begun(shared, "old", embedder, "user:ada")
    other.append(*chat(40))
    memory = begun(shared, "new", embedder, "user:ada")
    memory.append(*chat(40))
    memory.search(QUESTION, 20)
    other.reset()
    other.append(*chat(10), FACT, *chat(40))
    expected = begun_again(shared, embedder).search(QUESTION, 20)
    assert expected == memory.search(QUESTION, 20)


def test_a_session_that_began_anew_is_another_one(store: Store) -> None:
    """Also where it begins with the same instructions, and has come further than before."""
    embedder, rules = WordEmbedder(ALIKE), Message.system("Be kind.")
    other = begun(store, "old", embedder, "user:ada")
    other.append(rules, *chat(3), FACT, *chat(3))
    memory = begun(store, "new", embedder, "user:ada")
    memory.append(*chat(40))
    memory.search(QUESTION, 20)
    other.reset()
    other.append(rules, FACT, *chat(20))
    expected = begun_again(store, embedder).search(QUESTION, 20)
    assert expected == memory.search(QUESTION, 20)
