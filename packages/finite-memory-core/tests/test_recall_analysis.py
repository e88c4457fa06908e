"""What search sees of messages and questions, in many languages."""

from __future__ import annotations

from binascii import crc32
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import Message
from finite_memory_core.recall.analysis import (
    ASKS,
    TELLS_TIME,
    VERSION,
    document,
    query,
    said_in,
    terms,
)

from .recalling import chat
from .strategies import PHRASES, prose


def flags(text: str) -> int:
    return document(0, Message.user(text), 0).flags


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("I adopted a greyhound.", "Who adopts greyhounds?"),
        ("Ich habe eine Windhündin geholt.", "Was ist das für ein Hund?"),
        ("Mein Projekt hat ein Stipendium bekommen.", "Was brachte das Forschungsprojekt ein?"),
        ("Hoy recuperé la bicicleta.", "¿Dónde están las bicicletas?"),
        ("Я перебираю старые квартиры.", "Сколько стоит квартира?"),
        ("Muutin siis uuteen asuntoon, ja se on iso.", "Millainen on sen asunto?"),
        ("Bisikletimi çaldılar.", "Bisiklet nerede?"),
        ("سرقوا دراجتي أمس.", "أين الدراجة؟"),
        ("मेरी साइकिलें चोरी हो गईं।", "वह साइकिल कहाँ है?"),
        ("昨日、自転車を盗まれた。", "自転車はどこですか？"),
        ("我养了一只狗。", "他的狗叫什么？"),
        ("رقم البلاغ ٤٤٧١", "What is report 4471?"),
        ("The report has the number 4471.", "ما البلاغ ٤٤٧١؟"),
        ("Mrs Moretti plays the cello.", "Wo wohnt die Frau Moretti, und was spielt sie?"),
    ],
)
def test_questions_share_terms_with_their_answers(said: str, asked: str) -> None:
    """Inflected, compounded, in another script's digits, or a name in another language."""
    assert set(terms(said)) & set(query(asked, ()).terms)


@pytest.mark.parametrize(
    "text",
    [
        "The which of it",
        "Das ist auch nicht so",
        "¿Qué es esto?",
        "Что это?",
        "ما هذا؟",
        "यह क्या है",
    ],
)
def test_function_words_are_no_terms(text: str) -> None:
    """In each language its own."""
    assert () == query(text, ()).terms


def test_stop_words_are_those_of_the_language_of_the_text() -> None:
    """An English "die" is a word to look for, a German one is not."""
    assert "die" in terms("He feared that he would die there.")
    assert "die" not in terms("Das ist die Frau, die ich meine.")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("Ada", "Where does Ada live?"),
        ("Ada", "Where is Ada's house?"),
        ("Ada", "Wo ist Adas Haus?"),
        ("Ada", "Missä on Adan talo, ja mistä se on?"),
        ("Omar", "Mitä Omarilla on, ja mikä se on?"),
        ("Ada", "Ada'nın evi nerede?"),
        ("Ада", "Что подарили Аде?"),
        ("Омар", "Почему за Омаром приехали?"),
        ("عمر", "ماذا ستطبخ لعمر؟"),
        ("उमर", "उमर को क्या मिला?"),
        ("妮娜", "妮娜住在哪里？"),
        ("オマル", "オマルの犬はどこですか？"),
    ],
)
def test_a_speaker_is_named_in_any_script_and_form(name: str, asked: str) -> None:
    """The speaker is recognised, and the name is not looked for among the words."""
    found = query(asked, [name, "Nobody"])
    assert name == found.speaker
    assert name.casefold() not in found.terms


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("Ada", "What did the Adams family say?"),
        ("Dan", "Who went to the dance?"),
        ("Ада", "Где адрес?"),
        ("Ada", "Was steht in der Adaption?"),
        ("عمر", "أين المعمرة؟"),
    ],
)
def test_other_words_are_no_names(name: str, asked: str) -> None:
    """That a word begins like a name does not make it one."""
    assert query(asked, [name]).speaker is None


