"""Measure the default token counter against real tokenizers.

    pip install -r benchmarks/token_error/requirements.txt
    pip install packages/finite-memory-core
    python benchmarks/token_error/run.py [--cache DIR] [--check | --write]

Prints the table of signed errors on the held-out half of the corpus. ``--write`` puts it into
``docs/token-counting.md`` between its markers; ``--check`` exits with 1 if the table there is not
the one just measured. Vocabularies are downloaded on the first run: see `reference`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from finite_memory_core.counting import EstimatingCounter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.token_error import passages, reference  # noqa: E402

PAGE = ROOT / "docs" / "token-counting.md"
BEGIN, END = "<!-- token-error: begin -->", "<!-- token-error: end -->"

Row = tuple[str, list[float]]


def quarter(text: str) -> int:
    """The usual rule of thumb: four characters make a token."""
    return -(-len(text) // 4)


def error(estimate: reference.Count, truth: reference.Count, texts: Sequence[str]) -> float:
    """Return how far the estimated sum is from the true one, in percent of the truth."""
    return 100 * (sum(map(estimate, texts)) / sum(map(truth, texts)) - 1)


def measure(tokenizers: Mapping[str, reference.Count]) -> list[Row]:
    """Return for each kind of text the estimate's errors, and last the rule of thumb's."""
    estimate = EstimatingCounter()
    rows = []
    for kind, texts in passages.kinds().items():
        unseen = passages.held_out(texts)
        errors = [error(estimate, count, unseen) for count in tokenizers.values()]
        rows.append(
            (kind.replace("_", " "), [*errors, error(quarter, tokenizers["o200k"], unseen)])
        )
    return rows


def table(tokenizers: Mapping[str, reference.Count], rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, with a summary below."""
    heads = ["text", *tokenizers, "characters / 4, o200k"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    lines += [f"| {kind} | " + " | ".join(f"{e:+.0f} %" for e in es) + " |" for kind, es in rows]
    columns = list(zip(*(errors for _, errors in rows), strict=True))
    for name, pick in (("**lowest**", min), ("**highest**", max), ("**mean size**", mean_size)):
        lines.append(f"| {name} | " + " | ".join(f"{pick(c):+.0f} %" for c in columns) + " |")
    return "\n".join(lines)


def mean_size(errors: Sequence[float]) -> float:
    return sum(map(abs, errors)) / len(errors)


def with_table(page: str, text: str) -> str:
    """Return ``page`` with ``text`` between the markers."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Measure the default token counter.")
    parser.add_argument("--cache", type=Path, default=reference.default_cache())
    parser.add_argument("--write", action="store_true", help="update docs/token-counting.md")
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    options = parser.parse_args(argv)
    tokenizers = reference.load(options.cache)
    text = table(tokenizers, measure(tokenizers))
    print(text)
    page = PAGE.read_text("utf-8")
    wanted = with_table(page, text)
    if options.write:
        PAGE.write_text(wanted, "utf-8")
    if options.check and page != wanted:
        print(f"{PAGE.name} is out of date: run this script with --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
