"""Run the benchmarks, print their tables, and write them into `docs/benchmarks.md`.

::

    python benchmarks/run.py                    # everything, some 20 minutes; writes the document
    python benchmarks/run.py --quick            # a look; writes nothing unless --write is given
    python benchmarks/run.py turn_cost          # one of them
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.machine import describe  # noqa: E402
from benchmarks.options import Options  # noqa: E402
from benchmarks.tables import write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BENCHMARKS = (
    "turn_cost", "prefix_cache", "conformance", "archive_memory", "store_cost", "telemetry",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` name."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and print their tables.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help=f"write {DOCUMENT.relative_to(ROOT)} (default: unless --quick or --no-peers)",
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    options = Options(quick=asked.quick, peers=not asked.no_peers)
    write = asked.write if asked.write is not None else options.peers and not options.quick
    for name in asked.names or BENCHMARKS:
        run_one(name, options, write)
    return 0


def run_one(name: str, options: Options, write: bool) -> None:
    """Run one benchmark, print its tables, and write them if asked."""
    tables = import_module(f"benchmarks.{name}").tables(options)
    for table in tables:
        print(table.text(), flush=True)
    if write:
        command = f"python benchmarks/run.py {name}{' --quick' if options.quick else ''}"
        parts = [describe(command), *(table.markdown() for table in tables)]
        write_between(DOCUMENT, name, "\n\n".join(parts))


if __name__ == "__main__":
    sys.exit(main())
