"""The corpus: short passages of our own, one file a kind of text, in two halves.

Passages in a file are separated by a line ``%%``. The first, third, ... are for fitting the
weights of the estimate; the second, fourth, ... are only ever measured.
"""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def kinds() -> dict[str, list[str]]:
    """Return the passages of each kind of text, by the file's name."""
    return {
        path.stem: [passage.strip("\n") for passage in path.read_text("utf-8").split("\n%%\n")]
        for path in sorted(CORPUS.glob("*.txt"))
    }


def fitted(passages: list[str]) -> list[str]:
    return passages[::2]


def held_out(passages: list[str]) -> list[str]:
    return passages[1::2]
