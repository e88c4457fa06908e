"""The ranking written plainly: what `recall.ranking` must give to the last bit, only slower."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from math import log
from typing import NamedTuple

from finite_memory_core.recall.analysis import ASKS, TELLS_TIME, Query
from finite_memory_core.recall.index import Facts, Index
from finite_memory_core.recall.ranking import (
    ALIKE,
    DATE,
    KERNEL,
    LEAST_RANKED,
    LENGTH,
    LONG,
    MOST_LENDING,
    MOST_OF_SESSION,
    MOST_POSTINGS,
    MOST_SCORED,
    MOST_SESSIONS,
    MOST_TERMS,
    QUESTION,
    RARITY,
    RELATED,
    SESSION,
    SIMILAR,
    SPEAKER,
    WHEN,
    B,
    K,
    Ranking,
    Similar,
)
from finite_memory_core.recall.related import MOST_READ, TermsAt, related


class _Matches(NamedTuple):
    """Which messages hold which terms; see `recall.ranking`."""

    weights: Sequence[float]
    held: Mapping[int, int]
    time: int


def rank(
    query: Query,
    index: Index,
    stop: int,
    eligible: Callable[[int], bool],
    terms_at: TermsAt | None = None,
    similar: Similar | None = None,
) -> Ranking:
    """See `recall.ranking.rank`."""
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
    found = [(i, score) for score, i in scores if eligible(i)]
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
        self._facts: dict[int, Facts] = {}
        self._learn(self.matching)
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
            together[self._facts[i][1]] |= held[i]
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
        facts, session = self._facts, self._facts[i][1]
        near = ((i + offset, share) for offset, share in kernel.items())
        return [(j, share) for j, share in near if j in facts and facts[j][1] == session]

    def _learn(self, places: Iterable[int]) -> None:
        new = [i for i in places if 0 <= i < self._stop and i not in self._facts]
        self._facts.update(zip(new, self._index.facts(new), strict=True))

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
