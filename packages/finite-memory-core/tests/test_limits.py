"""What limits leave, to the token."""

from __future__ import annotations

import pytest

from finite_memory_core.limits import Limits, Room, corrected, lowered, target, too_large


def limits(
    budget: int = 1_000, reserve: int = 100, clips: bool = False, recall: float = 0.0
) -> Limits:
    return Limits(budget, 0.5, reserve, clips, None, 0.15, recall)


def test_room_is_what_the_reserve_and_the_schemas_leave() -> None:
    """Of it a share is kept for what is recalled; a context by itself counts 3."""
    assert Room(1.0, 900, 890, 0, 890) == Room.within(limits(), 1.0, None, 7)
    assert Room(1.0, 900, 890, 225, 665) == Room.within(limits(recall=0.25), 1.0, None, 7)


@pytest.mark.parametrize(
    ("factor", "ceiling", "usable"),
    [(1.25, None, 720), (0.5, None, 1_800), (1.25, 600, 600), (1.25, 800, 720), (7.0, None, 128)],
)
def test_what_a_provider_counts_bounds_it(factor: float, ceiling: int | None, usable: int) -> None:
    """A factor by which counts are multiplied, and what the model was found to take."""
    assert usable == Room.within(limits(), factor, ceiling, 0).usable


def test_no_context_is_over_the_budget_once_corrected() -> None:
    """Where the division was rounded up, one token less may be used."""
    for budget in range(101, 400):
        for factor in (1.1, 1.3, 399 / 342, 1 / 3):
            usable = Room.within(limits(budget), factor, None, 0).usable
            assert corrected(usable, factor) <= budget - 100 < corrected(usable + 2, factor)
    assert 857 == Room.within(limits(1_001, reserve=0), 399 / 342, None, 0).usable
    assert 1_002 == corrected(858, 399 / 342)


def test_a_correction_is_rounded_up() -> None:
    """And a factor of one changes nothing."""
    assert [7, 8, 3] == [corrected(7, 1.0), corrected(7, 1.01), corrected(5, 0.5)]


@pytest.mark.parametrize(
    ("fixed", "stops"),
    [(0, 500), (300, 500), (400, 550), (1_000, 1_000)],
)
def test_an_eviction_stops_at_low_water_or_above_what_is_fixed(fixed: int, stops: int) -> None:
    """Behind much that is fixed a part of the low water is left."""
    assert stops == target(0.5, 1_000, fixed)


@pytest.mark.parametrize(
    ("counted", "limit", "actual", "stays"),
    [
        (800, None, None, 600),
        (800, None, 900, 600),
        (800, 500, None, 187),
        (800, 500, 1_000, 300),
        (800, 500, 0, 187),
        (800, 1_000, 1_000, 680),
        (800, 1_060, 1_000, 725),
        (800, 1_150, 1_000, 760),
        (800, 5_000, 1_000, 600),
        (0, 500, 1_000, 0),
        (425, 1_000, None, 318),
        (426, 1_000, None, 404),
    ],
)
def test_what_a_model_refused_is_made_smaller(
    counted: int, limit: int | None, actual: int | None, stays: int
) -> None:
    """By what it says of itself, a little below; by a quarter where it does not, or is wrong."""
    assert stays == lowered(limits(), 2.0, counted, limit, actual)


def test_what_does_not_fit_is_told() -> None:
    """What, how much, how much there is, and what to do."""
    error = too_large(limits(), None, "a message", 700, 650)
    assert (
        "a message costs 700 tokens, but the budget of 1000 leaves 650 for it beside what must "
        "stay (instructions, pinned blocks, the last user message, tool schemas, the reserve of "
        "100); raise the budget, shorten it, or let it be clipped with oversize='clip'"
    ) == str(error)
    assert (700, 650) == (error.needed, error.available)


def test_what_a_model_was_found_to_take_is_told_too() -> None:
    """And no less than nothing is left; who clips need not be told to."""
    error = too_large(limits(clips=True), 400, "a message", 700, -50)
    assert (
        "a message costs 700 tokens, but the budget of 1000 (and the model, which was found to "
        "take 400) leaves 0 for it beside what must stay (instructions, pinned blocks, the last "
        "user message, tool schemas, the reserve of 100); raise the budget, shorten it"
    ) == str(error)
    assert (700, 0) == (error.needed, error.available)
