"""A dump tells all of a turn, and redacted nothing of what was said."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    BackendError,
    CallableBackend,
    Chat,
    ConfigError,
    Delta,
    Memory,
    MemoryEvent,
    Message,
    Recall,
    SQLiteStore,
    ToolCall,
    Usage,
)
from finite_memory_core.telemetry import TurnRecorder
from finite_memory_core.testing import ScriptedBackend

from .examples import some
from .strategies import prose, quarter
from .turns import Fake


def talked(recorder: TurnRecorder, turns: int = 20, **more: Any) -> Memory:
    """Return a memory in which `turns` turns were taken, with evictions, summaries and recall."""
    memory = Memory(
        400,
        "rolling_summary",
        counter=quarter,
        recall=Recall(gate=0),
        observers=[recorder],
        **more,
    )
    backend = Fake(lambda _: [Delta(prose(7, 60), finish="stop", usage=Usage(90, 20, 50))])
    for i in range(turns):
        Chat(backend, memory).send(f"Question {i}: " + prose(i, 80))
    return memory


def test_a_dump_tells_the_turn() -> None:
    """What was in, what came out, what left and why, and how long each step took."""
    recorder = TurnRecorder(turns=20)
    memory = talked(recorder)
    dump = recorder.dump(memory, redact=False)
    assert dump == json.loads(json.dumps(dump))
    assert 20 == len(recorder) == len(dump["turns"])
    last = dump["turns"][-1]
    assert "ended" == last["outcome"]
    assert [Message.user(f"Question 19: {prose(19, 80)}").content] == [
        said["content"] for said in last["said"]
    ]
    assert prose(7, 60) == last["reply"]["content"]
    assert {"input_tokens": 90, "output_tokens": 20, "cached_tokens": 50}.items() <= last[
        "usage"
    ].items()
    steps = [step for turn in dump["turns"] for step in turn["steps"]]
    assert {"append", "policy", "summary", "recall", "backend", "commit"} == {
        step["name"] for step in steps
    }
    evictions = [step["eviction"] for step in steps if step["name"] == "policy"]
    left = sum(not d["kept"] for eviction in evictions for d in eviction["decisions"])
    assert memory.stats.blocks_evicted == left
    assert all(d["reason"] for eviction in evictions for d in eviction["decisions"])
    (backend,) = [step for step in last["steps"] if step["name"] == "backend"]
    contents = [message["content"] for message in backend["context"]["messages"]]
    assert prose(19, 80) in contents[-1]
    told = [event for turn in dump["turns"] for event in turn["events"]]
    kinds = {event["event"] for event in told}
    assert {"Appended", "ContextBuilt", "Evicted", "Summarized", "Recalled"} <= kinds
    assert memory.stats.to_dict() == dump["memory"]["stats"]
    assert memory.summary == dump["memory"]["summary"]
    assert memory.budget == dump["memory"]["settings"]["budget"]


def test_a_failed_turn_is_dumped_with_its_causes() -> None:
    """The classes of the error and its causes stay readable; what they say does not."""
    recorder = TurnRecorder()
    memory = Memory(400, observers=[recorder])
    with pytest.raises(BackendError):
        Chat(ScriptedBackend(ConnectionError("secret host")), memory).send("Hello")
    (turn,) = recorder.dump()["turns"]
    assert "failed" == turn["outcome"]
    assert ["BackendError", "ConnectionError"] == [one["class"] for one in turn["error"]]
    assert "secret" not in json.dumps(turn)
    assert "secret host" == recorder.dump(redact=False)["turns"][0]["error"][1]["says"]


def test_equal_texts_are_equal_within_a_dump_only() -> None:
    """A reader sees that a question was asked twice, and cannot look a text up in another dump."""
    recorder = TurnRecorder(turns=2)
    chat = Chat(CallableBackend(lambda _: "Yes."), Memory(400, observers=[recorder]))
    chat.send("Is it?")
    chat.send("Is it?")
    first, second = recorder.dump(), recorder.dump()
    (one,), (two,) = (turn["said"] for turn in first["turns"])
    assert one == two
    assert {"characters": 6} == {k: v for k, v in one["content"].items() if k != "hash"}
    assert one["content"]["hash"] != second["turns"][0]["said"][0]["content"]["hash"]


def test_turns_of_two_memories_are_kept_apart() -> None:
    """Each turn has the events of its own session."""
    recorder = TurnRecorder(turns=2)
    one = Memory(400, observers=[recorder], session_id="one")
    two = Memory(400, observers=[recorder], session_id="two")
    two.append(Message.user("Waiting"))
    Chat(ScriptedBackend("Hi."), one).send("Hello")
    Chat(ScriptedBackend("Hi."), two).send("Hello")
    turns = recorder.dump(redact=False)["turns"]
    assert ["one", "two"] == [turn["session_id"] for turn in turns]
    starts = [[e["start"] for e in t["events"] if e["event"] == "Appended"] for t in turns]
    assert [[0], [0, 1]] == starts


def test_only_the_last_turns_are_kept() -> None:
    """A recorder does not grow."""
    recorder = TurnRecorder(turns=3)
    talked(recorder)
    assert 3 == len(recorder)
    assert "TurnRecorder(3 of 3 turns)" == repr(recorder)
    told = [event for turn in recorder.dump()["turns"] for event in turn["events"]]
    assert [34, 36, 38] == [event["start"] for event in told if event["event"] == "Appended"]


@pytest.mark.parametrize("turns", [0, -1, True, 1.5, "2"])
def test_a_recorder_keeps_a_turn_at_least(turns: Any) -> None:
    """Anything else is refused, with what was given."""
    with pytest.raises(ConfigError, match="1 turn or more"):
        TurnRecorder(turns)


# Words that no key, role, class or policy of a dump has in it: they begin in a way of their own,
# in several scripts; a hash has no letter beyond f.
WORDS = st.one_of(
    st.text("bcdfghjklmnpqrstvwxz", min_size=4, max_size=12).map(lambda w: "zq" + w + "x"),
    st.text("абвгдежз", min_size=3, max_size=8),
    st.text("東京都記憶会話", min_size=2, max_size=5),
)
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)


@st.composite
def private(draw: st.DrawFn) -> tuple[list[Message], list[str]]:
    """Draw messages with words everywhere that a message has room for them, and those words."""
    words: list[str] = []

    def text() -> str:
        drawn = draw(TEXTS)
        words.extend(drawn.split())
        return drawn

    def plain() -> str:
        drawn = draw(WORDS)
        words.append(drawn)
        return drawn

    said: list[Message] = []
    for _ in range(draw(st.integers(1, 4))):
        content: Any = text()
        if draw(st.booleans()):
            image = {"type": "image_url", "image_url": {"url": f"https://{plain()}.example/"}}
            content = [{"type": "text", "text": content}, image]
        metadata = {plain(): [text(), {plain(): plain()}], "n": 12_345_678}
        when = datetime(2026, 1, 2, tzinfo=UTC)
        said.append(Message.user(content, name=plain(), metadata=metadata, timestamp=when))
        if draw(st.booleans()):
            call = ToolCall(f"{plain()}{len(said)}", plain(), json.dumps({plain(): text()}))
            said.append(Message.assistant(text(), tool_calls=[call]))
            said.append(Message.tool(text(), tool_call_id=call.id))
    said.append(Message.user(text(), extra={plain(): text()}))
    return said, words


@settings(max_examples=some(25), deadline=None)
@given(private(), TEXTS, st.sampled_from(["ends", "fails", "breaks", "too large"]), TEXTS)
def test_no_word_of_a_message_is_in_a_redacted_dump(
    drawn: tuple[list[Message], list[str]], answer: str, how: str, session: str
) -> None:
    """Of text, names, calls, arguments, metadata, tools, errors, summary, scope and session."""
    said, words = drawn
    recorder = TurnRecorder(turns=30)
    tool = {"type": "function", "function": {"name": "zqtool", "description": answer}}
    memory = Memory(
        4_000,
        "rolling_summary",
        counter=quarter,
        recall=Recall(gate=0, scope="zqscope"),
        store=SQLiteStore(":memory:"),
        session_id=session,
        observers=[recorder],
        oversize="clip",
        tools=[tool],
    )
    scripts: dict[str, Any] = {
        "ends": [answer],
        "fails": ConnectionError(answer),
        "breaks": [answer, ConnectionError(answer)],
        "too large": [answer],
    }
    for i in range(6):
        Chat(ScriptedBackend(f"{answer} {i}"), memory).send((f"{answer} {i} " * 600)[:3_000])
    chat = Chat(ScriptedBackend(scripts[how]), memory, interrupted="keep")
    more = [Message.user(answer * 4_000)] if how == "too large" else []
    fails = how in ("fails", "breaks")
    with pytest.raises(BackendError) if fails else nullcontext():
        chat.send(*said, *more)
    assert memory.stats.evictions
    dump = recorder.dump(memory)
    told = json.dumps(dump, ensure_ascii=False)
    private_words = {*words, *answer.split(), *session.split(), "zqtool", "zqscope", "12345678"}
    assert [] == sorted(word for word in private_words if word in told)
    shown = json.dumps(recorder.dump(memory, redact=False), ensure_ascii=False)
    assert all(word in shown for word in answer.split())  # else this test could not fail


def test_memories_may_tell_one_recorder_in_their_threads() -> None:
    """An event that comes while a turn is put away is neither lost nor in its way."""
    recorder = TurnRecorder()
    memory = Memory(2_000, observers=[recorder])
    other = Thread(target=recorder, args=[MemoryEvent("other")])

    @dataclass(frozen=True)
    class Slow(MemoryEvent):
        """An event that lets the other thread go on while it is looked at."""

        def __getattribute__(self, name: str) -> Any:
            if name == "session_id" and other.ident is None:
                other.start()
                other.join(0.2)
            return super().__getattribute__(name)

    recorder(Slow(memory.session_id))
    Chat(ScriptedBackend("Noted."), memory).send("Hello")
    other.join()
    assert memory.stats.observer_errors == 0
    assert [MemoryEvent("other")] == list(recorder._events)
    told = [event["event"] for event in recorder.dump()["turns"][0]["events"]]
    assert ["Slow", "ContextBuilt", "Appended"] == told
