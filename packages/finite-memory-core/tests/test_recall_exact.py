"""The ranking is the plain one to the last bit, whichever index it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import InMemoryStore, Memory, Message, SQLiteStore, Store
from finite_memory_core.embedding import CallableEmbedder
from finite_memory_core.recall import Recall, archive as archives, ranking
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.dense import Source, dense_of
from finite_memory_core.recall.index import InMemoryIndex
from finite_memory_core.recall.ranking import Ranking
from finite_memory_core.stores.base import Counted, Version

from . import plain_ranking
from .strategies import CORE

_STARTS = ("", "Did ", "Yesterday ", "I said: ")
_ENDS = ("", ".", "?", " in March 2023.", " next week?")
_NAMES = ("Ann", "Bob", None)


def everything(place: int) -> bool:
    return True


def talk(random: Random, count: int, vocabulary: int) -> list[Message]:
    """Return messages of words by Zipf's law, in sessions, some without a name or a time."""
    words = [f"word{i}x" for i in range(vocabulary)]
    weights = [1 / (rank + 2) for rank in range(vocabulary)]
    said, at = [], datetime(2022, 11, 1)
    for _ in range(count):
        at += timedelta(minutes=random.choice((1, 5, 30, 30, 60, 600)))
        chosen = random.choices(words, weights, k=random.choice((1, 3, 8, 40)))
        said.append(
            Message.user(
                random.choice(_STARTS) + " ".join(chosen) + random.choice(_ENDS),
                name=random.choice(_NAMES),
                timestamp=at if random.random() < 0.8 else None,
            )
        )
    return said


def asked(random: Random, said: Sequence[Message]) -> str:
    words = [*random.choice(said).text.split(), "unsaid", *random.choice(said).text.split()]
    start = random.choice(("", "When did Ann say ", "Did Ann or Bob ", "In 2023, "))
    return start + " ".join(random.sample(words, min(len(words), random.randint(1, 9)))) + "?"


@contextmanager
def filled(store: Store, said: Sequence[Message], *, dense: bool) -> Iterator[Archive]:
    store.create("s", "{}")
    store.append("s", Version(0, 0), [Counted(message, 1) for message in said], ())
    compared = dense_of(Source(CallableEmbedder(vectors)), store)("s") if dense else None
    yield Archive(store, "s", store.index("s") or InMemoryIndex(), compared)
    store.close()


def vectors(texts: Sequence[str]) -> list[list[float]]:
    return [[b - 127.5 for b in Random(text).randbytes(16)] for text in texts]


def told(found: Ranking) -> tuple[object, ...]:
    return found.found, found.match, [found.parts(place) for place, _ in found.found]


def compare(
    archive: Archive, text: str, stop: int, eligible: Callable[[int], bool] = everything
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "rank", plain_ranking.rank)
        expected = archive.search(text, stop, eligible)
    assert told(expected) == told(archive.search(text, stop, eligible))


BOUNDS = ("MOST_SCORED", "MOST_LENDING", "MOST_POSTINGS", "MOST_TERMS", "LEAST_RANKED")


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("make", [InMemoryStore, lambda: SQLiteStore(":memory:")])
@CORE
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 300),
    vocabulary=st.sampled_from([8, 60, 600]),
    bounds=st.fixed_dictionaries({}, optional={b: st.integers(1, 90) for b in BOUNDS}),
)
def test_the_ranking_is_the_plain_one(
    make: Callable[[], Store],
    dense: bool,
    seed: int,
    count: int,
    vocabulary: int,
    bounds: Mapping[str, int],
) -> None:
    """Scores, order, parts and match, also where the bounds of the work cut something off."""
    random = Random(seed)
    said = talk(random, count, vocabulary)
    hidden = {place for place in range(count) if random.random() < 0.2}
    with filled(make(), said, dense=dense) as archive, pytest.MonkeyPatch.context() as patch:
        for name, value in bounds.items():
            patch.setattr(ranking, name, value)
            patch.setattr(plain_ranking, name, value)
        for _ in range(3):
            stop = random.choice((count, random.randint(1, count)))
            compare(archive, asked(random, said), stop, lambda place: place not in hidden)


@pytest.mark.parametrize("make", [InMemoryStore, lambda: SQLiteStore(":memory:")])
def test_the_ranking_of_a_long_archive_is_the_plain_one(make: Callable[[], Store]) -> None:
    """Where every bound is reached."""
    random = Random(3)
    said = talk(random, 20_000, 400)
    with filled(make(), said, dense=False) as archive:
        for _ in range(10):
            compare(archive, asked(random, said), len(said))


# -- terms of messages that are remembered --------------------------------------------------------


def test_the_best_messages_are_read_once() -> None:
    """Asked again, a search reads no message, and finds the same."""
    with filled(InMemoryStore(), talk(Random(1), 300, 60), dense=False) as archive:
        first = archive.search("word1x word7x", 300, everything)
        archive.read = _unread  # type: ignore[method-assign]
        assert told(first) == told(archive.search("word1x word7x", 300, everything))


def _unread(places: Sequence[int]) -> list[Message | None]:
    assert not places
    return []


def test_no_more_terms_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages were read."""
    monkeypatch.setattr(archives, "_MOST_TERMS", 100)
    with filled(InMemoryStore(), talk(Random(2), 300, 600), dense=False) as archive:
        for place in range(0, 300, 10):
            archive.terms_at(range(place, place + 10))
            assert sum(map(len, archive._terms.values())) <= 100 + 10 * 45


@pytest.mark.parametrize("scope", [None, "user:ada"])
def test_what_another_one_forgets_is_not_remembered(tmp_path: Path, scope: str | None) -> None:
    """A search after it knows no word of what another process made the store forget."""
    path = tmp_path / "store.db"
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        recall = Recall(scope=scope)
        memory = Memory(10_000, store=store, session_id="s", recall=recall)
        memory.append(*(Message.user(f"The heron stood by pond{i % 2}.") for i in range(9)))
        memory.append(Message.user("The heron ate a frog."))
        archive = memory._recaller._searched()
        archive.search("heron", 10, everything)
        assert any("frog" in terms for terms in archive._terms.values())
        Memory.resume(other, "s").forget(-1)
        archive.search("heron", 10, everything)
        assert archive._terms
        assert not any("frog" in terms for terms in archive._terms.values())
