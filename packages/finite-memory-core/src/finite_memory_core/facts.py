"""Facts: what a sentence holds that must neither be lost nor be invented.

A fact is a sentence, word for word, with a value in it (a number with its unit, a date, a time, a
name, an identifier, a path, a URL), a negation or a decision. Whether a value stands in another
text is asked of `Said`, in both directions: whether a summary still has what was said, and whether
what it states was said at all. No model, no language guessed but German, whose nouns all look like
names. Names are told by capitals, so scripts without them have none, katakana aside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple
from unicodedata import decimal, normalize
from weakref import WeakKeyDictionary

from .blocks import Block
from .messages import Message
from .policies.dates import CALENDAR_WORDS
from .policies.information import asks, looks_like_name
from .text.languages import latin_language
from .text.sentences import sentences
from .text.signals import decides, negates
from .text.stopwords import STOP_WORDS
from .text.words import words

LONGEST = 240
"""Characters of a fact; a longer sentence is kept in pieces."""

NUMBER, NAME, DATE, CODE = "number", "name", "date", "code"
_EXACT, _VALUE, _DECISION, _NEGATION = 8.0, 4.0, 5.0, 2.0
_STRONG = frozenset({NUMBER, CODE})
"""Kinds that make even a question a fact: "can you book a table for 4?" """

# Of the scripts that put spaces between words, so that 1250 in 家賃は1250円です is a number.
_ID = r"[^\W\u0900-\u1fff\u2e80-\uffff]"
_CODE = re.compile(
    rf"""
    (?<!{_ID})[a-zA-Z][a-zA-Z0-9+.-]{{,15}}://[^\s<>"'`]+    # a URL
    | (?<!{_ID})[\w.+-]{{1,64}}@[\w-]+(?:\.[\w-]+)+          # an e-mail address
    | (?<![\w/])(?:~|\.{{1,2}})?/[\w.@-]+(?:/[\w.@-]*)*     # a path
    | (?<!{_ID})[A-Za-z]:\\[^\s"'`]+
    | `[^`\n]{{1,80}}`
    | (?<!{_ID})(?=(?:{_ID}|-)*\d)(?=(?:{_ID}|-)*(?![\d_]){_ID})
      {_ID}+(?:[-_.\#]{_ID}+)*                             # INV-20493, tulip-marble-92
    | (?<!{_ID})(?={_ID}*[^\W_]_[^\W_]){_ID}+               # snake_case
    | (?<![\w-])[\w-]{{2,}}\.[a-z][a-z0-9]{{1,4}}\b(?!\.?\w)  # a file, a host
    | (?<!\w)[@\#][\w-]+
    """,
    re.VERBOSE,
)
_MAYBE_CODE = re.compile(r"[\d@#/\\_`]|\w\.[a-z]")
_WITH_UNIT = re.compile(
    r"(\d+(?:[.,]\d+)*)(?:-?[^\W\d_]{1,4}|(?:-[^\W\d_]+)+)\Z"
)  # 5km, 10-year-old
_NUMBER = re.compile(r"\d+(?:[.,:/'’\u00a0\u202f-]\d+)*")
_UNIT = re.compile(r"\s?([%°€$£¥\u2e80-\uffff]|[^\W\d_]+)")
_THOUSANDS = re.compile(r"(?<=\d)[.,'’\u00a0\u202f](?=\d{3}(?!\d))")
_LIST_NUMBER = re.compile(r"^[ \t]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{2,}")
_CAPITALISED = re.compile(r"(?<![A-Za-z])[A-Z][A-Za-z]+")
_ANY_WORD = re.compile(r"[^\W_]+")
_DIGIT = re.compile(r"\d")
_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc]{3,}")
_DATED = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_TIMED = re.compile(r"\d{1,4}(?::\d{1,4}){1,2}|\d{1,2}\.\d{1,2}\.\d{2,4}")
_ENDS = ".,;:!?)]}'\"`"
_GREEK_OR_CYRILLIC = re.compile("[\u0370-\u052f]")
_CAPITALISED_NOUN = re.compile(
    r"(?:\b(?i:de[rsmn]|die|das|eine?[nrms]?|[mdsk]eine?[nrms]?|ihre?[nrms]?|unse?re?[nrms]?|zu[mr]|"
    r"[ai]m|i?ns|beim|vom|jede[nrms]?|diese[nrms]?|viele?n?|mehr|kein)|\b[a-zäöüß]+e[nrms]?)\s\Z"
)
_DOES = re.compile(
    r"(?:['’]s\b|\s(?:is|was|has|had|will|lives|works|likes|loves|hates|wants|said|says|asked|told|"
    r"owns|called|moved|prefers|plays|bought|went|got|met|vive|habite|abita|mora|wohnt|lebt|heißt|"
    r"woont|tiene|hat)\b)"
)
_NO_NAMES = frozenset(
    """
    everything nothing something anything everyone everybody someone somebody nobody anyone one
    another both each either neither other others today tomorrow yesterday tonight earlier later
    here there now then user assistant system tool all many much most some several few more less
    half part enough time work life home family health weather breakfast lunch dinner food money
    music love help advice people nature
    """.split()  # noqa: SIM905
)
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "prof", "may"})
"""Written with a capital and no names; "may" where it is a month."""
_PEOPLE = ("ian", "ean", "ish", "ese", "an", "n", "i")
"""Endings that make of a country who lives there."""
_NOUN_ENDINGS = ("ing", "ion", "ment", "ness", "ity", "ship")
_NOT_NAMES = CALENDAR_WORDS | _TITLES
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        """
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
        fifteen sixteen seventeen eighteen nineteen twenty
        """.split()  # noqa: SIM905
    )
}


