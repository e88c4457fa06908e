"""Facts planted in small talk, and how many stand in the context after many rounds of folding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import mean
from typing import NamedTuple

from benchmarks.tables import Table
from finite_memory_core import (
    Block,
    ExtractiveSummarizer,
    Memory,
    Message,
    RollingSummary,
    Summarizer,
    TokenCounter,
)

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
KINDS = {
    "4,250 euros": "The budget for the kitchen is 4,250 euros.",
    "9 October": "The audit is on 9 October.",
    "07:40": "My train leaves at 07:40.",
    "Okonkwo": "The new tenant is Mrs Okonkwo.",
    "ZX-81-4471": "The order id is ZX-81-4471.",
    "/srv/app/config.yaml": "The settings are in /srv/app/config.yaml now.",
    "never restart": "You must never restart the primary on weekends.",
    "Postgres": "We decided to use Postgres for the books.",
}
NEW = ("B-417", "By the way, the new meeting room is B-417, said Farid.")
BUDGETS = (512, 768, 1_024, 2_048)
TURNS, ROUNDS = 48, 10
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


class Labels:
    """Summarizes as models do that were not told better: what was spoken of, and no value."""

    def summarize(
        self,
        previous: str,  # noqa: ARG002
        blocks: Sequence[Block],  # noqa: ARG002
        max_tokens: int,  # noqa: ARG002
        count: TokenCounter,  # noqa: ARG002
    ) -> str:
        """See `Summarizer.summarize`."""
        return "They talked about plans, the house, health and the work, and about the weather."


class Lossy:
    """Quotes well, and forgets each line of the summary so far with a chance of one in five."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """See `Summarizer.summarize`."""
        kept = [line for line in previous.split("\n") if self._random.random() >= 0.2]
        return ExtractiveSummarizer().summarize("\n".join(kept), blocks, max_tokens, count)


class Outcome(NamedTuple):
    """How many planted facts stand in the summary, and in summary or ledger."""

    summary: int
    both: int


def small_talk(random: Random) -> str:
    """Return a turn that says nothing."""
    return " ".join(
        f"{random.choice(_HOW)} {random.choice(_WHAT)} {random.choice(_SO)}"
        for _ in range(random.randint(1, 3))
    )


def go_on(memory: Memory, random: Random, rounds: int) -> None:
    """Go on with small talk until blocks have left so many times more."""
    until = memory.stats.evictions + rounds
    while memory.stats.evictions < until:
        memory.append(Message.user(small_talk(random)), Message.assistant(small_talk(random)))


def planted(
    facts: Mapping[str, str], summarizer: Summarizer, budget: int, seed: int
) -> tuple[Memory, Random]:
    """Return a memory in which facts were said among small talk, ten rounds of folding ago."""
    random = Random(seed)
    memory = Memory(budget, RollingSummary(summarizer))
    turns = [small_talk(random) for _ in range(TURNS)]
    for i, fact in enumerate(facts.values()):
        turns[2 + 6 * i] = f"{fact} {small_talk(random)}"
    memory.append(*map(Message.user, turns))
    go_on(memory, random, ROUNDS)
    return memory, random


def outcome(memory: Memory, facts: Mapping[str, str]) -> Outcome:
    """Count the facts that stand in the message of the summary."""
    shown = "\n".join((memory.summary, *memory.ledger))
    return Outcome(sum(key in memory.summary for key in facts), sum(key in shown for key in facts))


def facts_table(seeds: int) -> Table:
    """Tabulate how many of eight facts outlive ten rounds of folding."""
    makers: dict[str, Callable[[int], Summarizer]] = {
        "the default": lambda _: ExtractiveSummarizer(),
        "one that forgets one line in five a round": Lossy,
        "one that keeps labels and no values": lambda _: Labels(),
    }
    rows = []
    for name, make in makers.items():
        found = {
            budget: [
                outcome(planted(facts, make(seed), budget, seed)[0], facts)
                for facts in (FACTS, KINDS)
                for seed in range(seeds)
            ]
            for budget in BUDGETS
        }
        for what, pick in (("", 1), (", without the ledger", 0)):
            cells = [f"{mean(o[pick] for o in found[budget]):.1f}" for budget in BUDGETS]
            rows.append([f"{name}{what}", *cells])
    note = (
        "Two sets of eight facts (numbers with units, dates, times, names, identifiers, a path, a "
        f"negation, decisions) in {TURNS} turns of small talk, then ten more rounds of folding "
        f"small talk; means of {2 * seeds} conversations. Without the ledger: what the text of the "
        "same summaries holds. The summary has 15 % of the budget, which at 512 tokens is room for "
        "four facts."
    )
    return Table(
        "Facts of 8 that stand in the context after ten rounds, by summarizer",
        ["", *(f"{budget:,} tokens" for budget in BUDGETS)],
        rows,
        [note],
    )


def new_fact_table(seeds: int) -> Table:
    """Tabulate whether a full summary takes up a new fact."""
    row = ["the new fact, of 10 runs" if seeds == 10 else f"the new fact, of {seeds} runs"]
    for budget in BUDGETS:
        row.append(str(sum(_takes_up_new(budget, seed) for seed in range(seeds))))
    return Table(
        "A new fact gets into a full summary",
        ["", *(f"{budget:,} tokens" for budget in BUDGETS)],
        [row],
        ["Said after those ten rounds, and looked for when it has left the window."],
    )


def _takes_up_new(budget: int, seed: int) -> bool:
    memory, random = planted(FACTS, ExtractiveSummarizer(), budget, seed)
    memory.append(Message.user(NEW[1]))
    at = memory.stats.messages - 1
    while any(block.index == at for block in memory.blocks):
        go_on(memory, random, 1)
    return NEW[0] in "\n".join((memory.summary, *memory.ledger))
