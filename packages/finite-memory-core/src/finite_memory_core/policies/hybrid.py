"""Hybrid: importance, coverage and recency in one choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..embedding import Embedder
from .base import View
from .importance import importance
from .semantic import Semantic


class Hybrid(Semantic):
    """Keeps the newest blocks, and of the others a set that covers what is important.

    It is `Semantic` with each block wanting to be stood for in proportion to its importance (see
    `Importance`), and more of the room for the newest.

    Args:
        embedder: see `Semantic`.
        recent: see `Semantic`.
    """

    name = "hybrid"

    def __init__(self, embedder: Embedder | None = None, recent: float = 0.15) -> None:
        super().__init__(embedder, recent)

    def _importance(self, view: View, weights: Mapping[str, float]) -> Sequence[float]:
        return importance(view, weights)
