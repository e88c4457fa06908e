"""Choosing the low water from what tokens cost.

Notation: a budget of B tokens, low water l, turns of g tokens. Between two evictions the context
grows from l B to B, which takes (1 - l) B / g turns and holds (1 + l) B / 2 tokens in the mean.
A turn reads what was sent before from the cache at price r, writes g new tokens at price w, and
each eviction writes l B tokens anew. For each token that a context holds, a turn therefore costs

    r + (2 w g / B) / (1 - l^2)

which grows with l, while more of the conversation stays. The low water is the highest at which that
is at most `MORE` times what it would be at l = 0. Where reading costs a tenth it lies near a half
to two thirds, and near 0.9 where nothing is cheaper from a cache.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from .backends.base import Prices

DEFAULT = 0.75
"""Used until there is something to choose by."""
MORE = 1.15
LEAST, MOST = 0.25, 0.95
_GRID = 20
"""Chosen in steps of one twentieth, so that it does not change with every turn."""
_ENOUGH = 4
"""Replies, before their mean length is believed."""


class LowWater(NamedTuple):
    """The low water in force, as a share of the budget, and why it is that."""

    share: float
    why: str


UNCHOSEN = LowWater(DEFAULT, "the default, until the backend's prices and some turns are known")


def choose(
    prices: Prices, budget: int, *, tokens_seen: int, replies: int, cold: int
) -> LowWater | None:
    """Return the low water that pays; None while too little is known to choose.

    Args:
        prices: what the provider charges.
        budget: the most tokens of a context, B.
        tokens_seen: what the transcript counts, for the mean of a turn, g.
        replies: how many turns it has.
        cold: how many of them came when the cache had expired: their reads cost what writes cost.
    """
    if replies < _ENOUGH:
        return None
    turn = tokens_seen / replies
    cold_share = cold / replies
    read = prices.cached + cold_share * (prices.written - prices.cached)
    evicting = 2 * prices.written * turn / budget
    slack = MORE * (read + evicting) - read
    share = sqrt(max(0.0, 1 - evicting / slack)) if slack > 0 else DEFAULT
    least = max(LEAST, min(MOST, 1.1 * prices.minimum / budget))
    share = round(_GRID * min(MOST, max(least, share))) / _GRID
    return LowWater(
        share,
        f"for reads at ${prices.cached:g}, writes at ${prices.written:g} a million, turns of "
        f"{round(turn, -1):g} tokens, {cold} of {replies} after the cache had expired",
    )
