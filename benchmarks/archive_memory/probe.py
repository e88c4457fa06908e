"""Takes in messages and tells how much memory that took: `probe.py memory|file COUNT`."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.machine import resident_bytes
from benchmarks.options import BUDGET
from finite_memory_core import Memory, Message
from finite_memory_core.stores.sqlite import SQLiteStore
from finite_memory_core.testing.fuzz import quarter
from finite_memory_core.testing.streams import plain_chat

BATCH = 500


def messages(count: int) -> Iterator[Message]:
    """Yield `count` messages, each made when it is asked for."""
    steps = plain_chat(seed=1, turns=count // 2 + 1, budget=BUDGET)
    return islice((message for step in steps for message in step.messages), count)


def fill(memory: Memory, source: Iterator[Message]) -> int:
    """Append everything; return the bytes of its text."""
    size = 0
    while batch := list(islice(source, BATCH)):
        memory.append(*batch)
        size += sum(len(message.text.encode()) for message in batch)
    return size


def main(kind: str, count: int) -> dict[str, int]:
    """Return the bytes of text, of memory, and on disk."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "archive.db"
        store = SQLiteStore(path) if kind == "file" else None
        warm = Memory(BUDGET, counter=quarter)
        fill(warm, messages(100))
        memory = Memory(BUDGET, counter=quarter, store=store)
        gc.collect()
        before = resident_bytes()
        text = fill(memory, messages(count))
        gc.collect()
        held = resident_bytes() - before
        if store is not None:
            store.close()
        disk = sum(file.stat().st_size for file in Path(folder).iterdir())
        return {"text": text, "resident": held, "disk": disk}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
