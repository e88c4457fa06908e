"""Chat: what a turn records, shows and tells, in each of the four ways to drive it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    Appended,
    Backend,
    BudgetError,
    CallableBackend,
    Chat,
    ConfigError,
    Context,
    ContextBuilt,
    Delta,
    InMemoryStore,
    Memory,
    MemoryEvent,
    Message,
    MessageError,
    SQLiteStore,
    ToolCall,
    ToolCallError,
    TurnEnded,
    Usage,
)
from finite_memory_core.testing import FailingStore, ScriptedBackend, TickingClock

from .examples import some
from .turns import DRIVES, Drive, Fake, State, resumed, state_of, talked

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)


def last_text(context: Context) -> str:
    return f"You said: {context.messages[-1].text}"


@each_drive
def test_a_turn_records_what_was_said_and_the_reply(drive: Drive) -> None:
    """After a turn the transcript has both messages, and the reply tells all about the turn."""
    memory = Memory(budget=500)
    reply = drive(Chat(CallableBackend(last_text), memory), "Hello")
    assert reply.text == "You said: Hello"
    assert reply.message == Message.assistant("You said: Hello")
    assert reply.tool_calls == ()
    assert reply.usage is None
    assert reply.finish == "stop"
    assert memory.stats == reply.stats
    assert [Message.user("Hello"), reply.message] == list(memory.transcript)


@each_drive
def test_the_backend_sees_the_memorys_context(drive: Drive) -> None:
    """What the backend is shown is what the memory holds with the question appended."""
    memory, twin = talked(), talked()
    backend = ScriptedBackend("Fine.")
    reply = drive(Chat(backend, memory), "And now?")
    twin.append(Message.user("And now?"))
    expected = twin.context()
    assert [reply.context] == backend.contexts
    assert expected.messages == reply.context.messages
    assert expected.token_count == reply.context.token_count <= memory.budget
    assert Message.user("And now?") == reply.context.question
    twin.append(Message.assistant("Fine."))
    assert twin.context().messages == memory.context().messages


@each_drive
def test_one_store_transaction_a_turn(drive: Drive) -> None:
    """Question, reply, usage and the eviction between them are written together."""
    store = FailingStore(SQLiteStore(":memory:"), fail_at=())
    memory = talked(store)
    before, evictions = store.appends, memory.stats.evictions
    chat = Chat(ScriptedBackend("Yes. " * 30, "No. " * 30, usage=Usage(100, 30)), memory)
    drive(chat, "Is it so? " * 20)
    assert before + 1 == store.appends
    drive(chat, "Is it not so? " * 20)
    assert before + 2 == store.appends
    assert memory.stats.evictions > evictions
    assert state_of(resumed(memory))[:3] == state_of(memory)[:3]


@each_drive
def test_usage_corrects_the_estimate_in_the_same_turn(drive: Drive) -> None:
    """What the provider counted is recorded with the turn, and counts from then on."""
    memory = Memory(budget=2_000)
    chat = Chat(CallableBackend(_counts_double), memory)
    reply = drive(chat, "How many tokens is this?")
    assert Usage(2 * reply.context.counted_tokens, 3) == reply.usage
    assert memory.stats.correction == 2.0 == resumed(memory).stats.correction
    assert reply.stats.correction == 2.0


def _counts_double(context: Context) -> list[Delta]:
    usage = Usage(2 * context.counted_tokens, 3)
    return [Delta("Some.", usage=usage), Delta(finish="stop")]


@each_drive
def test_tool_rounds(drive: Drive) -> None:
    """The backend's calls come back as messages of the tool, and it sees call and results."""
    calls = (ToolCall("a", "weather", '{"city": "Turin"}'), ToolCall("b", "clock"))
    backend = ScriptedBackend(
        Message.assistant("Let me look.", tool_calls=calls),
        [Delta(tool_calls=calls[:1]), Delta("again ", finish="tool_calls")],
        "Rain.",
    )
    chat = Chat(backend, Memory(budget=2_000))
    first = drive(chat, "How is the weather?")
    assert calls == first.tool_calls
    assert first.finish == "tool_calls"
    results = [Message.tool("12 °C", tool_call_id="a"), Message.tool("noon", tool_call_id="b")]
    second = drive(chat, *results)
    assert (first.message, *results) == second.context.messages[-3:]
    assert Message.assistant("again ", tool_calls=calls[:1]) == second.message
    third = drive(chat, Message.tool("rain", tool_call_id="a"))
    assert third.text == "Rain."
    assert len(chat.memory.transcript) == 7
    assert chat.memory.stats.unanswered == 0


