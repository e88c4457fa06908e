"""Run an agent of each framework with its own trimming and with the memory; compare.

    pip install -c constraints/frameworks.txt \
      "packages/finite-memory-core[pydantic-ai,langchain,openai-agents,llama-index]"
    python benchmarks/frameworks/run.py [--no-write]

Writes the table in ``docs/frameworks.md``. No model is called: a script answers.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.frameworks.script import BUDGET, FACTS, TURNS, Edge, turns  # noqa: E402
from benchmarks.frameworks.subjects import SUBJECTS  # noqa: E402
from benchmarks.machine import describe  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

PAGE = ROOT / "docs" / "frameworks.md"
NOTE = (
    f"The same {TURNS} turns with a tool call each, {2 * TURNS} requests, a budget of {BUDGET:,} "
    "tokens, one for every four characters and four a message, counted at the model's edge, tools "
    "and instructions left out. *Cacheable*: the share of what was sent that began the "
    "request before too. *Tokens paid*: what was sent, with a cached token at a tenth of the "
    "price. *Evidence kept*: of the planted numbers, how many stood word for word in the request "
    'when they were asked for. Finite Memory: `policy="hybrid"`, `recall=Recall()`.'
)
PACKAGES = ("pydantic-ai-slim", "langchain", "openai-agents", "llama-index-core")


def row(framework: str, what: str, edge: Edge) -> list[str]:
    """Return one row of the table."""
    return [
        f"{framework}: {what}",
        f"{edge.sent:,}",
        f"{edge.largest:,}",
        f"{edge.served / edge.sent:.0%}",
        f"{edge.sent - 0.9 * edge.served:,.0f}",
        f"{edge.kept} of {FACTS}",
    ]


def measure() -> Table:
    """Run all of them."""
    said, rows = turns(), []
    for framework, (own, run) in SUBJECTS.items():
        for what, ours in ((own, False), ("Finite Memory", True)):
            rows.append(row(framework, what, run(said, ours)))
            print("; ".join(rows[-1]), flush=True)
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return Table(
        "Beside the frameworks' own trimming",
        ["", "tokens sent", "largest request", "cacheable", "tokens paid", "evidence kept"],
        rows,
        [
            NOTE,
            versions + ". " + describe("python benchmarks/frameworks/run.py"),
        ],
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-write", action="store_true", help="leave the document as it is")
    write = not parser.parse_args().no_write
    table = measure()
    print(table.text())
    if write:
        write_between(PAGE, "frameworks", table.markdown())


if __name__ == "__main__":
    main()
