"""What a prefix cache can serve, by where eviction stops.

A plain chat of two messages a turn behind a system message of about 50 tokens. The context of each
question is compared with that of the question before; only calls whose transcript no longer fits
the budget count, for until then every memory keeps everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from finite_memory_core.testing.fuzz import MemorySubject, PrefixUse, fuzz

from ..options import BUDGET, POLICIES, Options
from ..tables import Table

LOW_WATERS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
DEFAULT = 0.75

_COLUMNS = (
    "",
    "cacheable",
    "broken turns",
    "mean tokens",
    "of the budget",
    "cost at read .1, write 1.25",
    "cost at read .1, write 1",
)


def tables(options: Options) -> list[Table]:
    """Measure everything."""
    seeds, turns = (range(1), 200) if options.quick else (range(3), 500)
    sliding = {low: measure("sliding", low, seeds, turns) for low in LOW_WATERS}
    at_default = {policy: measure(policy, DEFAULT, seeds, turns) for policy in POLICIES}
    minimal = sliding[1.0].mean_tokens
    result = [
        _table(
            "Prefix cache by low water, sliding window",
            {f"{low:.0%}": use for low, use in sliding.items()},
            minimal,
        ),
        _table(f"Prefix cache by policy, at a low water of {DEFAULT:.0%}", at_default, minimal),
    ]
    if not options.quick:
        result += [_by_policy(policy, seeds, minimal) for policy in POLICIES[1:]]
    return result


def measure(policy: str, low_water: float, seeds: Sequence[int], turns: int) -> PrefixUse:
    """Return what a cache could serve of the contexts of `policy`."""
    return fuzz(
        lambda: MemorySubject(BUDGET, policy, low_water=low_water),
        seeds=seeds,
        turns=turns,
        budget=BUDGET,
        big=0.0,
        shape="chat",
    ).prefix


def cost(use: PrefixUse, minimal: float, *, read: float, write: float) -> float:
    """Return what a turn's input costs, in units of an uncached context of `minimal` tokens.

    Args:
        use: what a cache could serve.
        minimal: the mean context of a window that keeps as much as fits.
        read: price of a token that the cache serves, against one that no cache sees.
        write: price of any other token, the cache being written.
    """
    return (read * use.share + write * (1 - use.share)) * use.mean_tokens / minimal


def _by_policy(policy: str, seeds: Sequence[int], minimal: float) -> Table:
    uses = {f"{low:.0%}": measure(policy, low, seeds[:1], 300) for low in LOW_WATERS}
    return _table(f"Prefix cache by low water, {policy}", uses, minimal)


def _table(title: str, uses: dict[str, PrefixUse], minimal: float) -> Table:
    rows = [
        [
            name,
            f"{use.share:.1%}",
            f"{use.broken_share:.1%}",
            f"{use.mean_tokens:,.0f}",
            f"{use.mean_tokens / BUDGET:.1%}",
            f"{cost(use, minimal, read=0.1, write=1.25):.2f}",
            f"{cost(use, minimal, read=0.1, write=1.0):.2f}",
        ]
        for name, use in uses.items()
    ]
    met = [n for n, u in uses.items() if u.share >= 0.88 and u.mean_tokens / BUDGET >= 0.85]
    note = (
        f"A budget of {BUDGET:,} tokens. Costs are against an uncached minimal fit "
        f"({minimal:,.0f} tokens), 1.00. Target: >= 88 % cacheable at >= 85 % of the budget; met "
        f"by: {', '.join(met) or 'none'}."
    )
    return Table(title, _COLUMNS, rows, [note])
