"""What a provider tells: the tokens of a request, what it costs, that a context was too long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from . import limits as bounds
from .backends.base import Prices, Usage
from .counting import Calibration
from .errors import ContextOverflowError, CounterError
from .events import CacheCollapsed, Overflowed
from .low_water import LowWater, choose
from .settings import AUTO
from .spending import Asked, Spent, collapse, is_cold

if TYPE_CHECKING:
    from .context import Context
    from .fold import Fold


class Reports:
    """Takes in what is told of the requests of one memory.

    Args:
        low_water: where eviction stops; ``"auto"`` has it chosen from prices.

    Attributes:
        accounted: whether a reply was accounted for here. Until then the context before may have
            been sent to nobody.
    """

    def __init__(self, low_water: float | str) -> None:
        self._chooses = low_water == AUTO
        self.accounted = False

    def usage(
        self,
        fold: Fold,
        context: Context,
        usage: int | Usage,
        prices: Prices | None,
        idle: float | None,
    ) -> None:
        """Account for a reply; see `Memory.report_usage`."""
        counted = context.counted_tokens
        known, self.accounted = self.accounted, True
        if not isinstance(usage, Usage):
            learn(fold, counted, usage)
            return
        found = collapse(context, usage, prices, idle) if known else None
        cold = is_cold(prices, idle)
        asked = Asked(counted, fold.everything, prices, cold, found is not None)
        learn(fold, counted, usage.input_tokens, fold.state.spent.plus(asked, usage))
        if found is not None:
            expected, why = found
            read = usage.cached_tokens or 0
            fold.journal.tell(CacheCollapsed(fold.session_id, expected, read, why))

    def reckon(self, fold: Fold, prices: Prices, idle: float | None) -> None:
        """Fit the fold to what requests cost; see `Turn.reckon`."""
        if self._chooses:
            spent, before = fold.state.spent, fold.state.chosen
            chosen = choose(
                prices,
                fold.state.limits.budget,
                tokens_seen=fold.tokens_seen,
                replies=spent.replies,
                cold=spent.cold,
            )
            if chosen is not None and (before is None or chosen.share != before.share):
                choose_low_water(fold, chosen)
        if is_cold(prices, idle):
            evict_early(fold)

    @staticmethod
    def overflow(fold: Fold, context: Context, error: ContextOverflowError) -> None:
        """Learn from a provider that refused `context` as too long; see `Turn.overflow`."""
        counted = context.counted_tokens
        if error.actual is not None:
            learn(fold, counted, error.actual)
        overflow(fold, counted, error.limit, error.actual)


def learn(fold: Fold, counted: int, reported: object, spent: Spent | None = None) -> None:
    """Correct counts: a context `counted` as so many tokens was `reported` as so many.

    Args:
        fold: what counted it.
        counted: what it counted, before correction.
        reported: what the provider counted.
        spent: what all replies cost by now, this one included; None where only tokens count.

    Raises:
        CounterError: `reported` is no number of tokens.
        PolicyError: counts were so low that something has to leave, and the policy failed.
    """
    if isinstance(reported, bool) or not isinstance(reported, int) or reported < 0:
        raise CounterError(
            f"reported usage must be a whole number of tokens, 0 or more, got {reported!r}"
        )
    known = fold.state.calibration
    if known is None and spent is None:
        return
    if spent is not None:
        fold.state = fold.state._replace(spent=spent)
    fold.note("usage", json.dumps([counted, reported, *([spent.to_list()] if spent else [])]))
    if known is not None:
        better = Calibration.from_dict(known.to_dict())
        better.observe(counted, reported)
        fold.state = fold.state._replace(calibration=better).fitted()
        fold.evict_if_over()
    fold.checkpoint_if_due()


def overflow(fold: Fold, counted: int, limit: int | None, actual: int | None) -> None:
    """Hold all contexts below one that a model refused, and evict to low water.

    Args:
        fold: what the context is of.
        counted: what the refused context counted, before correction.
        limit: the most tokens that the model takes, the reply's among them, by its own count;
            None where it does not say.
        actual: the tokens of that context, by its own count; None likewise.

    Raises:
        BudgetError: what must stay does not fit.
    """
    state = fold.state
    ceiling = bounds.lowered(state.limits, state.room.factor, counted, limit, actual)
    if state.ceiling is not None:
        ceiling = min(ceiling, state.ceiling)
    fold.state = state._replace(ceiling=ceiling).fitted()
    fold.ask_anew()
    fold.journal.count(overflows=1)
    fold.journal.tell(Overflowed(fold.session_id, limit, actual, ceiling))
    fold.require_room()
    fold.evict()
    fold.checkpoint()


def choose_low_water(fold: Fold, chosen: LowWater) -> None:
    """Evict to another low water from now on."""
    if chosen != fold.state.chosen:
        fold.state = fold.state._replace(chosen=chosen)
        fold.note("low_water", json.dumps(chosen))


def evict_early(fold: Fold) -> None:
    """Evict to low water now, if at least half of what would leave at the budget can leave.

    For a moment in which changing the prefix costs nothing.
    """
    standing = fold.window.tokens + fold.open_tokens()
    if standing > (fold.target() + fold.limit) / 2:
        fold.journal.count(early=1)
        fold.evict()
        fold.checkpoint_if_due()
