"""What an eviction costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import process_time
from zlib import crc32

from finite_memory_core import Memory, Message
from finite_memory_core.blocks import Block
from finite_memory_core.counting import TokenCounter
from finite_memory_core.policies import Hybrid, Policy, RollingSummary, Semantic, View
from finite_memory_core.summarizing import ExtractiveSummarizer

from ..tables import Table
from .evidence import MAKE
from .locomo import Conversation
from .replaying import Make, mean, quarter

_SIZES = {4_096: 2_000, 16_384: 3_000, 131_072: 12_000}
"""How many turns to replay at which budget."""


class Trigrams:
    """A stand-in for a dense embedder: 384 dimensions of hashed character trigrams."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return signed counts of trigrams."""
        return [self._vector(text.casefold().encode()) for text in texts]

    def _vector(self, text: bytes) -> list[float]:
        vector = [0.0] * 384
        for i in range(len(text) - 2):
            code = crc32(text[i : i + 3])
            vector[code % 384] += 1.0 if code & 0x10000 else -1.0
        return vector


class _Timed(Policy):
    """A policy that notes what each answer costs, in milliseconds of CPU."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.name = policy, policy.name
        self.ms: list[float] = []

    def worth(self, view: View) -> Sequence[float]:
        start = process_time()
        worths = self.policy.worth(view)
        self.ms.append(1_000 * (process_time() - start))
        return worths


class _TimedSummarizer(ExtractiveSummarizer):
    def __init__(self) -> None:
        self.ms: list[float] = []

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        start = process_time()
        summary = super().summarize(previous, blocks, max_tokens, count)
        self.ms.append(1_000 * (process_time() - start))
        return summary


def time_table(conversations: Sequence[Conversation]) -> Table:
    """Tabulate what evictions cost."""
    said = [message for c in conversations for message in c.messages]
    makes: Mapping[str, Make] = {
        **{name: make for name, make in MAKE.items() if name != "rolling_summary"},
        "semantic, dense": lambda: Semantic(Trigrams()),
        "hybrid, dense": lambda: Hybrid(Trigrams()),
    }
    rows = []
    for name, make in makes.items():
        cells = [name]
        for budget, turns in _SIZES.items():
            policy = _Timed(make())
            memory = Memory(budget, policy, counter=quarter)
            memory.append(*(said[i % len(said)] for i in range(turns)))
            cells.append(f"{mean(policy.ms):,.1f} / {max(policy.ms):,.1f}")
        rows.append(cells)
    rows.append(["extractive summary, a fold", *(_fold_ms(said, *size) for size in _SIZES.items())])
    note = (
        "The policy's own time, blocks of about 40 tokens: some 80, 350 and 2,500 candidates "
        "each time. Dense: 384 dimensions of hashed trigrams, the embedder's own time "
        "included."
    )
    return Table(
        "What an eviction costs, CPU milliseconds, mean / longest",
        ["", *(f"{budget:,} tokens" for budget in _SIZES)],
        rows,
        [note],
    )


def _fold_ms(said: Sequence[Message], budget: int, turns: int) -> str:
    summarizer = _TimedSummarizer()
    memory = Memory(budget, RollingSummary(summarizer), counter=quarter)
    memory.append(*(said[i % len(said)] for i in range(turns)))
    return f"{mean(summarizer.ms):,.1f} / {max(summarizer.ms):,.1f}"
