"""What of a fold rarely changes, in one immutable object.

A turn that only grows the window leaves it alone: it costs nothing to remember, and to undo a turn
is to put it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from .counting import Calibration
from .eviction import Eviction
from .limits import Limits, Room
from .low_water import LowWater
from .spending import Spent
from .stores.base import Counted
from .summary import Running


class State(NamedTuple):
    """See the module.

    Attributes:
        limits: the limits of a context.
        room: what follows from them and from `calibration`, `ceiling` and `tools_tokens`.
        asked_room: the tokens, before correction, that may be recalled for the last question; what
            is learnt while it is answered does not change them, so that all its rounds begin alike.
        calibration: learns from reported usage; None where the counter is believed.
        ceiling: the most that the model was found to take, as counted; None if it never refused.
        chosen: the low water that was chosen by prices; None for the one in `limits`.
        tools: the tool schemas that go with each request.
        tools_tokens: what they cost.
        clips: what stands in the window for messages that were clipped, by their place.
        last: the last eviction, None before there was one.
        running: the running summary, and its ledger.
        spent: what the replies cost.
    """

    limits: Limits
    room: Room
    asked_room: int
    calibration: Calibration | None = None
    ceiling: int | None = None
    chosen: LowWater | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tools_tokens: int = 0
    clips: Mapping[int, Counted] = {}
    last: Eviction | None = None
    running: Running = Running()
    spent: Spent = Spent()

    @classmethod
    def begun(cls, limits: Limits, calibration: Calibration | None) -> State:
        """Return the state of a fold that nothing has happened to."""
        factor = 1.0 if calibration is None else calibration.factor
        room = Room.within(limits, factor, None, 0)
        return cls(limits, room, room.recall, calibration)

    def fitted(self) -> State:
        """Return it with the room that follows from the rest of it."""
        factor = 1.0 if self.calibration is None else self.calibration.factor
        return self._replace(room=Room.within(self.limits, factor, self.ceiling, self.tools_tokens))

    def without_clips(self, gone: Collection[int]) -> State:
        """Return it without the clips of messages that left."""
        if not any(index in gone for index in self.clips):
            return self
        return self._replace(clips={i: c for i, c in self.clips.items() if i not in gone})

    def with_clip(self, place: int, shown: Counted) -> State:
        """Return it with what stands for the message at `place`."""
        return self._replace(clips={**self.clips, place: shown})

    @property
    def low_water(self) -> float:
        """Where eviction stops, as a share of what may stand."""
        return self.limits.low_water if self.chosen is None else self.chosen.share
