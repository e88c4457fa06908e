"""Related words: what the messages found so far have in common beside the question's words.

Pseudo-relevance feedback (Lavrenko and Croft, "Relevance-Based Language Models", 2001): the best
messages are taken to be about the question, and the words that several of them share to belong to
its subject. A message that holds them may answer without a word of the question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from math import log

from .index import Index

TermsAt = Callable[[Sequence[int]], Sequence[Collection[str]]]
"""Returns the terms of the messages at some places."""

MOST_READ = 16
"""So many of the best messages are read for their words."""
LEAST_SHARED = 2
"""A related word stands in so many of them."""
MOST_LOOKED_UP, MOST_RELATED = 24, 16
"""Of the words that most of them share so many are looked up, and the rarest of these count."""
MOST_POSTINGS, LEAST_RARITY = 500, 1.0
"""A word in so many messages, or in a third of them, is about no subject."""


def related(
    best: Mapping[int, float],
    terms_at: TermsAt,
    index: Index,
    stop: int,
    asked: Collection[str | None],
) -> list[tuple[float, Sequence[int]]]:
    """Return the related words, each as what it weighs and the messages that hold it.

    Args:
        best: places of the best messages, each with its score.
        terms_at: reads their terms.
        index: where words are looked up.
        stop: only messages before this place exist for the search.
        asked: the terms of the question.
    """
    shared: dict[str, list[float]] = defaultdict(list)
    for score, terms in zip(best.values(), terms_at([*best]), strict=True):
        for term in terms:
            shared[term].append(score)
    masses = sorted(
        (-sum(scores), term)
        for term, scores in shared.items()
        if len(scores) >= LEAST_SHARED and term not in asked and not term.startswith("@")
    )[:MOST_LOOKED_UP]
    holding = index.postings_of([term for _, term in masses], stop, MOST_POSTINGS)
    found = []
    for (mass, term), places in zip(masses, holding, strict=True):
        rarity = log(1 + (stop - len(places) + 0.5) / (len(places) + 0.5))
        if len(places) < MOST_POSTINGS and rarity >= LEAST_RARITY:
            found.append((-mass * rarity, term, rarity, places))
    found.sort(key=lambda item: (-item[0], item[1]))
    return [(weight * rarity**2, places) for weight, _, rarity, places in found[:MOST_RELATED]]
