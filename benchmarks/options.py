"""What a run was asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.

    Attributes:
        quick: less of everything: to see that it works, not for figures to quote.
        peers: whether to measure the peers too; their environments are made when missing.
    """

    quick: bool = False
    peers: bool = True


POLICIES = ("sliding", "importance", "semantic", "rolling_summary", "hybrid")
BUDGET = 4_096