@each_drive
def test_results_that_are_not_complete_are_refused(drive: Drive) -> None:
    """A backend is never asked while calls wait for results: it would not see any of them."""
    calls = (ToolCall("a", "weather"), ToolCall("b", "clock"))
    backend = ScriptedBackend(Message.assistant(None, tool_calls=calls), "Fine.")
    memory = Memory(budget=2_000)
    chat = Chat(backend, memory)
    drive(chat, "How is the weather?")
    before = state_of(memory)
    with pytest.raises(ToolCallError, match="send the results together"):
        drive(chat, Message.tool("12 °C", tool_call_id="a"))
    with pytest.raises(ToolCallError, match="send the results together"):
        drive(chat, "Look", Message.assistant(None, tool_calls=calls))
    assert before == state_of(memory)
    assert len(backend.contexts) == 1
    assert drive(chat, "Never mind.").text == "Fine."


@each_drive
def test_the_clock_stamps_what_has_no_timestamp(drive: Drive) -> None:
    """Question and reply get the time; a message that has one, from either side, keeps it."""
    start, long_ago = datetime(2025, 3, 1, 9, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)
    clock = TickingClock(start, timedelta(seconds=1))
    answers: Any = [
        "Text.",
        Message.assistant("Message."),
        Message.assistant("Old.", timestamp=long_ago),
    ]
    memory = Memory(budget=2_000)
    chat = Chat(ScriptedBackend(*answers), memory, clock=clock)
    drive(chat, "one")
    drive(chat, Message.user("two", timestamp=long_ago))
    drive(chat, Message.system("three"), "four")
    at = [start + timedelta(seconds=i) for i in range(5)]
    expected = [at[0], at[1], long_ago, at[2], at[3], at[4], long_ago]
    assert expected == [message.timestamp for message in memory.transcript]


def test_without_a_clock_messages_have_no_timestamp() -> None:
    """Time is only recorded where it was asked for."""
    memory = Memory(budget=2_000)
    Chat(ScriptedBackend("Hi."), memory).send("Hello")
    assert [None, None] == [message.timestamp for message in memory.transcript]


@each_drive
def test_observers_hear_of_a_turn_after_it_was_recorded(drive: Drive) -> None:
    """The context, then what was appended, then the end of the turn with its reply."""
    events: list[MemoryEvent] = []
    memory = Memory(budget=2_000, observers=[events.append])
    reply = drive(Chat(ScriptedBackend("Hi."), memory), "Hello")
    session = memory.session_id
    both = tuple(memory.transcript)
    assert events == [
        ContextBuilt(session, reply.context),
        Appended(session, 0, both, memory.stats.tokens_seen),
        TurnEnded(session, reply),
    ]


def test_stream_yields_text_as_it_comes() -> None:
    """Each piece is handed on before the next one is asked for."""
    asked: list[str] = []

    def pieces(_: Context) -> Any:
        for word in ("one ", "two ", "three"):
            asked.append(word)
            yield word

    stream = Chat(CallableBackend(pieces), Memory(budget=2_000)).stream("Count.")
    assert asked == []
    for i in (1, 2, 3):
        assert next(stream).text == asked[-1]
        assert len(asked) == i
    assert next(stream).finish == "stop"


@each_drive
def test_a_reply_in_one_piece(drive: Drive) -> None:
    """The piece that finishes may be the only one; its text is part of the reply."""
    backend = Fake(lambda _: [Delta("All of it.", finish="length", usage=Usage(9, 4, 2))])
    reply = drive(Chat(backend, Memory(budget=2_000)), "Go on")
    assert ("All of it.", "length", Usage(9, 4, 2)) == (reply.text, reply.finish, reply.usage)


def test_the_last_piece_is_recorded_before_it_is_yielded() -> None:
    """A consumer that stops at the last piece has a recorded turn, which did not fail."""
    events: list[MemoryEvent] = []
    memory = Memory(budget=2_000, observers=[events.append])
    chat = Chat(ScriptedBackend("Hi.", "Ho."), memory)
    for delta in chat.stream("Hello"):
        if delta.finish is not None:
            assert delta.reply is not None
            assert len(memory.transcript) == 2
            break
    assert [ContextBuilt, Appended, TurnEnded] == [type(event) for event in events]
    assert chat.send("Again").text == "Ho."
    assert len(memory.transcript) == 4


def test_the_last_piece_is_recorded_before_it_is_yielded_asynchronously() -> None:
    """The same on the event loop."""
    memory = Memory(budget=2_000)
    chat = Chat(ScriptedBackend("Hi."), memory)

    async def stop_at_the_end() -> None:
        async with aclosing(chat.astream("Hello")) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                if delta.finish is not None:
                    break

    asyncio.run(stop_at_the_end())
    assert len(memory.transcript) == 2


