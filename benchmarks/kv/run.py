"""Measure the local backend and write `docs/local.md`.

::

    python benchmarks/kv/run.py                          # speed, steady, quality, families
    python benchmarks/kv/run.py quality                  # one of them
    python benchmarks/kv/run.py --quick                  # a look, on a small shape
    python benchmarks/kv/run.py speed --contexts 4096 8192 --dtypes float32 bfloat16
    python benchmarks/kv/run.py speed --shape Llama-3-8B --device cuda --contexts 32768
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.kv import families, quality, shapes, speed, steady  # noqa: E402
from benchmarks.machine import describe  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "local.md"
PARTS = ("families", "speed", "steady", "quality")


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="Measure the local backend.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shape", default="SmolLM2-135M", choices=shapes.SHAPES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--contexts", nargs="+", type=int, default=[4_096, 8_192])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--budget", type=int, default=4_096)
    parser.add_argument("--layers", type=int, default=None, help="of the steady run's shape")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action=argparse.BooleanOptionalAction)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.quick:
        asked.shape, asked.contexts, asked.turns, asked.budget = "small", [1_024], 30, 1_024
        asked.repeats = 1
    write = asked.write if asked.write is not None else not asked.quick
    for part in asked.parts or PARTS:
        made = []
        for table in _tables(part, asked):
            print(table.text(), flush=True)
            made.append(table)
            if write:
                command = f"python benchmarks/kv/run.py {' '.join(sys.argv[1:]) or part}"
                note = f"{describe(command)} {_with(asked.device)}"
                text = "\n\n".join([note, *(table.markdown() for table in made)])
                write_between(DOCUMENT, f"kv-{part}{_mark(asked.device)}", text)
    return 0


def _mark(device: str) -> str:
    return "" if device == "cpu" else f"-{device}"


def _with(device: str) -> str:
    card = f" {torch.cuda.get_device_name()}." if device.startswith("cuda") else ""
    return f"PyTorch {torch.__version__}.{card}"


def _tables(part: str, asked: argparse.Namespace) -> Iterator[Table]:
    if part == "speed":
        for tokens in asked.contexts:
            for dtype in asked.dtypes:
                yield speed.table(asked.shape, tokens, dtype, asked.repeats, asked.device)
        yield speed.importance_table(
            asked.shape, min(asked.contexts), min(2, asked.repeats), asked.device
        )
    elif part == "steady":
        yield from steady.tables(
            asked.shape, asked.budget, asked.turns, "hybrid", asked.device, asked.layers,
            asked.dtypes[0],
        )  # fmt: skip
    elif part == "quality":
        yield from quality.tables(asked.repeats, 20 if asked.quick else 100)
    else:
        yield families.table()


if __name__ == "__main__":
    sys.exit(main())