class Value(NamedTuple):
    """Something in a sentence that is right or wrong, to the letter.

    Attributes:
        kind: `NUMBER`, `NAME`, `DATE` (a day or month by its name) or `CODE` (an identifier, a
            path, a URL, an address).
        key: how it is compared.
        unit: the word behind a small number, without which it says nothing; "" for none.
    """

    kind: str
    key: str
    unit: str = ""


class Fact(NamedTuple):
    """A sentence that must be kept.

    Attributes:
        place: the transcript index of the message that said it; -1 for a sentence of a summary.
        text: who said it, and the sentence, word for word.
    """

    place: int
    text: str

    @property
    def said(self) -> str:
        """The sentence without its speaker."""
        return self.text.partition(": ")[2] or self.text


_facts_of: WeakKeyDictionary[Block, tuple[Fact, ...]] = WeakKeyDictionary()


def facts_of(block: Block) -> tuple[Fact, ...]:
    """Return the facts of a block, in order; read once for each."""
    found = _facts_of.get(block)
    if found is None:
        found = _facts_of[block] = tuple(_read(block))
    return found


def _read(block: Block) -> Iterator[Fact]:
    for position, message in enumerate(block.messages):
        place = block.index + position
        speaker = speaker_of(message)
        for call in message.tool_calls:
            text = f"called {call.name} {call.arguments}"
            yield from (Fact(place, f"{speaker}: {piece}") for piece in _pieces(text))
        for piece in _said_in(message.text):
            yield Fact(place, f"{speaker}: {piece}")


def facts_in(summary: str) -> Iterator[Fact]:
    """Yield the facts of a summary, a sentence each."""
    for line in summary.split("\n"):
        yield from (Fact(-1, piece) for piece in _said_in(line))


def speaker_of(message: Message) -> str:
    """Return who said it, on one line."""
    return " ".join((message.name or message.role.value).split())


