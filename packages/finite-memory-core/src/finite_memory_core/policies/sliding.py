"""The sliding window: what was said last stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..messages import Role
from .base import MUST_LEAVE, Policy, View


class SlidingWindow(Policy):
    """Keeps the newest blocks, and the first few as attention sinks.

    The window begins with a user's message wherever that is possible, so that no answer stands
    without its question.

    Args:
        sinks: how many of the oldest blocks always stay. Models lean on their first tokens
            (StreamingLLM, Xiao et al., 2023, arXiv 2309.17453); a system message, which always
            stays, does that job already, so the default is 0.

    Raises:
        ConfigError: `sinks` is no whole number, or negative.
    """

    name = "sliding"

    def __init__(self, sinks: int = 0) -> None:
        self.sinks = _check_count(sinks)

    def settings(self) -> Mapping[str, Any]:
        """See `Policy.settings`."""
        return {"sinks": self.sinks}

    def worth(self, view: View) -> Sequence[float]:
        """Return `MUST_LEAVE` for what is older than the window; a token is worth its block's rank.

        The newer, the higher the rank; the sinks rank above all.
        """
        blocks, sinks = view.candidates, min(self.sinks, len(view.candidates))
        room = view.room - sum(block.tokens for block in blocks[:sinks])
        start = len(blocks)
        while start > sinks and blocks[start - 1].tokens <= room:
            start -= 1
            room -= blocks[start].tokens
        start = _next_question(view, start)
        ranks = [len(blocks) + 1] * sinks + list(range(sinks + 1, len(blocks) + 1))
        return [
            float(rank * max(1, block.tokens)) if i < sinks or i >= start else MUST_LEAVE
            for i, (rank, block) in enumerate(zip(ranks, blocks, strict=True))
        ]


def _next_question(view: View, start: int) -> int:
    """Move `start` on to a user's block, unless all that follows belongs to the last question."""
    question = next((b for b in reversed(view.kept) if b.role is Role.USER), None)
    for i in range(start, len(view.candidates)):
        block = view.candidates[i]
        if block.role is Role.USER or (question is not None and block.index > question.index):
            return i
    return len(view.candidates)


def _check_count(sinks: object) -> int:
    if isinstance(sinks, bool) or not isinstance(sinks, int) or sinks < 0:
        raise ConfigError(f"sinks must be a whole number of blocks, 0 or more, got {sinks!r}")
    return sinks