def test_an_unstarted_stream_is_nothing() -> None:
    """A stream that nobody asks for a piece begins no turn, and may be closed or dropped."""
    memory = Memory(budget=2_000)
    chat = Chat(ScriptedBackend("Hi."), memory)
    dropped, closed = chat.stream("one"), chat.stream("two")
    closed.close()  # type: ignore[attr-defined]
    del dropped
    asyncio.run(chat.astream("three").aclose())  # type: ignore[attr-defined]
    assert chat.send("four").text == "Hi."
    assert memory.transcript[0].text == "four"


@each_drive
def test_any_backend_with_a_stream_will_do(drive: Drive) -> None:
    """A backend need not inherit anything: the rest is built on `stream`."""

    class Plain:
        def stream(self, context: Context) -> list[Delta]:
            return [Delta("Hi."), Delta(finish="stop")]

    backend: Any = Plain()
    assert drive(Chat(backend, Memory(budget=2_000)), "Hello").text == "Hi."


@each_drive
@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ((), "needs something to say"),
        (("",), "no content"),
        (("a\0b",), "NUL"),
        (("\ud800",), "lone surrogate"),
        ((None,), "NoneType"),
        ((b"bytes",), "bytes"),
        (({"role": "user", "content": "a dict"},), "dict"),
        (([Message.user("a list")],), "list"),
        (("fine", 5), "int"),
    ],
)
def test_what_cannot_be_said(drive: Drive, said: tuple[Any, ...], complaint: str) -> None:
    """Neither text nor a message, or text that no store can hold, is refused before the turn."""
    backend = ScriptedBackend("Hi.")
    memory = Memory(budget=2_000)
    with pytest.raises(MessageError, match=complaint):
        drive(Chat(backend, memory), *said)
    assert list(memory.transcript) == []
    assert backend.contexts == []
    assert drive(Chat(backend, memory), "Hello").text == "Hi."


@each_drive
def test_a_question_that_cannot_fit(drive: Drive) -> None:
    """It is refused with the message that did not fit, and the backend is not asked."""
    memory = talked()
    before = state_of(memory)
    backend = ScriptedBackend("Hi.")
    with pytest.raises(BudgetError) as caught:
        drive(Chat(backend, memory), "long " * 400)
    assert Message.user("long " * 400) == caught.value.rejected
    assert backend.contexts == []
    assert before == state_of(memory)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"backend": print}, "CallableBackend"),
        ({"backend": None}, "no backend"),
        ({"memory": []}, "needs a Memory"),
        ({"interrupted": "maybe"}, "'discard' or 'keep'"),
        ({"interrupted": None}, "'discard' or 'keep'"),
        ({"clock": 5}, "clock must be a function"),
    ],
)
def test_arguments_that_cannot_work(arguments: dict[str, Any], complaint: str) -> None:
    """A chat says what is wrong with its arguments when it is made."""
    fine: Any = {"backend": ScriptedBackend(), "memory": Memory(budget=2_000)}
    with pytest.raises(ConfigError, match=complaint):
        Chat(**(fine | arguments))


def _echo_differently(context: Context) -> str:
    return f"{len(context)} messages, the last of {len(context.messages[-1].text)} characters. " * 3


Turns = st.lists(
    st.tuples(st.sampled_from(sorted(DRIVES)), st.text(st.characters(codec="ascii"), min_size=1)),
    max_size=12,
)


@settings(max_examples=some(25), deadline=None)
@given(Turns)
def test_replaying_the_transcript_gives_the_same_contexts(turns: list[tuple[str, str]]) -> None:
    """Whatever was said, a memory that reads the transcript sees what the backend was shown."""
    turns = [(way, text) for way, text in turns if "\0" not in text]
    memory = Memory(budget=150)
    chat = Chat(CallableBackend(_echo_differently), memory)
    shown = [DRIVES[way](chat, text).context.messages for way, text in turns]
    replayed = Memory(budget=150)
    seen = []
    for message in memory.transcript:
        replayed.append(message)
        if message.role == "user":
            seen.append(replayed.context().messages)
    assert shown == seen
    again = Memory(budget=150)
    assert shown == [_again(again, text) for _, text in turns]
    assert _said(state_of(memory)) == _said(state_of(again))


def _again(memory: Memory, text: str) -> tuple[Message, ...]:
    return Chat(CallableBackend(_echo_differently), memory).send(text).context.messages


def _said(state: State) -> tuple[object, ...]:
    return (state.transcript, state.context, state.stored, state.events)


def test_a_chat_over_a_resumed_session_goes_on() -> None:
    """A chat that begins on a resumed memory is shown what an uninterrupted one is."""
    store = InMemoryStore()
    memory = talked(store)
    other = resumed(memory)
    backend: Backend = CallableBackend(last_text)
    resumed_reply = Chat(backend, other).send("Where were we?")
    uninterrupted = Chat(backend, talked()).send("Where were we?")
    assert uninterrupted.context.messages == resumed_reply.context.messages
