"""What bounds a context: the limits as they were given, and the room that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .accounting import CONTEXT_OVERHEAD
from .errors import BudgetError

KEPT_MOST = 0.95
"""Of what a model is said to take no more than this is used once it has refused a context."""
KEPT_UNKNOWN = 0.75
"""Where it does not say, a context is cut to this share of the one that was refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that bound a context.

    Attributes:
        budget: the most tokens that it may hold, the reply's `reserve` among them.
        low_water: where eviction stops, as a share of what the budget leaves.
        reserve: tokens kept free for the reply.
        clips: whether a message that cannot fit is clipped, rather than refused.
        max_policy_ms: how long a policy may take, in milliseconds; None for as long as it likes.
        summary_share: how much of the budget a summary may take.
        recall_share: how much of the budget is kept for recalled text. What must stay may use it.
    """

    budget: int
    low_water: float
    reserve: int
    clips: bool
    max_policy_ms: float | None
    summary_share: float
    recall_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """What limits leave for the window, in tokens as counted, before correction.

    Attributes:
        factor: by what counts are multiplied, as learnt from reported usage.
        usable: the tokens that a context may count.
        most: the tokens that the window may hold where it must.
        recall: what of them is kept for recalled text.
        limit: the tokens that the window may hold before something leaves: `most` without `recall`.
    """

    factor: float
    usable: int
    most: int
    recall: int
    limit: int

    @classmethod
    def within(cls, limits: Limits, factor: float, ceiling: int | None, tools_tokens: int) -> Room:
        """Return the room that `limits` leave.

        Args:
            limits: the limits.
            factor: by what counts are multiplied.
            ceiling: the most that the model was found to take, as counted; None for no such bound.
            tools_tokens: what tool schemas take of it.
        """
        room = limits.budget - limits.reserve
        usable = int(room / factor)
        while corrected(usable, factor) > room:  # the division was rounded up
            usable -= 1
        if ceiling is not None:
            usable = min(usable, ceiling)
        most, recall = usable - CONTEXT_OVERHEAD - tools_tokens, int(limits.recall_share * usable)
        return cls(factor, usable, most, recall, most - recall)


def corrected(raw: int, factor: float) -> int:
    """Return `raw` tokens multiplied by `factor`, rounded up."""
    return raw if factor == 1.0 else ceil(raw * factor)


def target(low_water: float, limit: int, fixed: int) -> int:
    """Return where an eviction stops: low water, with some room left behind instructions.

    Where instructions and pinned blocks (`fixed` tokens) take most of the low water, stopping there
    would leave the rest no room and make every turn an eviction.
    """
    return int(max(low_water * limit, fixed + low_water * low_water * (limit - fixed)))


def lowered(
    limits: Limits, factor: float, counted: int, limit: int | None, actual: int | None
) -> int:
    """Return below how many tokens, as counted, to stay once a model refused a context.

    Args:
        limits: the limits that it was within.
        factor: by what counts are multiplied.
        counted: what the refused context counted, before correction.
        limit: the most tokens that the model takes, the reply's among them, by its own count; None
            where it does not say.
        actual: the tokens of that context, by its own count; None likewise.
    """
    if limit is None:
        return int(counted * KEPT_UNKNOWN)
    scale = actual / counted if actual and counted else factor
    fits = int((KEPT_MOST * limit - limits.reserve) / scale)
    # Where it should have fitted by their own numbers, these are of no use.
    return min(int(counted * KEPT_MOST), fits) if fits < counted else int(counted * KEPT_UNKNOWN)


def too_large(
    limits: Limits, ceiling: int | None, what: str, needed: int, available: int
) -> BudgetError:
    """Return the error that `what` cannot fit beside what must stay."""
    hint = "" if limits.clips else ", or let it be clipped with oversize='clip'"
    bound = f"the budget of {limits.budget}"
    if ceiling is not None:
        bound += f" (and the model, which was found to take {ceiling})"
    return BudgetError(
        f"{what} costs {needed} tokens, but {bound} leaves {max(0, available)} for it beside "
        f"what must stay (instructions, pinned blocks, the last user message, tool schemas, "
        f"the reserve of {limits.reserve}); raise the budget, shorten it{hint}",
        needed=needed,
        available=max(0, available),
    )
