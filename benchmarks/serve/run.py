"""Measure the drop-in server, print the tables, and write them into ``docs/serve.md``.

::

    python benchmarks/serve/run.py                # everything, some five minutes
    python benchmarks/serve/run.py latency        # of cache, latency, streams, cursors, size
    python benchmarks/serve/run.py --no-write     # print only

``cache`` needs llama.cpp's server; see ``benchmarks/hosted/run.py``. Run it on an idle machine with
at least two cores: one is the server's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.machine import describe  # noqa: E402
from benchmarks.serve import holding, measuring  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "serve.md"
NAMES = ("cache", "latency", "streams", "cursors", "size")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in asked.names or NAMES:
        table = measured(name)
        print(table.text(), flush=True)
        if asked.write:
            told = describe(f"python benchmarks/serve/run.py {name}")
            write_between(DOCUMENT, f"serve_{name}", f"{told}\n\n{table.markdown()}")
    return 0


def measured(name: str) -> Table:
    """Return one table."""
    if name == "cache":
        return holding.cache_table()
    if name == "cursors":
        return holding.cursors_table()
    if name == "size":
        return holding.size_table()
    if name == "latency":
        with measuring.ways(1) as found:
            return measuring.latency_table(found)
    with measuring.ways(measuring.EVENTS) as found:
        return measuring.throughput_table(found)


if __name__ == "__main__":
    sys.exit(main())
