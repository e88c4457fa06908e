"""Measure what the policies keep and cost, print the tables, and write them into the document.

::

    python benchmarks/policies/run.py                 # the conversations beside this repository
    python benchmarks/policies/run.py FOLDER          # LoCoMo conversations, one JSON file each
    python benchmarks/policies/run.py --no-write      # print only

The weights of the policies were chosen on the five conversations that this replays, by effects
that are broad over all of them together; no question was looked at. Some three minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.machine import describe  # noqa: E402
from benchmarks.policies import costs, evidence, locomo  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "policies.md"
FOLDER = ROOT.parent / "shared" / "data" / "locomo-dev"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="the conversations")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"write {DOCUMENT.relative_to(ROOT)}",
    )
    asked = parser.parse_args(arguments)
    conversations = locomo.load(asked.folder) if asked.folder.is_dir() else []
    if not conversations:
        print(f"skipped: no LoCoMo conversations (JSON files named by number) in {asked.folder}")
        return 0
    for name, tables in measured(conversations).items():
        if asked.write:
            parts = [describe("python benchmarks/policies/run.py")]
            parts += [table.markdown() for table in tables]
            write_between(DOCUMENT, name, "\n\n".join(parts))
    return 0


def measured(conversations: Sequence[locomo.Conversation]) -> dict[str, list[Table]]:
    """Return the tables by the name of their place in the document, printed as they come."""
    outcomes = evidence.replay_all(conversations)
    result = {
        "evidence": [
            evidence.evidence_table(conversations, outcomes),
            evidence.category_table(conversations, outcomes),
        ]
    }
    _show(result["evidence"])
    for name, make in (
        ("subjects", evidence.topic_table),
        ("parts", evidence.ablation_table),
        ("cost", costs.time_table),
    ):
        result[name] = [make(conversations)]
        _show(result[name])
    return result


def _show(tables: Sequence[Table]) -> None:
    for table in tables:
        print(table.text(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
