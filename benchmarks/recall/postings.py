"""Why the index of a SQLite file keeps packed rows: the same postings in them and in FTS5."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import process_time

from finite_memory_core import SQLiteStore
from finite_memory_core.recall.analysis import Document, document
from finite_memory_core.recall.ranking import MOST_POSTINGS

from ..tables import Table
from .speed import chatter

COUNT, BATCH, QUERIES, TERMS = 20_000, 2_000, 100, 5


def postings_table() -> Table:
    """Tabulate what the two take to index, to look terms up, and to keep."""
    random = Random(7)
    documents = [document(i, m, 0) for i, m in enumerate(islice(chatter(random), COUNT))]
    asked = [random.sample(sorted(random.choice(documents).terms), TERMS) for _ in range(QUERIES)]
    note = (
        f"{COUNT:,} messages as above, their terms known; {TERMS} terms of one message looked up, "
        f"the newest {MOST_POSTINGS:,} places of each. FTS5 without column sizes, positions and "
        "content; packed rows with what ranking needs to know of each message, which FTS5 would "
        "need a table for."
    )
    rows = [_row("FTS5", _fts, documents, asked), _row("packed rows", _packed, documents, asked)]
    columns = ["", "indexing, a message", f"looking {TERMS} terms up", "bytes a message"]
    return Table("CPU of postings, milliseconds", columns, rows, [note])


Made = tuple[float, Callable[[str], Sequence[int]]]


def _row(
    name: str,
    make: Callable[[Path, list[Document]], Made],
    documents: list[Document],
    asked: list[list[str]],
) -> list[str]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "postings.db"
        indexing, look_up = make(file, documents)
        began = process_time()
        for terms in asked:
            for term in terms:
                look_up(term)
        spent = (process_time() - began) / QUERIES
        size = sum(part.stat().st_size for part in Path(folder).iterdir()) / COUNT
    return [name, f"{1_000 * indexing:.3f}", f"{1_000 * spent:.2f}", f"{size:,.0f}"]


def _fts(file: Path, documents: list[Document]) -> Made:
    db = sqlite3.connect(file, isolation_level=None)
    for setting in ("journal_mode = WAL", "secure_delete = ON", "synchronous = NORMAL"):
        db.execute(f"PRAGMA {setting}")
    db.execute(
        "CREATE VIRTUAL TABLE posting"
        " USING fts5(terms, content='', columnsize=0, detail=none, tokenize='ascii')"
    )
    began = process_time()
    for start in range(0, COUNT, BATCH):
        rows = [(d.place, " ".join(map(_word, d.terms))) for d in documents[start : start + BATCH]]
        db.execute("BEGIN")
        db.executemany("INSERT INTO posting (rowid, terms) VALUES (?, ?)", rows)
        db.execute("COMMIT")
    spent = (process_time() - began) / COUNT
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    newest = "SELECT rowid FROM posting WHERE posting MATCH ? ORDER BY rowid DESC LIMIT ?"
    return spent, lambda term: [
        place for (place,) in db.execute(newest, (_word(term), MOST_POSTINGS))
    ]


def _word(term: str) -> str:
    """Return a term as a word that FTS5 leaves alone."""
    return f"x{term.encode().hex()}"


def _packed(file: Path, documents: list[Document]) -> Made:
    with closing(SQLiteStore(file)) as first:
        first.create("s", "{}")
        index = first.index("s")
        began = process_time()
        for start in range(0, COUNT, BATCH):
            index.add(documents[start : start + BATCH])
        index.keep()
        spent = (process_time() - began) / COUNT
    kept = SQLiteStore(file).index("s")
    return spent, lambda term: kept.postings(term, COUNT, MOST_POSTINGS)
