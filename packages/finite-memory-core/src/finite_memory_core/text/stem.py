"""Stems of English words, by Porter's algorithm.

M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, with the author's later
changes (``abli`` becomes ``ble`` by way of ``bli``, and ``logi`` becomes ``log``). Words of other
languages are left as they are: a wrong stem is worse than none.
"""

from __future__ import annotations

import re
from functools import lru_cache

_CONSONANT = "[^aeiou]"
_VOWEL = "[aeiouy]"
_CS = f"{_CONSONANT}[^aeiouy]*"
_VS = f"{_VOWEL}[aeiou]*"
_M_OVER_0 = re.compile(f"^({_CS})?{_VS}{_CS}")
_M_IS_1 = re.compile(f"^({_CS})?{_VS}{_CS}({_VS})?$")
_M_OVER_1 = re.compile(f"^({_CS})?{_VS}{_CS}{_VS}{_CS}")
_HAS_VOWEL = re.compile(f"^({_CS})?{_VOWEL}")
_CVC = re.compile(f"^{_CS}{_VOWEL}[^aeiouwxy]$")
_DOUBLE = re.compile(r"([^aeiouylsz])\1$")
_ENGLISH = re.compile(r"[a-z]{3,}\Z")

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize",
    "bli": "ble", "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous",
    "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al", "iveness": "ive",
    "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
    "logi": "log",
}  # fmt: skip
_STEP_3 = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
_ENDS_2 = re.compile(f"({'|'.join(sorted(_STEP_2, key=len, reverse=True))})$")
_ENDS_3 = re.compile(f"({'|'.join(sorted(_STEP_3, key=len, reverse=True))})$")
_ENDS_4 = re.compile(
    "(ement|ance|ence|able|ible|ment|ant|ent|ism|ate|iti|ous|ive|ize|al|er|ic|ou)$"
)


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the stem of a lower-case English word; any other term as it is."""
    if not _ENGLISH.match(word):
        return word
    first = word[0]
    if first == "y":  # a consonant here; `Y` keeps it out of the vowels
        word = "Y" + word[1:]
    word = _step_5(_step_4(_step_3(_step_2(_step_1(word)))))
    return "y" + word[1:] if first == "y" else word


def _step_1(word: str) -> str:
    """Plurals, past tenses and participles, and a final y."""
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        if _M_OVER_0.match(word[:-3]):
            word = word[:-1]
    else:
        word = _without_ed_or_ing(word)
    if word.endswith("y") and _HAS_VOWEL.match(word[:-1]):
        word = word[:-1] + "i"
    return word


def _without_ed_or_ing(word: str) -> str:
    for ending in ("ed", "ing"):
        if word.endswith(ending):
            base = word[: -len(ending)]
            return _restored(base) if _HAS_VOWEL.match(base) else word
    return word


def _restored(base: str) -> str:
    """Mend what is left of a word without its ``ed`` or ``ing``."""
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if _DOUBLE.search(base):
        return base[:-1]
    return base + "e" if _CVC.match(base) else base


def _step_2(word: str) -> str:
    return _replaced(word, _ENDS_2, _STEP_2)


def _step_3(word: str) -> str:
    return _replaced(word, _ENDS_3, _STEP_3)


def _replaced(word: str, ends: re.Pattern[str], by: dict[str, str]) -> str:
    found = ends.search(word)
    if found is None:
        return word
    base = word[: found.start()]
    return base + by[found.group()] if _M_OVER_0.match(base) else word


def _step_4(word: str) -> str:
    """Drop a suffix from what is long enough without it."""
    found = _ENDS_4.search(word)
    if found is not None:
        base = word[: found.start()]
        return base if _M_OVER_1.match(base) else word
    if word.endswith(("sion", "tion")) and _M_OVER_1.match(word[:-3]):
        return word[:-3]
    return word


def _step_5(word: str) -> str:
    """Drop a final e, and one of two final l."""
    if word.endswith("e"):
        base = word[:-1]
        if _M_OVER_1.match(base) or (_M_IS_1.match(base) and not _CVC.match(base)):
            word = base
    if word.endswith("ll") and _M_OVER_1.match(word):
        word = word[:-1]
    return word
