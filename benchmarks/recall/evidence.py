"""How much of a question's evidence stands in its context, and what part of recall does it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any

from finite_memory_core.policies import POLICIES
from finite_memory_core.recall import Recall, analysis, ranking

from ..embedders import MINILM
from ..peers import Peer, all_peers
from ..policies.locomo import CATEGORIES, Conversation
from ..policies.replaying import changed, interval, mean, quarter
from ..tables import Table
from .subjects import (
    Entry,
    Everything,
    Newest,
    Oracle,
    PlainBM25,
    PlainMiniLM,
    RankFusion,
    Texts,
    contexts,
    ours,
)

BUDGETS = (1_024, 2_048, 4_096, 8_192)
SHARES = (0.25, 0.5, 0.75)
BEST = Recall(share=0.75)
PARTS_AT = (1_024, 4_096)
"""Budgets at which parts are taken away."""
_TITLES = {"langchain": "langchain-core `trim_messages`", "rollmem": "rollmem"}

Change = tuple[ModuleType, str, Any]


def others() -> list[Peer]:
    """Return the libraries of others, made to count as we do."""
    return [
        replace(peer, options={**peer.options, "bytes": True})
        for peer in all_peers()
        if peer.key in _TITLES
    ]


def subjects(peers: bool) -> list[Entry | Peer]:
    """Return who is measured."""
    found: list[Entry | Peer] = [ours(policy) for policy in POLICIES]
    found += [ours(p, Recall(share=s)) for p in ("sliding", "hybrid") for s in SHARES]
    found.append(Entry("plain BM25, stemmed", PlainBM25))
    if not MINILM.missing():
        found += [ours("hybrid", Recall(share=s, embedder=MINILM)) for s in SHARES]
        found += [
            Entry("MiniLM alone", PlainMiniLM),
            Entry("BM25 and MiniLM, fused by rank", RankFusion),
        ]
    found.append(Entry("newest turns", Newest))
    if peers:
        found += others()
    return [*found, Entry("full history", Everything), Entry("oracle", Oracle)]


def name_of(entry: Entry | Peer) -> str:
    """Return what to call a subject in a table."""
    return _TITLES[entry.key] if isinstance(entry, Peer) else entry.name


def held(conversation: Conversation, shown: Sequence[Texts]) -> list[float]:
    """Return for each question the share of its evidence that stands in its context, verbatim."""
    shares = []
    for question, texts in zip(conversation.questions, shown, strict=True):
        text = _joined(tuple(texts))
        found = sum(conversation.messages[i].text in text for i in question.evidence)
        shares.append(found / len(question.evidence))
    return shares


@lru_cache(maxsize=4)
def _joined(texts: tuple[str, ...]) -> str:
    return "\n".join(texts)


class Measured:
    """What one subject holds at one budget.

    Attributes:
        shares: of each question's evidence, conversation after conversation.
        categories: of the same questions.
        most: the largest context, in tokens of four bytes.
        tokens: the mean context.
    """

    def __init__(
        self, entry: Entry | Peer, conversations: Sequence[Conversation], budget: int
    ) -> None:
        self.shares: list[float] = []
        self.categories: list[int] = []
        sizes: list[int] = []
        for conversation in conversations:
            _, shown = contexts(entry, conversation, budget)
            self.shares += held(conversation, shown)
            self.categories += [question.category for question in conversation.questions]
            sizes += [sum(map(quarter, texts)) for texts in shown]
        self.most, self.tokens = max(sizes), mean(sizes)

    def whole(self) -> list[float]:
        """Return for each question whether all of its evidence is there."""
        return [float(share == 1.0) for share in self.shares]


Results = Mapping[str, Mapping[int, Measured]]


def measure_all(conversations: Sequence[Conversation], peers: bool) -> Results:
    """Measure every subject at every budget; all but the full history must keep to it."""
    results: dict[str, dict[int, Measured]] = defaultdict(dict)
    for entry in subjects(peers):
        name = name_of(entry)
        for budget in BUDGETS:
            found = results[name][budget] = Measured(entry, conversations, budget)
            if name != "full history" and found.most > budget:
                raise RuntimeError(f"{name} shows {found.most} tokens at a budget of {budget}")
    return results


def evidence_tables(conversations: Sequence[Conversation], results: Results) -> list[Table]:
    """Tabulate evidence, all evidence, and evidence by kind of question."""
    count = sum(len(c.questions) for c in conversations)
    note = (
        f"Mean over {count} questions about {len(conversations)} conversations of the share of a "
        "question's evidence turns that stand in its context, verbatim; in brackets the 95 % "
        "bootstrap interval over questions. Everything in the context counts as one token for "
        "four bytes, rounded up a message. `recall S` keeps the share S of the budget for what is "
        "recalled, and the window has the rest. `full history` has no budget."
    )
    head = ["", *(f"{budget:,} tokens" for budget in BUDGETS)]
    return [
        Table(
            "Evidence in the context, percent",
            head,
            [[n, *(_estimate(f[b].shares) for b in BUDGETS)] for n, f in results.items()],
            [note],
        ),
        Table(
            "Questions with all of their evidence in the context, percent",
            head,
            [[n, *(_estimate(f[b].whole()) for b in BUDGETS)] for n, f in results.items()],
        ),
        Table(
            "Evidence by kind of question, percent, 4,096 tokens",
            ["", *CATEGORIES.values()],
            [[n, *_by_category(found[4_096])] for n, found in results.items()],
        ),
    ]


def _estimate(values: Sequence[float]) -> str:
    low, high = interval(values)
    return f"{100 * mean(values):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _by_category(found: Measured) -> list[str]:
    cells = []
    for category in CATEGORIES:
        pairs = zip(found.shares, found.categories, strict=True)
        cells.append(f"{100 * mean([share for share, c in pairs if c == category]):.1f}")
    return cells


# -- which part does it ---------------------------------------------------------------------------

_NO_STOP_WORDS: Mapping[str, frozenset[str]] = defaultdict(frozenset)
PARTS: Mapping[str, Sequence[Change]] = {
    "stems": [(analysis, "stem", str)],
    "stop words": [(analysis, "_STOP_WORDS", _NO_STOP_WORDS)],
    "rarity squared": [(ranking, "RARITY", 1)],
    "neighbours": [(ranking, "KERNEL", {})],
    "the speaker who is named": [(ranking, "SPEAKER", 0.0)],
    "words of time": [(ranking, "WHEN", 0.0)],
    "the date that is named": [(analysis, "said_in", lambda *_: None)],
    "the session": [(ranking, "SESSION", 0.0)],
    "words that the best share": [(ranking, "RELATED", 0.0)],
    "questions lower": [(ranking, "QUESTION", 0.0)],
    "long ones of the rest": [(ranking, "LENGTH", 0.0)],
    "the rest at all": [(ranking, "LEAST_RANKED", 0), (ranking, "MOST_SESSIONS", 0)],
}


def parts_tables(conversations: Sequence[Conversation]) -> list[Table]:
    """Tabulate what is lost without each part, and what each adds to those before it."""
    base = _at_budgets(conversations)
    rows = [["all", *(f"{100 * mean(values):.1f}" for values in base), ""]]
    dense = replace(BEST, embedder=MINILM)
    likeness = None if MINILM.missing() else _at_budgets(conversations, dense)
    if likeness:
        rows.append(
            ["with MiniLM", *_changes(likeness, base), _ahead(conversations, likeness, base)]
        )
    for name, changes in PARTS.items():
        with changed(*changes):
            found = _at_budgets(conversations)
        rows.append([f"without {name}", *_changes(found, base), _ahead(conversations, base, found)])
    ladder = []
    for i in range(len(PARTS) + 1):
        with changed(*(change for changes in [*PARTS.values()][i:] for change in changes)):
            found = _at_budgets(conversations)
        name = "BM25 over words" if i == 0 else f"and {[*PARTS][i - 1]}"
        ladder.append([name, *(f"{100 * mean(values):.1f}" for values in found)])
    if likeness:
        ladder.append(["and MiniLM", *(f"{100 * mean(values):.1f}" for values in likeness)])
    head = ["", *(f"{budget:,} tokens" for budget in PARTS_AT)]
    note = (
        f"`hybrid` with `Recall(share={BEST.share})`. Differences in points with their 95 % "
        "interval, paired by question, in bold where it excludes 0; last, in how many of the "
        "conversations the part helps, over both budgets together. *With MiniLM*: what an "
        "embedder adds. The weights were chosen on "
        "these conversations, by effects that are broad over them; no question was looked at by "
        "itself."
    )
    return [
        Table("What is lost without each part of the ranking", [*head, "helps in"], rows, [note]),
        Table(
            "Part upon part, percent",
            head,
            ladder,
            ["Each row has the parts of all rows above it. The last needs an embedder."],
        ),
    ]


def _at_budgets(conversations: Sequence[Conversation], recall: Recall = BEST) -> list[list[float]]:
    entry = ours("hybrid", recall)
    return [Measured(entry, conversations, budget).shares for budget in PARTS_AT]


def _changes(found: Sequence[Sequence[float]], base: Sequence[Sequence[float]]) -> list[str]:
    cells = []
    for values, others in zip(found, base, strict=True):
        differences = [a - b for a, b in zip(values, others, strict=True)]
        low, high = interval(differences)
        text = f"{100 * mean(differences):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        cells.append(f"**{text}**" if low > 0 or high < 0 else text)
    return cells


def _ahead(
    conversations: Sequence[Conversation],
    base: Sequence[Sequence[float]],
    found: Sequence[Sequence[float]],
) -> str:
    start = ahead = 0
    for conversation in conversations:
        end = start + len(conversation.questions)
        better = [mean(b[start:end]) - mean(f[start:end]) for b, f in zip(base, found, strict=True)]
        ahead += sum(better) > 0
        start = end
    return f"{ahead} of {len(conversations)}"


def settings_table(conversations: Sequence[Conversation]) -> Table:
    """Tabulate what the gate does to questions."""
    rows = []
    for gate in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        found = [Measured(ours("hybrid", Recall(s, gate)), conversations, 4_096) for s in SHARES]
        rows.append([f"gate {gate:g}", *(f"{100 * mean(f.shares):.1f}" for f in found)])
    return Table(
        "Evidence by gate and share, percent, 4,096 tokens",
        ["", *(f"share {share:g}" for share in SHARES)],
        rows,
    )
