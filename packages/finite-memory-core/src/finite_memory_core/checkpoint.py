"""Checkpoints: a fold's state as JSON, from which a session resumes without its whole transcript.

A checkpoint names the blocks that stand in the window by their place in the transcript; their
text is read from there again. It is written at every eviction, in the transaction of the message
that caused it, and so costs what the window costs, never what the transcript costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .blocks import Block
from .counting import Calibration
from .errors import CorruptError
from .low_water import LowWater
from .messages import Message, freeze, thaw
from .rounds import OpenRound
from .spending import Spent
from .state import State
from .stats import Totals
from .stores.base import Counted
from .summary import Running

if TYPE_CHECKING:
    from .fold import Fold

Pick = Callable[[Sequence[int]], Mapping[int, Counted]]
"""Reads messages of a transcript by their index, all at once."""


def dump(fold: Fold) -> str:
    """Return the state of `fold` as JSON text."""
    window, state = fold.window, fold.state
    return json.dumps(
        {
            "blocks": [[b.index, len(b.messages), int(b.pinned)] for b in window.blocks],
            "summary_stands": window.summary is not None,
            "open": None if window.open is None else [window.open.start, len(window.open.messages)],
            "summary": state.running.to_json(),
            "clips": [[i, c.message.to_dict(), c.tokens] for i, c in state.clips.items()],
            "tokens_seen": fold.tokens_seen,
            "totals": fold.journal.totals.to_dict(),
            "calibration": None if state.calibration is None else state.calibration.to_dict(),
            "tools": [thaw(tool) for tool in state.tools],
            "spent": state.spent.to_list(),
            "ceiling": state.ceiling,
            "asked_room": state.asked_room,
            "low_water": state.chosen,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def load(fold: Fold, count: int, body: str, pick: Pick) -> None:
    """Make the fresh `fold` what it was when `dump` wrote `body` after `count` messages.

    Raises:
        CorruptError: the checkpoint does not fit the transcript.
    """
    try:
        state: dict[str, Any] = json.loads(body)
        fold.count = count
        fold.tokens_seen = state["tokens_seen"]
        fold.journal.totals = Totals(**state["totals"])
        fold.state = _state(fold.state, state)
        placed = [(index, length) for index, length, _ in state["blocks"]]
        if state["open"] is not None:
            placed.append(tuple(state["open"]))
        stored = pick([i for index, length in placed for i in range(index, index + length)])
        blocks = [
            _block(fold, index, length, bool(pinned), stored)
            for index, length, pinned in state["blocks"]
        ]
        tools = freeze(state["tools"], "stored tools")
        summary_stands = bool(state["summary_stands"])
        opened = None
        if state["open"] is not None:
            index, length = state["open"]
            opened = _open(_block(fold, index, length, False, stored))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(
            f"the checkpoint after message {count} of session {fold.session_id!r} cannot be read "
            f"({type(error).__name__}: {error}); the transcript itself may still be whole"
        ) from error
    fold.restore(tools, blocks, opened, summary_stands=summary_stands)


def _state(fresh: State, stored: Mapping[str, Any]) -> State:
    """Return the state that was stored, its tools and what follows from them aside."""
    calibration, chosen = fresh.calibration, stored["low_water"]
    if calibration is not None and stored["calibration"] is not None:
        calibration = Calibration.from_dict(stored["calibration"])
    return fresh._replace(
        running=Running.from_json(stored["summary"]),
        clips={
            i: Counted(Message.from_dict(message), tokens) for i, message, tokens in stored["clips"]
        },
        spent=Spent(*stored["spent"]),
        ceiling=stored["ceiling"],
        asked_room=int(stored["asked_room"]),
        chosen=None if chosen is None else LowWater(*chosen),
        calibration=calibration,
    )


def _block(
    fold: Fold, index: int, length: int, pinned: bool, stored: Mapping[int, Counted]
) -> Block:
    places = range(index, index + length)
    if any(i not in stored for i in places):
        raise ValueError(f"messages {index} to {index + length} are not all there")
    shown = [fold.state.clips.get(i, stored[i]) for i in places]
    return Block(index, tuple(c.message for c in shown), sum(c.tokens for c in shown), pinned)


def _open(block: Block) -> OpenRound:
    call, *results = block.messages
    answered = {result.tool_call_id for result in results}
    pending = frozenset(c.id for c in call.tool_calls if c.id not in answered)
    pinned = any(message.pinned for message in block.messages)
    return OpenRound(block.index, block.messages, block.tokens, pending, pinned)
