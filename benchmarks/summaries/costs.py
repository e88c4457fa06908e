"""What an eviction costs with a summary and its fact gate, beside one without."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from time import process_time

from benchmarks.policies.locomo import Conversation
from benchmarks.tables import Table
from finite_memory_core import Memory, Message, RollingSummary
from finite_memory_core.policies import Policy, SlidingWindow

from .planting import Labels

_BUDGETS = (4_096, 16_384)


def quarter(text: str) -> int:
    """Count a token for every four characters: counting is not what is measured."""
    return len(text) // 4


def cost_table(conversations: Sequence[Conversation]) -> Table:
    """Tabulate the CPU of evictions."""
    said = [message for conversation in conversations for message in conversation.messages]
    policies: dict[str, Policy] = {
        "sliding, no summary": SlidingWindow(),
        "the default summarizer, with its gate": RollingSummary(),
        "the gate alone, around a summarizer that does nothing": RollingSummary(Labels()),
    }
    rows = [
        [name, *(_eviction_ms(said, policy, budget) for budget in _BUDGETS)]
        for name, policy in policies.items()
    ]
    note = "The append that evicts, one in some thirty at 4,096 tokens; turns of some 36 tokens."
    return Table(
        "What an eviction costs, CPU milliseconds, mean / longest",
        ["", *(f"{budget:,} tokens" for budget in _BUDGETS)],
        rows,
        [note],
    )


def _eviction_ms(said: Sequence[Message], policy: Policy, budget: int) -> str:
    memory = Memory(budget, policy, counter=quarter)
    spent = []
    for message in said:
        before, start = memory.stats.evictions, process_time()
        memory.append(message)
        if memory.stats.evictions > before:
            spent.append(1_000 * (process_time() - start))
    return f"{mean(spent):,.1f} / {max(spent):,.1f}"