def weight(said: str) -> float:
    """Return how much the facts of a sentence count when not all can be kept; 0.0 for none."""
    terms = frozenset(words(said))
    total = sum(_EXACT if _says_enough(value) else _VALUE for value in set(values(said)))
    if negates(said, terms) and len(terms - STOP_WORDS) > 1:
        total += _NEGATION
    return total + (_DECISION if decides(said, terms) else 0.0)


def _said_in(text: str) -> Iterator[str]:
    for start, end in sentences(text):
        sentence = text[start:end]
        asked = asks(sentence)
        for piece in _pieces(sentence):
            if asked:
                if any(value.kind in _STRONG for value in values(piece)):
                    yield piece
            elif weight(piece):
                yield piece


def _pieces(sentence: str) -> Iterator[str]:
    """Yield a sentence on one line, in pieces of at most `LONGEST` characters, between words."""
    line = " ".join(sentence.split())
    start = 0
    while len(line) - start > LONGEST:
        half, end = start + LONGEST // 2, start + LONGEST
        cut = max(line.rfind(mark, half, end) + 1 for mark in (", ", "; ", "} ", ") "))
        cut = cut or line.rfind(" ", half, end) + 1 or end
        yield line[start:cut].strip()
        start = cut
    if line[start:].strip():
        yield line[start:].strip()


# -- values ---------------------------------------------------------------------------------------


def values(text: str) -> list[Value]:
    """Return the values of a text, in no particular order; numbers of list items are none."""
    text = _plain(text)
    found: list[Value] = []
    rest = text
    if _MAYBE_CODE.search(text):
        rest = _LIST_NUMBER.sub(lambda match: " " * len(match.group()), text)
        rest = _CODE.sub(lambda match: _take_code(match.group(), found), rest)
        found += [_number(rest, match) for match in _NUMBER.finditer(rest)]
    found += [Value(NAME, name.casefold()) for name in _names(rest)]
    if not rest.isascii():
        found += [Value(NAME, match.group()) for match in _KATAKANA.finditer(rest)]
    in_calendar = CALENDAR_WORDS.intersection(_WORD.findall(rest.casefold()))
    return found + [Value(DATE, word) for word in sorted(in_calendar)]


def _take_code(code: str, found: list[Value]) -> str:
    """Add a code to `found` and return what stands in its place: white space of its length."""
    tight = code.strip("`").rstrip(_ENDS)
    counted = _WITH_UNIT.match(tight)
    if counted is not None:
        unit = tight[counted.end(1) :].strip("-").casefold()
        found.append(Value(NUMBER, _canonical(counted[1]), unit if unit not in _ORDINALS else ""))
    elif tight:
        found.append(Value(CODE, tight.casefold()))
    return " " * len(code)


_ORDINALS = frozenset({"st", "nd", "rd", "th"})


def _number(text: str, match: re.Match[str]) -> Value:
    key = _canonical(match.group())
    if len(key) > 2:
        return Value(NUMBER, key)
    unit = _UNIT.match(text, match.end())
    return Value(NUMBER, key, unit[1].casefold() if unit else "")


def _canonical(number: str) -> str:
    """Return a number without separators of thousands and leading zeros."""
    joined = _THOUSANDS.sub("", number) if not _DATED.fullmatch(number) else number
    return ":".join(part.lstrip("0") or "0" for part in re.split(r"[:/-]", joined))


def _plain(text: str) -> str:
    """Return the text in compatibility form, with digits of every script as 0 to 9."""
    if text.isascii():
        return text
    text = normalize("NFKC", text)
    return re.sub(r"[^\D0-9]", lambda match: str(decimal(match.group())), text)


def _names(text: str) -> Iterator[str]:
    """Yield the words that look like names."""
    if text.isupper():
        return
    german: bool | None = None
    capitalised = _CAPITALISED if text.isascii() else _WORD
    for match in capitalised.finditer(text):
        word, start = match.group(), match.start()
        if not word[0].isupper() or word.casefold() in _NOT_NAMES:
            continue
        if not looks_like_name(text, start, word):
            if _begins_as_name(text, match):
                yield word
            continue
        if not _CAPITALISED_NOUN.search(text, max(0, start - 24), start):
            yield word
            continue
        if german is None:
            german = latin_language(text, words(text)) == "de"
        if not german:
            yield word


