"""What a turn costs: one message appended and the context asked for, in CPU time.

Each figure comes from a fresh process that first takes in the history (not measured), then the
turns, one by one, with the garbage collector running as it does in production. Of three processes
that measured the same thing (one, beyond 20,000 messages), the one with the lowest median counts:
what a loaded machine adds is not ours to report.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from finite_memory_core.messages import Message
from finite_memory_core.testing.streams import plain_chat

from ..options import BUDGET, POLICIES, Options
from ..peers import Peer, all_peers, ours
from ..peers.environment import NoEnvironment
from ..peers.remote import Remote, Turns, worker
from ..tables import Table

SIZES = (200, 2_000, 20_000, 200_000)
TURNS = 3_000
SECONDS = 20.0

_CONDITIONS = (
    f"Messages of about 40 words, a budget of {BUDGET:,} tokens, counted as characters / 4 unless "
    "stated; turns in which something was evicted are in the next table where we can tell them "
    "apart (ours), and in this one where we cannot (peers). A turn is one message appended and the "
    "context asked for; the clock itself costs under 1 µs of it."
)


class Cost(NamedTuple):
    """Microseconds of CPU a turn.

    Attributes:
        p50: median of the turns without an eviction.
        p99: the same, 99th percentile.
        longest: the longest of them.
        evict_p50: median of the turns with one; None where there was none, or none is told.
        evict_max: the longest of them.
        turns: how many turns were measured, both kinds.
    """

    p50: float
    p99: float
    longest: float
    evict_p50: float | None
    evict_max: float | None
    turns: int


def tables(options: Options) -> list[Table]:
    """Measure everything."""
    sizes = SIZES[:3] if options.quick else SIZES
    subjects = [ours(policy) for policy in POLICIES]
    subjects.append(
        replace(ours("sliding", counter="default"), title="finite-memory-core sliding, own counter")
    )
    others = all_peers() if options.peers else []
    costs = {
        peer.title: [_cost(peer, size, options) for size in sizes] for peer in [*subjects, *others]
    }
    own = [peer.title for peer in subjects]
    return [_turns(costs, sizes, own), _evictions({t: costs[t] for t in own}, sizes)]


def _cost(peer: Peer, size: int, options: Options) -> Cost | str:
    if size > peer.largest:
        return "not run"
    repeats = 1 if options.quick or size > 20_000 else 3
    try:
        print(f"{peer.title}, {size:,} messages", file=sys.stderr, flush=True)
        runs = [measure(peer, size, options.quick) for _ in range(repeats)]
    except NoEnvironment:
        return "not installed"
    return min(runs)


def measure(peer: Peer, size: int, quick: bool = False) -> Cost:
    """Measure turns in a fresh process that holds `size` messages already."""
    turns, seconds = (1_000, 5.0) if quick else (TURNS, SECONDS)
    if peer.requires:  # so that a history that is kept whole does not outgrow its size by far
        turns = min(turns, max(100, size // 4))
    with worker(peer) as process:
        remote = Remote(process, peer, BUDGET)
        chat = messages(size + turns)
        remote.load(chat[:size])
        return cost(remote.turns(chat[size:], seconds))


def messages(count: int) -> list[Message]:
    """Return the first `count` messages of a plain chat."""
    steps = plain_chat(seed=1, turns=count // 2 + 1, budget=BUDGET)
    return list(islice((message for step in steps for message in step.messages), count))


def cost(turns: Turns) -> Cost:
    """Sum up what the turns cost."""
    quiet = sorted(ns for ns, evicted in zip(turns.ns, turns.evicted, strict=True) if not evicted)
    loud = sorted(ns for ns, evicted in zip(turns.ns, turns.evicted, strict=True) if evicted)
    return Cost(
        p50=percentile(quiet, 50) / 1e3,
        p99=percentile(quiet, 99) / 1e3,
        longest=quiet[-1] / 1e3,
        evict_p50=percentile(loud, 50) / 1e3 if loud else None,
        evict_max=loud[-1] / 1e3 if loud else None,
        turns=len(turns.ns),
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the value that `percent` in a hundred do not exceed (nearest rank)."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _turns(costs: dict[str, list[Cost | str]], sizes: Sequence[int], own: Sequence[str]) -> Table:
    base = costs[own[0]]
    rows = []
    for title, row in costs.items():
        cells = [_quiet(cell) for cell in row]
        measured = [
            (size, cell.p50 / reference.p50)
            for size, cell, reference in zip(sizes, row, base, strict=True)
            if isinstance(cell, Cost) and isinstance(reference, Cost)
        ]
        ratio = f"{measured[-1][1]:,.1f}x at {measured[-1][0]:,}" if measured else ""
        rows.append([title, *cells, ratio])
    mine = [cell for title in own for cell in costs[title] if isinstance(cell, Cost)]
    slowest, tail = max(cell.p50 for cell in mine), max(cell.p99 for cell in mine)
    note = (
        f"Target: p50 <= 10 µs and p99 <= 50 µs at any size. Ours at worst: {slowest:,.1f} "
        f"({_verdict(slowest <= 10)}) and {tail:,.1f} ({_verdict(tail <= 50)})."
    )
    return Table(
        "CPU of a turn, p50 / p99 / max in µs, by the messages already held",
        ["", *(f"{size:,}" for size in sizes), "p50 against ours"],
        rows,
        [_CONDITIONS, note],
    )


def _evictions(costs: dict[str, list[Cost | str]], sizes: Sequence[int]) -> Table:
    rows = [[title, *map(_loud, row)] for title, row in costs.items()]
    worst = {
        title: max((c.evict_max or 0 for c in row if isinstance(c, Cost)), default=0)
        for title, row in costs.items()
    }
    sliding = max(value for title, value in worst.items() if "sliding" in title)
    others = max(value for title, value in worst.items() if "sliding" not in title)
    note = (
        "Target: <= 2 ms for sliding and <= 20 ms for the others. At worst: "
        f"{sliding / 1e3:,.2f} ms ({_verdict(sliding <= 2_000)}) and {others / 1e3:,.2f} ms "
        f"({_verdict(others <= 20_000)})."
    )
    return Table(
        "CPU of a turn that evicts, p50 / max in µs, by the messages already held",
        ["", *(f"{size:,}" for size in sizes)],
        rows,
        [note],
    )


def _quiet(cell: Cost | str) -> str:
    if isinstance(cell, str):
        return cell
    few = f" [{cell.turns} turns]" if cell.turns < 100 else ""
    return f"{cell.p50:,.1f} / {cell.p99:,.1f} / {cell.longest:,.0f}{few}"


def _loud(cell: Cost | str) -> str:
    if isinstance(cell, str) or cell.evict_p50 is None:
        return cell if isinstance(cell, str) else "none"
    return f"{cell.evict_p50:,.0f} / {cell.evict_max:,.0f}"


def _verdict(met: bool) -> str:
    return "met" if met else "missed"
