"""Where vectors are kept: in memory, in an SQLite file, and not mixed with another embedder's."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import ConflictError, CorruptError, InMemoryStore, SQLiteStore, StoreError
from finite_memory_core.recall.vectors import Head, InMemoryVectors, Vectors, cosine, pack

component = st.integers(-1_000, 1_000).map(lambda n: n / 1_000)
vectors = st.lists(component, min_size=1, max_size=40)


@pytest.fixture(params=["memory", "in-memory store", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Vectors]:
    """Each place for vectors, empty."""
    if request.param == "memory":
        yield InMemoryVectors()
        return
    store = InMemoryStore() if request.param != "sqlite" else SQLiteStore(tmp_path / "v.db")
    with store:
        store.create("other", "{}")
        store.create("s", "{}")
        found = store.vectors("s")
        assert found is not None
        yield found


# -- as bytes -------------------------------------------------------------------------------------


@given(one=vectors, data=st.data())
def test_packing_hardly_changes_a_cosine(one: list[float], data: st.DataObject) -> None:
    """A byte a dimension is enough to tell how alike two vectors are."""
    other = data.draw(st.lists(component, min_size=len(one), max_size=len(one)))
    lengths = hypot(*one) * hypot(*other)
    exact = sum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0
    # Each number is off by half of the smallest step at most.
    assert exact == pytest.approx(cosine(pack(one), pack(other)), abs=0.02)


def test_no_vector_is_like_none() -> None:
    """Zeros have no direction; vectors of two dimensions cannot be compared with three's."""
    assert b"" == pack([0.0, 0.0]) == pack([])
    assert 0.0 == cosine(b"", pack([1.0])) == cosine(pack([1.0]), b"")
    assert 0.0 == cosine(pack([1.0, 0.0]), pack([1.0, 0.0, 0.0]))


# -- kept -----------------------------------------------------------------------------------------


def test_what_is_added_is_read(kept: Vectors) -> None:
    """By place and in order; places without a vector are left out."""
    packed = [pack([1.0, i / 300]) if i % 7 else b"" for i in range(300)]
    kept.restart("e")
    kept.add(Head("e", 0), packed[:200])
    kept.add(Head("e", 200), packed[200:])
    assert Head("e", 300) == kept.head()
    wanted = [5, 299, 0, 300, 1_000, 7]
    assert {i: packed[i] for i in (5, 299, 0, 7)} == kept.read(wanted)
    assert dict(enumerate(packed)) == kept.read(range(300))
    assert packed[190:210] == [*kept.run(190, 210)]
    assert [] == [*kept.run(5, 5)]


def test_another_embedder_begins_anew(kept: Vectors) -> None:
    """Of the one before nothing stays."""
    assert Head("", 0) == kept.head()
    kept.restart("e")
    kept.add(Head("e", 0), [pack([1.0])])
    kept.restart("f")
    assert Head("f", 0) == kept.head()
    assert {} == kept.read([0])


def test_a_second_writer_is_refused(kept: Vectors) -> None:
    """Vectors that were computed for another state of things are not mixed in."""
    kept.restart("e")
    kept.add(Head("e", 0), [pack([1.0])])
    for stale, said in ((Head("e", 0), "of the same"), (Head("f", 1), "of another")):
        with pytest.raises(ConflictError, match=f"there are 1 now, {said} embedder"):
            kept.add(stale, [pack([0.5])])
    assert {0: pack([1.0])} == kept.read([0, 1])


def test_what_is_forgotten_is_gone(kept: Vectors) -> None:
    """The place stays, its vector does not."""
    kept.restart("e")
    kept.add(Head("e", 0), [pack([1.0]), pack([0.5, 1.0])])
    kept.forget([1, 7])
    assert {0: pack([1.0]), 1: b""} == kept.read([0, 1, 7])
    assert Head("e", 2, erased=1) == kept.head()


def test_vectors_of_what_was_forgotten_meanwhile_are_refused(kept: Vectors) -> None:
    """Even where nothing was kept yet, or another embedder began anew in between."""
    before = kept.head()
    kept.forget([0])
    with pytest.raises(ConflictError, match="was forgotten while its vectors were computed"):
        kept.add(before, [pack([1.0])])
    kept.restart("e")
    assert Head("e", 0, erased=1) == kept.head()
    with pytest.raises(ConflictError, match="was forgotten while its vectors were computed"):
        kept.add(Head("e", 0), [pack([1.0])])
    kept.add(kept.head(), [pack([1.0])])
    assert Head("e", 1, erased=1) == kept.head()


def test_a_deleted_session_leaves_no_vectors(tmp_path: Path) -> None:
    """Those of other sessions stay."""
    with SQLiteStore(tmp_path / "v.db") as store:
        for name in ("a", "b"):
            store.create(name, "{}")
            store.vectors(name).restart("e")
            store.vectors(name).add(Head("e", 0), [pack([1.0, 2.0])])
        store.delete("a")
        assert Head("e", 1) == store.vectors("b").head()
        with store._file.borrowed() as db:
            counts = [db.execute(f"SELECT count(*) FROM {t}").fetchone() for t in TABLES]
        assert [(1,), (1,)] == counts
        with pytest.raises(StoreError, match="session 'a' is not in the store"):
            store.vectors("a").head()
    memory = InMemoryStore()
    assert memory.vectors("a") is None


TABLES = ("embedded", "vector")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vector SET packed = x'00' WHERE place & 255 = 1",
        "DELETE FROM vector WHERE place & 255 = 1",
    ],
)
def test_a_damaged_vector_is_noticed(tmp_path: Path, damage: str) -> None:
    """All are dropped then, to be computed again; nothing wrong is compared."""
    with SQLiteStore(tmp_path / "v.db") as store:
        store.create("s", "{}")
        kept = store.vectors("s")
        kept.restart("e")
        kept.add(Head("e", 0), [pack([1.0])] * 3)
        with store._file.borrowed() as db:
            db.execute(damage)
        with pytest.raises(CorruptError, match=r"vector of message 1 .* drops all of them"):
            list(kept.run(0, 3))
        assert Head("", 0) == kept.head()


def test_a_damaged_head_is_none(tmp_path: Path) -> None:
    """Whose vectors they are is not known any more, so they are computed again."""
    with SQLiteStore(tmp_path / "v.db") as store:
        store.create("s", "{}")
        kept = store.vectors("s")
        kept.restart("e")
        with store._file.borrowed() as db:
            db.execute("UPDATE embedded SET size = 7")
        assert Head("", 0) == kept.head()
