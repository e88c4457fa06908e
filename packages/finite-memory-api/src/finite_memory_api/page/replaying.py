"""A transcript through a memory of other settings, in a process of its own.

A replay takes as long as the conversation took the memory, which may be minutes; here it takes
them from nobody who waits for a reply. ``python -m finite_memory_api.page.replaying`` reads JSON
lines: first what to do, then a message each; and writes JSON lines: how far it is, then the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, TextIO

from finite_memory_core import FiniteMemoryError, Memory, Message
from finite_memory_core.blocks import Block
from finite_memory_core.recall import Recall

from .journal import Journal, columns
from .rows import ARCHIVED, PINNED, RECALLED, SUMMARY, WINDOW

REPORT_SECONDS = 0.5


def places_of(blocks: Iterable[Block], count: int, journal: Journal) -> str:
    """Return where each of the first `count` messages is, given the blocks that stand."""
    places = [SUMMARY if i in journal.folded else ARCHIVED for i in range(count)]
    for index in journal.recalled:
        if index < count:
            places[index] = RECALLED
    for block in blocks:
        letter = PINNED if block.pinned else WINDOW
        for index in range(block.index, min(block.end, count)):
            places[index] = letter
    return "".join(places)


def replay(
    asked: dict[str, Any], said: Iterable[Message], report: Callable[[int], object]
) -> dict[str, Any]:
    """Run a transcript through a new memory.

    Args:
        asked: ``budget``, ``policy``, ``low_water``, ``reserve``, ``oversize`` and ``recall`` as
            in stored settings.
        said: the messages.
        report: called with how many were taken in, from time to time.

    Returns:
        ``places``, ``turns``, ``stats``, ``reasons``, ``spans``, ``folded`` and ``summary``.

    Raises:
        FiniteMemoryError: what `Memory` raises.
    """
    journal = Journal()
    recall = {k: v for k, v in (asked["recall"] or {}).items() if k in ("share", "gate")}
    memory = Memory(
        asked["budget"],
        asked["policy"],
        low_water=asked["low_water"],
        reserve=asked["reserve"],
        oversize=asked["oversize"],
        recall=Recall(**recall) if recall else None,
        observers=[journal],
    )
    count, due = 0, monotonic() + REPORT_SECONDS
    for count, message in enumerate(said, 1):
        if message.role == "assistant" and count > 1:
            journal.end(memory.context(), count - 1)
        memory.append(message)
        if monotonic() > due:
            report(count)
            due = monotonic() + REPORT_SECONDS
    return {
        "places": places_of(memory.blocks, count, journal),
        "turns": columns(journal.turns),
        "stats": memory.stats.to_dict(),
        "reasons": journal.reasons,
        "spans": journal.spans,
        "folded": sorted(journal.folded),
        "summary": memory.summary,
    }


def main(lines: TextIO, out: TextIO) -> None:
    """Do what the first line asks for."""

    def write(value: Any) -> None:
        out.write(json.dumps(value, separators=(",", ":")) + "\n")
        out.flush()

    asked = json.loads(lines.readline())
    said = (Message.from_dict(json.loads(line)) for line in lines)
    try:
        write({"result": replay(asked, said, lambda done: write({"done": done}))})
    except FiniteMemoryError as error:
        write({"error": str(error)})


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)  # whoever waits for a reply comes first
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main(sys.stdin, sys.stdout)