def _begins_as_name(text: str, match: re.Match[str]) -> bool:
    """Whether a word that begins a sentence is who does what follows."""
    word = match.group().casefold()
    if word in STOP_WORDS or word in _NO_NAMES or word.endswith(_NOUN_ENDINGS):
        return False
    return _DOES.match(text, match.end()) is not None


# -- what was said --------------------------------------------------------------------------------


class Said:
    """A text, to be asked whether values stand in it."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._source = "\n".join(texts)

    @cached_property
    def _flat(self) -> str:
        """On one line."""
        return " ".join(self._source.split())

    @cached_property
    def _text(self) -> str:
        return _plain(self._source).casefold()

    @cached_property
    def _flat_text(self) -> str:
        return " ".join(self._text.split())

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(_ANY_WORD.findall(self._text)) | frozenset(words(self._source))

    @cached_property
    def _numbers(self) -> frozenset[str]:
        found = {value.key for value in values(self._source) if value.kind == NUMBER}
        found.update(map(_canonical, _NUMBER.findall(self._text)))
        found.update(n for word, n in _NUMBER_WORDS.items() if word in self._words)
        return frozenset(found).union(*(n.split(":") for n in found))

    @cached_property
    def _parts(self) -> frozenset[str]:
        """What dates and times are made of."""
        return frozenset(digits.lstrip("0") or "0" for digits in re.findall(r"\d+", self._text))

    @cached_property
    def _dated(self) -> bool:
        return _DATED.search(self._text) is not None

    @cached_property
    def _inflects(self) -> bool:
        """Whether names take other endings in other cases."""
        if _GREEK_OR_CYRILLIC.search(self._text):
            return True
        return latin_language(self._text, self._words) in ("", "fi", "tr")

    @cached_property
    def _begun(self) -> dict[str, list[str]]:
        """The words by their first three letters."""
        found: dict[str, list[str]] = {}
        for word in self._words:
            found.setdefault(word[:3], []).append(word)
        return found

    @cached_property
    def _sentences(self) -> list[tuple[bool, bool]]:
        """Of each sentence, whether it negates and whether it decides something."""
        return [(negates(s, terms), decides(s, terms)) for s, terms in self._spans]

    @cached_property
    def _spans(self) -> list[tuple[str, frozenset[str]]]:
        return [found for line in self._text.split("\n") for found in _sentences_of(line)]

    @cached_property
    def _holding(self) -> dict[str, list[int]]:
        """Of each word, in which sentences it stands."""
        found: dict[str, list[int]] = {}
        for i, (_, terms) in enumerate(self._spans):
            for term in terms:
                found.setdefault(term, []).append(i)
        return found

    def quotes(self, line: str) -> bool:
        """Whether a line stands here word for word, perhaps behind its speaker."""
        line = " ".join(line.split())
        if line in self._flat:
            return True
        speaker, _, said = line.partition(": ")
        return bool(said) and said in self._flat and speaker in self._flat

    def keeps(self, fact: Fact) -> bool:
        """Whether the fact stands here: the sentence itself, or all that it says."""
        said = _plain(fact.said).casefold()
        if said in self._text:
            return True
        found = values(fact.said)
        if not all(self.has(value) and self._has_unit(value) for value in found):
            return False
        terms = frozenset(words(fact.said))
        negated, decided = negates(fact.said, terms), decides(fact.said, terms)
        if not (negated or decided) and any(map(_says_enough, found)):
            return True
        return self._says(terms - STOP_WORDS, negated, decided)

    def _says(self, terms: frozenset[str], negated: bool, decided: bool) -> bool:
        """Whether one sentence has most of `terms`, and negates or decides as they do."""
        shared = Counter(i for term in terms for i in self._holding.get(term, ()))
        for i, count in shared.items():
            if 2 * count > len(terms):
                is_negated, is_decided = self._sentences[i]
                if (is_negated or not negated) and (is_decided or not decided):
                    return True
        return False

    def has(self, value: Value) -> bool:
        """Whether the value stands here, perhaps written in another way."""
        if value.kind == NUMBER:
            return self._has_number(value.key)
        if value.kind == CODE:
            return self._has_code(value.key)
        if value.kind == DATE:
            return value.key in self._words
        return self._has_name(value.key)

    def allows(self, value: Value) -> bool:
        """Whether a summary of this may state the value. Dates may be named where any is given."""
        if value.kind == DATE:
            return self._dated or self.has(value)
        if value.kind == CODE and not (_DIGIT.search(value.key) or "@" in value.key):
            return "://" not in value.key or self.has(value)
        return self.has(value)

    def _has_unit(self, value: Value) -> bool:
        if not value.unit:
            return True
        begin = re.escape(value.unit[:4])
        behind = rf"(?<!\d)0*{value.key}[\s-]?{begin}"
        return re.search(behind, self._text) is not None or any(
            word.startswith(value.unit[:4]) for word in self._begun.get(value.unit[:3], ())
        )

    def _has_number(self, key: str) -> bool:
        if key in self._numbers:
            return True
        if not _TIMED.fullmatch(key):
            return False
        parts = re.split(r"\D", key)
        missing = [part for part in parts if part not in self._parts]
        is_month = len(parts) == 3 and len(missing) == 1 and int(missing[0]) <= 12
        return not missing or (is_month and not self._words.isdisjoint(CALENDAR_WORDS))

    def _has_code(self, key: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(key)}(?!\w)", self._flat_text) is not None

    def _has_name(self, key: str) -> bool:
        if key in self._words or (not key.isascii() and key in self._text):
            return True
        if len(key) < 4:
            return False
        return any(self._is_form(key, word) for word in self._begun.get(key[:3], ()))

    def _is_form(self, name: str, word: str) -> bool:
        """Whether two words are forms of one name: Turin and Turinese, Italy and Italian."""
        short = min(len(name), len(word))
        if short < 4 or abs(len(name) - len(word)) > 4:
            return False
        least = short if not self._inflects else short - (1 if short <= 5 else 2)
        if name[:least] == word[:least]:
            return True
        stem = next((name.removesuffix(end) for end in _PEOPLE if name.endswith(end)), name)
        return len(stem) > 3 and word.startswith(stem) and len(word) - len(stem) < 3


def _says_enough(value: Value) -> bool:
    """Whether a value is one of its kind: where 1,250 stands again, it is what was meant."""
    return value.kind == CODE or (value.kind == NUMBER and len(value.key) > 2)


def _sentences_of(line: str) -> Iterator[tuple[str, frozenset[str]]]:
    for start, end in sentences(line):
        yield line[start:end], frozenset(words(line[start:end]))


def invented(summary: str, said: Said) -> str | None:
    """Return a number, name, date or identifier of `summary` that was never said; None for none."""
    stated = "\n".join(line for line in summary.split("\n") if not said.quotes(line))
    for value in values(stated):
        if not said.allows(value):
            return f"the {value.kind} {value.key!r}"
    return None


def sources(previous: str, blocks: Iterable[Block]) -> Iterator[str]:
    """Yield all that a summary may draw on: the summary before, and what is folded into it."""
    yield previous
    for block in blocks:
        yield block.text
        for message in block.messages:
            yield f"{message.role.value} {speaker_of(message)}"
            yield from (f"called {call.name} {call.arguments}" for call in message.tool_calls)
            if message.timestamp is not None:
                yield message.timestamp.date().isoformat()
