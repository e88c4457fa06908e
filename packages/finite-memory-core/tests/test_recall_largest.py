"""The largest of many values, and cosines of many vectors: what the plain way gives, exactly."""

from __future__ import annotations

from math import sqrt

from hypothesis import given, strategies as st

from finite_memory_core.recall.largest import largest
from finite_memory_core.recall.vectors import codes_of, cosine, cosines, pack

from .strategies import CORE


@CORE
@given(
    kinds=st.dictionaries(st.integers(0, 500), st.sampled_from("abcdef"), max_size=60),
    values=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=6, max_size=6),
    count=st.integers(1, 70),
)
def test_the_largest_are_those_of_a_sort(
    kinds: dict[int, str], values: list[float], count: int
) -> None:
    """Of equal values those with the larger keys, also where kinds share a value."""
    worth = dict(zip("abcdef", values, strict=True))
    expected = sorted(kinds, key=lambda key: (worth[kinds[key]], key), reverse=True)[:count]
    assert set(expected) == set(found := largest(kinds.keys(), kinds.values(), worth, count))
    assert len(expected) == len(found)


vectors = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(pack)


@CORE
@given(one=vectors, others=st.lists(vectors | st.just(pack([1.0])), max_size=8))
def test_cosines_are_exact(one: bytes, others: list[bytes]) -> None:
    """Of the codes and the lengths that are kept; zero for none and for another dimension."""
    for other, found in zip(others, cosines(one, others), strict=True):
        assert found == cosine(one, other)
        if not one or len(one) != len(other):
            assert found == 0.0
            continue
        product = sum(a * b for a, b in zip(codes_of(one), codes_of(other), strict=True))
        squares = [sum(a * a for a in codes_of(packed)) for packed in (one, other)]
        assert abs(found - product / sqrt(squares[0] * squares[1])) < 1e-6
