"""Clipping: head and tail of what is too large, a mark between, the whole in the transcript."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import Accountant, BudgetError, Clipped, Memory, Message, ToolCall
from finite_memory_core.clip import clip
from finite_memory_core.text.graphemes import floor_boundary

from .checks import stands_for, state
from .strategies import CORE, COUNTERS, PHRASES, characters, quarter, texts

MARKED = re.compile(r"\[\.\.\. (\d+) tokens left out \.\.\.\]")


@CORE
@given(
    pieces=st.lists(texts, min_size=1, max_size=30),
    room=st.integers(0, 200),
    counter=st.sampled_from([c for c in COUNTERS if c is not None]),
)
def test_a_clip_fits_and_says_what_is_missing(
    pieces: list[str], room: int, counter: object
) -> None:
    """Head and tail are the text's own, whole graphemes, within the room."""
    accountant = Accountant(counter)  # type: ignore[arg-type]
    text = " ".join(pieces)
    message = Message.user(text, name="Ada")
    clipped = clip(message, accountant, room)
    if clipped is None:
        return
    assert clipped.tokens == accountant.message(clipped.message) <= room
    assert clipped.message.name == "Ada"
    assert clipped.message.metadata == {"finite_memory": "clipped"}
    found = list(MARKED.finditer(clipped.message.text))
    assert str(clipped.left_out) in [m.group(1) for m in found]
    heads = [clipped.message.text[: m.start()].removesuffix("\n") for m in found]
    whole = text.strip("\n")
    assert any(
        whole.startswith(head) and floor_boundary(whole, len(head)) == len(head) for head in heads
    )
    assert any(whole.endswith(clipped.message.text[m.end() :].removeprefix("\n")) for m in found)


@pytest.mark.parametrize("room", [60, 300, 800, 1_003])
def test_as_much_as_fits_stays(room: int) -> None:
    """With a linear counter the clip fills its room to the token."""
    clipped = clip(Message.user("x" * 1_000), Accountant(characters), room)
    assert clipped is not None
    assert room - 2 <= clipped.tokens <= room
    kept = clipped.message.text.count("x")
    assert 1_000 - kept == clipped.left_out
    head, tail = re.split(r"\n\[\.\.\. \d+ tokens left out \.\.\.\]\n", clipped.message.text)
    assert abs(len(head) - 2 * len(tail)) <= 3


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_grapheme_is_split(phrase: str) -> None:
    """Wherever the cut falls, a family of emoji or a syllable stays whole."""
    text = phrase * 20
    for room in range(40, 200, 7):
        clipped = clip(Message.user(text), Accountant(characters), room)
        assert clipped is not None
        assert stands_for(clipped.message, Message.user(text))


def test_what_is_not_plain_text_cannot_be_clipped() -> None:
    """Parts, and calls whose arguments are too large, are refused by name even with clip."""
    memory = Memory(300, oversize="clip", counter=quarter)
    with pytest.raises(BudgetError, match="a message of role 'user' costs"):
        memory.append(Message.user([{"type": "text", "text": "x" * 4_000}]))
    memory.append(Message.user("hi"))
    with pytest.raises(BudgetError, match="a message with tool calls"):
        memory.append(Message.assistant(tool_calls=[ToolCall("a", "f", "x" * 4_000)]))
    assert 1 == len(memory.transcript)


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_each_role_is_clipped_and_the_transcript_keeps_the_whole(role: str) -> None:
    """The context shows the clip, an event says so, the transcript has every byte."""
    heard: list[object] = []
    memory = Memory(400, oversize="clip", counter=quarter, observers=[heard.append])
    if role == "assistant":
        memory.append(Message.user("Go on."))
    text = "".join(map(str, range(1_000)))
    memory.append(Message(role, text))
    context = memory.context()
    assert context.token_count <= 400
    assert MARKED.search(context.messages[-1].text)
    assert text == memory.transcript[-1].text
    event = next(e for e in heard if isinstance(e, Clipped))
    assert len(memory.transcript) - 1 == event.index
    assert 4 + len(text) // 4 == event.tokens
    assert f"{event.left_out} tokens" in context.messages[-1].text
    assert 1 == memory.stats.clipped


def test_parallel_results_share_the_room() -> None:
    """Three results, each larger than the budget, all stand clipped beside their question."""
    memory = Memory(900, oversize="clip", counter=quarter)
    memory.append(Message.user("Compare them."))
    memory.append(Message.assistant(tool_calls=[ToolCall(i, "read") for i in "abc"]))
    for call_id in "abc":
        memory.append(Message.tool(call_id * 8_000, tool_call_id=call_id))
    context = memory.context()
    assert ["user", "assistant", "tool", "tool", "tool"] == [m.role for m in context]
    assert context.token_count <= 900
    assert 3 == memory.stats.clipped
    assert all(MARKED.search(m.text) and len(m.text) > 200 for m in context.messages[2:])
    assert 8_000 == len(memory.transcript[-1].text)


def test_a_clip_is_the_same_after_resuming() -> None:
    """Clipped messages, results of an open round too, stand as they stood."""
    memory = Memory(900, oversize="clip", counter=quarter)
    memory.append(Message.user("u" * 8_000))
    memory.append(Message.assistant(tool_calls=[ToolCall(i, "read") for i in "ab"]))
    memory.append(Message.tool("a" * 8_000, tool_call_id="a"))
    for message in (Message.tool("b" * 8_000, tool_call_id="b"), Message.user("v" * 8_000)):
        resumed = Memory.resume(memory.store, memory.session_id, counter=quarter)
        assert state(memory) == state(resumed)
        memory.append(message)


def test_clips_of_abandoned_rounds_are_forgotten() -> None:
    """What a checkpoint holds does not grow with rounds that never got all their results."""
    memory = Memory(900, oversize="clip", counter=quarter)
    sizes = []
    for i in range(40):
        memory.append(Message.user(f"Read {i}."))
        memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
        memory.append(Message.tool("a" * 8_000, tool_call_id="a"))
        memory.append(Message.user("Stop."), Message.assistant("x" * 1_000))
        found = memory.store.last_event(memory.session_id, "checkpoint")
        sizes.append(len(found[1].body) if found else 0)
    assert max(sizes[30:]) <= 2 * max(sizes[:10])


def test_a_clip_stays_what_it_was_in_a_larger_budget() -> None:
    """Resumed with more budget, what was clipped stands as it stood, each time."""
    memory = Memory(900, oversize="clip", counter=quarter)
    memory.append(Message.user("Read."), Message.assistant(tool_calls=[ToolCall("a", "f")]))
    memory.append(Message.tool("a" * 8_000, tool_call_id="a"))
    shown = memory.context().messages
    assert MARKED.search(shown[-1].text)
    larger = Memory.resume(memory.store, memory.session_id, counter=quarter, budget=5_000)
    assert shown == larger.context().messages
    again = Memory.resume(memory.store, memory.session_id, counter=quarter)
    assert state(larger) == state(again)
