"""What the archive holds in memory beside the text itself, with and without a file store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..options import Options
from ..tables import Table

_NOTE = (
    "Messages of about 40 words, each made by the caller and not kept by it. Memory is the growth "
    "of the resident set from before the first message to after the last, working set included. "
    "The text is its UTF-8 size. A plain str of that size costs 49 bytes more in CPython."
)
_PROBE = Path(__file__).with_name("probe.py")


def tables(options: Options) -> list[Table]:
    """Measure in fresh processes."""
    memory_sizes = (20_000,) if options.quick else (20_000, 200_000)
    file_sizes = (20_000, 50_000) if options.quick else (20_000, 200_000, 1_000_000)
    rows = [_row("in memory", size) for size in memory_sizes]
    rows += [_row("SQLite file", size) for size in file_sizes]
    return [
        Table(
            "Memory held by a process, by where the transcript is",
            [
                "",
                "messages",
                "text, MB",
                "memory, MB",
                "bytes a message",
                "of them its text",
                "beside the text",
                "on disk, MB",
            ],
            rows,
            [_NOTE],
        )
    ]


def _row(store: str, count: int) -> list[str]:
    found = probe(store, count)
    each, text = found["resident"] / count, found["text"] / count
    return [
        store,
        f"{count:,}",
        f"{found['text'] / 1e6:,.1f}",
        f"{found['resident'] / 1e6:,.1f}",
        f"{each:,.0f}",
        f"{text:,.0f}",
        f"{each / text:,.2f}x",
        f"{found['disk'] / 1e6:,.1f}" if found["disk"] else "",
    ]


def probe(store: str, count: int) -> dict[str, Any]:
    """Run the probe in a fresh process and return what it found, in bytes."""
    kind = "file" if "file" in store else "memory"
    command = [sys.executable, str(_PROBE), kind, str(count)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(output)
    return found
