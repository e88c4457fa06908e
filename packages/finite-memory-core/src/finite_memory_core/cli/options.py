"""The options that make a memory, the same for every command."""

from __future__ import annotations

import argparse
from typing import Any

from ..memory import Memory
from ..policies import POLICIES
from ..recall import Recall
from ..settings import AUTO

BUDGET = 4096


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    """Add what `memory_from` reads. None means what `Memory` does when nothing is said."""
    parser.add_argument(
        "--budget",
        type=int,
        metavar="TOKENS",
        help=f"the most tokens of a context, everything counted (default {BUDGET})",
    )
    parser.add_argument(
        "--policy",
        metavar="NAME",
        help=f"what decides who leaves: {', '.join(POLICIES)}, or one that another distribution "
        "registers (default hybrid)",
    )
    parser.add_argument(
        "--low-water",
        type=_low_water,
        metavar="SHARE",
        help="where an eviction stops, as a share of the budget; 'auto' chooses it from what the "
        "backend's provider charges",
    )
    parser.add_argument(
        "--reserve", type=int, metavar="TOKENS", help="tokens that are kept free for the reply"
    )
    parser.add_argument(
        "--recall",
        type=float,
        metavar="SHARE",
        help="bring back what the question asks for, within this share of the budget",
    )
    parser.add_argument(
        "--oversize",
        choices=("raise", "clip"),
        help="what happens to a message that cannot fit: an error, or its middle is left out",
    )


def _low_water(text: str) -> float | str:
    return text if text == AUTO else float(text)


_low_water.__name__ = "share"  # what argparse calls it when it refuses a text


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Memory` that the user gave."""
    names = ("budget", "policy", "low_water", "reserve", "oversize", "recall")
    said = {name: value for name in names if (value := getattr(options, name)) is not None}
    return {**said, "recall": Recall(said["recall"])} if "recall" in said else said


def memory_from(options: argparse.Namespace, **more: Any) -> Memory:
    """Return a new memory with the settings that the user gave, or the defaults.

    Raises:
        ConfigError: a setting that cannot work.
    """
    return Memory(**{"budget": BUDGET, "policy": "hybrid", **given(options), **more})
