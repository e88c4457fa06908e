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
from finite_memory_core.recall.dense import Source, dense_of
from finite_memory_core.recall.index import InMemoryIndex
from finite_memory_core.stores.base import Counted, Version

from ..tables import Table

SIZES = (1_000, 100_000, 1_000_000)
DIMENSIONS = 384
_WORDS, _BATCH, _QUERIES = 30_000, 1_000, 200


def speed_table(sizes: Sequence[int]) -> Table:
    """Tabulate CPU times by the number of messages; of a million only with a file."""
    rows = []
    for where, make in _stores().items():
        for size in sizes:
            if where == "SQLite" or size < 1_000_000:
                rows.append([f"{where}, {size:,} messages", *_measure(make, size)])
            if size < 1_000_000:
                cells = _measure(make, size, _random_vectors)
                rows.append([f"{where}, vectors, {size:,} messages", *cells])
    note = (
        f"Messages of 5 to 60 words out of {_WORDS:,}, their frequencies by Zipf's law; questions "
        "of 3 to 8 words of one message. CPU time of this process. Indexing includes reading the "
        "messages from the store; the first search is that of a process that takes up a session "
        "which was searched before. *Vectors*: the same with an embedder of "
        f"{DIMENSIONS} dimensions, whose own time is next to nothing; what its vectors cost to "
        "keep, and to search."
    )
    return Table(
        "CPU of recall, milliseconds",
        [
            "",
            "indexing, a message",
            "first search of a process",
            "search, mean",
            "search, 95 of 100",
            "search, longest",
        ],
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
        return _times(store, size, function)


def _archive(store: Store, function: EmbedFunction | None) -> Archive:
    dense = None if function is None else dense_of(Source(CallableEmbedder(function)), store)("s")
    return Archive(store, "s", store.index("s") or InMemoryIndex(), dense)


def _times(store: Store, size: int, function: EmbedFunction | None) -> list[str]:
    random = Random(7)
    messages = chatter(random)
    archive = _archive(store, function)
    questions = []
    each = max(2, _QUERIES * _BATCH // size)  # so that hardly any is asked twice
    for start in range(0, size, _BATCH):
        batch = [next(messages) for _ in range(_BATCH)]
        questions += [_question(random, random.choice(batch).text) for _ in range(each)]
        store.append("s", Version(start, 0), [Counted(m, 1) for m in batch], ())
    began = process_time()
    archive.catch_up(size)
    indexing = (process_time() - began) / size
    again = _archive(store, function)
    began = process_time()
    again.search(random.choice(questions), size, _everything)
    first = process_time() - began
    spent = []
    for _ in range(_QUERIES):
        question = random.choice(questions)
        began = process_time()
        again.search(question, size, _everything)
        spent.append(process_time() - began)
    spent.sort()
    figures = (indexing, first, fmean(spent), spent[int(0.95 * len(spent))], spent[-1])
    return [f"{1_000 * value:.2f}" for value in figures]


def _everything(_: int) -> bool:
    return True


def chatter(random: Random) -> Iterator[Message]:
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
