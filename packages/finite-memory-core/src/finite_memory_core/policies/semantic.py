"""Semantic coverage: the blocks that stand for all that was talked about stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..blocks import Block
from ..embedding import Embedder, as_embedder, embed
from ..errors import EmbedderError
from .base import CannotDecide, Policy, View
from .coverage import Rows, coverage, dense_rows, lexical_rows
from .importance import check_share
from .information import idf, information, keep_newest, newest_within

_LEAST = 0.2


class Semantic(Policy):
    """Keeps a set of blocks that covers the conversation's topics (see `coverage`).

    Each block wants to be stood for in proportion to what it says, and two blocks stand for each
    other as far as they are similar: of several that say the same, one stays.

    Args:
        embedder: says how similar blocks are; None for their words, which needs nothing installed.
        recent: the share of the room that the newest blocks take in any case, 0 to 1.

    Raises:
        ConfigError: `recent` is no share, or an embedder is stored by name only and must be passed.
    """

    name = "semantic"

    def __init__(self, embedder: Embedder | None = None, recent: float = 0.1) -> None:
        self.embedder = as_embedder(embedder)
        self.recent = check_share("recent", recent)
        self._vectors: WeakKeyDictionary[Block, list[float]] = WeakKeyDictionary()

    def settings(self) -> Mapping[str, Any]:
        """See `Policy.settings`."""
        own: dict[str, Any] = {"recent": self.recent}
        if self.embedder is not None:
            own["embedder"] = type(self.embedder).__qualname__
        return own

    def worth(self, view: View) -> Sequence[float]:
        """Return each block's gain in coverage, the newest above all.

        Raises:
            CannotDecide: the embedder failed.
        """
        blocks, room = view.candidates, self.recent * view.room
        weights = idf(blocks)
        rows, importance = self._rows(view, weights), self._importance(view, weights)
        newest = range(newest_within(blocks, room), len(blocks))
        return keep_newest(coverage(view, rows, importance, newest), blocks, room)

    def _importance(self, view: View, weights: Mapping[str, float]) -> Sequence[float]:
        return [information(block, weights) for block in view.candidates]

    def _rows(self, view: View, weights: Mapping[str, float]) -> Rows:
        if self.embedder is None:
            return lexical_rows(view, weights, _LEAST)
        return dense_rows(view, self._embedded(view.candidates, self.embedder), _LEAST)

    def _embedded(self, blocks: Sequence[Block], embedder: Embedder) -> list[list[float]]:
        """Return the blocks' vectors, each computed once."""
        known = {block: self._vectors.get(block) for block in blocks}
        new = [block for block, vector in known.items() if vector is None]
        try:
            vectors = embed(embedder, [block.text for block in new]) if new else []
        except EmbedderError as error:
            raise CannotDecide(str(error)) from error
        known.update(zip(new, vectors, strict=True))
        found = [vector for block in blocks if (vector := known[block]) is not None]
        if len({len(vector) for vector in found}) > 1:
            self._vectors.clear()
            raise CannotDecide(f"embedder {embedder!r} changed the dimension of its vectors")
        self._vectors.update(zip(new, vectors, strict=True))
        return found
