"""Embedders: text to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import hypot, inf, isfinite
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .errors import ConfigError, EmbedderError


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how alike they are.

    Where it has a text attribute `name`, vectors are stored under that name, else under its
    class's: give models of one class different names. For the same text it must return the same
    vector.
    """

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, in their order, all of one dimension."""
        ...


EmbedFunction: TypeAlias = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""`Embedder.embed` as a function: texts in, a vector each out."""


class CallableEmbedder:
    """An embedder that is a function.

    Args:
        function: takes a list of texts and returns a vector each.
        name: what it is called where its vectors are stored; None for the function's own name.
    """

    def __init__(self, function: EmbedFunction, name: str | None = None) -> None:
        self._function = function
        self.name = str(name or getattr(function, "__qualname__", type(function).__qualname__))

    def __repr__(self) -> str:
        return f"CallableEmbedder({self.name})"

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """See `Embedder.embed`."""
        return self._function(texts)


def as_embedder(thing: Any) -> Embedder | None:
    """Return an embedder, a function made into one, or None for None.

    Raises:
        ConfigError: it is neither.
    """
    if thing is None:
        return None
    if not isinstance(thing, type):  # a class has the method too, but no text to embed
        if isinstance(thing, Embedder):
            return thing
        if callable(thing):
            return CallableEmbedder(thing)
    raise ConfigError(
        "an embedder is an object with a method embed(texts), or a function of texts, that returns "
        f"a vector each; no store can hold it, so pass it again to resume; got {thing!r:.80}"
    )


def embedder_name(embedder: Embedder) -> str:
    """Return what an embedder is called where its vectors are stored."""
    name = getattr(embedder, "name", None)
    return name if isinstance(name, str) and name else type(embedder).__qualname__


def embed(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return one vector of length 1 a text (all zeros where the embedder gave that).

    Raises:
        EmbedderError: the embedder raised, or returned something else than that.
    """
    try:
        vectors = [_floats(vector) for vector in embedder.embed(list(texts))]
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
