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

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from math import log
from typing import NamedTuple, Protocol

from .analysis import ASKS, TELLS_TIME, Query
from .index import Index
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

MOST_TERMS = 64
"""Of a question with more terms than this, those in the fewest messages are looked for."""
MOST_POSTINGS = 8_000
"""A term is looked up in no more messages than this, the newest. When the rarer terms together
have brought as many, the others only raise those that were found."""
MOST_SCORED, MOST_LENDING = 400, 100
MOST_SESSIONS, MOST_OF_SESSION = 4, 50
LEAST_RANKED = 800
"""If fewer messages are near to a match, the newest join them."""


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
    scores = scorer.scores(scorer.places())
    if terms_at is not None:
        scorer.relate(scores, terms_at)
    scores = sorted(scorer.completed(scores), reverse=True)
    found = [Ranked(i, score) for score, i in scores if eligible(i)]
    return Ranking(found, scorer.match(eligible), scorer.parts)


def _match(query: Query, index: Index, stop: int) -> _Matches:
    """Return which messages before `stop` hold the rarest of the question's terms."""
    terms = query.terms if query.time is None else (*query.terms, query.time)
    looked_up = ((term, index.postings(term, stop, MOST_POSTINGS)) for term in terms)
    said = [(_frequency(places, stop), term, places) for term, places in looked_up if places]
    rarest = sorted(said, key=lambda item: item[:2])[:MOST_TERMS]
    held: dict[int, int] = defaultdict(int)
    read = time = 0
    for number, (_, term, places) in enumerate(rarest):
        read += len(places)
        time |= (term == query.time) << number
        for i in held.keys() & places if held and read > MOST_POSTINGS else places:
            held[i] |= 1 << number
    weights = [log(1 + (stop - n + 0.5) / (n + 0.5)) ** RARITY for n, *_ in rarest]
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
        of_bits = {bits: _sum_of(bits, weights) for bits in set(held.values())}
        best = nlargest(MOST_SCORED, ((of_bits[bits], i) for i, bits in held.items()))
        self.matching = {i: weight for weight, i in best}
        self._said_then = {i for i in self.matching if held[i] & time}
        self._facts = index.facts(self.matching)
        self._average = max(1.0, index.terms_before(stop) / stop)
        self._words = self._shared(self.matching)
        self._sessions = self._session_scores(weights, held)
        self._neighbours = self._lend()
        sums = (w + self._neighbours.get(i, 0.0) for i, w in self._words.items())
        self._unit = 1 / max(sums, default=1.0)
        self._related: Mapping[int, float] = {}
        self._similar: Mapping[int, float] = {}

    def _shared(self, held: Mapping[int, float]) -> dict[int, float]:
        """Return what of the terms' weight each message gets: less, the longer it is."""
        facts, flat, steep = self._facts, 1 + K * (1 - B), K * B / self._average
        return {i: w * (K + 1) / (flat + steep * facts[i][0]) for i, w in held.items()}

    def _session_scores(
        self, weights: Sequence[float], held: Mapping[int, int]
    ) -> dict[int, float]:
        """Return the share of the question that each session of a matching message holds."""
        together: dict[int, int] = defaultdict(int)
        for i in self.matching:
            together[self._facts[i].session] |= held[i]
        return {session: _sum_of(bits, weights) / self._total for session, bits in together.items()}

    def _lend(self) -> dict[int, float]:
        """Return what messages get from their neighbours in the session."""
        lenders = nlargest(MOST_LENDING, ((words, i) for i, words in self._words.items()))
        self._learn({i + offset for _, i in lenders for offset in KERNEL})
        lent: dict[int, float] = defaultdict(float)
        for words, i in lenders:
            for other, share in self._around(i, KERNEL):
                lent[other] += share * words
        return lent

    def _around(self, i: int, kernel: Mapping[int, float]) -> list[tuple[int, float]]:
        """Return the known neighbours of a message in its session, each with its share."""
        facts, session = self._facts, self._facts[i].session
        near = ((i + offset, share) for offset, share in kernel.items())
        return [(j, share) for j, share in near if j in facts and facts[j].session == session]

    def _learn(self, places: Iterable[int]) -> None:
        new = [i for i in places if 0 <= i < self._stop and i not in self._facts]
        self._facts.update(self._index.facts(new))

    def places(self) -> set[int]:
        """Return all messages to score: matching ones, neighbours, best sessions, the newest."""
        places = set(self._facts)
        best = nlargest(MOST_SESSIONS, ((score, start) for start, score in self._sessions.items()))
        for _, start in best:
            end = min(self._index.session_end(start), start + MOST_OF_SESSION, self._stop)
            places.update(range(start, end))
        newest = max(0, self._stop - max(0, LEAST_RANKED - len(places)))
        places.update(range(newest, self._stop))
        self._learn(places)
        return places

    def match(self, eligible: Callable[[int], bool]) -> float:
        """Return `Ranking.match`; where no word of the question was ever said, meaning decides."""
        if not self._total:
            return float(bool(self._similar) and bool(self._query.terms))
        held = (held for i, held in self.matching.items() if eligible(i))
        return max(held, default=0.0) / self._total

    def compare(self, similar: Similar) -> None:
        """Take in what an embedder says, lent to the neighbours too."""
        lexical = nlargest(MOST_LENDING, ((words, i) for i, words in self._words.items()))
        alike = similar.best([i for _, i in lexical])
        self._learn({i + offset for i in alike for offset in (0, *ALIKE)})
        lent = defaultdict(float, alike)
        for i, likeness in alike.items():
            for other, share in self._around(i, ALIKE):
                lent[other] += share * likeness
        unit = SIMILAR / max(lent.values(), default=1.0)
        self._similar = {i: unit * likeness for i, likeness in lent.items()}

    def relate(self, scores: Sequence[tuple[float, int]], terms_at: TermsAt) -> None:
        """Take in the words that the best messages share."""
        near = self._words.keys() | self._neighbours.keys()
        best = {
            i: score for score, i in nlargest(MOST_READ, ((s, i) for s, i in scores if i in near))
        }
        asked = {*self._query.terms, self._query.time}
        held: dict[int, float] = defaultdict(float)
        for weight, holding in related(best, terms_at, self._index, self._stop, asked):
            for i in self._facts.keys() & holding:
                held[i] += weight
        shares = self._shared(held)
        unit = RELATED / max(shares.values(), default=1.0)
        self._related = {i: unit * share for i, share in shares.items()}

    def completed(self, scores: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
        """Return the scores with what `compare` and `relate` add."""
        more = dict(self._related)
        for i, value in self._similar.items():
            more[i] = more.get(i, 0.0) + value
        return [(score + more[i], i) if i in more else (score, i) for score, i in scores]

    def scores(self, places: Iterable[int]) -> list[tuple[float, int]]:
        """Return the score, the sum of its other `parts`, and the place of each message."""
        query, facts, said_then = self._query, self._facts, self._said_then
        words, neighbours, sessions = self._words, self._neighbours, self._sessions
        unit = self._unit
        speaker, when = query.speaker, WHEN * query.asks_when
        found = []
        for i in places:
            length, session, who, flags = facts[i]
            score = SESSION * sessions.get(session, 0.0)
            if i in words:
                score += unit * words[i]
            else:
                score += LENGTH * min(length, LONG) / LONG
            if i in neighbours:
                score += unit * neighbours[i]
            if who == speaker:
                score += SPEAKER
            if flags:
                if flags & ASKS:
                    score -= QUESTION
                if flags & TELLS_TIME:
                    score += when
            if i in said_then:
                score += DATE
            found.append((score, i))
        return found

    def parts(self, i: int) -> dict[str, float]:
        """Return the parts of the score of message `i` by name, those that are not 0."""
        length, session, speaker, flags = self._facts[i]
        words = self._words.get(i, 0.0)
        parts = {
            "words": self._unit * words,
            "neighbours": self._unit * self._neighbours.get(i, 0.0),
            "session": SESSION * self._sessions.get(session, 0.0),
            "related": self._related.get(i, 0.0),
            "similar": self._similar.get(i, 0.0),
            "speaker": SPEAKER * (speaker == self._query.speaker),
            "when": WHEN * (self._query.asks_when and bool(flags & TELLS_TIME)),
            "date": DATE * (i in self._said_then),
            "question": -QUESTION * bool(flags & ASKS),
            "length": 0.0 if words else LENGTH * min(length, LONG) / LONG,
        }
        return {name: value for name, value in parts.items() if value}


def _sum_of(bits: int, weights: Sequence[float]) -> float:
    """Return what the terms of a bit set weigh together."""
    return sum(weight for number, weight in enumerate(weights) if bits >> number & 1)
