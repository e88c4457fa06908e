"""Ranking: which messages of the archive answer a question best.

BM25 over stems (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), each term
counted once a message, and what a conversation adds to it:

- a message lends its score to its neighbours in the session: an answer often stands next to the
  words that match;
- what the one speaker said whom the question names;
- what speaks of time, if the question asks when; what was said at the time that it names;
- the session as a whole;
- a question holds less than a statement.

``docs/recall.md`` has the ablation: each term is here because it earns its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest
from math import log
from typing import NamedTuple

from .analysis import ASKS, TELLS_TIME, Query
from .index import Index, holds

K, B = 1.2, 0.75
KERNEL = {1: 0.5, 2: 0.5, 3: 0.2, 4: 0.1, -1: 0.25, -2: 0.25, -3: 0.2, -4: 0.1}
"""How much of its score a message lends to the one so many places after it."""
SPEAKER, WHEN, DATE, SESSION, QUESTION = 0.4, 0.2, 0.3, 0.1, 0.1

_POSTINGS = 20_000
"""A term in more messages than this is looked up only in those that hold a rarer one."""
_SCORED, _LENDING, _SESSIONS, _SESSION_MESSAGES, _FILL = 1_000, 250, 4, 200, 1_000


class Ranked(NamedTuple):
    """A message, by its place in the transcript, and its score."""

    place: int
    score: float


class Ranking(NamedTuple):
    """The messages found, best first, and how well the best one matches.

    Attributes:
        found: best first; the newer first among equals.
        match: the share of the question's information that one message of the archive holds, 0
            to 1; words that were never said have none.
        parts: gives the parts that a found message's score is the sum of.
    """

    found: list[Ranked]
    match: float
    parts: Callable[[int], dict[str, float]]


def rank(query: Query, index: Index, stop: int, eligible: Callable[[int], bool]) -> Ranking:
    """Return the eligible messages that answer `query`, best first.

    Messages that hold none of its words come last, those of the best sessions and the newest
    first, up to a bound.

    Args:
        query: what to look for.
        index: where to look.
        stop: only messages before this place exist for the search.
        eligible: whether a message may be found, by its place in the transcript.
    """
    weights, matched = _match(query, index, stop)
    if not matched:
        return Ranking([], 0.0, lambda _: {})
    scorer = _Scorer(query, index, stop, weights, matched)
    best = max((matched[i] for i in scorer.matching if eligible(i)), default=0.0)
    known = sum(weight for term, weight in weights.items() if index.postings(term, stop, 1))
    found = [Ranked(i, scorer(i)) for i in scorer.places() if eligible(i)]
    found.sort(key=lambda ranked: (-ranked.score, -ranked.place))
    return Ranking(found, best / known, scorer.parts)


def _match(query: Query, index: Index, stop: int) -> tuple[dict[str, float], dict[int, float]]:
    """Return each term's inverse document frequency, and for each message the sum of its terms'."""
    postings = {term: index.postings(term, stop, _POSTINGS) for term in query.terms}
    weights = {
        term: log(1 + (stop - len(found) + 0.5) / (len(found) + 0.5))
        for term, found in postings.items()
    }
    matched: dict[int, float] = defaultdict(float)
    for term in sorted(postings, key=lambda t: (len(postings[t]), t)):
        found, weight = postings[term], weights[term]
        if len(found) >= _POSTINGS and matched:
            found = [i for i in matched if holds(found, i)]
        for i in found:
            matched[i] += weight
    return weights, matched


class _Scorer:
    """Scores messages for one question.

    Attributes:
        matching: the messages that hold most of the question's words.
    """

    def __init__(
        self,
        query: Query,
        index: Index,
        stop: int,
        weights: Mapping[str, float],
        matched: Mapping[int, float],
    ) -> None:
        self._query = query
        self._index = index
        self._stop = stop
        self.matching = nlargest(_SCORED, matched, key=lambda i: (matched[i], i))
        self._facts = index.facts(self.matching)
        average = max(1.0, index.terms_before(stop) / stop)
        self._words = {
            i: matched[i] * (K + 1) / (1 + K * (1 - B + B * self._facts[i].length / average))
            for i in self.matching
        }
        self._lenders = nlargest(_LENDING, self._words, key=lambda i: (self._words[i], i))
        self._sessions = self._session_scores(weights)
        self._neighbours = self._lend()
        sums = (w + self._neighbours.get(i, 0.0) for i, w in self._words.items())
        self._unit = 1 / max(sums)

    def _session_scores(self, weights: Mapping[str, float]) -> dict[int, float]:
        """Return the share of the question that each session of a matching message holds."""
        held: dict[int, set[str]] = defaultdict(set)
        for term in self._query.terms:
            postings = self._index.postings(term, self._stop, _POSTINGS)
            for i, facts in self._facts.items():
                if term not in held[facts.session] and holds(postings, i):
                    held[facts.session].add(term)
        total = sum(weights.values())
        return {
            session: sum(weights[term] for term in self._query.terms if term in terms) / total
            for session, terms in held.items()
        }

    def _lend(self) -> dict[int, float]:
        """Return what messages get from their neighbours in the session."""
        self._learn({i + offset for i in self._lenders for offset in KERNEL})
        lent: dict[int, float] = defaultdict(float)
        for i in sorted(self._lenders):  # sorted: sums of floats depend on their order
            session = self._facts[i].session
            for offset, share in KERNEL.items():
                other = self._facts.get(i + offset)
                if other is not None and other.session == session:
                    lent[i + offset] += share * self._words[i]
        return lent

    def _learn(self, places: Iterable[int]) -> None:
        new = (i for i in places if i < self._stop and i not in self._facts)
        self._facts.update(self._index.facts(new))

    def places(self) -> set[int]:
        """Return all messages to score: matching ones, neighbours, best sessions, the newest."""
        places = set(self._facts)
        for session in nlargest(_SESSIONS, self._sessions, key=lambda s: (self._sessions[s], s)):
            end = min(self._index.session_end(session), session + _SESSION_MESSAGES)
            places.update(range(session, min(end, self._stop)))
        newest = max(0, self._stop - max(0, _FILL - len(places)))
        places.update(range(newest, self._stop))
        self._learn(places)
        return places

    def __call__(self, i: int) -> float:
        """Return the score of message `i`: the sum of its `parts`."""
        facts, query = self._facts[i], self._query
        score = self._unit * (self._words.get(i, 0.0) + self._neighbours.get(i, 0.0))
        score += SESSION * self._sessions.get(facts.session, 0.0)
        if query.speaker is not None and facts.speaker == query.speaker:
            score += SPEAKER
        if query.asks_when and facts.flags & TELLS_TIME:
            score += WHEN
        if facts.month is not None and _said_then(query, facts.month):
            score += DATE
        return score - QUESTION if facts.flags & ASKS else score

    def parts(self, i: int) -> dict[str, float]:
        """Return the parts of the score of message `i`, those that are not 0."""
        facts, query = self._facts[i], self._query
        then = facts.month is not None and _said_then(query, facts.month)
        parts = {
            "words": self._unit * self._words.get(i, 0.0),
            "neighbours": self._unit * self._neighbours.get(i, 0.0),
            "session": SESSION * self._sessions.get(facts.session, 0.0),
            "speaker": SPEAKER * (query.speaker is not None and facts.speaker == query.speaker),
            "when": WHEN * (query.asks_when and bool(facts.flags & TELLS_TIME)),
            "date": DATE * then,
            "question": -QUESTION * bool(facts.flags & ASKS),
        }
        return {name: value for name, value in parts.items() if value}


def _said_then(query: Query, month: int) -> bool:
    """Whether a message was said at the time that the question names."""
    if query.year is None and query.month is None:
        return False
    year, month_of_year = divmod(month, 12)
    return query.year in (None, year) and query.month in (None, month_of_year + 1)
