"""What of a fold rarely changes: each step gives another state and leaves the old one."""

from __future__ import annotations

from finite_memory_core import Message
from finite_memory_core.counting import Calibration
from finite_memory_core.limits import Limits, Room
from finite_memory_core.low_water import LowWater
from finite_memory_core.state import State
from finite_memory_core.stores.base import Counted

LIMITS = Limits(1_000, 0.5, 100, False, None, 0.15, 0.25)
SHOWN = Counted(Message.user("shown"), 9)


def calibrated(reported: int) -> Calibration:
    calibration = Calibration()
    calibration.observe(100, reported)
    return calibration


def test_a_state_begins_with_the_room_of_its_limits() -> None:
    """Corrected where the counter is; as much may be recalled as there is room for."""
    plain = State.begun(LIMITS, None)
    assert (LIMITS, Room.within(LIMITS, 1.0, None, 0), 225, None) == plain[:4]
    assert (None, None, (), 0, {}, None) == plain[4:10]
    calibration = calibrated(125)
    corrected = State.begun(LIMITS, calibration)
    assert (Room.within(LIMITS, 1.25, None, 0), 180) == (corrected.room, corrected.asked_room)
    assert corrected.calibration is calibration


def test_room_follows_from_all_that_bounds_it() -> None:
    """What is learnt, the model's ceiling and the schemas; what may be recalled now stays."""
    state = State.begun(LIMITS, calibrated(125))._replace(ceiling=600, tools_tokens=40)
    assert Room.within(LIMITS, 1.25, 600, 40) == state.fitted().room
    assert 180 == state.fitted().asked_room
    assert Room.within(LIMITS, 1.0, 600, 40) == state._replace(calibration=None).fitted().room


def test_clips_come_and_go() -> None:
    """By their place; where none goes nothing changes."""
    state = State.begun(LIMITS, None)
    both = state.with_clip(3, SHOWN).with_clip(5, SHOWN)
    assert ({}, {3: SHOWN, 5: SHOWN}) == (state.clips, both.clips)
    assert {5: SHOWN} == both.without_clips({3, 4}).clips
    assert {3: SHOWN} == both.without_clips(range(5, 9)).clips
    assert both.without_clips({4}) is both
    assert {} == both.without_clips({3, 5}).clips


def test_low_water_is_chosen_or_given() -> None:
    """By prices, or by the limits."""
    state = State.begun(LIMITS, None)
    assert 0.5 == state.low_water
    chosen = LowWater(0.6, "it pays")
    assert 0.6 == state._replace(chosen=chosen).low_water
