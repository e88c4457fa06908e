"""The largest of many values, of which few differ: the values are sorted, not what has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from itertools import accumulate, compress
from typing import TypeVar

Kind = TypeVar("Kind", bound=Hashable)


def largest(
    keys: Collection[int], kinds: Collection[Kind], values: Mapping[Kind, float], count: int
) -> list[int]:
    """Return the `count` keys with the largest values, in no order; of equals the larger keys.

    Args:
        keys: what is chosen from.
        kinds: of each key what its value depends on.
        values: of each kind its value.
        count: fewer are returned only where there are fewer.
    """
    if len(keys) <= count:
        return [*keys]
    counts = Counter(kinds)
    best_first = sorted(counts, key=values.__getitem__, reverse=True)
    together = accumulate(counts[kind] for kind in best_first)
    enough = (kind for kind, n in zip(best_first, together, strict=True) if n >= count)
    least = values[next(enough)]
    above = {kind for kind in counts if values[kind] > least}
    equal = {kind for kind in counts if values[kind] == least}
    found = [*compress(keys, map(above.__contains__, kinds))]
    others = sorted(compress(keys, map(equal.__contains__, kinds)))
    return found + others[len(found) - count :]
