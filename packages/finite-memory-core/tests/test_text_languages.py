"""Languages in Latin letters, told by their function words."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from finite_memory_core.text.languages import LATIN, latin_language
from finite_memory_core.text.words import words


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The oven is still on its way from Lyon."),
        ("de", "Der Ofen ist noch unterwegs von Lyon."),
        ("es", "El horno sigue de camino desde Lyon."),
        ("fi", "Uuni on vielä matkalla Lyonista."),
        ("fr", "Le four est encore en route depuis Lyon."),
        ("it", "Il forno è ancora in viaggio da Lione."),
        ("nl", "De oven is nog onderweg uit Lyon."),
        ("pt", "O forno não está aqui, mas já vem de Lyon."),
        ("tr", "Fırın hâlâ Lyon'dan yolda."),
        ("en", "See ya, Jon!"),
        ("en", "Kovač? She said that he never stops talking."),
        ("en", "Печь ещё едет из Лиона."),
        ("en", "まだリヨンから輸送中だよ。"),
        ("en", ""),
        ("", "Příjemný večer"),
    ],
)
def test_language_of_a_message(language: str, text: str) -> None:
    """A few function words tell; without any it is English, or unknown by its letters."""
    assert language == latin_language(text, words(text))


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    """It is one of the languages, or unknown."""
    assert latin_language(text, words(text)) in {"", *LATIN}
