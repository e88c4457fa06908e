"""Hybrid: importance, coverage and recency in one choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..embedding import Embedder
from .base import View
from .importance import Scorer, check_scorer, importance, name_of, scores
from .semantic import Semantic


class Hybrid(Semantic):
    """Keeps the newest blocks, and of the others a set that covers what is important.

    It is `Semantic` with each block wanting to be stood for in proportion to its importance (see
    `Importance`), and more of the room for the newest.

    Args:
        embedder: see `Semantic`.
        recent: see `Semantic`.
        scorer: gives the importance instead, see `Importance`; its numbers must not be negative.
    """

    name = "hybrid"

    def __init__(
        self,
        embedder: Embedder | None = None,
        recent: float = 0.15,
        scorer: Scorer | None = None,
    ) -> None:
        super().__init__(embedder, recent)
        self.scorer = check_scorer(scorer)

    def settings(self) -> Mapping[str, Any]:
        """See `Policy.settings`."""
        own = dict(super().settings())
        if self.scorer is not None:
            own["scorer"] = name_of(self.scorer)
        return own

    def _importance(self, view: View, weights: Mapping[str, float]) -> Sequence[float]:
        if self.scorer is None:
            return importance(view, weights)
        found = scores(self.scorer, view.candidates)
        view.deadline.check()
        return found
