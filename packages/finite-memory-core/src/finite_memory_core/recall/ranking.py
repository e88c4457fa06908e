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
from itertools import accumulate, chain, islice
from math import log
from typing import NamedTuple, Protocol

from .analysis import ASKS, TELLS_TIME, Query
from .index import Facts, Index
from .largest import largest
from .related import MOST_READ, TermsAt, related

K, B = 1.2, 0.75
KERNEL = {1: 0.5, 2: 0.5, 3: 0.2, 4: 0.1, -1: 0.25, -2: 0.25, -3: 0.2, -4: 0.1}
"""How much of its score a message lends to the one so many places after it."""
ALIKE = {1: 0.5, -1: 0.25}
"""The same for how alike it is to the question."""
REACH = max(KERNEL)
"""The neighbours of a message are no more places away."""
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
    scorer = _Scorer(query, index, stop, matches, similar)
    if terms_at is not None:
        scorer.relate(terms_at)
    return Ranking(scorer.found(eligible), scorer.match(eligible), scorer.parts)


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

    What is known of the messages stands in columns, the newest message first: lists are read
    faster than dictionaries. Behind the last message of a column stand `REACH` empty places, which
    negative numbers reach too, so that every message has neighbours.

    Attributes:
        matching: the messages that hold most of the question's words, and what these weigh.
    """

    def __init__(
        self, query: Query, index: Index, stop: int, matches: _Matches, similar: Similar | None
    ) -> None:
        self._query = query
        self._index = index
        self._stop = stop
        weights, held, time = matches
        self._total = sum(weights)
        self.matching = _best(weights, held)
        self._said_then = [i for i in self.matching if held[i] & time] if time else []
        average = max(1.0, index.terms_before(stop) / stop)
        self._flat, self._steep = 1 + K * (1 - B), K * B / average
        lengths, starts, _, _ = _columns(index.facts([*self.matching]))
        words = self._shared(self.matching.values(), lengths)
        shares = dict(zip(self.matching, words, strict=True))
        lenders = [(i, shares[i]) for i in _best_first(shares, shares)[:MOST_LENDING]]
        self._in_session = self._session_scores(starts, weights, held)
        alike = {} if similar is None else similar.best([i for i, _ in lenders])
        self._take(self._places(lenders, alike))
        self._words = self._column(shares)
        self._neighbours = self._lent(lenders, KERNEL, self._column({}))
        both = zip(self._words, self._neighbours, strict=True)
        self._unit = 1 / max([words + lent for words, lent in both if words], default=1.0)
        self._similar = self._related = self._column({})
        self._unit_of_related = 0.0
        if alike:
            lent = self._lent(alike.items(), ALIKE, self._column(alike))
            unit = SIMILAR / max(lent)
            self._similar = [unit * likeness for likeness in lent]
        self._scores = self._first_scores()

    def _shared(self, held: Iterable[float], lengths: Iterable[int]) -> list[float]:
        """Return what of the terms' weight each message gets: less, the longer it is."""
        gain, flat, steep = K + 1, self._flat, self._steep
        return [
            w * gain / (flat + steep * length) if w else 0.0
            for w, length in zip(held, lengths, strict=False)
        ]

    def _session_scores(
        self, starts: Iterable[int], weights: Sequence[float], held: Mapping[int, int]
    ) -> dict[int, float]:
        """Return what each session of a matching message adds: its share of the question.

        Args:
            starts: where the sessions of the matching messages began.
            weights, held: see `_Matches`.
        """
        together: dict[int, int] = defaultdict(int)
        for start, i in zip(starts, self.matching, strict=True):
            together[start] |= held[i]
        total = self._total
        return {s: SESSION * (_sum_of(bits, weights) / total) for s, bits in together.items()}

    def _places(
        self, lenders: Iterable[tuple[int, float]], alike: Mapping[int, float]
    ) -> list[int]:
        """Return what is scored: what matches, neighbours, the best sessions', and the newest."""
        stop, places = self._stop, {*self.matching, *alike}
        for near, reach in (((i for i, _ in lenders), max(KERNEL)), (alike, max(ALIKE))):
            places.update(chain.from_iterable(range(i - reach, i + reach + 1) for i in near))
        places.difference_update(range(-REACH, 0), range(stop, stop + REACH))
        for start in _best_first(self._in_session, self._in_session)[:MOST_SESSIONS]:
            end = min(self._index.session_end(start), start + MOST_OF_SESSION, stop)
            places.update(range(start, end))
        missing = max(0, LEAST_RANKED - len(places))
        places.update(range(max(0, stop - missing), stop))
        return sorted(places, reverse=True)

    def _take(self, places: Sequence[int]) -> None:
        """Have what is known of messages in columns."""
        self._slots = dict(zip(places, range(len(places)), strict=True))
        columns = _columns(self._index.facts(places))
        self._lengths, sessions, self._speakers, self._flags = columns
        self._sessions = (*sessions, *[-1] * REACH)

    def _column(self, values: Mapping[int, float]) -> list[float]:
        """Return a column with the values of some messages, by their places."""
        column, slots = [0.0] * len(self._sessions), self._slots
        for i, value in values.items():
            column[slots[i]] = value
        return column

    def _lent(
        self,
        lenders: Iterable[tuple[int, float]],
        kernel: Mapping[int, float],
        lent: list[float],
    ) -> list[float]:
        """Add what messages lend to the neighbours in their sessions to what these have."""
        slots, sessions, shares = self._slots, self._sessions, [*kernel.items()]
        for i, value in lenders:
            slot = slots[i]
            session = sessions[slot]
            for offset, share in shares:
                if sessions[slot - offset] == session:
                    lent[slot - offset] += share * value
        return lent

    def _first_scores(self) -> list[float]:
        """Return the score of each message, the sum of its parts, without related words."""
        unit, in_session, speaker = self._unit, self._in_session, self._query.speaker
        when, of_length, of_long = WHEN * self._query.asks_when, _OF_LENGTH, _OF_LENGTH[LONG]
        asks = [QUESTION * bool(flags & ASKS) for flags in range(4)]
        tells = [when * bool(flags & TELLS_TIME) for flags in range(4)]
        scores = [
            in_session.get(session, 0.0)
            + (unit * words if words else of_length[length] if length < LONG else of_long)
            + unit * lent
            + (SPEAKER if who == speaker else 0.0)
            - asks[flags]
            + tells[flags]
            for length, session, who, flags, words, lent in zip(
                self._lengths,
                self._sessions,
                self._speakers,
                self._flags,
                self._words,
                self._neighbours,
                strict=False,
            )
        ]
        for i in self._said_then:
            scores[self._slots[i]] += DATE
        return scores

    def match(self, eligible: Callable[[int], bool]) -> float:
        """Return `Ranking.match`; where no word of the question was ever said, meaning decides."""
        if not self._total:
            return float(any(self._similar) and bool(self._query.terms))
        weights = self.matching
        best = next(filter(eligible, sorted(weights, key=weights.__getitem__, reverse=True)), None)
        return 0.0 if best is None else weights[best] / self._total

    def relate(self, terms_at: TermsAt) -> None:
        """Take in the words that the best messages share."""
        scores, slots, places = self._scores, self._slots, [*self._slots]
        words, neighbours = self._words, self._neighbours
        near = (slot for slot in _slots_best_first(scores) if words[slot] or neighbours[slot])
        best = {places[slot]: scores[slot] for slot in islice(near, MOST_READ)}
        asked = {*self._query.terms, self._query.time}
        held = self._column({})
        for weight, holding in related(best, terms_at, self._index, self._stop, asked):
            for slot in map(slots.get, holding):
                if slot is not None:
                    held[slot] += weight
        self._related = self._shared(held, self._lengths)
        self._unit_of_related = RELATED / (max(self._related) or 1.0)

    def found(self, eligible: Callable[[int], bool]) -> list[tuple[int, float]]:
        """Return `Ranking.found`."""
        unit, places = self._unit_of_related, [*self._slots]
        scores = [
            score + (unit * share + similar)
            for score, share, similar in zip(
                self._scores, self._related, self._similar, strict=False
            )
        ]
        return [
            (places[slot], scores[slot])
            for slot in _slots_best_first(scores)
            if eligible(places[slot])
        ]

    def parts(self, i: int) -> dict[str, float]:
        """Return the parts of the score of message `i` by name, those that are not 0."""
        slot = self._slots[i]
        words, flags = self._words[slot], self._flags[slot]
        parts = {
            "words": self._unit * words,
            "neighbours": self._unit * self._neighbours[slot],
            "session": self._in_session.get(self._sessions[slot], 0.0),
            "related": self._unit_of_related * self._related[slot],
            "similar": self._similar[slot],
            "speaker": SPEAKER * (self._speakers[slot] == self._query.speaker),
            "when": WHEN * (self._query.asks_when and bool(flags & TELLS_TIME)),
            "date": DATE * (i in self._said_then),
            "question": -QUESTION * bool(flags & ASKS),
            "length": 0.0 if words else _OF_LENGTH[min(self._lengths[slot], LONG)],
        }
        return {name: value for name, value in parts.items() if value}


