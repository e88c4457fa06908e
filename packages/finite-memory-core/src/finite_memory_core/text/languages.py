"""Which language a text in Latin letters is in, told by its function words.

Other scripts need no guess: their words are told apart by their letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain

from .stopwords import STOP_WORDS_OF

__all__ = ["LATIN", "latin_language"]

LATIN = ("en", "de", "es", "fi", "fr", "it", "nl", "pt", "tr")
"""The languages that are told apart (ISO 639-1)."""

_ACCENTED = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_LETTERS = {"ß": "de", "ñ": "es", "¿": "es", "ã": "pt", "õ": "pt", "ğ": "tr", "ı": "tr", "ş": "tr"}
_ALSO_ENGLISH = frozenset({"em", "ya"})
"""Function words of other languages that English chats have as well, and that tell nothing."""
_LANGUAGES_OF = {
    word: tuple(language for language in LATIN if word in STOP_WORDS_OF[language])
    for word in frozenset[str]().union(*(STOP_WORDS_OF[language] for language in LATIN))
    - _ALSO_ENGLISH
}


def latin_language(text: str, words: Iterable[str]) -> str:
    """Return the language whose function words are most of `words`, which are those of `text`.

    Some letters count as two function words. Without any, or where no other language has more, it
    is English; where letters are left that English has not, it is unknown: ``""``. What is in
    another script only has none of all this, and counts as English.
    """
    votes = Counter(chain.from_iterable(filter(None, map(_LANGUAGES_OF.get, words))))
    if not text.isascii():
        votes.update(2 * [language for letter, language in _LETTERS.items() if letter in text])
        if not votes and _ACCENTED.search(text):
            return ""
    return _most(votes) if votes else "en"


def _most(votes: Counter[str]) -> str:
    """Return the language with most votes; among equals, the first of `LATIN`."""
    most = max(votes.values())
    return next(language for language in LATIN if votes[language] == most)
