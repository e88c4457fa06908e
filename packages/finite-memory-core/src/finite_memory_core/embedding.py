"""Embedders: text to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf, isfinite
from typing import Protocol, runtime_checkable

from .errors import EmbedderError


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how alike they are."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, in their order, all of one dimension."""
        ...


def embed(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return one vector of length 1 a text (all zeros where the embedder gave that).

    Raises:
        EmbedderError: the embedder raised, or returned something else than that.
    """
    try:
        vectors = [_floats(vector) for vector in embedder.embed(texts)]
    except Exception as error:
        raise EmbedderError(
            f"embedder {embedder!r} failed on {len(texts)} texts: {type(error).__name__}: {error}"
        ) from error
    if len(vectors) != len(texts):
        raise EmbedderError(
            f"embedder {embedder!r} returned {len(vectors)} vectors for {len(texts)} texts"
        )
    dimensions = sorted({len(vector) for vector in vectors})
    if len(dimensions) > 1 or 0 in dimensions:
        raise EmbedderError(
            f"embedder {embedder!r} returned vectors of dimension "
            f"{' and '.join(map(str, dimensions))}; all must have one and the same, above 0"
        )
    if not all(isfinite(x) for vector in vectors for x in vector):
        raise EmbedderError(f"embedder {embedder!r} returned a vector with NaN or infinity")
    return [_unit(vector) for vector in vectors]


def _floats(vector: Sequence[float]) -> list[float]:
    # Arrays and tensors give all their numbers at once, which is a hundred times faster.
    listed = getattr(vector, "tolist", None)
    return [float(x) for x in (vector if listed is None else listed())]


def _unit(vector: list[float]) -> list[float]:
    length = hypot(*vector)
    return [x / length for x in vector] if 0.0 < length < inf else [0.0] * len(vector)