def _columns(
    facts: Sequence[Facts],
) -> tuple[Sequence[int], Sequence[int], Sequence[str], Sequence[int]]:
    """Return the lengths, the sessions, the speakers and the flags of messages."""
    lengths, sessions, speakers, flags = zip(*facts, strict=True) if facts else ((), (), (), ())
    return lengths, sessions, speakers, flags


def _best(weights: Sequence[float], held: Mapping[int, int]) -> dict[int, float]:
    """Return the messages with most of the question's terms, newest first, and their weight."""
    of_bits = {bits: _sum_of(bits, weights) for bits in set(held.values())}
    best = sorted(largest(held.keys(), held.values(), of_bits, MOST_SCORED), reverse=True)
    return {i: of_bits[held[i]] for i in best}


def _best_first(places: Iterable[int], values: Mapping[int, float]) -> list[int]:
    """Return places by their values, the largest first; of equals the newest first."""
    newest = sorted(places, reverse=True)
    return sorted(newest, key=values.__getitem__, reverse=True)  # equals keep their order


def _slots_best_first(scores: Sequence[float]) -> list[int]:
    """Return the numbers of scores, the largest first; of equals the first, which is the newest."""
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)


def _sum_of(bits: int, weights: Sequence[float]) -> float:
    """Return what the terms of a bit set weigh together."""
    return sum(weight for number, weight in enumerate(weights) if bits >> number & 1)
