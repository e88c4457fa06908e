"""What indexing and searching cost, by the length of the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import fmean
from tempfile import TemporaryDirectory
from time import process_time

from finite_memory_core import InMemoryStore, Message, SQLiteStore, Store
from finite_memory_core.embedding import CallableEmbedder, EmbedFunction
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.dense import Dense
from finite_memory_core.recall.index import Index, InMemoryIndex
from finite_memory_core.recall.vectors import InMemoryVectors
from finite_memory_core.stores.base import Counted, Version

from ..tables import Table

SIZES = (1_000, 10_000, 100_000)
DIMENSIONS = 384
_WORDS, _BATCH, _QUERIES = 30_000, 1_000, 200


def speed_table() -> Table:
    """Tabulate CPU times."""
    rows = []
    for where, make in _stores().items():
        for size in SIZES:
            cells = _measure(make, size)
            if cells:
                rows.append([f"{where}, {size:,} messages", *cells])
    for where, make in _stores().items():
        for size in SIZES:
            cells = _measure(make, size, _random_vectors)
            rows.append([f"{where}, vectors, {size:,} messages", *cells])
    note = (
        f"Messages of 5 to 60 words out of {_WORDS:,}, their frequencies by Zipf's law; questions "
        "of 3 to 8 words of one message. CPU time of this process. Indexing includes reading the "
        "messages from the store. *Vectors*: the same with an embedder of "
        f"{DIMENSIONS} dimensions, whose own time is next to nothing; what its vectors cost to "
        "keep, and to search. Beside an index in memory, for any store."
    )
    return Table(
        "CPU of recall, milliseconds",
        ["", "indexing, a message", "search, mean", "search, 95 of 100", "search, longest"],
        rows,
        [note],
    )


def _stores() -> dict[str, Callable[[Path], Store]]:
    return {
        "in memory": lambda _: InMemoryStore(),
        "SQLite": lambda folder: SQLiteStore(folder / "speed.db"),
    }


def _random_vectors(texts: Sequence[str]) -> list[list[float]]:
    """Return a vector for each text that depends on nothing but the text, at no cost."""
    return [[b - 127.5 for b in Random(text).randbytes(DIMENSIONS)] for text in texts]


def _measure(
    make: Callable[[Path], Store], size: int, function: EmbedFunction | None = None
) -> list[str]:
    with TemporaryDirectory() as folder, closing(make(Path(folder))) as store:
        store.create("s", "{}")
        index = store.index("s")
        dense = None if function is None else _dense(store, function)
        if index is None and dense is None and not isinstance(store, InMemoryStore):
            return []  # it is searched by the index in memory, as above
        return _times(store, InMemoryIndex() if index is None else index, size, dense)


def _dense(store: Store, function: EmbedFunction) -> Dense:
    def read(start: int, stop: int) -> Iterator[Message]:
        return (counted.message for counted in store.messages("s", start, stop))

    vectors = store.vectors("s")
    return Dense(CallableEmbedder(function), vectors or InMemoryVectors(), read)


def _times(store: Store, index: Index, size: int, dense: Dense | None = None) -> list[str]:
    random = Random(7)
    messages = _messages(random)
    archive = Archive(store, "s", index, dense)
    questions = []
    for start in range(0, size, _BATCH):
        batch = [next(messages) for _ in range(_BATCH)]
        questions += [_question(random, random.choice(batch).text) for _ in range(2)]
        store.append("s", Version(start, 0), [Counted(m, 1) for m in batch], ())
    began = process_time()
    archive.index(size)
    indexing = (process_time() - began) / size
    spent = []
    for _ in range(_QUERIES):
        question = random.choice(questions)
        began = process_time()
        archive.search(question, size, _everything)
        spent.append(process_time() - began)
    spent.sort()
    figures = (indexing, fmean(spent), spent[int(0.95 * len(spent))], spent[-1])
    return [f"{1_000 * value:.2f}" for value in figures]


def _everything(_: int) -> bool:
    return True


def _messages(random: Random) -> Iterator[Message]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(random.choices(letters, k=random.randint(3, 9))) for _ in range(_WORDS)]
    weights = [*accumulate(1 / (rank + 3) for rank in range(_WORDS))]
    at = datetime(2024, 1, 1, tzinfo=UTC)
    number = 0
    while True:
        text = " ".join(random.choices(words, cum_weights=weights, k=random.randint(5, 60)))
        said = Message.user(text, timestamp=at + timedelta(minutes=7 * number))
        yield said if number % 2 else Message.assistant(text, timestamp=said.timestamp)
        number += 1


def _question(random: Random, text: str) -> str:
    words = text.split()
    return " ".join(random.sample(words, min(len(words), random.randint(3, 8)))) + "?"
