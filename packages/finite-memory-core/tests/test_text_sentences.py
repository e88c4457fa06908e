"""Sentences: spans that cover a text, in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from finite_memory_core.text.graphemes import is_boundary
from finite_memory_core.text.sentences import sentences

CHARACTERS = list(
    ' \n."aBé-;ς\u0301\ufe0f\u2028\ud800\u3002\u300d\u4f60\u0964\u203c\uff0e\U0001f469'
)
PIECES = st.sampled_from(
    ["Dr.", "\r\n", "\n\n", "...", "?!", "1.", "e.g.", "```", "~~~", "- x", *CHARACTERS]
)
TEXTS = st.lists(PIECES | st.text(max_size=3)).map("".join)


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(TEXTS)
def test_spans_cover_the_text(text: str) -> None:
    """Joined, the sentences are the text; none is empty."""
    assert text == "".join(split(text))
    assert all(split(text))


@given(TEXTS)
def test_no_grapheme_is_cut(text: str) -> None:
    """Every sentence ends where a grapheme ends."""
    assert all(is_boundary(text, end) for _, end in sentences(text))


@given(TEXTS)
def test_a_sentence_says_something(text: str) -> None:
    """No sentence is white space only, unless there is nothing else behind the last one."""
    assert all(piece.strip() for piece in split(text)[:-1])


@pytest.mark.parametrize(
    "expected",
    [
        ["It rained. ", "We stayed! ", "Why? ", "Nobody knew."],
        ["你好。", "今天好吗？", "很好！", "走吧"],
        ["「もう行くの？」", "彼女は笑った。", "そうだ｡", "ﾊｲ"],
        ["これは文です．", "次の文は３．５から始まる。"],
        ["안녕하세요. ", "반갑습니다! ", "어디 가세요?"],
        ["مرحبا. ", "كيف حالك؟ ", "أنا بخير."],
        ["یہ ایک جملہ ہے۔ ", "یہ دوسرا ہے۔"],
        ["वह आया। ", "फिर चला गया॥ ", "क्यों?"],
        ["আমি যাব। ", "তুমি?"],
        ["ሰላም። ", "እንዴት ነህ፧ ", "ደህና"],
        ["မင်္ဂလာပါ။ ", "နေကောင်းလား။"],
        ["សួស្តី។ ", "អរគុណ៕"],
        ["จบแล้ว๚ ", "ใหม่"],
        ["བཀྲ་ཤིས། ", "བདེ་ལེགས།"],
        ["Բարև։ ", "Ինչպե՞ս ես։"],
        ["Τι κάνεις; ", "Καλά. ", "Εσύ;"],
        ["Привет! ", "Как дела? ", "Хорошо."],
        ["Really‼️ ", "Yes⁇ ", "Well… ", "No."],
        ["¿Vienes? ", "¡Claro!"],
        ["Oui ! » dit-il. ", "« Non. » ", "Fin."],
        ["„Hallo.“ ", "Er ging."],
        ["(He left.) ", "[She stayed.] ", "**Both.** ", "`None.`"],
    ],
)
def test_full_stops_of_many_scripts(expected: list[str]) -> None:
    """A sentence ends at its script's full stop; closing marks and spaces stay with it."""
    assert expected == split("".join(expected))


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Ada Moretti met Mr. Okafor",
        "e.g. Turin or i.e. Milan, cf. Rome",
        "It costs 3.5 euros in v1.2.3 of example.com/a.b?c=1!x",
        "J. R. Smith of the U.S. Army",
        "See Fig. 3, No. 5 and p. 12",
        "Am 3. März, z. B. bei Prof. Weber",
        "г. Москва, т. е. здесь",
        "wait... what",
        '"Stop!" she said',
        "a; b",
        "foo.Bar()",
    ],
)
def test_what_is_no_end(text: str) -> None:
    """Abbreviations, decimals, addresses, initials and ordinals do not split."""
    assert [text] == split(text)


@pytest.mark.parametrize(
    "expected",
    [
        ["We met at 5 p.m. ", "Then we left."],
        ["I use v1.2. ", "It works."],
        ["So do I. ", "You too."],
        ["It took 5 ms. ", "Fine."],
        ["There were 5. ", "Two left."],
        ["really? ", "i think so"],
        ["I said no. ", "Then left."],
    ],
)
def test_what_is_an_end_after_all(expected: list[str]) -> None:
    """A rule for abbreviations does not swallow a real end."""
    assert expected == split("".join(expected))


def test_lists_and_paragraphs_split() -> None:
    """List items, headings and paragraphs are sentences of their own; numbers stay with items."""
    expected = [
        "# Plan\n\n",
        "1. Pack. ",
        "Now.\n",
        "  2. Go\n",
        "- milk\n",
        "* eggs\r\n",
        "The end",
    ]
    assert expected == split("".join(expected))


def test_a_wrapped_line_goes_on() -> None:
    """A long line that goes on in lower case is not split; a short one is."""
    wrapped = "This line was long enough to have been broken by an editor\nand it goes on here."
    assert [wrapped] == split(wrapped)
    assert ["milk\n", "eggs"] == split("milk\neggs")


def test_a_blank_line_splits_whatever_follows() -> None:
    """After a blank line a new sentence begins, even behind an abbreviation or a long line."""
    assert ["I met Dr.\n\n", "moretti"] == split("I met Dr.\n\nmoretti")
    assert ["x" * 60 + "\n\n", "and"] == split("x" * 60 + "\n\nand")


@pytest.mark.parametrize("fence", ["```", "~~~~"])
def test_a_code_fence_stays_whole(fence: str) -> None:
    """Code is not split at its full stops and blank lines."""
    code = f"{fence}python\na = 1. \n\nB. C\n{fence}\n"
    assert ["Look:\n", code, "Good. ", "Bye."] == split(f"Look:\n{code}Good. Bye.")


def test_an_open_code_fence_reaches_the_end() -> None:
    """A fence that is never closed holds the rest of the text."""
    assert ["Look:\n", "```\na. B\n\nc. D"] == split("Look:\n```\na. B\n\nc. D")


def test_nothing_and_white_space() -> None:
    """The empty text has no sentence; white space alone is one span."""
    assert [] == sentences("")
    assert [(0, 3)] == sentences(" \n ")
    assert ["\n\n  Hi. ", "You"] == split("\n\n  Hi. You")


def test_nul_and_lone_surrogates_are_ordinary() -> None:
    """Characters that no encoding takes do not disturb."""
    assert ["a\0b. ", "\ud800C."] == split("a\0b. \ud800C.")
