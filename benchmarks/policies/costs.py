"""What an eviction costs, and what a summary keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
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


FACTS = {
    "Ada": "My sister Ada lives in Turin.",
    "INV-20493": "The invoice number is INV-20493.",
    "14 March": "My flight to Lisbon leaves on 14 March at 6:45.",
    "10.0.3.17": "The database runs at 10.0.3.17 on port 5433.",
    "penicillin": "I am allergic to penicillin.",
    "Okafor": "Please call Dr. Okafor at +39 011 555 0198.",
    "22 June": "We moved the deadline from Friday to 22 June.",
    "tulip-marble-92": "The wifi password is tulip-marble-92.",
}
NEW = ("B-417", "By the way, the new meeting room is B-417, said Farid.")
_HOW = ("I think that", "It seems to me that", "You know,", "Honestly,", "On the whole")
_WHAT = (
    "the weather has been rather pleasant",
    "cooking at home is a good way to relax",
    "a long walk clears the head",
    "music makes the work go faster",
    "the garden needs a bit of care",
    "reading before bed helps a lot",
    "tea is nicer than coffee in the afternoon",
    "it is hard to find a quiet moment",
    "small habits add up over time",
    "films are better with friends",
    "old books have a smell of their own",
)
_SO = (
    "and that is fine with me.",
    "which is always nice.",
    "so I try to keep it up.",
    "but who knows.",
    "and I would not change it.",
    "at least for now.",
    "as everybody says.",
)


def _small_talk(random: Random) -> str:
    return " ".join(
        f"{random.choice(_HOW)} {random.choice(_WHAT)} {random.choice(_SO)}"
        for _ in range(random.randint(1, 3))
    )


def _go_on(memory: Memory, random: Random, evictions: int) -> None:
    until = memory.stats.evictions + evictions
    while memory.stats.evictions < until:
        memory.append(Message.user(_small_talk(random)), Message.assistant(_small_talk(random)))


def facts_table() -> Table:
    """Tabulate how many facts outlive ten rounds of folding."""
    budgets, seeds = (512, 768, 1_024, 2_048), 10
    rows = [["old facts of 8", *[""] * 4], ["the new fact, of 10 runs", *[""] * 4]]
    for column, budget in enumerate(budgets, 1):
        old, new = zip(*(_planted(budget, seed) for seed in range(seeds)), strict=True)
        rows[0][column], rows[1][column] = f"{mean(old):.1f}", str(sum(new))
    note = (
        "Eight facts (names, numbers, dates, identifiers, and one with none of them) in 48 "
        "turns of small talk, then ten more rounds of folding small talk; then one new fact, "
        "looked for when it has left the window. The summary has 15 % of the budget, which at "
        "512 is room for three facts and at 768 for six."
    )
    return Table(
        "Facts that the extractive summary still has after ten rounds",
        ["", *(f"{budget:,} tokens" for budget in budgets)],
        rows,
        [note],
    )


def _planted(budget: int, seed: int) -> tuple[int, bool]:
    random = Random(seed)
    memory = Memory(budget, RollingSummary())
    turns = [_small_talk(random) for _ in range(48)]
    for i, fact in enumerate(FACTS.values()):
        turns[2 + 6 * i] = f"{fact} {_small_talk(random)}"
    memory.append(*map(Message.user, turns))
    _go_on(memory, random, 10)
    old = sum(key in memory.summary for key in FACTS)
    memory.append(Message.user(NEW[1]))
    at = memory.stats.messages - 1
    while any(block.index == at for block in memory.blocks):
        _go_on(memory, random, 1)
    return old, NEW[0] in memory.summary
