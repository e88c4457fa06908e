"""What search sees of a message: its terms, who said it, when, and of what kind it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from ..messages import Message
from ..text.stem import stem
from ..text.stopwords import STOP_WORDS
from ..text.words import words

SESSION_GAP = timedelta(hours=2)
"""A silence longer than this begins a new session."""

ASKS, TELLS_TIME = 1, 2
"""Flags of a document: it ends in a question; it speaks of time."""

_QUESTION_MARKS = ("?", "？", "؟", "՞", ";")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_TIME = re.compile(
    r"\b(?:yesterday|today|tomorrow|tonight|ago|last|next|week|weekend|month|year|morning|evening"
    r"|night|(?:mon|tues|wednes|thurs|fri|satur|sun)day|recently|soon|since|\d{1,2}:\d\d"
    r"|(?:19|20)\d\d|" + "|".join(_MONTHS) + r")\b",
    re.IGNORECASE,
)
_WHEN = re.compile(
    r"\b(?:when|what (?:date|day|time|year|month)|how long|how many (?:days|weeks|months|years))\b",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_DAY = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)\b")


class Document(NamedTuple):
    """A message as search sees it.

    Attributes:
        place: its index in the transcript.
        terms: its different terms.
        length: how many terms it has, repeated ones counted.
        session: the place in the transcript where its session began.
        speaker: who said it: the name, or the role.
        flags: `ASKS`, `TELLS_TIME`.
        month: year * 12 + month - 1 of when it was said; None when unknown.
    """

    place: int
    terms: frozenset[str]
    length: int
    session: int
    speaker: str
    flags: int
    month: int | None


class Query(NamedTuple):
    """A question as search sees it.

    Attributes:
        terms: its different terms, names of speakers left out, in a fixed order.
        speaker: the one speaker that it names; None for none or several.
        asks_when: whether it asks for a time.
        year, month: the time that it names, month 1 to 12; None for none.
    """

    terms: tuple[str, ...]
    speaker: str | None
    asks_when: bool
    year: int | None
    month: int | None


def terms(text: str) -> list[str]:
    """Return the stems of the words of `text`, stop words left out, repeated as they occur."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def searchable(message: Message) -> str:
    """Return the text of a message that can be searched: content, tool names and arguments."""
    calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join([message.text, *calls]) if calls else message.text


def document(index: int, message: Message, session: int) -> Document:
    """Return the document of the message at `index`, in the session that began at `session`."""
    text = searchable(message)
    found = terms(text)
    asks = ASKS if text.rstrip(" \n\"'”’)").endswith(_QUESTION_MARKS) else 0
    said = message.timestamp
    return Document(
        index,
        frozenset(found),
        len(found),
        session,
        message.name or message.role.value,
        asks | (TELLS_TIME if _TIME.search(text) else 0),
        None if said is None else said.year * 12 + said.month - 1,
    )


def begins_session(before: datetime | None, now: datetime | None) -> bool:
    """Whether so much time lies between two messages that a new session begins."""
    if before is None or now is None:
        return False
    if (before.tzinfo is None) != (now.tzinfo is None):
        before, now = before.replace(tzinfo=None), now.replace(tzinfo=None)
    return now - before > SESSION_GAP


def query(text: str, speakers: Iterable[str]) -> Query:
    """Return what to look for; `speakers` are all names that speak in the transcript."""
    said = frozenset(words(text))
    named = sorted(name for name in speakers if set(words(name)) and said.issuperset(words(name)))
    names = {word for name in named for word in words(name)}
    looked_for = dict.fromkeys(
        stem(word) for word in words(text) if word not in STOP_WORDS and word not in names
    )
    year = _YEAR.search(text)
    months = [i for i, month in enumerate(_MONTHS, 1) if month in said]
    day = _DAY.search(text)
    if day is not None and 1 <= int(day[2]) <= 12:
        months = [int(day[2])]
    return Query(
        tuple(looked_for),
        named[0] if len(named) == 1 else None,
        _WHEN.search(text) is not None,
        None if year is None else int(year.group()),
        months[0] if len(months) == 1 else None,
    )
