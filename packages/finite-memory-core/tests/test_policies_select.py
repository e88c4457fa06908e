"""What filling the room by worth per token guarantees, against the exact answer."""

from __future__ import annotations

from hypothesis import given, strategies as st

from finite_memory_core.eviction import select

Item = tuple[float, int]
items = st.lists(st.tuples(st.integers(0, 60).map(float), st.integers(1, 12)), max_size=12)


def optimum(items: list[Item], room: int) -> float:
    """The most that any choice within the room is worth, by dynamic programming."""
    best = [0.0] * (room + 1)
    for worth, tokens in items:
        for used in range(room, tokens - 1, -1):
            best[used] = max(best[used], best[used - tokens] + worth)
    return best[room]


def greedy(items: list[Item], room: int) -> float:
    """What the choice is worth."""
    chosen, _ = select([w for w, _ in items], [t for _, t in items], room)
    assert room >= sum(items[i][1] for i in chosen)
    return sum(items[i][0] for i in chosen)


@given(items, st.integers(0, 60))
def test_within_one_block_of_the_optimum(items: list[Item], room: int) -> None:
    """No choice is worth more than this one and the most valuable fitting block together."""
    single = max((worth for worth, tokens in items if tokens <= room), default=0.0)
    assert greedy(items, room) + single >= optimum(items, room)
    assert max(greedy(items, room), single) >= optimum(items, room) / 2


@given(items, st.integers(1, 120))
def test_near_the_optimum_where_blocks_are_small(items: list[Item], room: int) -> None:
    """Blocks of at most a share x of the room lose at most a share x of the optimum."""
    largest = max((tokens for _, tokens in items), default=0)
    assert greedy(items, room) >= (1 - largest / room) * optimum(items, room) - 1e-9


def test_one_great_block_can_lose_to_a_small_dense_one() -> None:
    """Without small blocks there is no bound: the price of an order that can be explained."""
    chosen, threshold = select([2.0, 100.0], [1, 100], 100)
    assert {0} == chosen
    assert threshold == 2.0


@given(items, st.integers(0, 60))
def test_every_block_that_stays_is_denser_than_one_that_could_have(
    items: list[Item], room: int
) -> None:
    """A block that left was no denser than the least that stayed, or no longer fitted."""
    worths, tokens = [w for w, _ in items], [t for _, t in items]
    chosen, threshold = select(worths, tokens, room)
    left = room - sum(tokens[i] for i in chosen)
    for i in {*range(len(items))} - chosen:
        assert tokens[i] > left or (threshold is not None and worths[i] / tokens[i] <= threshold)
