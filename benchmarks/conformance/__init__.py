"""The conformance fuzz over our policies and over the peers, for one table each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from finite_memory_core.messages import Message
from finite_memory_core.testing.fuzz import FuzzReport, fuzz, fuzz_policy, quarter
from finite_memory_core.testing.streams import Shape
from finite_memory_core.testing.violations import (
    OVER_BUDGET,
    STARTS_WRONG,
    SYSTEM_LOST,
    AnyMessage,
)

from ..options import BUDGET, POLICIES, Options
from ..peers import Peer, all_peers
from ..peers.environment import NoEnvironment
from ..peers.remote import Remote, worker
from ..tables import Table

TOLERANCE = 1.05
"""Peers may be over the budget by this factor: they count by rules of their own."""

_EVERYTHING = (
    "Everything counts here: budget, shape, order, verbatim, question, newest message, "
    "instructions, pins, the reported token count, the transcript byte for byte, a prefix that "
    "stands still between evictions, and a replay that gives the same contexts."
)
_LENIENCE = (
    "The same streams, each peer in an environment of its own, counting characters / 4, and "
    "allowed 5 % over the budget because rules of counting differ. A first message that is not a "
    "user's and lost instructions are not held against a peer in the first two columns: some "
    "providers take the former, and some libraries keep the latter elsewhere. They are counted in "
    "the next two. A refusal would be no violation; none of the peers refuses."
)

COLUMNS: Sequence[tuple[str, Shape, float]] = (
    ("chat", "chat", 0.0),
    ("agent", "agent", 0.0),
    ("agent, 2 % big", "agent", 0.02),
    ("rough, 2 % big", "rough", 0.02),
)


def tables(options: Options) -> list[Table]:
    """Fuzz everyone."""
    seeds, turns = (range(2), 30) if options.quick else (range(10), 60)
    result = [_ours(seeds, turns)]
    if options.peers:
        result.append(_peers(seeds[:3], turns))
    return result


def _ours(seeds: Sequence[int], turns: int) -> Table:
    rows, calls, wrong = [], 0, 0
    for policy in POLICIES:
        for oversize in ("raise", "clip"):
            reports = [
                fuzz_policy(
                    partial(str, policy),
                    seeds=seeds,
                    turns=turns,
                    budget=BUDGET,
                    big=big,
                    shape=shape,
                    oversize=oversize,
                )
                for _, shape, big in COLUMNS
            ]
            calls += sum(report.calls for report in reports)
            wrong += sum(len(report.failures) for report in reports)
            cells = [f"{len(report.failures)}/{report.calls:,}" for report in reports]
            refused = sum(sum(report.refusals.values()) for report in reports)
            rows.append([f"{policy}, oversize={oversize!r}", *cells, f"{refused:,}"])
    return Table(
        "Conformance fuzz, ours: calls with anything wrong",
        ["", *(name for name, _, _ in COLUMNS), "refused by a typed error"],
        rows,
        [f"{calls:,} calls, {wrong} of them wrong (target: 0). {_EVERYTHING}"],
    )


def _peers(seeds: Sequence[int], turns: int) -> Table:
    rows = []
    for peer in all_peers():
        try:
            rows.append(_row(peer, seeds, turns))
        except NoEnvironment as error:
            rows.append([peer.title, *["not installed"] * 7, str(error)[:60]])
    return Table(
        "Conformance fuzz, peers: calls with an invalid or over-budget result",
        [
            "",
            "agent",
            "agent, 2 % big",
            "instructions lost",
            "starts without user",
            "chat: cacheable",
            "chat: broken",
            "chat: mean of the budget",
            "what is wrong (2 % big)",
        ],
        rows,
        [_LENIENCE],
    )


def _row(peer: Peer, seeds: Sequence[int], turns: int) -> list[str]:
    agent = fuzz_peer(peer, seeds, turns, "agent", 0.0)
    big = fuzz_peer(peer, seeds, turns, "agent", 0.02)
    chat = fuzz_peer(peer, seeds[:1], turns * 5, "chat", 0.0)
    ignored = {STARTS_WRONG, SYSTEM_LOST, *(() if peer.budgeted else (OVER_BUDGET,))}
    kinds = [f"{kind} {n}" for kind, n in big.kinds.most_common() if kind not in ignored]
    note = "" if peer.budgeted else " (no token budget)"
    return [
        peer.title,
        _share(agent, ignored),
        _share(big, ignored),
        str(big.kinds[SYSTEM_LOST]),
        str(big.kinds[STARTS_WRONG]),
        f"{chat.prefix.share:.0%}",
        f"{chat.prefix.broken_share:.0%}",
        f"{chat.prefix.mean_tokens / BUDGET:.0%}",
        (", ".join(kinds) or "nothing") + note,
    ]


def _share(report: FuzzReport, ignored: set[str]) -> str:
    failed = report.failed(ignoring=ignored)
    return f"{failed}/{report.calls:,} ({failed / report.calls:.0%})"


def fuzz_peer(peer: Peer, seeds: Sequence[int], turns: int, shape: Shape, big: float) -> FuzzReport:
    """Fuzz `peer` in its environment."""
    with worker(peer) as process:
        return fuzz(
            lambda: Remote(process, peer, BUDGET),
            seeds=seeds,
            turns=turns,
            budget=int(BUDGET * TOLERANCE),
            big=big,
            shape=shape,
            count=count_texts,
        )


def count_texts(messages: Sequence[AnyMessage]) -> int:
    """Count the texts and tool calls of a context, and nothing for roles: the peers' own way."""
    return sum(map(_count_text, messages))


def _count_text(message: AnyMessage) -> int:
    data: Any = message.to_dict() if isinstance(message, Message) else message
    calls = [call["function"] for call in data.get("tool_calls") or ()]
    texts = [
        data.get("content") or "",
        *(text for c in calls for text in (c["name"], c["arguments"])),
    ]
    return sum(quarter(text) for text in texts)
