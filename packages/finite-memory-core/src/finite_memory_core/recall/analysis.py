"""What search sees of a message: its terms, who said it, when, and of what kind it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ..messages import Message, Role
from ..text.languages import LATIN, latin_language
from ..text.light_stem import inner_stems, light_stem
from ..text.stem import stem
from ..text.stopwords import STOP_WORDS_OF
from ..text.words import words
from ..tombstone import is_tombstone
from .times import asks_when, month_of, tells_time, year_of

VERSION = 1
"""Raise it with every change by which a message gets another document: indexes in files are then
built again."""

SESSION_GAP = timedelta(hours=2)
"""A silence longer than this begins a new session."""

ASKS, TELLS_TIME = 1, 2
"""Flags of a document: it ends in a question; it speaks of time."""

MOST_CHARACTERS = 4_000
"""Of a longer question only the beginning and the end are read, half as many each."""
_SPEAKERS = (Role.USER, Role.ASSISTANT)
_QUESTION_MARKS = ("?", "？", "؟", "⸮", "፧", "᥅", "꘏", "꛷", "\u037e")
_CLOSINGS = " \n!！\"'”’»›」』）)"
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_OTHER_DIGITS = re.compile("[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f]")
_COMPOUNDING = frozenset({"de"})
_SCRIPTS_APART = frozenset[str]().union(
    *(listed for language, listed in STOP_WORDS_OF.items() if language not in LATIN)
)
_STOP_WORDS = {"": _SCRIPTS_APART} | {
    language: STOP_WORDS_OF[language] | _SCRIPTS_APART for language in LATIN
}
_NAME_PREFIX = re.compile("[وف]?[بلك]?")
_NAME_ENDINGS = {
    "de": re.compile("s"),
    "fi": re.compile("i?(?:n|[aä]n?|t[aä]|ll[aäe]|lt[aä]|ss[aä]|st[aä]|n[aä]|ksi)"),
    "ru": re.compile("[аяуюеиы]|[оеё][йюм]"),
}


class Document(NamedTuple):
    """A message as search sees it.

    Attributes:
        place: its index in the transcript.
        terms: its different terms, and what `said_in` gives for when it was said.
        length: how many terms it has, repeated ones counted.
        session: the place in the transcript where its session began.
        speaker: the name of the user or assistant who said it; "" for none.
        flags: `ASKS`, `TELLS_TIME`.
    """

    place: int
    terms: frozenset[str]
    length: int
    session: int
    speaker: str
    flags: int


class Query(NamedTuple):
    """A question as search sees it.

    Attributes:
        terms: its different terms, names of speakers left out, in a fixed order.
        speaker: the one speaker that it names; None for none or several.
        asks_when: whether it asks for a time.
        time: the term of the time that it names, see `said_in`; None for none.
    """

    terms: tuple[str, ...]
    speaker: str | None
    asks_when: bool
    time: str | None


def terms(text: str) -> list[str]:
    """Return the stems of the words of `text`, stop words left out, repeated as they occur."""
    return _read(text)[1]


def _read(text: str) -> tuple[str, list[str]]:
    """Return the language of what is in Latin letters, and the terms of all."""
    found = words(text)
    language = latin_language(text, found)
    stop_words = _STOP_WORDS[language]
    if language == "en" and text.isascii():
        return language, [stem(word) for word in found if word not in stop_words]
    stems = [_stem(word, language) for word in found if word not in stop_words]
    if language in _COMPOUNDING:
        stems += [inner for word in found for inner in inner_stems(word)]
    return language, stems + _HAN.findall(text)


def _stem(word: str, language: str) -> str:
    return stem(word) if language == "en" and word.isascii() else light_stem(word)


def searchable(message: Message) -> str:
    """Return the text of a message that can be searched: content, tool names and arguments."""
    calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join([message.text, *calls]) if calls else message.text


def document(index: int, message: Message, session: int) -> Document:
    """Return the document of the message at `index`, in the session that began at `session`.

    Where something was forgotten there is nothing to find.
    """
    if is_tombstone(message):
        return Document(index, frozenset(), 0, session, "", 0)
    text = searchable(message)
    language, found = _read(text)
    asks = ASKS if text.rstrip(_CLOSINGS).endswith(_QUESTION_MARKS) else 0
    said = message.timestamp
    return Document(
        index,
        frozenset(found).union(() if said is None else _times(said)),
        len(found),
        session,
        (message.name or "") if message.role in _SPEAKERS else "",
        asks | (TELLS_TIME if tells_time(text, language, found) else 0),
    )


def said_in(year: int | None, month: int | None) -> str | None:
    """Return the term of all that was said in a year, a month (1 to 12), or a month of a year."""
    if month is None:
        return None if year is None else f"@{year}"
    return f"@{year or ''}-{month:02d}"


def _times(said: datetime) -> Iterator[str]:
    for year, month in ((said.year, None), (None, said.month), (said.year, said.month)):
        yield said_in(year, month) or ""


def begins_session(before: datetime | None, now: datetime | None) -> bool:
    """Whether so much time lies between two messages that a new session begins."""
    if before is None or now is None:
        return False
    if (before.tzinfo is None) != (now.tzinfo is None):
        before, now = before.replace(tzinfo=None), now.replace(tzinfo=None)
    return now - before > SESSION_GAP


def query(text: str, speakers: Iterable[str]) -> Query:
    """Return what to look for; `speakers` are all names that speak in the transcript."""
    text = _with_plain_digits(_heard(text))
    found = words(text)
    language = latin_language(text, found)
    mentions = {name: _mentions(name, found, language) for name in sorted(speakers)}
    named = [name for name, said in mentions.items() if said]
    left_out = _STOP_WORDS[language].union(*mentions.values())
    looked_for = [word for word in found if word not in left_out]
    return Query(
        tuple(dict.fromkeys([*_forms(looked_for, language), *_HAN.findall(text)])),
        named[0] if len(named) == 1 else None,
        asks_when(text),
        said_in(year_of(text), month_of(text, language, found)),
    )


def _heard(text: str) -> str:
    """Return the beginning and the end of a long question, a short one as it is."""
    half = MOST_CHARACTERS // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n{text[-half:]}"


def _with_plain_digits(text: str) -> str:
    return _OTHER_DIGITS.sub(lambda digit: str(int(digit.group())), text)


def _forms(looked_for: Sequence[str], language: str) -> Iterator[str]:
    """Yield the terms that words are indexed under, whatever language they were said in."""
    for word in looked_for:
        yield _stem(word, language)
        if language != "en":
            yield stem(word)
        if language in _COMPOUNDING:
            yield from inner_stems(word)


def _mentions(name: str, found: Sequence[str], language: str) -> frozenset[str]:
    """Return those of the words that are `name`, inflected or not; none if a part of it is not."""
    parts = [_forms_of_name(part, found, language) for part in words(name)]
    return frozenset[str]().union(*parts) if all(parts) else frozenset()


def _forms_of_name(part: str, found: Sequence[str], language: str) -> list[str]:
    return [word for word in found if word == part or _inflects(part, word, language)]


def _inflects(part: str, word: str, language: str) -> bool:
    """Whether `word` is the name `part` with an ending, or in Arabic with a prefix."""
    if "\u0400" <= part[0] < "\u0530":
        part, language = part.rstrip("аяйь"), "ru"
    elif "\u0600" <= part[0] < "\u0780":
        return word.endswith(part) and bool(_NAME_PREFIX.fullmatch(word[: -len(part)]))
    endings = _NAME_ENDINGS.get(language)
    return (
        endings is not None
        and len(part) > 1
        and word.startswith(part)
        and endings.fullmatch(word, len(part)) is not None
    )
