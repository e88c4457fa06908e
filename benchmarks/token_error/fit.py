"""Fit the weights of the default token counter; print them beside the ones in use.

Run it like `run`, with the same requirements. It looks at the fitted half of the corpus only.

The model is a sum of counts times weights that are not negative (what a pair of digits or of
punctuation saves is negative, and bounded). The goal of a passage is its count by o200k, raised a
little towards cl100k where that needs more tokens: at least 3 %, at most 15 %. Least squares of
the relative error, each kind of text weighing the same and English twice, by coordinate descent:
exact enough here, and without a dependency. The weights in `finite_memory_core.counting` are these,
rounded, mostly up. Weights of what is rare in the corpus (symbols, full-width forms, variation
selectors, Han beside them) were set by hand, and those of scripts that it lacks on the high side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from finite_memory_core import counting

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.token_error import passages, reference

Features = dict[str, float]
LOWEST = {"punctuation pair": -0.71, "digit pair": -0.9}
SCRIPTS = [start for start, _ in counting._SCRIPT_COSTS[1:]]


def features(text: str) -> Features:
    """Return what the estimate counts in ``text``."""
    classes = text.encode("ascii", "ignore").translate(counting._ASCII_CLASSES)
    counts = {
        "common letter": classes.count(b"a"),
        "rare letter": classes.count(b"k"),
        "word": classes.count(b" a"),
        "upper": classes.count(b"A"),
        "camel": classes.count(b"aA"),
        "digit": classes.count(b"0"),
        "digit pair": classes.count(b"00"),
        "punctuation": classes.count(b"."),
        "punctuation pair": classes.count(b".."),
    }
    return {**dict.fromkeys(map(script_name, SCRIPTS), 0.0), **counts, **script_counts(text)}


def script_name(start: int) -> str:
    return f"U+{start:04X}"


def script_counts(text: str) -> Features:
    data = text.encode("utf-16-be", "surrogatepass")
    units = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    counts: Features = {}
    for unit in units:
        if unit >= 0x80:
            name = script_name(max(start for start in SCRIPTS if start <= unit))
            counts[name] = counts.get(name, 0.0) + 1
    return counts


def goal(texts: Sequence[str], o200k: reference.Count, cl100k: reference.Count) -> float:
    """Return by how much the estimate of this kind of text is to exceed o200k's count."""
    ratio = sum(map(cl100k, texts)) / sum(map(o200k, texts))
    return min(max(0.93 * ratio, 1.03), 1.15)


def equations(cache: Path) -> list[tuple[Features, float]]:
    """Return for each passage its features, scaled so that their cost is to be the weight."""
    tokenizers = reference.load(cache)
    o200k, cl100k = tokenizers["o200k"], tokenizers["cl100k"]
    rows = []
    for kind, texts in passages.kinds().items():
        seen = passages.fitted(texts)
        weight = (2.0 if kind.startswith("english") else 1.0) / len(seen) ** 0.5
        raised = goal(seen, o200k, cl100k)
        for text in seen:
            scale = weight / (raised * o200k(text))
            rows.append(({name: n * scale for name, n in features(text).items()}, weight))
    return rows


def fit(rows: Sequence[tuple[Features, float]], rounds: int = 3000) -> Features:
    """Return the weights that minimise the squared relative error."""
    weights = dict.fromkeys(rows[0][0], 0.0)
    residuals = [target for _, target in rows]
    for _ in range(rounds):
        for name in weights:
            column = [row[name] for row, _ in rows]
            norm = sum(x * x for x in column)
            if norm == 0.0:
                continue
            step = sum(x * r for x, r in zip(column, residuals, strict=True)) / norm
            step = max(step, LOWEST.get(name, 0.0) - weights[name])
            weights[name] += step
            residuals = [r - step * x for x, r in zip(column, residuals, strict=True)]
    return weights


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Fit the weights of the default token counter.")
    parser.add_argument("--cache", type=Path, default=reference.default_cache())
    rows = equations(parser.parse_args(argv).cache)
    in_use = {script_name(start): cost / 100 for start, cost in counting._SCRIPT_COSTS}
    for name, weight in fit(rows).items():
        seen = any(row[name] for row, _ in rows)
        print(f"{name:18}{weight if seen else float('nan'):7.3f}  {in_use.get(name, '')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
