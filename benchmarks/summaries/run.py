"""Measure what a summary keeps and refuses, print the tables, and write them into the document.

::

    python benchmarks/summaries/run.py                # the conversations beside this repository
    python benchmarks/summaries/run.py FOLDER         # LoCoMo conversations, one JSON file each
    python benchmarks/summaries/run.py --no-write     # print only

Planting needs no data; without LoCoMo conversations the other two tables are left as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.machine import describe  # noqa: E402
from benchmarks.policies import locomo  # noqa: E402
from benchmarks.summaries import costs, languages, lies, planting  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "summaries.md"
FOLDER = ROOT.parent / "shared" / "data" / "locomo-dev"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="the conversations")
    parser.add_argument("--quick", action="store_true", help="fewer runs; for a look")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help=f"write {DOCUMENT.relative_to(ROOT)} (default: unless --quick)",
    )
    asked = parser.parse_args(arguments)
    seeds = 2 if asked.quick else 10
    write = not asked.quick if asked.write is None else asked.write
    _tell("planted", write, [planting.facts_table(seeds), planting.new_fact_table(seeds)])
    _tell("spoken", write, [languages.language_table(seeds)])
    conversations = locomo.load(asked.folder) if asked.folder.is_dir() else []
    if not conversations:
        print(f"left out: no LoCoMo conversations (JSON files named by number) in {asked.folder}")
        return 0
    _tell("refused", write, [lies.lies_table(conversations)])
    _tell("folding", write, [costs.cost_table(conversations)])
    return 0


def _tell(name: str, write: bool, tables: Sequence[Table]) -> None:
    for table in tables:
        print(table.text(), flush=True)
    if write:
        parts = [describe("python benchmarks/summaries/run.py")]
        parts += [table.markdown() for table in tables]
        write_between(DOCUMENT, name, "\n\n".join(parts))


if __name__ == "__main__":
    sys.exit(main())