@pytest.mark.parametrize(
    "text", ["Really?", "Really?!", "“Really?”", "本当ですか？", "「本当？」", "حقا؟", "እውነት፧"]
)
def test_questions_end_in_a_question_mark_of_any_script(text: str) -> None:
    """Quotation marks and exclamation marks may follow."""
    assert flags(text) & ASKS
    assert not flags("No.") & ASKS


@pytest.mark.parametrize(
    "text",
    [
        "We met last week.", "Wir trafen uns gestern beim Arzt.", "La veremos mañana en el puerto.",
        "Tavattiin eilen, ja se oli hyvä.", "Seninle dün buluştuk.", "Встретимся в субботу.",
        "سنلتقي غدا", "हम कल मिलेंगे", "明日会いましょう。", "我们昨天见过。",
        "Es war um 12:30 in der Stadt.", "Das war im März nicht so.",
    ],
)  # fmt: skip
def test_messages_that_tell_a_time(text: str) -> None:
    """Days, months, clocks and words for time, each in its language."""
    assert flags(text) & TELLS_TIME


@pytest.mark.parametrize(
    "text",
    ["I like tea.", "Ich mag keinen Tee.", "Me gusta el té.", "Я люблю чай.", "お茶が好き。"],
)
def test_messages_that_tell_no_time(text: str) -> None:
    """Most messages."""
    assert not flags(text) & TELLS_TIME


@pytest.mark.parametrize(
    "text",
    [
        "When was it?", "Wann war das?", "An welchem Tag kommt er?", "¿Cuándo fue?",
        "Quand était-ce?", "Milloin se oli?", "Ne zaman oldu?", "Когда это было?",
        "متى كان ذلك؟", "यह कब हुआ?", "什么时候？", "いつですか？",
    ],
)  # fmt: skip
def test_questions_for_a_time(text: str) -> None:
    """Each language asks in its own words."""
    assert query(text, ()).asks_when
    assert not query("いつもどこですか？", ()).asks_when


@pytest.mark.parametrize(
    ("asked", "year", "month"),
    [
        ("What happened in May 2024?", 2024, 5),
        ("Was war im März 2023?", 2023, 3),
        ("Was war am 2024-05-08?", 2024, 5),
        ("¿Qué pasó en septiembre de 2024?", 2024, 9),
        ("Mitä tapahtui huhtikuussa, ja missä se oli?", None, 4),
        ("Что было в мае 2024 года?", 2024, 5),
        ("Что было в апреле?", None, 4),
        ("ماذا حدث في أبريل ٢٠٢٤؟", 2024, 4),
        ("अप्रैल २०२४ में क्या हुआ?", 2024, 4),
        ("2024年4月に何がありましたか？", 2024, 4),
        ("十二月发生了什么？", None, 12),
        ("What was between May and June?", None, None),
        ("13月", None, None),
    ],
)
def test_the_time_that_a_question_names(asked: str, year: int | None, month: int | None) -> None:
    """Years and months, in words or figures; two months are none."""
    assert said_in(year, month) == query(asked, ()).time


@pytest.mark.parametrize("asked", ["In May?", "In 2024?", "Im Mai 2024?", "2024年5月？"])
def test_a_message_is_found_by_the_time_that_it_was_said(asked: str) -> None:
    """By its month, its year, or both."""
    said = datetime(2024, 5, 8, tzinfo=UTC)
    assert query(asked, ()).time in document(0, Message.user("Hi", timestamp=said), 0).terms


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_can_be_analysed(text: str, speakers: list[str]) -> None:
    """And twice alike."""
    assert query(text, speakers) == query(text, speakers)
    assert terms(text) == terms(text)


def test_a_change_of_the_analysis_raises_its_version() -> None:
    """Indexes in files hold what it gave; with another number they are built again."""
    said = [*chat(30), *(Message.user(prose(i, 200)) for i in range(len(PHRASES)))]
    told = [(sorted(d.terms), *d[2:]) for d in (document(i, m, 0) for i, m in enumerate(said))]
    digest = crc32(repr(told).encode())
    assert (1, 1_494_866_185) == (VERSION, digest), "raise VERSION, and tell it here"
