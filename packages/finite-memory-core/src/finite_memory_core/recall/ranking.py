"""Ranking: which messages of the archive answer a question best.

BM25 over stems (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), each term
counted once a message and weighted by its squared inverse document frequency, as in the cosine
of two tf-idf vectors; and what a conversation adds to it:

- a message lends its score to its neighbours in the session: an answer often stands next to the
  words that match;
- what the one speaker said whom the question names;
- what speaks of time, if the question asks when; what was said at the time that it names;
- the session as a whole;
- words that the best messages share, see `related`; and where there is an embedder, what is said
  in other words, see `dense`;
- a question holds less than a statement, and of messages without a word of the question the long
  ones hold more.

``docs/recall.md`` has the ablation: each term is here because it earns its place. The work of a
search is bounded, however long the archive is; the bounds are the numbers below.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from math import log
from typing import NamedTuple, Protocol

from .analysis import ASKS, TELLS_TIME, Query
from .index import Index
from .largest import largest
from .related import MOST_READ, TermsAt, related

K, B = 1.2, 0.75
KERNEL = {1: 0.5, 2: 0.5, 3: 0.2, 4: 0.1, -1: 0.25, -2: 0.25, -3: 0.2, -4: 0.1}
"""How much of its score a message lends to the one so many places after it."""
ALIKE = {1: 0.5, -1: 0.25}
"""The same for how alike it is to the question."""
SPEAKER, WHEN, DATE, SESSION, QUESTION, LENGTH = 0.5, 0.2, 0.2, 0.1, 0.2, 0.05
RELATED, SIMILAR = 0.3, 0.6
RARITY = 2
"""The power of the inverse document frequency that a term weighs."""
LONG = 30
"""From so many terms on, a message without a word of the question gets all of `LENGTH`."""
_OF_LENGTH = [LENGTH * length / LONG for length in range(LONG + 1)]

MOST_TERMS = 64
"""Of a question with more terms than this, those in the fewest messages are looked for."""
MOST_POSTINGS = 8_000
"""A term is looked up in no more messages than this, the newest. When the rarer terms together
have brought as many, the others only raise those that were found."""
MOST_SCORED, MOST_LENDING = 400, 100
MOST_SESSIONS, MOST_OF_SESSION = 4, 50
LEAST_RANKED = 800
"""If fewer messages are near to a match, the newest join them."""


class Ranking(NamedTuple):
    """The messages found, best first, and how well the best one matches.

    Attributes:
        found: places in the transcript and their scores, best first; the newer first among equals.
        match: the share of the question's information that one message of the archive holds, 0
            to 1; words that were never said have none.
        parts: gives the parts that a found message's score is the sum of.
    """

    found: list[tuple[int, float]]
    match: float
    parts: Callable[[int], dict[str, float]]


class _Matches(NamedTuple):
    """Which messages hold which terms.

    Attributes:
        weights: of each term that was ever said, the rarest first.
        held: for each message a bit set of the terms that it holds, in the order of `weights`.
        time: the bit of the time that the question names; 0 for none.
    """

    weights: Sequence[float]
    held: Mapping[int, int]
    time: int


class Similar(Protocol):
    """How alike the question and the messages are, beside their words; see `dense`."""

    def best(self, places: Collection[int]) -> Mapping[int, float]:
        """Return the messages that are most like the question, by place, and how like, 0 to 1.

        Args:
            places: what is looked at in any case; of a long archive not all is.
        """
        ...


def rank(
    query: Query,
    index: Index,
    stop: int,
    eligible: Callable[[int], bool],
    terms_at: TermsAt | None = None,
    similar: Similar | None = None,
) -> Ranking:
    """Return the eligible messages that answer `query`, best first.

    Messages that hold none of its words come last, those of the best sessions and the newest
    first, up to a bound.

    Args:
        query: what to look for.
        index: where to look.
        stop: only messages before this place exist for the search.
        eligible: whether a message may be found, by its place in the transcript.
        terms_at: reads the terms of messages, for the words that are related; None to do without.
        similar: what an embedder says; None without one.
    """
    matches = _match(query, index, stop)
    if not matches.held and similar is None:
        return Ranking([], 0.0, lambda _: {})
    scorer = _Scorer(query, index, stop, matches)
    if similar is not None:
        scorer.compare(similar)
    scores = scorer.scores()
    if terms_at is not None:
        scorer.relate(scores, terms_at)
    scorer.complete(scores)
    found = [(i, scores[i]) for i in _best_first(filter(eligible, scores), scores)]
    return Ranking(found, scorer.match(eligible), scorer.parts)


def _match(query: Query, index: Index, stop: int) -> _Matches:
    """Return which messages before `stop` hold the rarest of the question's terms."""
    terms = query.terms if query.time is None else (*query.terms, query.time)
    looked_up = zip(terms, index.postings_of(terms, stop, MOST_POSTINGS), strict=True)
    said = [(_frequency(places, stop), term, places) for term, places in looked_up if places]
    rarest = sorted(said, key=lambda item: item[:2])[:MOST_TERMS]
    found = [(places, 1 << number) for number, (*_, places) in enumerate(rarest)]
    read = [*accumulate(len(places) for places, _ in found)]
    together = bisect_right(read, MOST_POSTINGS)
    held: dict[int, int] = {}
    for places, bit in reversed(found[:together]):
        if not held:
            held = dict.fromkeys(places, bit)  # the longest, at once
            continue
        for i in places:
            held[i] = held.get(i, 0) | bit
    for places, bit in found[together:]:
        for i in filter(held.__contains__, places):
            held[i] |= bit
    weights = [log(1 + (stop - n + 0.5) / (n + 0.5)) ** RARITY for n, *_ in rarest]
    time = sum(1 << number for number, (_, term, _) in enumerate(rarest) if term == query.time)
    return _Matches(weights, held, time)


