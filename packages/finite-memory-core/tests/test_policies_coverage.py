"""Facility location: the lazy greedy choice is the greedy choice, and near the best there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import e, fsum

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core.blocks import Block
from finite_memory_core.messages import Message
from finite_memory_core.policies import Deadline, DeadlineExceeded, View
from finite_memory_core.policies.coverage import (
    NEAREST,
    coverage,
    dense_rows,
    lexical_rows,
)
from finite_memory_core.policies.information import idf

from .examples import some

Rows = Sequence[Mapping[int, float]]


def view_of(texts: Sequence[str], tokens: Sequence[int] | None = None, room: int = 100) -> View:
    costs = tokens or [10] * len(texts)
    blocks = [
        Block(i, (Message.user(text),), cost)
        for i, (text, cost) in enumerate(zip(texts, costs, strict=True))
    ]
    return View(blocks, room, [], Deadline())


@st.composite
def instances(draw: st.DrawFn) -> tuple[View, Rows, list[float]]:
    """Draw candidates with costs, similarities and importances, and a room."""
    count = draw(st.integers(0, 9))
    tokens = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    number = st.sampled_from([0.0, 0.04, 0.25, 0.5, 0.81, 1.0])
    rows = [
        {i: 1.0, **{j: draw(number) for j in range(count) if j != i and draw(st.booleans())}}
        for i in range(count)
    ]
    weight = st.floats(0, 10, allow_subnormal=False)
    weights = draw(st.lists(weight, min_size=count, max_size=count))
    room = draw(st.integers(0, 30))
    return view_of(["x"] * count, tokens, room), rows, weights


def value(rows: Rows, weights: Sequence[float], chosen: Sequence[int]) -> float:
    """f(S), straight from its definition."""
    return sum(
        weight * max((rows[j].get(i, 0.0) for j in chosen), default=0.0)
        for i, weight in enumerate(weights)
    )


def naive(view: View, rows: Rows, weights: Sequence[float]) -> tuple[list[float], list[int]]:
    """Greedy by gain per token, every gain computed again at every step."""
    tokens = [block.tokens for block in view.candidates]
    best, room = [0.0] * len(tokens), view.room
    gains, order, left = [0.0] * len(tokens), [], set(range(len(tokens)))
    while left:
        now = {
            i: fsum(weights[j] * (s - best[j]) for j, s in rows[i].items() if s > best[j])
            for i in left
        }
        first = max(left, key=lambda i: (now[i] / tokens[i], i))
        left.remove(first)
        gains[first] = now[first]
        if tokens[first] <= room:
            room -= tokens[first]
            order.append(first)
            for j, s in rows[first].items():
                best[j] = max(best[j], s)
    return gains, order


@given(instances())
def test_lazy_is_greedy(instance: tuple[View, Rows, list[float]]) -> None:
    """The gains are exactly those of the greedy choice that computes them all at each step."""
    view, rows, weights = instance
    assert naive(view, rows, weights)[0] == coverage(view, rows, weights)


@given(instances())
@settings(max_examples=some(150))
def test_near_the_optimum(instance: tuple[View, Rows, list[float]]) -> None:
    """The better of the greedy choice and the best single block reaches (1 - 1/e) / 2 of the best.

    Khuller, Moss and Naor, "The budgeted maximum coverage problem", 1999.
    """
    view, rows, weights = instance
    tokens = [block.tokens for block in view.candidates]
    fitting = [i for i, cost in enumerate(tokens) if cost <= view.room]
    _, greedy = naive(view, rows, weights)
    single = max((value(rows, weights, [i]) for i in fitting), default=0.0)
    best = max(
        value(rows, weights, chosen)
        for size in range(len(fitting) + 1)
        for chosen in combinations(fitting, size)
        if sum(tokens[i] for i in chosen) <= view.room
    )
    assert max(value(rows, weights, greedy), single) >= (1 - 1 / e) / 2 * best - 1e-9


@given(instances(), st.data())
def test_what_is_kept_anyway_counts(
    instance: tuple[View, Rows, list[float]], data: st.DataObject
) -> None:
    """Blocks that are kept in any case gain nothing, and leave the others less to gain."""
    view, rows, weights = instance
    count = len(view.candidates)
    kept = data.draw(st.sets(st.integers(0, count - 1))) if count else set()
    alone = [fsum(weights[j] * s for j, s in rows[i].items()) for i in range(count)]
    gains = coverage(view, rows, weights, sorted(kept))
    assert [0.0] * len(kept) == [gains[i] for i in sorted(kept)]
    assert all(0.0 <= gain <= most for gain, most in zip(gains, alone, strict=True))


def test_of_two_that_say_the_same_one_stays() -> None:
    """The second of two equal blocks gains nothing any more."""
    view = view_of(["The code is 4711.", "Ada lives in Turin.", "The code is 4711."])
    weights = idf(view.candidates)
    gains = coverage(view, lexical_rows(view, weights, 0.2), [1.0, 1.0, 1.0])
    assert [0.0, 1.0, 2.0] == pytest.approx(gains)


words = st.lists(st.sampled_from(["ada", "turin", "code", "rain", "train", "blue"]), max_size=5)


@given(st.lists(words.map(" ".join).map(lambda text: text or "."), max_size=30))
def test_lexical_similarity(texts: list[str]) -> None:
    """Each stands for itself wholly, for others by a number over 0 and at most 1, both ways."""
    view = view_of(texts)
    rows = lexical_rows(view, idf(view.candidates), 0.2)
    for i, row in enumerate(rows):
        assert 1.0 == row[i]
        assert all(0.04 < s <= 1.0 for s in row.values())
        for j, s in row.items():
            if i in rows[j]:
                assert pytest.approx(s) == rows[j][i]


def test_a_word_that_all_have_makes_none_alike() -> None:
    """Nine blocks with one word in common are not similar for it."""
    view = view_of([f"Turin number{i}" for i in range(9)])
    rows = lexical_rows(view, idf(view.candidates), 0.0)
    assert [{i: 1.0} for i in range(9)] == list(rows)


def test_few_can_stand_for_one() -> None:
    """Of sixty blocks that are alike only the nearest can stand for each, in words and vectors."""
    texts = [f"blue garden number{i // 20} of{i}" for i in range(60)]
    view = view_of(texts + [f"other{i}" for i in range(200)])
    lexical = lexical_rows(view, idf(view.candidates), 0.0)
    vectors = [[1.0, 0.001 * i] if i < 60 else [0.0, 1.0] for i in range(260)]
    for rows in (lexical, dense_rows(view, vectors, 0.0)):
        for i in range(60):
            assert NEAREST >= sum(i in row for j, row in enumerate(rows) if j != i) > 0


def test_dense_similarity_is_relative_to_the_mean() -> None:
    """Vectors that all lean one way are similar only where they are nearer than most."""
    lean = 0.9
    side = (1 - lean**2) ** 0.5
    vectors = [[lean, side, 0.0], [lean, side, 0.0], [lean, 0.0, side], [lean, -side, 0.0]]
    rows = dense_rows(view_of(["x"] * 4), vectors, 0.2)
    assert {0: 1.0, 1: 1.0} == {j: round(s, 9) for j, s in rows[0].items()}
    assert {2: 1.0} == rows[2]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_equal_vectors_stand_for_each_other(count: int) -> None:
    """Where all vectors are the same, any one stands for all; a zero vector stands for itself."""
    view = view_of(["x"] * count)
    same = dense_rows(view, [[0.6, 0.8]] * count, 0.2)
    assert [dict.fromkeys(range(count), 1.0)] * count == [
        {j: round(s, 9) for j, s in sorted(row.items())} for row in same
    ]
    assert [{i: 1.0} for i in range(count)] == list(dense_rows(view, [[0.0, 0.0]] * count, 0.2))


class Counted(Deadline):
    """A deadline that comes after `left` looks at it."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def check(self) -> None:
        """Raise once it has been looked at often enough."""
        self.left -= 1
        if self.left < 0:
            raise DeadlineExceeded("now")


STEPS: dict[str, Callable[[View], object]] = {
    "lexical": lambda view: lexical_rows(view, idf(view.candidates), 0.2),
    "dense": lambda view: dense_rows(view, [[1.0, 0.0]] * 5, 0.2),
    "gains": lambda view: coverage(view, [{i: 1.0} for i in range(5)], [1.0] * 5),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", range(5))
def test_the_deadline_is_looked_at_in_every_loop(step: str, when: int) -> None:
    """Rows and gains stop when the time is up, wherever they are."""
    view = view_of(["Ada", "Turin", "garden", "rain", "train"])._replace(deadline=Counted(when))
    with pytest.raises(DeadlineExceeded):
        STEPS[step](view)
