"""Facility location: a set of blocks that stands in well for all of them.

f(S) = sum over blocks i of weight(i) * max over j in S of similarity(i, j) ** 2

It is monotone and submodular, so the greedy choice by gain per token is near the optimum (Lin and
Bilmes, "A Class of Submodular Functions for Document Summarization", 2011), and gains only ever
shrink, so they need not all be computed again at each step (Minoux, 1978). The square is there
because only a block that says nearly the same can stand for another's details.

Only the nearest of a block can stand for it. That loses next to nothing and keeps the work from
growing with the square of the window (Lindgren, Wu and Dimakis, "Leveraging Sparsity for Efficient
Submodular Data Summarization", 2016).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heapreplace, nlargest, nsmallest
from math import fsum, sqrt
from operator import itemgetter, mul

from .base import View

Rows = Sequence[Mapping[int, float]]
"""For each block, the positions of the blocks it can stand for and how well, itself among them."""

NEAREST = 16
"""How many blocks can stand for one."""

_COMMON, _MOST = 1 / 3, 64
"""A word in more than this share, or this many, of the blocks makes none of them similar."""


_SAME = 1 - 1e-9
"""A cosine over this is 1 but for rounding."""


def lexical_rows(view: View, weights: Mapping[str, float], least: float) -> Rows:
    """Return who can stand for whom by the cosines of their weighted words.

    Args:
        view: the candidates.
        weights: what each word is worth.
        least: similarities up to this one count as none.
    """
    blocks = view.candidates
    norms = [sqrt(fsum(weights[t] ** 2 for t in b.terms)) or 1.0 for b in blocks]
    postings, repeats = _postings(view), _repeats(view)
    near: list[dict[int, float]] = []
    for i, block in enumerate(blocks):
        view.deadline.check()
        products: dict[int, float] = defaultdict(float)
        for term in sorted(postings.keys() & block.terms):  # sorted: float sums depend on order
            square = weights[term] ** 2
            for j in postings[term]:
                products[j] += square
        norm = norms[i]
        cosines = ((j, p / (norm * norms[j])) for j, p in products.items())
        alike = {j: min(1.0, cosine) for j, cosine in cosines if cosine > least}
        alike |= dict.fromkeys(repeats.get(block.terms, ()), 1.0)  # however common their words
        alike.pop(i, None)
        near.append(alike)
    return _standing(near)


def _postings(view: View) -> dict[str, list[int]]:
    """Return where each word stands, for the words that two blocks or more share, but few."""
    postings: dict[str, list[int]] = defaultdict(list)
    for i, block in enumerate(view.candidates):
        for term in block.terms:
            postings[term].append(i)
    most = max(2.0, min(_COMMON * len(view.candidates), _MOST))
    return {term: where for term, where in postings.items() if 1 < len(where) <= most}


def _repeats(view: View) -> dict[frozenset[str], list[int]]:
    """Return the newest blocks of each same set of words, where two or more have it."""
    same: dict[frozenset[str], list[int]] = defaultdict(list)
    for i, block in enumerate(view.candidates):
        if block.terms:
            same[block.terms].append(i)
    return {terms: where[-NEAREST - 1 :] for terms, where in same.items() if len(where) > 1}


def dense_rows(view: View, vectors: Sequence[Sequence[float]], least: float) -> Rows:
    """Return who can stand for whom by the cosines of unit `vectors`.

    Embedders differ in how alike they call any two texts, so what counts is how much more alike
    two are than the mean pair is: 0 for the mean, 1 for the same.

    Args:
        view: the candidates.
        vectors: theirs, in the same order.
        least: similarities up to this one count as none.
    """
    sums = [fsum(column) for column in zip(*vectors, strict=True)]
    mean = _mean_cosine(sums, len(vectors))
    signs = _signs(sums, vectors)
    everyone = range(len(vectors))
    near: list[dict[int, float]] = []
    for i in everyone:
        view.deadline.check()
        differing = [(signs[i] ^ other).bit_count() for other in signs]
        closest = nsmallest(NEAREST + 1, everyone, key=differing.__getitem__)
        alike: dict[int, float] = {}
        for j in closest:
            if j < i and i in near[j]:
                alike[j] = near[j][i]
            elif j != i:
                cosine = sum(map(mul, vectors[i], vectors[j]))
                alike[j] = 1.0 if cosine > _SAME else (cosine - mean) / (1.0 - mean)
        near.append(alike)
    return _standing([{j: s for j, s in alike.items() if s > least} for alike in near])


def _mean_cosine(sums: Sequence[float], count: int) -> float:
    """Return the mean cosine of two different ones of `count` unit vectors that sum to `sums`."""
    if count < 2:
        return 0.0
    mean = (fsum(map(mul, sums, sums)) - count) / (count * (count - 1))
    return min(max(mean, 0.0), 0.999)  # at 1 all are the same, and any two stand for each other


def _signs(sums: Sequence[float], vectors: Sequence[Sequence[float]]) -> list[int]:
    """Return for each vector a bit a coordinate: whether it lies above the mean.

    The bits that differ grow with the angle (Charikar, "Similarity Estimation Techniques from
    Rounding Algorithms", 2002), and counting them takes a hundredth of the time of a cosine.
    """
    means = [total / len(vectors) for total in sums]
    return [
        int("".join(["1" if x > m else "0" for x, m in zip(vector, means, strict=True)]) or "0", 2)
        for vector in vectors
    ]


def _standing(near: Sequence[Mapping[int, float]]) -> Rows:
    """Return whom each can stand for and how well, given who is similar to each."""
    rows: list[dict[int, float]] = [{i: 1.0} for i in range(len(near))]
    for i, similar in enumerate(near):
        nearest: Mapping[int, float] = similar
        if len(similar) > NEAREST:
            nearest = dict(nlargest(NEAREST, similar.items(), key=itemgetter(1, 0)))
        for j, similarity in nearest.items():
            rows[j][i] = similarity * similarity
    return rows


def coverage(
    view: View, rows: Rows, importance: Sequence[float], chosen: Sequence[int] = ()
) -> list[float]:
    """Return each candidate's gain when its turn came in the greedy choice.

    Kept by gain per token, the candidates come out in the order of that choice.

    Args:
        view: the candidates and their room.
        rows: whom each can stand for, and how well.
        importance: how much each of them wants to be stood for, >= 0.
        chosen: positions that are kept in any case; they come first, and their gain is 0.
    """
    tokens = [max(1, block.tokens) for block in view.candidates]
    room = view.room - sum(tokens[i] for i in chosen)
    best = [0.0] * len(tokens)
    for i in chosen:
        _stand(rows[i], best)

    def gain(i: int) -> float:
        lacking = [importance[j] * (s - best[j]) for j, s in rows[i].items() if s > best[j]]
        return fsum(lacking)  # exact, so that blocks that say the same gain the same

    gains = [0.0] * len(tokens)
    queue = [(-gain(i) / tokens[i], -i) for i in {*range(len(tokens))}.difference(chosen)]
    heapify(queue)
    while queue:
        view.deadline.check()
        i = -queue[0][1]
        gains[i] = gain(i)
        now = (-gains[i] / tokens[i], -i)
        if now > queue[0]:  # less than it was; another may gain more by now
            heapreplace(queue, now)
            continue
        heappop(queue)
        if tokens[i] <= room:
            room -= tokens[i]
            _stand(rows[i], best)
    return gains


def _stand(row: Mapping[int, float], best: list[float]) -> None:
    """Let a block stand for those of its `row`: they gain nothing from a lesser one."""
    for j, similarity in row.items():
        if similarity > best[j]:
            best[j] = similarity
