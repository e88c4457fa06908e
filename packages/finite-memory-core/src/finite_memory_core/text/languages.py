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
_LANGUAGES_OF = {
    word: tuple(language for language in LATIN if word in STOP_WORDS_OF[language])
    for word in chain.from_iterable(STOP_WORDS_OF[language] for language in LATIN)
}


def latin_language(text: str, words: Iterable[str]) -> str:
    """Return the language whose function words are most of `words`, which are those of `text`.

    Without any, or where others have no more, it is English; with letters that English has not, it
    is unknown: ``""``.
    """
    votes = Counter(chain.from_iterable(_LANGUAGES_OF.get(word, ()) for word in words))
    if not votes:
        return "" if _ACCENTED.search(text) else "en"
    most = max(votes.values())
    return next(language for language in LATIN if votes[language] == most)
