"""What a policy is: one question, what each block is worth.

The memory finds the blocks that may leave, gives a policy a view of them, and keeps the ones that
are worth most for their tokens until the room is full. A policy therefore has one method. It sees
no store and no clock, and must be deterministic: the same view, the same answer.

To add a policy, subclass `Policy`, prove it with `finite_memory_core.testing.PolicyContract`, and
register it under the entry point group ``finite_memory.policies`` to use it by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..blocks import Block

MUST_LEAVE = float("-inf")
"""The worth of a block that is not to be kept even where there is room."""


class CannotDecide(Exception):
    """Raised by a policy that cannot answer now; its text says why.

    The sliding window then decides in its place, and the stats and an event say so.
    """


class DeadlineExceeded(CannotDecide):
    """The policy took longer than it may. Raised by `Deadline.check`."""


class Deadline:
    """The time that a policy has, checked by the policy itself: no thread, no signal.

    Args:
        ms: milliseconds from now; None for no limit.
    """

    __slots__ = ("_end", "ms")

    def __init__(self, ms: float | None = None) -> None:
        self.ms = ms
        self._end = None if ms is None else perf_counter() + ms / 1_000

    def check(self) -> None:
        """Raise `DeadlineExceeded` when the time is up; call it in every long loop."""
        if self._end is not None and perf_counter() >= self._end:
            raise DeadlineExceeded(f"it took longer than max_policy_ms={self.ms}")


class View(NamedTuple):
    """What a policy sees when the budget is exceeded.

    Attributes:
        candidates: the blocks that may leave, oldest first.
        room: how many tokens the candidates that stay may hold together.
        kept: the blocks that stay whatever the policy says, oldest first: instructions, pinned
            blocks, the last question, and what was said since it just now.
        deadline: to be checked in long loops.
    """

    candidates: Sequence[Block]
    room: int
    kept: Sequence[Block]
    deadline: Deadline


@runtime_checkable
class Policy(Protocol):
    """Decides what leaves when the budget is exceeded.

    Attributes:
        name: what it is called in settings, events and explanations.
    """

    name: str

    @abstractmethod
    def worth(self, view: View) -> Sequence[float]:
        """Return what each of `view.candidates` is worth, in their order, in any unit.

        Blocks are kept by worth per token, the highest first, newer before older where they tie,
        while they fit `view.room`. `MUST_LEAVE` keeps one out in any case. The answer must be
        deterministic, with no NaN in it.
        """
        ...

    def settings(self) -> Mapping[str, Any]:
        """Return the constructor's arguments as JSON values, from which it can be built again."""
        return {}
