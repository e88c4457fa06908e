"""Lexical terms of many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from finite_memory_core.text.stopwords import STOP_WORDS, STOP_WORDS_OF
from finite_memory_core.text.words import words

TEXTS = st.text(st.characters() | st.sampled_from("aB1'’._@-: 你かกကក한é\u0301\u200cمहि"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where does Ada live?", ["where", "does", "ada", "live"]),
        ("Ada's sister doesn't know", ["ada", "sister", "doesn't", "know"]),
        ("Ada’s sister doesn’t", ["ada", "sister", "doesn't"]),
        ("'quoted' \"words\"", ["quoted", "words"]),
        ("12:30 on 2024-05-08", ["12:30", "on", "2024-05-08"]),
        ("3.5 or 1,200 or 7/8.", ["3.5", "or", "1,200", "or", "7/8"]),
        ("3.5kg", ["3.5", "kg"]),
        ("check-in", ["check", "in"]),
        ("snake_case", ["snake_case", "snake", "case"]),
        ("src/main.py", ["src", "main.py", "main", "py"]),
        ("ada@example.org", ["ada@example.org", "ada", "example", "org"]),
        ("__init__ _ __", ["__init__"]),
        ("v1.2 is out.", ["v1.2", "v1", "2", "is", "out"]),
        ("L'année d’Ada", ["l", "année", "d", "ada"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ﬁne ＡＢＣ１", ["fine", "abc1"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("Привет, мир!", ["привет", "мир"]),
        ("Γειά σου", ["γειά", "σου"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया"]),
        ("ஆற்றங்கரையில் சிறிய", ["ஆற்றங்கரையில்", "சிறிய"]),
        ("مرحبا بالعالم؟", ["مرحبا", "بالعالم"]),
        ("می‌گیرم", ["میگیرم"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("你好世界", ["你好", "好世", "世界"]),
        ("我 a", ["我", "a"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("iPhone很好用", ["iphone", "很好", "好用"]),
        ("ตัว", ["ตั", "ัว"]),
        ("ຂ້າ", ["ຂ້", "້າ"]),
        ("ខ្មែរ", ["ខ្", "្ម", "មែ", "ែរ"]),
        ("မြန်", ["မြ", "ြန", "န်"]),
        ("🎉 !? …", []),
        ("", []),
        ("a\0b \ud800", ["a", "b"]),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    """Words where spaces part them, pairs of characters where not; numbers and names whole."""
    assert expected == words(text)


@given(TEXTS)
def test_terms_have_no_space_and_are_not_empty(text: str) -> None:
    """Any string yields terms, none of them empty or with white space inside."""
    assert all(term and not any(map(str.isspace, term)) for term in words(text))


@given(st.text(st.sampled_from("aBcÀéÇ ÑжЖΩω.'1")))
def test_case_does_not_matter(text: str) -> None:
    """A text has the same terms in capitals as in small letters."""
    assert words(text.lower()) == words(text.upper())


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_is_the_same_way(text: str) -> None:
    """A character beyond ASCII elsewhere in the text does not change the terms of the rest."""
    assert [*words(text), "é"] == words(text + " é")


@pytest.mark.parametrize("language", sorted(STOP_WORDS_OF))
def test_stop_words_are_terms(language: str) -> None:
    """Each stop word is what `words` makes of it, so that a comparison can hit."""
    assert {word: [word] for word in STOP_WORDS_OF[language]} == {
        word: words(word) for word in STOP_WORDS_OF[language]
    }


def test_stop_words_are_small_sets_of_function_words() -> None:
    """English is the default; content words are in no list."""
    assert STOP_WORDS is STOP_WORDS_OF["en"]
    assert {"the", "of", "don't", "i'm"} <= STOP_WORDS
    assert all(len(listed) <= 120 for listed in STOP_WORDS_OF.values())
    assert not {"time", "work", "turin"} & STOP_WORDS
