"""Choosing what is recalled: the best that fit, as one quoting message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from math import inf
from typing import NamedTuple

from ..accounting import Accountant
from ..messages import Message
from . import Hit, Recall
from .analysis import searchable
from .archive import Archive
from .ranking import Ranking
from .rendering import TAG, day_line, quote, recalled, session_line

MOST_READ = 400
"""No more messages than this are read from the store for one context."""
FULL = 1.75
"""From so many times the gate on, all of the room is used; at the gate, that much less of it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST = 4
"""With no more tokens than this left, nothing else is tried."""
_RECOUNTS = 2
"""How often the whole is counted to see whether something else fits: sums of parts round up."""


class Recalled(NamedTuple):
    """What is recalled for one question; `message` is None where nothing is.

    Attributes:
        message: quotes the hits, oldest first.
        tokens: what it costs.
        hits: what it quotes, best first.
    """

    message: Message | None
    tokens: int
    hits: tuple[Hit, ...]


NOTHING = Recalled(None, 0, ())


def choose(
    archive: Archive,
    recall: Recall,
    accountant: Accountant,
    *,
    text: str,
    stop: int,
    room: int,
    eligible: Callable[[int], bool],
    max_ms: float | None = None,
) -> Recalled:
    """Return what the archive has for a question.

    Args:
        archive: where to search.
        recall: the gate; where it hardly opens, less of the room is used.
        accountant: counts tokens.
        text: the question.
        stop: only messages before this place in the transcript are searched.
        room: how many tokens the quoting message may cost.
        eligible: whether a message may be recalled, by its place in the transcript.
        max_ms: how long an embedder may take, in milliseconds; None for no limit.
    """
    if room <= 0:
        return NOTHING
    ranking = archive.search(text, stop, eligible, max_ms)
    if not ranking.found or ranking.match < recall.gate:
        return NOTHING
    if recall.gate:
        room = int(room * min(1.0, ranking.match / (FULL * recall.gate)))
    own = archive.session_id
    hits = _filled(_quotable(archive, ranking), accountant, room, own)
    return fitted(hits, accountant, room, own)


def fitted(
    hits: tuple[Hit, ...], accountant: Accountant, room: int, own: str | None = None
) -> Recalled:
    """Return the message that quotes `hits`, without the worst of them until it fits `room`.

    Args:
        hits: best first.
        accountant: counts tokens.
        room: how many the message may cost.
        own: the session that asks; what was said in others is told to be. None to tell nothing.
    """
    while hits:
        message = _quoting(hits, own)
        tokens = accountant.message(message)
        if tokens <= room:
            return Recalled(message, tokens, hits)
        hits = hits[:-1]
    return NOTHING


def _quoting(hits: Iterable[Hit], own: str | None) -> Message:
    ordered = _in_order(hits, own)
    sessions = [None if own is None or hit.session_id == own else hit.session_id for hit in ordered]
    return recalled([hit.message for hit in ordered], sessions)


def _in_order(hits: Iterable[Hit], own: str | None) -> list[Hit]:
    """Return hits oldest first: in each session by place, between sessions by time.

    What has no time counts as said with what stands before it in its session. Where that tells
    nothing the session that asks comes last.
    """
    latest: dict[str, float] = {}
    keyed = []
    for hit in sorted(hits, key=lambda hit: hit.index):
        said = max(latest.get(hit.session_id, -inf), _seconds(hit.message))
        latest[hit.session_id] = said
        keyed.append((said, hit.session_id == own, hit.session_id, hit.index, hit))
    return [key[-1] for key in sorted(keyed, key=lambda key: key[:-1])]


def _seconds(message: Message) -> float:
    said = message.timestamp
    if said is None:
        return -inf
    return ((said if said.tzinfo else said.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


def _quotable(archive: Archive, ranking: Ranking) -> Iterator[Hit]:
    """Yield what was found, best first; instructions and what has no text are not quoted."""
    for hit in islice(archive.hits(ranking), MOST_READ):
        if not hit.message.role.instructs and searchable(hit.message).strip():
            yield hit


def _filled(
    candidates: Iterator[Hit], accountant: Accountant, room: int, own: str
) -> tuple[Hit, ...]:
    """Return the best that fit by the sum of their parts, better before worse."""
    hits: list[Hit] = []
    days: set[str | None] = {None}
    left, recounts = room - accountant.message(recalled(())), _RECOUNTS
    for hit in candidates:
        day = day_line(hit.message)
        lines = [quote(hit.message, TAG), *([] if day in days or day is None else [day])]
        if hit.session_id != own:
            lines += [session_line(hit.session_id, TAG)]
        cost = accountant.text("\n".join(lines)) + 1
        if left < cost <= left + 2 * len(hits) and recounts:
            recounts -= 1
            left = room - accountant.message(_quoting(hits, own))
        if cost <= left:
            left -= cost
            days.add(day)
            hits.append(hit)
        elif left <= _LEAST:
            break
    return tuple(hits)
