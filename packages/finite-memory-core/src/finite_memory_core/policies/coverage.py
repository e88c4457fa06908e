"""Facility location: a set of blocks that stands in well for all of them.

f(S) = sum over blocks i of weight(i) * max over j in S of similarity(i, j)

It is monotone and submodular, so the greedy choice by gain per token is near the optimum (Lin and
Bilmes, "A Class of Submodular Functions for Document Summarization", 2011), and gains only ever
shrink, so that they need not all be computed again at each step (Minoux, 1978).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import fsum, sqrt
from operator import mul

from .base import View

Rows = Sequence[Mapping[int, float]]
"""For each block, the positions of the blocks it is similar to, itself among them."""

_COMMON = 1 / 3
"""A word in more than this share of the blocks makes none of them similar."""


def lexical_rows(view: View, weights: Mapping[str, float], least: float) -> Rows:
    """Return the cosine similarities of the candidates' weighted words, those over `least`."""
    blocks = view.candidates
    postings: dict[str, list[int]] = defaultdict(list)
    for i, block in enumerate(blocks):
        for term in block.terms:
            postings[term].append(i)
    norms = [sqrt(fsum(weights[t] ** 2 for t in b.terms)) or 1.0 for b in blocks]
    rows: list[dict[int, float]] = []
    for i, block in enumerate(blocks):
        view.deadline.check()
        products: dict[int, float] = defaultdict(float)
        for term in sorted(block.terms):  # sorted: sums of floats depend on their order
            if len(postings[term]) <= max(2.0, _COMMON * len(blocks)):
                for j in postings[term]:
                    products[j] += weights[term] ** 2
        row = {j: p / (norms[i] * norms[j]) for j, p in products.items()}
        rows.append({**{j: s for j, s in row.items() if s > least}, i: 1.0})
    return rows


def dense_rows(view: View, vectors: Sequence[Sequence[float]], least: float) -> Rows:
    """Return the cosine similarities of unit `vectors`, those over `least`."""
    rows: list[dict[int, float]] = [{i: 1.0} for i in range(len(vectors))]
    for i, vector in enumerate(vectors):
        view.deadline.check()
        for j in range(i):
            similarity = sum(map(mul, vector, vectors[j]))
            if similarity > least:
                rows[i][j] = rows[j][i] = similarity
    return rows


def coverage(view: View, rows: Rows, importance: Sequence[float]) -> list[float]:
    """Return each candidate's gain when its turn came in the greedy choice.

    Kept by gain per token, the candidates come out in the order of that choice.

    Args:
        view: the candidates and their room.
        rows: their similarities.
        importance: how much each of them wants to be stood for, >= 0.
    """
    tokens = [max(1, block.tokens) for block in view.candidates]
    best = [0.0] * len(tokens)

    def gain(i: int) -> float:
        return sum(importance[j] * (s - best[j]) for j, s in rows[i].items() if s > best[j])

    gains, room = [gain(i) for i in range(len(tokens))], view.room
    queue = [(-gains[i] / tokens[i], -i) for i in range(len(tokens))]
    heapify(queue)
    while queue:
        view.deadline.check()
        i = -heappop(queue)[1]
        gains[i] = gain(i)
        density = gains[i] / tokens[i]
        if queue and -density > queue[0][0]:  # another may gain more by now
            heappush(queue, (-density, -i))
        elif tokens[i] <= room:
            room -= tokens[i]
            for j, similarity in rows[i].items():
                best[j] = max(best[j], similarity)
    return gains
