"""ReaderBackend: what it quotes, and what it must not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    Backend,
    Chat,
    ConfigError,
    Context,
    Memory,
    Message,
    ReaderBackend,
    RollingSummary,
    ToolCall,
)
from finite_memory_core.backends.reader import LONGEST_QUOTE
from finite_memory_core.recall import Recall
from finite_memory_core.testing import BackendContract

from .examples import some

NO_MODEL = "I am a reader, not a language model"


class TestContract(BackendContract):
    """The reader keeps the contract of a backend."""

    deterministic = True

    def backend(self) -> Backend:
        return ReaderBackend()


def context_of(*said: str | Message, budget: int = 4_000) -> Context:
    """Return the context of a conversation; plain texts are the user's."""
    memory = Memory(budget)
    memory.append(*(Message.user(one) if isinstance(one, str) else one for one in said))
    return memory.context()


def answer(context: Context, **options: Any) -> str:
    return "".join(delta.text for delta in ReaderBackend(**options).stream(context))


def quoted(context: Context, quotes: int = 1) -> list[str]:
    return [quote.text for quote in ReaderBackend(quotes).quote(context)]


def test_it_quotes_with_who_said_it_and_when() -> None:
    """An answer is made of sentences of the context, each with its speaker and date."""
    context = context_of(
        Message.user("The weather is bad. My sister Ada lives in Turin.", name="Eve"),
        Message.assistant("Ada once lived in Rome.", timestamp=datetime(2024, 5, 8, tzinfo=UTC)),
        "Where does Ada live?",
    )
    assert answer(context, quotes=2) == (
        f"{NO_MODEL}. From my context:\n"
        '- "My sister Ada lives in Turin." (Eve)\n'
        '- "Ada once lived in Rome." (assistant, 2024-05-08)'
    )


def test_it_says_so_when_nothing_matches() -> None:
    """Where the context has no word of the question, the answer is that it has none."""
    context = context_of("My sister Ada lives in Turin.", "What is the capital of Peru?")
    assert answer(context) == f"{NO_MODEL}, and nothing in my context matches the question."


def test_it_says_so_when_there_is_no_question() -> None:
    """A context without a user's message asks nothing."""
    assert NO_MODEL in answer(context_of(Message.system("Be brief.")))
    assert NO_MODEL in answer(context_of(Message.assistant("Hello, I am Ada.")))


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("艾达住在都灵。她喜欢喝茶。", "艾达住在哪里？"),
        ("田中さんは大阪に住んでいます。", "田中さんはどこに住んでいますか？"),
        ("تعيش آدا في تورينو.", "أين تعيش آدا؟"),
        ("Ада живёт в Турине.", "Где живёт Ада?"),
        ("आडा ट्यूरिन में रहती है।", "आडा कहाँ रहती है?"),
        ("เอดาอาศัยอยู่ในเมืองตูริน", "เอดาอาศัยอยู่ที่ไหน"),
        ("에이다는 토리노에 산다.", "에이다는 어디에 살아?"),
        ("Ada vit à Turin.", "OÙ VIT ADA ?"),
    ],
)
def test_every_script(said: str, asked: str) -> None:
    """A question finds its sentence in scripts with and without spaces between words."""
    found = quoted(context_of("Something else, about 17 trains.", said, "Well.", asked))
    assert found == [said.partition("她")[0]]


def test_instructions_and_the_question_are_not_quoted() -> None:
    """What the reader was told to do, and what it was asked, are no answers."""
    context = context_of(
        Message.system("Never say where Ada lives."),
        Message("developer", "Ada lives in a secret place."),
        "Where does Ada live? Ada, I mean.",
    )
    assert quoted(context) == []


def test_an_earlier_message_with_the_same_words_is_quoted() -> None:
    """Only the question itself is left out, not what reads the same."""
    assert quoted(context_of("Ada?", "Well.", "Ada?")) == ["Ada?"]


def test_it_never_quotes_itself() -> None:
    """Its own answers, which repeat what was said, are not sources."""
    memory = Memory(budget=2_000)
    chat = Chat(ReaderBackend(), memory)
    memory.append(Message.user("My sister Ada lives in Turin."))
    first = chat.send("Where does Ada live?")
    assert chat.send("And where does Ada, the sister, live?").text.count("Turin") == 1
    assert chat.send("Tell me about the reader and the context").text.startswith(f"{NO_MODEL}, and")
    assert 'Turin." (user)' in first.text


def test_a_query_of_ones_own() -> None:
    """A context that was built for a query is searched for that, the last message included."""
    memory = Memory(budget=2_000)
    memory.append(Message.user("My sister Ada lives in Turin."))
    assert quoted(memory.context("Where does Ada live?")) == ["My sister Ada lives in Turin."]
    assert quoted(memory.context("")) == []


def test_tool_results_are_quoted() -> None:
    """What a tool found may be the answer."""
    context = context_of(
        "How is the weather in Turin?",
        Message.assistant(None, tool_calls=[ToolCall("a", "weather")]),
        Message.tool("Turin has rain and 12 °C.", tool_call_id="a", name="weather"),
    )
    assert '- "Turin has rain and 12 °C." (weather)' in answer(context)


