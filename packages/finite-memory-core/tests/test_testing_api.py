"""What `finite_memory_core.testing` gives to users: its list, and its fakes."""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finite_memory_core import (
    BackendError,
    Chat,
    ConflictError,
    Delta,
    InMemoryStore,
    Interrupted,
    Memory,
    Message,
    SQLiteStore,
    StoreError,
    ToolCall,
    Usage,
    testing,
)
from finite_memory_core.testing import (
    FailingStore,
    ScriptedBackend,
    StoreContract,
    TickingClock,
)


def test_every_name_resolves_and_is_documented() -> None:
    """The list of what testing exports is explicit, complete and described."""
    assert sorted(testing.__all__) == sorted(testing._HOME) == testing.__all__
    for name in testing.__all__:
        found = getattr(testing, name)
        assert found.__name__ == name
        assert inspect.getdoc(found), f"{name} has no docstring"
        assert f"`{name}`" in str(testing.__doc__) or name == "FuzzReport"
    assert set(testing.__all__) <= set(dir(testing))


def test_other_names_are_none() -> None:
    """A name that is not on the list is an ordinary AttributeError."""
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchContract'"):
        testing.NoSuchContract  # noqa: B018


def test_nothing_of_it_needs_pytest() -> None:
    """All of it can be imported where pytest is not installed."""
    code = (
        "import sys; sys.modules['pytest'] = None; sys.modules['hypothesis'] = None\n"
        "from finite_memory_core.testing import *"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# -- ScriptedBackend ------------------------------------------------------------------------------


def test_a_script_is_played_in_order() -> None:
    """Texts, messages, pieces and errors, one a turn, with the contexts kept."""
    call = ToolCall("a", "clock")
    asks = Message.assistant("Let me look.", tool_calls=[call], name="Eve")
    backend = ScriptedBackend(
        "Hello there.",
        asks,
        ["It is ", Delta("noon", finish="length")],
        KeyError("lost"),
        ["Half a rep", ConnectionError("gone")],
        usage=Usage(9, 3),
    )
    chat = Chat(backend, Memory(budget=500))
    assert chat.send("Hi").usage == Usage(9, 3)
    assert chat.send("What time is it?").message == asks
    third = chat.send(Message.tool("12:00", tool_call_id="a"))
    assert ("It is noon", "length", None) == (third.text, third.finish, third.usage)
    with pytest.raises(BackendError, match="KeyError"):
        chat.send("Again?")
    with pytest.raises(Interrupted) as caught:
        chat.send("Again?")
    assert caught.value.partial == "Half a rep"
    asked = [context.messages[-1].text for context in backend.contexts]
    assert ["Hi", "What time is it?", "12:00", "Again?", "Again?"] == asked


def test_a_script_of_pieces_ends_where_it_says() -> None:
    """Pieces behind one with `finish` are not given."""
    end = Delta("Hi.", finish="length")
    backend = ScriptedBackend([end, "Nobody hears this."])
    assert [end] == list(backend.stream(Memory(budget=500).context()))


def test_text_of_a_script_arrives_word_by_word() -> None:
    """Streaming can be seen, and adds up to the text, white space included."""
    chat = Chat(ScriptedBackend("  Hello \n there.  ", " "), Memory(budget=500))
    assert ["  Hello \n ", "there.  ", ""] == [delta.text for delta in chat.stream("Hi")]
    assert chat.send("Hi").text == " "


def test_a_script_that_is_used_up() -> None:
    """One turn more than the script has replies is an error that says so."""
    chat = Chat(ScriptedBackend("Only one."), Memory(budget=500))
    chat.send("Hi")
    with pytest.raises(BackendError, match="reply 2 was asked for, but the script has 1"):
        chat.send("Hi")


# -- FailingStore ---------------------------------------------------------------------------------


class TestFailingStore(StoreContract):
    """As long as nothing is to fail, it is the store that it wraps."""

    def open(self) -> FailingStore:
        return FailingStore(InMemoryStore(), fail_at=())


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("inner", [InMemoryStore, lambda: SQLiteStore(":memory:")])
def test_it_fails_where_it_was_told_to(written: bool, inner: Any) -> None:
    """The chosen appends fail, before or after they wrote; the others pass."""
    store = FailingStore(inner(), fail_at=[2, 4], written=written)
    memory = Memory(budget=500, store=store)
    memory.append(Message.user("one"))
    with pytest.raises(StoreError, match="append 2 was made to fail"):
        memory.append(Message.user("two"))
    there = [message.text for message in Memory.resume(store, memory.session_id).transcript]
    assert (["one", "two"] if written else ["one"]) == there
    if not written:
        memory.append(Message.user("three"))
        assert ["one", "three"] == [message.text for message in memory.transcript]
    assert store.appends == (2 if written else 3)


def test_it_fails_with_what_it_was_given() -> None:
    """Any error can be simulated."""
    error = ConflictError("somebody was faster")
    memory = Memory(budget=500, store=FailingStore(InMemoryStore(), 1, error=error))
    with pytest.raises(ConflictError) as caught:
        memory.append(Message.user("one"))
    assert error is caught.value


def test_a_clock_that_ticks() -> None:
    """Each reading is one step after the one before."""
    clock = TickingClock(datetime(2025, 2, 28, tzinfo=UTC), timedelta(days=1))
    assert [28, 1, 2] == [clock().day for _ in range(3)]
    assert TickingClock()() == TickingClock()()
