"""Stems of words of other languages than English, by three rules that need no dictionary.

Languages that inflect are served by cutting a word to its first letters about as well as by rules
of their own, and it needs no guess which of them it is: P. McNamee, C. Nicholas and J. Mayfield,
"Addressing morphological variation in alphabetic languages", SIGIR 2009. Accents are folded first,
and a vowel that is left at the end is dropped. Arabic writes articles, conjunctions and pronouns
as parts of the word, which are taken off (after L. Larkey, L. Ballesteros and M. Connell, "Light
stemming for Arabic information retrieval", 2007); Hindi inflects in vowel signs at the end (after
A. Ramanathan and D. Rao, "A lightweight stemmer for Hindi", 2003).

What each rule is worth, language by language, is in ``docs/languages.md``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import combining, digit, normalize

__all__ = ["inner_stems", "light_stem"]

_LETTERS = 5
_VOWELS = "aeiouyаеиоуыэюяьαειουηω"
_COMPOUND_LETTERS = 9

_TASHKEEL = re.compile("[\u064b-\u065f\u0670]")
_LETTER_FORMS = str.maketrans("أإآٱىةؤئ", "اااايهوي")
_PREFIX = re.compile("(?:[وف]?(?:[بك]?ال|لل))?[وف]?(?:س[اتين]|[لبس])?(?=...)")
_SUFFIX = re.compile("(?<=...)(?:ها|هم|نا|كم|ان|ات|ون|ين|يه|وا|تي|ه|ي|ك|ت|ا)$")

_HINDI_ENDING = re.compile("(?<=..)[\u0900-\u0903\u093e-\u094c]+$")
_NUKTA, _CHANDRABINDU, _ANUSVARA = "\u093c", "\u0901", "\u0902"


@lru_cache(maxsize=1 << 16)
def light_stem(word: str) -> str:
    """Return the stem of a word of any script but that of English; case-folded in and out.

    Digits of other scripts become European ones. Words of scripts without a rule stay as they are.
    """
    first = word[0]
    if first.isdigit():
        return word if word.isascii() else "".join(str(digit(c, c)) for c in word)
    if first < "\u0590" or "\u10a0" <= first < "\u1100" or "\u1e00" <= first < "\u2000":
        return _cut(_folded(word)) or word  # an accent on nothing folds to nothing
    if "\u0600" <= first < "\u0780":
        return _arabic(word)
    if "\u0900" <= first < "\u0980":
        return _hindi(word)
    return word


def inner_stems(word: str) -> list[str]:
    """Return the stems of what could be the later parts of a compound: of each of its endings.

    German writes compounds as one word; "Hund" is to be found in "Windhund". Which endings are
    words is not known here; those that are none find nothing.
    """
    if len(word) < _COMPOUND_LETTERS or not word.isalpha():
        return []
    word = _folded(word)
    return [_cut(word[start:]) for start in range(3, len(word) - _LETTERS + 1)]


def _folded(word: str) -> str:
    """Return the word without accents."""
    if word.isascii():
        return word
    letters = normalize("NFD", word.replace("ı", "i"))
    return "".join(letter for letter in letters if not combining(letter))


def _cut(word: str) -> str:
    cut = word[:_LETTERS]
    stem = cut.rstrip(_VOWELS)
    return stem if len(stem) > 2 else cut


def _arabic(word: str) -> str:
    word = _TASHKEEL.sub("", word).translate(_LETTER_FORMS)
    found = _PREFIX.match(word)
    return _SUFFIX.sub("", word[found.end() :] if found else word)


def _hindi(word: str) -> str:
    return _HINDI_ENDING.sub("", word.replace(_NUKTA, "").replace(_CHANDRABINDU, _ANUSVARA))
