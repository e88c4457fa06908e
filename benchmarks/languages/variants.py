"""The ways to analyse a text that are compared: what ships, less than that, and Snowball."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from unittest.mock import patch

from finite_memory_core.recall import analysis
from finite_memory_core.recall.times import tells_time
from finite_memory_core.text.languages import LATIN, latin_language
from finite_memory_core.text.light_stem import light_stem
from finite_memory_core.text.stopwords import STOP_WORDS_OF
from finite_memory_core.text.words import words

_NOTHING = re.compile("(?!)")
_ENGLISH_WHEN = re.compile(
    r"\b(?:when|what (?:date|day|time|year|month)|how long|how many (?:days|weeks|months|years))\b",
    re.IGNORECASE,
)
_SNOWBALL = {
    "ar": "arabic", "de": "german", "en": "porter", "es": "spanish", "fi": "finnish",
    "hi": "hindi", "ru": "russian", "tr": "turkish",
}  # fmt: skip


def _as_it_is(word: str) -> str:
    return word


def _no_pieces(_word: str) -> list[str]:
    return []


def _not_inflected(*_: object) -> bool:
    return False


def _no_stop_words() -> dict[str, frozenset[str]]:
    return dict.fromkeys(["", *LATIN], frozenset())


def _without(language: str) -> dict[str, frozenset[str]]:
    gone = STOP_WORDS_OF[language]
    return {code: listed - gone for code, listed in analysis._STOP_WORDS.items()}


def _only_english(text: str, _language: str, _terms: object) -> bool:
    return tells_time(text, "en", ())


def _as_shipped(text: str, _language: str, _terms: object) -> bool:
    """Tell the time as the shipped analysis does, whatever the terms of the index are."""
    found = words(text)
    return tells_time(text, latin_language(text, found), [light_stem(word) for word in found])


def _english_asks_when(text: str) -> bool:
    return _ENGLISH_WHEN.search(text) is not None


_UNINFLECTED: dict[str, object] = {
    "stem": _as_it_is, "light_stem": _as_it_is, "inner_stems": _no_pieces, "_HAN": _NOTHING,
    "_inflects": _not_inflected, "tells_time": _as_shipped,
}  # fmt: skip
_BEFORE: dict[str, object] = {
    "light_stem": _as_it_is, "inner_stems": _no_pieces, "_HAN": _NOTHING,
    "_inflects": _not_inflected, "latin_language": lambda *_: "en",
    "_STOP_WORDS": {"en": STOP_WORDS_OF["en"]}, "tells_time": _only_english,
    "asks_when": _english_asks_when,
}  # fmt: skip
COMPARED: dict[str, dict[str, object]] = {
    "words": {**_UNINFLECTED, "_STOP_WORDS": _no_stop_words()},
    "without stop words": _UNINFLECTED,
    "for English only": _BEFORE,
    "shipped": {},
}
"""What is put in the place of parts of the analysis, for each of the variants."""

_ALL_BUT_ENGLISH = ("de", "es", "fi", "tr", "ru", "ar", "hi", "ja", "zh")
PARTS: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "words cut to five letters": (
        ("de", "es", "fi", "tr", "ru"), {"light_stem": _as_it_is, "tells_time": _as_shipped}
    ),
    "Arabic prefixes and suffixes": (
        ("ar",), {"light_stem": _as_it_is, "tells_time": _as_shipped}
    ),
    "Hindi vowel signs": (("hi",), {"light_stem": _as_it_is, "tells_time": _as_shipped}),
    "later parts of compounds": (("de",), {"inner_stems": _no_pieces}),
    "single Han characters": (("ja", "zh"), {"_HAN": _NOTHING}),
    "pairs of kana as stop words": (("ja",), {"_STOP_WORDS": _without("ja")}),
    "stop words by language": (
        _ALL_BUT_ENGLISH, {"_STOP_WORDS": dict.fromkeys(["", *LATIN], STOP_WORDS_OF["en"])}
    ),
    "inflected names": (("de", "fi", "ru", "ar"), {"_inflects": _not_inflected}),
    "time words by language": (
        _ALL_BUT_ENGLISH, {"tells_time": _only_english, "asks_when": _english_asks_when}
    ),
}  # fmt: skip
"""Parts of the analysis: the languages that they are for, and what stands in their place."""


@contextmanager
def analysed(replaced: dict[str, object]) -> Iterator[None]:
    """Analyse texts with parts of the analysis replaced."""
    with ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(patch.object(analysis, name, value))
        yield


def snowball(code: str) -> dict[str, object] | None:
    """Return the replacement that stems by the rules of the language, which it is told.

    None where `snowballstemmer` is not installed or has no rules.
    """
    if code not in _SNOWBALL or find_spec("snowballstemmer") is None:
        return None
    import snowballstemmer  # type: ignore[import-untyped]

    stem: Callable[[str], str] = snowballstemmer.stemmer(_SNOWBALL[code]).stemWord
    stop_words = STOP_WORDS_OF[code]

    def terms(text: str) -> tuple[str, list[str]]:
        return code, [stem(word) for word in words(text) if word not in stop_words]

    def forms(looked_for: list[str], _language: str) -> list[str]:
        return [stem(word) for word in looked_for if word not in stop_words]

    return {"_read": terms, "_forms": forms, "_HAN": _NOTHING, "tells_time": _as_shipped}


def told(code: str) -> dict[str, object]:
    """Return the replacement that knows the language, as a detector without errors would."""
    language = code if code in LATIN else "en"  # as for texts in other scripts
    return {"latin_language": lambda *_: language}
