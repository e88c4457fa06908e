"""A whole chat, replayed: what its contexts cost, and what they still know at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from finite_memory_core import Message
from finite_memory_core.policies import POLICIES
from finite_memory_core.recall import Recall

from ..embedders import MINILM
from ..options import BUDGET
from ..peers import Peer
from ..policies.locomo import Conversation
from ..policies.replaying import mean, quarter
from ..tables import Table
from .evidence import held, name_of, others
from .subjects import Entry, Everything, Texts, contexts, ours

LEAD = Message.system("You are a friend who listens, and who remembers what was said. " * 13)
"""About 200 tokens, as instructions are."""
PRICES = {"1.25x / 0.1x": (1.25, 0.1), "1x / 0.5x": (1.0, 0.5), "1x / 0.1x": (1.0, 0.1)}
"""What a token costs that is written to the cache, and one that is read from it, against one
without a cache."""
MAIN = "1.25x / 0.1x"
_MESSAGE = 4
"""Tokens beside the text of each message."""


class Cost(NamedTuple):
    """What a chat costs.

    Attributes:
        name: of the subject.
        evidence: share of the evidence that the contexts of the questions hold.
        tokens: of the mean context.
        reused: the share of all tokens that stand in the prefix of the context before.
        prices: by the names of `PRICES`, tokens a turn that cost as much without a cache.
    """

    name: str
    evidence: float
    tokens: float
    reused: float
    prices: dict[str, float]


def chats(peers: bool) -> list[Entry | Peer]:
    """Return who chats."""
    found: list[Entry | Peer] = list(others()) if peers else [ours("sliding", low_water=1.0)]
    found += [Entry("full history", Everything)]
    found += [ours(policy) for policy in POLICIES]
    found += [ours(policy, low_water=0.5) for policy in ("sliding", "hybrid")]
    for low, share, gate in (
        *((0.5, 0.125, 0.4), (0.5, 0.25, 0.5), (0.5, 0.25, 0.4), (0.75, 0.25, 0.4)),
        *((0.5, 0.25, 0.35), (0.5, 0.25, 0.3), (0.5, 0.25, 0.2), (0.5, 0.5, 0.4)),
        (0.5, 0.75, 0.2),
    ):
        found.append(ours("hybrid", Recall(share, gate), low))
    if not MINILM.missing():
        found += [ours("hybrid", Recall(s, 0.4, MINILM), 0.5) for s in (0.125, 0.25)]
    return [*found, ours("sliding", Recall(0.25, 0.4), 0.5)]


def measure(entry: Entry | Peer, conversations: Sequence[Conversation]) -> Cost:
    """Replay all conversations through a subject."""
    shares: list[float] = []
    turns = total = reused = 0
    for conversation in conversations:
        shown, asked = contexts(entry, conversation, BUDGET, LEAD)
        shares += held(conversation, asked)
        before: Texts = ()
        for texts in shown:
            tokens = _tokens(texts)
            reused += min(tokens, _tokens(texts[: _common(before, texts)]))
            total += tokens
            before = texts
        turns += len(shown)
    prices = {
        name: (write * (total - reused) + read * reused) / turns
        for name, (write, read) in PRICES.items()
    }
    return Cost(name_of(entry), mean(shares), total / turns, reused / total, prices)


def _tokens(texts: Texts) -> int:
    return sum(quarter(text) + _MESSAGE for text in texts)


def _common(before: Texts, now: Texts) -> int:
    same = 0
    for mine, other in zip(before, now, strict=False):
        if mine != other:
            break
        same += 1
    return same


def measure_all(conversations: Sequence[Conversation], peers: bool) -> list[Cost]:
    """Replay all conversations through all subjects; the first is who trims at every turn."""
    return [measure(entry, conversations) for entry in chats(peers)]


def cost_table(conversations: Sequence[Conversation], costs: Sequence[Cost]) -> Table:
    """Tabulate the costs, against trimming at every turn."""
    base = costs[0]
    rows = [
        [
            cost.name,
            f"{100 * cost.evidence:.1f}",
            f"{cost.tokens:,.0f}",
            f"{cost.reused:.0%}",
            *(f"{cost.prices[name] / base.prices[name]:.3f}" for name in PRICES),
        ]
        for cost in costs
    ]
    turns = sum(m.role == "user" for c in conversations for m in c.messages)
    note = (
        f"{len(conversations)} conversations replayed as chats behind {quarter(LEAD.text)} tokens "
        f"of instructions, budget {BUDGET:,}: {turns:,} turns of the user, a context each, then "
        "the questions. *Prefix reused*: leading messages that the context before had too, which "
        "is what a prefix cache serves while it is warm. Costs are those of the input, against "
        f"{base.name}; a column's head says what a token costs that is written to the cache and "
        "one that is read from it, against one without a cache. No minimum length and no "
        "expiry of caches is reckoned with."
    )
    return Table(
        "A whole chat: evidence at its end, and cost",
        ["", "evidence", "tokens a turn", "prefix reused", *PRICES],
        rows,
        [note],
    )