def _frequency(places: Sequence[int], stop: int) -> float:
    """Return in how many messages a term is, estimated from the newest if there are too many."""
    if len(places) < MOST_POSTINGS:
        return len(places)
    return len(places) * stop / (stop - places[0])


class _Scorer:
    """Scores messages for one question.

    Attributes:
        matching: the messages that hold most of the question's words, and what these weigh.
    """

    def __init__(self, query: Query, index: Index, stop: int, matches: _Matches) -> None:
        self._query = query
        self._index = index
        self._stop = stop
        weights, held, time = matches
        self._total = sum(weights)
        self.matching = _best(weights, held)
        self._said_then = [i for i in self.matching if held[i] & time]
        self._facts = index.facts(self.matching)
        self._average = max(1.0, index.terms_before(stop) / stop)
        self._words = self._shared(self.matching)
        self._lenders = _best_first(self._words, self._words)[:MOST_LENDING]
        self._sessions = self._session_scores(weights, held)
        self._neighbours: dict[int, float] = {}
        self._lend([(i, self._words[i]) for i in self._lenders], KERNEL, self._neighbours)
        sums = [w + self._neighbours.get(i, 0.0) for i, w in self._words.items()]
        self._unit = 1 / max(sums, default=1.0)
        self._related: Mapping[int, float] = {}
        self._unit_of_related = 0.0
        self._similar: Mapping[int, float] = {}

    def _shared(self, held: Mapping[int, float]) -> dict[int, float]:
        """Return what of the terms' weight each message gets: less, the longer it is."""
        facts, gain, flat, steep = self._facts, K + 1, 1 + K * (1 - B), K * B / self._average
        return {i: w * gain / (flat + steep * facts[i][0]) for i, w in held.items()}

    def _session_scores(
        self, weights: Sequence[float], held: Mapping[int, int]
    ) -> dict[int, float]:
        """Return the share of the question that each session of a matching message holds."""
        together: dict[int, int] = defaultdict(int)
        for i in self.matching:
            together[self._facts[i].session] |= held[i]
        return {session: _sum_of(bits, weights) / self._total for session, bits in together.items()}

    def _lend(
        self,
        lenders: Collection[tuple[int, float]],
        kernel: Mapping[int, float],
        lent: dict[int, float],
    ) -> None:
        """Add what messages lend to the neighbours in their sessions to what these have."""
        facts = self._facts
        self._learn({i + offset for i, _ in lenders for offset in kernel})
        for i, value in lenders:
            session = facts[i].session
            for offset, share in kernel.items():
                other = facts.get(i + offset)
                if other is not None and other.session == session:
                    lent[i + offset] = lent.get(i + offset, 0.0) + share * value

    def _learn(self, places: Iterable[int]) -> None:
        facts, stop = self._facts, self._stop
        facts.update(self._index.facts([i for i in places if 0 <= i < stop and i not in facts]))

    def match(self, eligible: Callable[[int], bool]) -> float:
        """Return `Ranking.match`; where no word of the question was ever said, meaning decides."""
        if not self._total:
            return float(bool(self._similar) and bool(self._query.terms))
        best = next(filter(eligible, self.matching), None)
        return 0.0 if best is None else self.matching[best] / self._total

    def compare(self, similar: Similar) -> None:
        """Take in what an embedder says, lent to the neighbours too."""
        alike = similar.best(self._lenders)
        self._learn(alike)
        lent = dict(alike)
        self._lend(alike.items(), ALIKE, lent)
        unit = SIMILAR / max(lent.values(), default=1.0)
        self._similar = {i: unit * likeness for i, likeness in lent.items()}

    def relate(self, scores: Mapping[int, float], terms_at: TermsAt) -> None:
        """Take in the words that the best messages share."""
        near = _best_first(self._words.keys() | self._neighbours.keys(), scores)
        best = {i: scores[i] for i in near[:MOST_READ]}
        asked = {*self._query.terms, self._query.time}
        held: dict[int, float] = {}
        known = self._facts.__contains__
        for weight, holding in related(best, terms_at, self._index, self._stop, asked):
            for i in filter(known, holding):
                held[i] = held.get(i, 0.0) + weight
        self._related = self._shared(held)
        self._unit_of_related = RELATED / max(self._related.values(), default=1.0)

    def complete(self, scores: dict[int, float]) -> None:
        """Add what `compare` and `relate` found to the scores."""
        unit, related, similar = self._unit_of_related, self._related, self._similar
        for i, share in related.items():
            scores[i] += unit * share + similar[i] if i in similar else unit * share
        for i in similar.keys() - related.keys():
            scores[i] += similar[i]

    def scores(self) -> dict[int, float]:
        """Return the score, the sum of its other `parts`, of each message by its place."""
        self._learn_the_rest()
        words, neighbours, unit = self._words, self._neighbours, self._unit
        in_session = {session: SESSION * share for session, share in self._sessions.items()}
        speaker, when = self._query.speaker, WHEN * self._query.asks_when
        scores = {}
        for i, (length, session, who, flags) in self._facts.items():
            score = in_session.get(session, 0.0)
            if i in words:
                score += unit * words[i]
            else:
                score += _OF_LENGTH[length] if length < LONG else _OF_LENGTH[LONG]
            if i in neighbours:
                score += unit * neighbours[i]
            if who == speaker:
                score += SPEAKER
            if flags:
                if flags & ASKS:
                    score -= QUESTION
                if flags & TELLS_TIME:
                    score += when
            scores[i] = score
        for i in self._said_then:
            scores[i] += DATE
        return scores

    def _learn_the_rest(self) -> None:
        """Have the facts of all messages to score: the best sessions' and the newest too."""
        for start in _best_first(self._sessions, self._sessions)[:MOST_SESSIONS]:
            end = min(self._index.session_end(start), start + MOST_OF_SESSION, self._stop)
            self._learn(range(start, end))
        missing = max(0, LEAST_RANKED - len(self._facts))
        self._learn(range(max(0, self._stop - missing), self._stop))

    def parts(self, i: int) -> dict[str, float]:
        """Return the parts of the score of message `i` by name, those that are not 0."""
        length, session, speaker, flags = self._facts[i]
        words = self._words.get(i, 0.0)
        parts = {
            "words": self._unit * words,
            "neighbours": self._unit * self._neighbours.get(i, 0.0),
            "session": SESSION * self._sessions.get(session, 0.0),
            "related": self._unit_of_related * self._related.get(i, 0.0),
            "similar": self._similar.get(i, 0.0),
            "speaker": SPEAKER * (speaker == self._query.speaker),
            "when": WHEN * (self._query.asks_when and bool(flags & TELLS_TIME)),
            "date": DATE * (i in self._said_then),
            "question": -QUESTION * bool(flags & ASKS),
            "length": 0.0 if words else _OF_LENGTH[min(length, LONG)],
        }
        return {name: value for name, value in parts.items() if value}


def _best(weights: Sequence[float], held: Mapping[int, int]) -> dict[int, float]:
    """Return the messages with most of the question's terms, by weight, and their weight."""
    of_bits = {bits: _sum_of(bits, weights) for bits in set(held.values())}
    best = {i: of_bits[held[i]] for i in largest(held.keys(), held.values(), of_bits, MOST_SCORED)}
    return {i: best[i] for i in _best_first(best, best)}


def _best_first(places: Iterable[int], values: Mapping[int, float]) -> list[int]:
    """Return places by their values, the largest first; of equals the newest first."""
    newest = sorted(places, reverse=True)
    return sorted(newest, key=values.__getitem__, reverse=True)  # equals keep their order


def _sum_of(bits: int, weights: Sequence[float]) -> float:
    """Return what the terms of a bit set weigh together."""
    return sum(weight for number, weight in enumerate(weights) if bits >> number & 1)
