"""Semantic coverage: the blocks that stand for all that was talked about stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..blocks import Block
from ..embedding import Embedder, embed
from ..errors import ConfigError, EmbedderError
from .base import CannotDecide, Policy, View
from .coverage import Rows, coverage, dense_rows, lexical_rows
from .importance import check_share
from .information import asks, idf, information, keep_newest

_LEAST_LEXICAL, _LEAST_DENSE = 0.2, 0.5


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
        if embedder is not None and not isinstance(embedder, Embedder):
            raise ConfigError(
                f"embedder must have a method embed(texts); pass it again, got {embedder!r}"
            )
        self.embedder = embedder
        self.recent = check_share("recent", recent)
        self._vectors: WeakKeyDictionary[Block, list[float]] = WeakKeyDictionary()

    def settings(self) -> Mapping[str, Any]:
        """See `Policy.settings`."""
        own: dict[str, Any] = {"recent": self.recent}
        if self.embedder is not None:
            own["embedder"] = type(self.embedder).__qualname__
        return own

    def worth(self, view: View) -> Sequence[float]:
        """Return each block's gain in coverage, the newest above all."""
        weights = idf(view.candidates)
        worths = coverage(view, self._rows(view, weights), self._importance(view, weights))
        return keep_newest(worths, view.candidates, self.recent * view.room)

    def _importance(self, view: View, weights: Mapping[str, float]) -> Sequence[float]:
        return [information(b, weights) * (0.5 if asks(b) else 1.0) for b in view.candidates]

    def _rows(self, view: View, weights: Mapping[str, float]) -> Rows:
        if self.embedder is None:
            return lexical_rows(view, weights, _LEAST_LEXICAL)
        return dense_rows(view, self._embedded(view.candidates, self.embedder), _LEAST_DENSE)

    def _embedded(self, blocks: Sequence[Block], embedder: Embedder) -> list[list[float]]:
        """Return the blocks' vectors, each computed once."""
        new = [block for block in blocks if block not in self._vectors]
        try:
            vectors = embed(embedder, [block.text for block in new]) if new else []
        except EmbedderError as error:
            raise CannotDecide(str(error)) from error
        self._vectors.update(zip(new, vectors, strict=True))
        found = [self._vectors[block] for block in blocks]
        if len({len(vector) for vector in found}) > 1:
            self._vectors.clear()
            raise CannotDecide(f"embedder {embedder!r} changed the dimension of its vectors")
        return found