def test_only_the_context_is_quoted() -> None:
    """What left the context cannot be seen, which is what the reader is for."""
    memory = Memory(budget=120)
    memory.append(Message.user("My sister Ada lives in Turin."), Message.assistant("Noted."))
    for i in range(20):
        memory.append(Message.user(f"Train number {i}."), Message.assistant("It runs."))
    reply = Chat(ReaderBackend(), memory).send("Where does Ada live?")
    assert reply.text == f"{NO_MODEL}, and nothing in my context matches the question."


def test_the_summary_is_quoted_as_such_and_the_bridge_is_not() -> None:
    """Words of the memory's own are nobody's; a summary is told from what was said."""
    memory = Memory(budget=260, policy=RollingSummary())
    memory.append(Message.user("My sister Ada lives in Turin with 3 cats."))
    for i in range(20):
        memory.append(Message.assistant(f"Train {i} runs."), Message.user(f"And train {i + 1}?"))
    assert "Turin" in memory.summary
    memory.append(Message.user("Where does Ada live, by the summary of the earlier conversation?"))
    assert answer(memory.context(), quotes=1).endswith("(summary)")
    bridged = context_of(Message.assistant("I am Ada."), "Does the conversation begin so far?")
    assert bridged.messages[0].text == "[The conversation so far:]"
    assert quoted(bridged) == []


def test_what_was_recalled_is_quoted_as_such() -> None:
    """Of a recalled message only the quotes are quoted, and a reader's answers in it are not."""
    memory = Memory(budget=500, recall=Recall())
    memory.append(Message.user("My sister Ada lives in Turin."), Message.assistant("Noted."))
    chat = Chat(ReaderBackend(quotes=9), memory)
    chat.send("Where is Ada?")
    chat.send("Is Ada xyzzy? The reader, is it no language model?")
    for i in range(40):
        memory.append(Message.user(f"Train number {i} is late."), Message.assistant("It runs."))
    reply = chat.send("Where does Ada live, is what I am asking of the recalled quotes?")
    recalled = reply.context.messages[-2].text
    assert NO_MODEL in recalled
    assert '- "user: My sister Ada lives in Turin." (recalled)' in reply.text.split("\n")
    for quote in ReaderBackend(quotes=99).quote(reply.context):
        assert NO_MODEL not in quote.text
        assert "(user)" not in quote.text
        assert "[" not in quote.text


def test_what_was_said_twice_is_quoted_once() -> None:
    """Each quote is another sentence, where there are others."""
    said = ["Ada likes trains."] * 5 + ["Ada likes tea.", "What does Ada like?"]
    assert sorted(quoted(context_of(*said), 3)) == ["Ada likes tea.", "Ada likes trains."]


@pytest.mark.parametrize("glue", ["", " ", "e\u0301", "🇮🇹", "艾达"])
def test_a_huge_sentence_is_quoted_in_part(glue: str) -> None:
    """A quote has a bounded length, and holds the words that match."""
    before = ("x" + glue) * (50_000 // (1 + len(glue)))
    text = f"{before} Ada lives in Turin {before}"
    memory = Memory(budget=500_000)
    memory.append(Message.user(text), Message.user("Where does Ada live?"))
    (quote,) = quoted(memory.context())
    assert "Ada lives in Turin" in quote
    assert len(quote) <= LONGEST_QUOTE
    assert len(answer(memory.context(), quotes=3)) < 4 * LONGEST_QUOTE


def test_an_endless_grapheme_is_cut() -> None:
    """A letter with 5,000 accents does not stop the reader."""
    text = "e" + "\u0301" * 5_000 + " Ada lives in Turin"
    (quote,) = quoted(context_of(text, "Where does Ada live?", budget=20_000))
    assert quote.endswith("Ada lives in Turin")
    assert len(quote) <= LONGEST_QUOTE


def test_a_huge_question() -> None:
    """A long question against a long context is still one pass over each."""
    said = [f"This is sentence {i} of a long story." for i in range(2_000)]
    memory = Memory(budget=500_000)
    memory.append(Message.user(" ".join(said)), Message.user(" ".join([*said, "Ada"])))
    assert len(quoted(memory.context(), 3)) == 3


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


@settings(max_examples=some(50), deadline=None)
@given(TEXTS, st.integers(1, 4))
def test_quotes_are_of_the_context(texts: list[str], quotes: int) -> None:
    """Whatever was said, each quote stands in a message, white space aside."""
    said = [text for text in texts if text]
    if not said:
        return
    context = context_of(*said, budget=100_000)
    found = ReaderBackend(quotes).quote(context)
    assert len(found) <= quotes
    for quote in found:
        assert quote.score > 0
        assert quote.message in context.messages
        assert quote.text in " ".join(quote.message.text.split())
    assert found == ReaderBackend(quotes).quote(context)


@pytest.mark.parametrize("quotes", [0, -1, 1.5, "3", None, True])
def test_how_many_quotes(quotes: Any) -> None:
    """Their number is a whole one, from 1 on."""
    with pytest.raises(ConfigError, match="whole number"):
        ReaderBackend(quotes)
