"""How much of what will be asked about stays, and what of a policy does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finite_memory_core.policies import (
    POLICIES,
    Hybrid,
    Importance,
    Semantic,
    build_policy,
    importance as importance_module,
    information as information_module,
)

from ..tables import Table
from .locomo import CATEGORIES, Conversation
from .replaying import (
    SPREAD,
    Make,
    Outcome,
    changed,
    evidence,
    interval,
    mean,
    replay,
    sessions_kept,
    topic_words,
    with_repeats,
)

BUDGETS = (1_024, 2_048, 4_096, 8_192)
MAKE: Mapping[str, Make] = {name: lambda name=name: build_policy(name) for name in POLICIES}  # type: ignore[misc]
_ABLATED = (2_048, 4_096)

Outcomes = Mapping[tuple[str, int], Sequence[Outcome]]
"""By policy and budget, one a conversation."""


def replay_all(conversations: Sequence[Conversation]) -> Outcomes:
    """Put every conversation through every policy at every budget."""
    return {
        (name, budget): [replay(c.messages, make, budget) for c in conversations]
        for name, make in MAKE.items()
        for budget in BUDGETS
    }


def evidence_table(conversations: Sequence[Conversation], outcomes: Outcomes) -> Table:
    """Tabulate the evidence that is kept, against the sliding window."""
    rows = []
    for name in POLICIES:
        cells = [name]
        for budget in BUDGETS:
            found = _shares(conversations, outcomes[name, budget])
            cells.append(_estimate(found))
            if name != "sliding":
                base = _shares(conversations, outcomes["sliding", budget])
                cells[-1] += f", {_difference(found, base)}"
        rows.append(cells)
    quoted = [
        _shares(conversations, outcomes["rolling_summary", budget], quoted=True)
        for budget in BUDGETS
    ]
    rows.append(["rolling_summary, a sentence quoted counts", *map(_estimate, quoted)])
    questions = sum(len(c.questions) for c in conversations)
    note = (
        f"Mean over {questions} questions about {len(conversations)} conversations of the "
        "share of a question's evidence turns that stand in the context, whole, when the "
        "conversation ends; nobody has seen the questions. In brackets the 95 % bootstrap "
        "interval over questions; then the paired difference from the sliding window with its "
        "interval, in bold where that excludes 0, and in how many conversations the policy is "
        "ahead. Questions about one conversation are not independent, so the intervals are "
        "somewhat too narrow."
    )
    return Table(
        "Evidence kept, percent",
        ["", *(f"{budget:,} tokens" for budget in BUDGETS)],
        rows,
        [note],
    )


def _shares(
    conversations: Sequence[Conversation], outcomes: Sequence[Outcome], *, quoted: bool = False
) -> list[list[float]]:
    return [
        evidence(c, outcome.kept | outcome.quoted if quoted else outcome.kept)
        for c, outcome in zip(conversations, outcomes, strict=True)
    ]


def _flat(shares: Sequence[Sequence[float]]) -> list[float]:
    return [share for each in shares for share in each]


def _estimate(shares: Sequence[Sequence[float]]) -> str:
    low, high = interval(_flat(shares))
    return f"{100 * mean(_flat(shares)):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _difference(shares: Sequence[Sequence[float]], base: Sequence[Sequence[float]]) -> str:
    differences = [a - b for a, b in zip(_flat(shares), _flat(base), strict=True)]
    low, high = interval(differences)
    text = f"{100 * mean(differences):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    ahead = sum(mean(a) > mean(b) for a, b in zip(shares, base, strict=True))
    return f"{f'**{text}**' if low > 0 or high < 0 else text}, {ahead} of {len(base)}"


def category_table(conversations: Sequence[Conversation], outcomes: Outcomes) -> Table:
    """Tabulate the evidence by kind of question."""
    rows = []
    for name in POLICIES:
        cells = [name]
        for category in CATEGORIES:
            shares = [
                share
                for budget in _ABLATED
                for c, outcome in zip(conversations, outcomes[name, budget], strict=True)
                for q, share in zip(c.questions, evidence(c, outcome.kept), strict=True)
                if q.category == category
            ]
            cells.append(f"{100 * mean(shares):.1f}")
        rows.append(cells)
    return Table(
        "Evidence kept by kind of question, percent",
        ["", *CATEGORIES.values()],
        rows,
        ["Means of 2,048 and 4,096 tokens."],
    )


def ablation_table(conversations: Sequence[Conversation]) -> Table:
    """Tabulate what becomes of the evidence when a part of a policy is taken away."""
    rules, words = importance_module, information_module
    without = {
        "names": (rules, "NAME", 0.0),
        "numbers": (rules, "NUMBER", 0.0),
        "words of time": (rules, "DATE", 0.0),
        "references by later turns": (rules, "REFERENCE", 0.0),
        "answers above others": (rules, "ANSWER", 1.0),
        "questions below statements": (words, "QUESTION", 1.0),
    }
    rows = [_ablated("importance", Importance, conversations)]
    for what, change in without.items():
        with changed(change):
            rows.append(_ablated(f"importance without {what}", Importance, conversations))
    with changed(
        *[(rules, n, 0.0) for n in ("NAME", "NUMBER", "DATE", "REFERENCE")], (rules, "ANSWER", 1.0)
    ):
        rows.append(_ablated("importance: words alone", Importance, conversations))
    recents = (0.0, 0.1, 0.2, 0.3, 0.5)
    rows += [
        _ablated(f"importance, recent={r:g}", lambda r=r: Importance(recent=r), conversations)  # type: ignore[misc]
        for r in recents
    ]
    own = Hybrid().recent
    rows += [
        _ablated("hybrid", Hybrid, conversations),
        _ablated("hybrid without coverage", lambda: Importance(recent=own), conversations),
        _ablated("hybrid without importance", lambda: Semantic(recent=own), conversations),
        _ablated("hybrid without recency", lambda: Hybrid(recent=0), conversations),
        _ablated("semantic", Semantic, conversations),
        _ablated("sliding", MAKE["sliding"], conversations),
    ]
    lows = ", ".join(f"{low:g}" for low in SPREAD)
    note = (
        f"Means over low waters of {lows}, so that it matters less when the last eviction "
        "falls; that is also why figures differ from those above. With repeats: every fourth "
        "turn is said twice more, after ten and after twenty turns; any copy counts."
    )
    return Table(
        "What each part does: evidence kept, percent",
        ["", *(f"{budget:,} tokens" for budget in _ABLATED), "with repeats, 4,096"],
        rows,
        [note],
    )


def _ablated(name: str, make: Make, conversations: Sequence[Conversation]) -> list[str]:
    means = [
        mean(
            [
                share
                for low in SPREAD
                for c in conversations
                for share in evidence(c, replay(c.messages, make, budget, low).kept)
            ]
        )
        for budget in _ABLATED
    ]
    repeated = []
    for conversation in conversations:
        messages, order = with_repeats(conversation)
        for low in SPREAD:
            kept = replay(messages, make, _ABLATED[-1], low).kept
            repeated += evidence(conversation, frozenset(order[i] for i in kept))
    return [name, *(f"{100 * value:.1f}" for value in [*means, mean(repeated)])]


def topic_table(conversations: Sequence[Conversation]) -> Table:
    """Tabulate how much of the subjects is kept."""
    rows = []
    by_name = {name: _topics(make, conversations) for name, make in MAKE.items()}
    for name, found in by_name.items():
        cells = [name]
        for budget in BUDGETS:
            said, sessions = found[budget]
            ahead = sum(a > b for a, b in zip(said, by_name["sliding"][budget][0], strict=True))
            of = "" if name == "sliding" else f" ({ahead} of {len(said)})"
            cells.append(f"{100 * mean(said):.1f}{of} / {100 * mean(sessions):.1f}")
        rows.append(cells)
    note = (
        "Left: of the words that two turns or more of the whole conversation have, weighed by "
        "inverse document frequency, the share that is said in the context at the end; in "
        "brackets in how many conversations that is more than with the sliding window. Right: "
        "the share of sessions of which two turns or more are kept. Means over conversations "
        f"and low waters of {', '.join(f'{low:g}' for low in SPREAD)}."
    )
    return Table(
        "Subjects kept, percent",
        ["", *(f"{budget:,} tokens" for budget in BUDGETS)],
        rows,
        [note],
    )


def _topics(
    make: Make, conversations: Sequence[Conversation]
) -> dict[int, tuple[list[float], list[float]]]:
    found = {}
    for budget in BUDGETS:
        kept = [
            [replay(c.messages, make, budget, low).kept for low in SPREAD] for c in conversations
        ]
        pairs = list(zip(conversations, kept, strict=True))
        found[budget] = (
            [mean([topic_words(c, each) for each in all_kept]) for c, all_kept in pairs],
            [mean([sessions_kept(c, each) for each in all_kept]) for c, all_kept in pairs],
        )
    return found
