"""Stems: Porter's for English, and light ones for other languages."""

from __future__ import annotations

import re

import pytest
import snowballstemmer  # type: ignore[import-untyped]
from hypothesis import example, given, strategies as st

from finite_memory_core.text.light_stem import inner_stems, light_stem
from finite_memory_core.text.stem import stem

PORTER = snowballstemmer.stemmer("porter")
ENDINGS = (
    "", "s", "ed", "ing", "ational", "ization", "fulness", "ousness", "iveness", "ement", "ion",
    "sses", "ies", "eed", "y", "ly", "ably", "e", "ll", "icate", "ative", "able", "ss", "ying",
)  # fmt: skip
ENGLISH = st.builds(
    lambda start, ending: start + ending,
    st.text("aeiouybcdfglmnrstvz", min_size=3, max_size=7),
    st.sampled_from(ENDINGS),
)
CHANGED = re.compile(r"bl[iy]|log[iy]|([^aeiouybdfgmnprtlsz])\1(ed|ing)")
"""Where we follow Porter's own later program and his paper, and Snowball's 'porter' does not."""


@given(ENGLISH)
@example("generalizations")
@example("oscillators")
@example("yyed")
def test_english_stems_are_those_of_snowball(word: str) -> None:
    """But for the three documented differences, two implementations of the algorithm agree."""
    if CHANGED.search(word) is None:
        assert PORTER.stemWord(word) == stem(word)


@pytest.mark.parametrize(
    ("word", "ours", "snowball"),
    [
        ("possibly", "possibl", "possibli"),
        ("apology", "apolog", "apologi"),
        ("trekked", "trek", "trekk"),
    ],
)
def test_documented_differences(word: str, ours: str, snowball: str) -> None:
    """Porter's later changes, and his rule for double consonants, bring related words together."""
    assert (ours, snowball) == (stem(word), PORTER.stemWord(word))


@pytest.mark.parametrize("word", ["ab", "3.5", "snake_case", "日本", "größe", "don't"])
def test_porter_leaves_other_terms_alone(word: str) -> None:
    """A wrong stem is worse than none."""
    assert word == stem(word)


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("German", ["wohnung", "wohnungen"]),
        ("Spanish", ["bicicleta", "bicicletas"]),
        ("Spanish", ["panadería", "panaderia", "panaderías"]),
        ("Russian", ["квартира", "квартиру", "квартире", "квартирой"]),
        ("Russian", ["чёрный", "черный", "чёрного"]),
        ("Finnish", ["konferenssi", "konferenssissa", "konferenssiin"]),
        ("Turkish", ["bisiklet", "bisikleti", "bisikletim"]),
        ("Greek", ["θάλασσα", "θάλασσας"]),
        ("Arabic", ["دراجة", "الدراجة", "دراجتي", "بالدراجة", "والدراجة"]),
        ("Arabic", ["سيارة", "السيارة", "وسيارة"]),
        ("Arabic", ["مَكْتَب", "مكتب", "المكتب"]),
        ("Hindi", ["साइकिल", "साइकिलें"]),
        ("Hindi", ["हफ़्ता", "हफ़्ते", "हफ्ते"]),
    ],
)
def test_forms_of_a_word_share_a_stem(language: str, forms: list[str]) -> None:
    """What inflects comes together."""
    assert 1 == len({light_stem(form) for form in forms}), language


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("٤٤٧١", "4471"),
        ("१०", "10"),
        ("2024-05-08", "2024-05-08"),
        ("日本", "日本"),
        ("서울", "서울"),
        ("ab", "ab"),
        ("oui", "oui"),
    ],
)
def test_light_stems_of_other_terms(word: str, expected: str) -> None:
    """Digits become European; scripts without a rule, and short words, stay as they are."""
    assert expected == light_stem(word)


@given(st.text(min_size=1).map(str.casefold).filter(bool))
def test_every_word_has_a_stem(word: str) -> None:
    """No word vanishes, whatever it is made of, and no rule fails."""
    assert light_stem(word)
    assert all(inner_stems(word))


def test_later_parts_of_a_compound_are_found() -> None:
    """The stem of the part by itself is among them; short words have no parts."""
    assert light_stem("hund") in inner_stems("windhündin")
    assert light_stem("projekt") in inner_stems("forschungsprojekt")
    assert [] == inner_stems("projekt")
    assert [] == inner_stems("2024-05-08t12")


def test_an_accent_on_nothing_is_its_own_stem() -> None:
    """It folds to nothing, and an empty term would stand for any such word."""
    assert "¨" == light_stem("¨")
