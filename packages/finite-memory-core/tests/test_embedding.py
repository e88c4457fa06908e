"""Vectors from an embedder are checked and made of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Any

import pytest
from hypothesis import given, strategies as st

from finite_memory_core.embedding import Embedder, embed
from finite_memory_core.errors import EmbedderError


class Given:
    """An embedder that gives what it was made with."""

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def embed(self, texts: Sequence[str]) -> Any:
        """Return them, or raise them."""
        if isinstance(self.vectors, BaseException):
            raise self.vectors
        return self.vectors


class Array:
    """Looks like a row of an array library: `tolist`, and slow to iterate."""

    def tolist(self) -> list[float]:
        """Return the numbers."""
        return [3.0, 4.0]


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(finite, min_size=3, max_size=3), max_size=5))
def test_vectors_have_length_one(vectors: list[list[float]]) -> None:
    """Any finite vectors come back of length 1, or 0 where there is no direction."""
    made = embed(Given(vectors), ["x"] * len(vectors))
    assert len(vectors) == len(made)
    for vector in made:
        assert hypot(*vector) == pytest.approx(1.0, rel=1e-3) or vector == [0.0] * 3


def test_arrays_are_taken() -> None:
    """Rows of an array library are read by `tolist`."""
    assert [[0.6, 0.8]] == embed(Given([Array()]), ["x"])
    assert isinstance(Given([]), Embedder)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (RuntimeError("out of memory"), "failed on 2 texts: RuntimeError: out of memory"),
        (None, "failed on 2 texts: TypeError"),
        ([["a"], ["b"]], "failed on 2 texts: ValueError"),
        ([[1.0]], "returned 1 vectors for 2 texts"),
        ([[1.0], [1.0, 2.0]], "of dimension 1 and 2"),
        ([[], []], "of dimension 0"),
        ([[1.0], [float("nan")]], "NaN or infinity"),
        ([[1.0], [float("-inf")]], "NaN or infinity"),
    ],
)
def test_what_is_no_embedding_is_refused(vectors: Any, message: str) -> None:
    """A failure says which embedder, and what it did."""
    with pytest.raises(EmbedderError, match=message):
        embed(Given(vectors), ["x", "y"])
