"""Measure recall, print the tables, and write them and the picture into the document.

::

    python benchmarks/recall/run.py                  # the conversations beside this repository
    python benchmarks/recall/run.py FOLDER           # LoCoMo conversations, one JSON file each
    python benchmarks/recall/run.py --only cost      # one part: evidence, parts, cost or speed
    python benchmarks/recall/run.py --no-write       # print only

The weights of the ranking were chosen on the five conversations that this measures. Evidence ids
that are malformed are split and repaired, those that name no turn are dropped, and questions
without any left too. Some ten minutes, and some ten more for the vectors of MiniLM, if it is there:
see `benchmarks/embedders.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.embedders import MINILM  # noqa: E402
from benchmarks.machine import describe  # noqa: E402
from benchmarks.policies.locomo import Conversation, load  # noqa: E402
from benchmarks.recall import costs, evidence, postings, speed  # noqa: E402
from benchmarks.recall.picture import draw  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "recall.md"
PICTURE = ROOT / "docs" / "recall.svg"
FOLDER = ROOT.parent / "shared" / "data" / "locomo-dev"
PARTS = ("evidence", "parts", "cost", "speed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="the conversations")
    parser.add_argument("--only", choices=PARTS, action="append", help="one of the parts")
    parser.add_argument("--quick", action="store_true", help="speed: without a million messages")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args(arguments)
    conversations = load(asked.folder) if asked.folder.is_dir() else []
    if why := MINILM.missing():
        print(f"without an embedder: {why}")
    for name in asked.only or PARTS:
        if name != "speed" and not conversations:
            print(f"skipped {name}: no LoCoMo conversations (26.json ...) in {asked.folder}")
            continue
        tables, picture = _measured(name, conversations, not asked.no_peers, asked.quick)
        for table in tables:
            print(table.text(), flush=True)
        if asked.write:
            command = f"python benchmarks/recall/run.py{' --quick' if asked.quick else ''}"
            parts = [describe(command), *(table.markdown() for table in tables)]
            write_between(DOCUMENT, name, "\n\n".join(parts))
            if picture:
                PICTURE.write_text(picture, encoding="utf-8")
    return 0


def _measured(
    name: str, conversations: Sequence[Conversation], peers: bool, quick: bool
) -> tuple[list[Table], str]:
    if name == "cost":
        found = costs.measure_all(conversations, peers)
        return [costs.cost_table(conversations, found)], draw(found)
    make: dict[str, Callable[[], list[Table]]] = {
        "evidence": lambda: [
            *evidence.evidence_tables(conversations, evidence.measure_all(conversations, peers)),
            evidence.settings_table(conversations),
        ],
        "parts": lambda: evidence.parts_tables(conversations),
        "speed": lambda: [
            speed.speed_table(speed.SIZES[:2] if quick else speed.SIZES),
            postings.postings_table(),
        ],
    }
    return make[name](), ""


if __name__ == "__main__":
    sys.exit(main())
