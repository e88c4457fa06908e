"""Choosing what is recalled: the best that fit, as one quoting message."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..accounting import Accountant
from ..messages import Message
from . import Hit, Recall
from .archive import Archive
from .rendering import quote, recalled

_TAG = "000000"
_DATE_COST = 4
_MOST = 400
"""No more messages than this are read from the store for one context."""


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
) -> Recalled:
    """Return what the archive has for a question.

    Args:
        archive: where to search.
        recall: the gate.
        accountant: counts tokens.
        text: the question.
        stop: only messages before this place in the transcript are searched.
        room: how many tokens the quoting message may cost.
        eligible: whether a message may be recalled, by its place in the transcript.
    """
    ranking = archive.search(text, stop, eligible)
    if not ranking.found or ranking.match < recall.gate:
        return NOTHING
    left = room - accountant.message(recalled(()))
    hits: list[Hit] = []
    for place, score in ranking.found[:_MOST]:
        if left <= _DATE_COST:
            break
        message = archive.read(place)
        cost = accountant.text(quote(message, _TAG)) + 1
        if cost <= left and not message.role.instructs:
            left -= cost
            hits.append(Hit(place, message, score, ranking.parts(place)))
    return _fitted(hits, accountant, room)


def _fitted(hits: list[Hit], accountant: Accountant, room: int) -> Recalled:
    """Quote the hits, leaving out the worst until the message really fits."""
    while hits:
        message = recalled([hit.message for hit in sorted(hits, key=lambda hit: hit.index)])
        tokens = accountant.message(message)
        if tokens <= room:
            return Recalled(message, tokens, tuple(hits))
        hits.pop()
    return NOTHING
