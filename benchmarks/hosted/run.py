"""Measure finite-memory-api, print the tables, and write them into the document.

::

    python benchmarks/hosted/run.py                   # everything, some five minutes
    python benchmarks/hosted/run.py cache             # one of cache, cost, overhead, footprint
    python benchmarks/hosted/run.py cost --folder F   # LoCoMo conversations, one JSON file each
    python benchmarks/hosted/run.py --no-write        # print only

``cache`` needs llama.cpp's server: the nox session ``llama`` builds it, or name the program in
``FINITE_MEMORY_LLAMA_SERVER``; and the packages of the dependency group ``llama``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.hosted import caches, costs, footprint, overhead  # noqa: E402
from benchmarks.machine import describe  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "prompt-caching.md"
FOLDER = ROOT.parent / "shared" / "data" / "locomo-dev"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="LoCoMo conversations")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args(arguments)
    known: dict[str, Callable[[], list[Table]]] = {
        "cache": caches.tables,
        "cost": lambda: costs.tables(asked.folder),
        "overhead": overhead.tables,
        "footprint": footprint.tables,
    }
    if unknown := set(asked.names) - set(known):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in asked.names or known:
        tables = known[name]()
        for table in tables:
            print(table.text(), flush=True)
        if asked.write:
            parts = [describe(f"python benchmarks/hosted/run.py {name}")]
            parts += [table.markdown() for table in tables]
            write_between(DOCUMENT, f"hosted_{name}", "\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
