"""The memory's own behaviour: pins, turns, tools, usage, settings, reset."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from finite_memory_core import (
    BudgetError,
    BusyError,
    ConfigError,
    ConflictError,
    Context,
    CounterError,
    InMemoryStore,
    Memory,
    Message,
    MessageError,
    SlidingWindow,
    ToolCall,
)
from finite_memory_core.recall import Recall

from .checks import state, view
from .strategies import TOOL, prose, quarter


def full(**more: Any) -> Memory:
    """Return a memory from which the first messages have left."""
    memory = Memory(400, counter=quarter, **more)
    for i in range(40):
        memory.append(Message.user(prose(i, 80)))
    return memory


# -- pins -----------------------------------------------------------------------------------------


def test_a_pinned_block_stays_for_good() -> None:
    """What is pinned in the context is there after any number of evictions."""
    memory = full()
    index = memory.blocks[0].index
    memory.pin(index)
    for i in range(100):
        memory.append(Message.user(prose(i, 80)))
    assert memory.blocks[0].index == index
    assert memory.context()[0] == memory.transcript[index]


def test_a_pin_brings_back_what_left_in_its_place() -> None:
    """A message of the archive that is pinned stands in order again."""
    memory = full()
    assert 3 not in [b.index for b in memory.blocks]
    memory.pin(3, 1)
    assert [1, 3] == [b.index for b in memory.blocks][:2]
    assert [memory.transcript[1], memory.transcript[3]] == list(memory.context())[:2]
    assert memory.context().token_count <= 400


def test_a_message_is_pinned_by_itself_or_from_the_end() -> None:
    """A message names its newest equal; a negative index counts from the end."""
    memory = Memory(400, counter=quarter)
    same = Message.user("same")
    memory.append(same, Message.user("other"), same, Message.user("last"))
    memory.pin(same)
    assert [False, False, True, False] == [b.pinned for b in memory.blocks]
    memory.pin(-1)
    assert [False, False, True, True] == [b.pinned for b in memory.blocks]
    memory.unpin(same, 3)
    assert not any(b.pinned for b in memory.blocks)


def test_a_tool_round_is_pinned_whole() -> None:
    """Any message of a round pins all of it, in the context and out of the archive."""
    memory = Memory(600, counter=quarter)
    memory.append(Message.user("Look."))
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
    memory.append(Message.tool("1", tool_call_id="a"), Message.tool("2", tool_call_id="b"))
    for i in range(60):
        memory.append(Message.user(prose(i, 80)))
    assert memory.blocks[0].index > 3
    memory.pin(3)
    block = memory.blocks[0]
    assert (1, 4, True) == (block.index, block.end, block.pinned)
    assert ["user", "assistant", "tool", "tool", "user"] == [m.role for m in memory.context()][:5]


def test_an_unfinished_round_cannot_be_pinned() -> None:
    """A block that no provider would take cannot be brought back."""
    memory = Memory(600, counter=quarter)
    memory.append(Message.user("Look."))
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
    memory.append(Message.tool("1", tool_call_id="a"))
    for target in (1, 2):
        with pytest.raises(MessageError, match="never got all their results"):
            memory.pin(target)
    memory.append(Message.user("Stop."))
    before = state(memory)
    with pytest.raises(MessageError, match="never got all their results"):
        memory.pin(2)
    assert before == state(memory)


def test_unpinning_lets_a_block_leave_again() -> None:
    """After `unpin` a block goes when it is its turn; instructions stay all the same."""
    memory = Memory(400, counter=quarter)
    memory.append(Message.system("Be brief."), Message.user("Call me Ada.", pinned=True))
    memory.unpin(0, 1)
    for i in range(60):
        memory.append(Message.user(prose(i, 80)))
    assert [True] + [False] * (len(memory.blocks) - 1) == [b.pinned for b in memory.blocks]
    assert memory.blocks[1].index > 1


def test_unpinning_what_left_does_not_bring_it_back() -> None:
    """There is nothing to unpin in the archive, and the error says so."""
    memory = full()
    before = state(memory)
    with pytest.raises(ConfigError, match="message 0 stands in no context"):
        memory.unpin(0)
    assert before == state(memory)


def test_what_does_not_fit_beside_the_pinned_is_not_pinned() -> None:
    """Pins that would exceed the budget are refused together."""
    memory = full()
    before = state(memory)
    with pytest.raises(BudgetError, match="to be pinned") as caught:
        memory.pin(*range(40))
    assert caught.value.needed > caught.value.available
    assert before == state(memory)


def test_pins_beside_an_open_round_leave_room_for_it() -> None:
    """A pin that would leave no room for the results that are to come is refused."""
    memory = full()
    memory.append(Message.assistant(tool_calls=[ToolCall(i, "f") for i in "abc"]))
    with pytest.raises(BudgetError, match="to be pinned"):
        memory.pin(*range(9))
    for i in "abc":
        memory.append(Message.tool("x" * 80, tool_call_id=i))
    assert "tool" == memory.context().messages[-1].role


@pytest.mark.parametrize("target", [40, -41, "x", 1.5, None, True])
def test_a_pin_must_name_a_message(target: Any) -> None:
    """An index that is not there, or something that is no index, is refused."""
    memory = full()
    with pytest.raises(ConfigError, match=r"there is no message|index or itself"):
        memory.pin(target)
    with pytest.raises(ConfigError, match="no message of the transcript equals"):
        memory.pin(Message.user("never said"))


# -- turns and threads ----------------------------------------------------------------------------


def test_a_turn_shuts_others_out() -> None:
    """While a turn is under way, changes from elsewhere are refused; the context can be read."""
    memory = full()
    turn = memory.turn()
    turn.append(Message.user("staged"))
    calls = [
        lambda: memory.append(Message.user("x")),
        memory.turn,
        lambda: memory.pin(0),
        lambda: memory.set_tools([]),
        lambda: memory.report_usage(memory.context(), 1),
        lambda: memory.save("x"),
        memory.reset,
    ]
    for call in calls:
        with pytest.raises(BusyError, match="while a turn is under way"):
            call()
    assert "staged" == memory.context()[-1].text
    assert 40 == len(memory.transcript)
    turn.rollback()
    assert 40 == memory.stats.messages
    for ended in (turn.commit, turn.context, lambda: turn.append(Message.user("x"))):
        with pytest.raises(BusyError, match="this turn has ended already"):
            ended()
    turn.rollback()


def test_a_turn_can_be_rolled_back_inside_its_block() -> None:
    """Leaving the block after a rollback commits nothing."""
    memory = full()
    before = state(memory)
    with memory.turn() as turn:
        turn.append(Message.user("x"))
        turn.rollback()
    assert before == state(memory)


def test_threads_do_not_interleave_batches() -> None:
    """Batches from several threads each stand together."""
    memory = Memory(400, counter=quarter)

    def talk(name: str) -> None:
        for i in range(50):
            memory.append(Message.user(f"{name}{i}?"), Message.assistant(f"{name}{i}!"))
            memory.context()

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [m.text for m in memory.transcript]
    assert 400 == len(texts)
    assert [t[:-1] for t in texts[::2]] == [t[:-1] for t in texts[1::2]]


def test_two_memories_of_one_session_conflict() -> None:
    """The second writer is refused, and stays as it was."""
    store = InMemoryStore()
    first = Memory(400, counter=quarter, store=store, session_id="s")
    first.append(Message.user("one"))
    second = Memory.resume(store, "s", counter=quarter)
    first.append(Message.user("two"))
    before = view(second)
    with pytest.raises(ConflictError, match="another writer appended"):
        second.append(Message.user("three"))
    assert before == view(second)
    with pytest.raises(ConflictError, match="exists already; resume it"):
        Memory(400, store=store, session_id="s")


def test_an_undone_turn_is_no_stable_prefix() -> None:
    """What was sent in a turn that was undone is not what stands in the next context."""
    memory = Memory(400, counter=quarter)
    memory.append(Message.user("Hi."))
    turn = memory.turn()
    turn.append(Message.assistant("Hello."))
    turn.context()
    turn.rollback()
    memory.append(Message.assistant("Good day."), Message.user("Bye."))
    context = memory.context()
    assert 1 == context.stable_messages
    assert 3 + 4 == context.stable_tokens


# -- tools and usage ------------------------------------------------------------------------------


def test_tool_schemas_count_and_change_the_prefix() -> None:
    """Schemas cost tokens in each context; other schemas make no token of it stable."""
    memory = full()
    before = memory.context()
    memory.set_tools([TOOL])
    after = memory.context()
    assert (TOOL["name"],) == tuple(tool["name"] for tool in after.tools)
    assert 0 == after.stable_tokens
    assert after.token_count <= 400
    memory.set_tools([])
    assert after.tools != memory.context().tools == before.tools


@pytest.mark.parametrize("tools", [["search"], "abc", [{"name": float("nan")}], [{"name": "\0"}]])
def test_tool_schemas_must_be_json_objects(tools: Any) -> None:
    """What is no object, or has no place in JSON, is refused."""
    memory = full()
    with pytest.raises(MessageError, match=r"tools\[0\]"):
        memory.set_tools(tools)
    with pytest.raises(MessageError, match=r"tools\[0\]"):
        Memory(400, tools=tools)


def test_usage_is_learnt_by_the_default_counter_alone() -> None:
    """A counter that was given is believed; an estimate is corrected."""
    given, estimated = Memory(400, counter=quarter), Memory(400)
    for memory in (given, estimated):
        memory.append(Message.user("hello there"))
        memory.report_usage(memory.context(), memory.context().token_count * 2)
    assert 1.0 == given.stats.correction
    assert 2.0 == estimated.stats.correction
    context = estimated.context()
    assert 2 * context.counted_tokens == context.token_count


@pytest.mark.parametrize("reported", [None, "12", -1, 1.5, True])
@pytest.mark.parametrize("counter", [None, quarter])
def test_usage_that_is_no_count_is_refused(reported: Any, counter: Any) -> None:
    """A report that is no number of tokens says so."""
    memory = Memory(400, counter=counter)
    memory.append(Message.user("hello"))
    before = state(memory)
    with pytest.raises(CounterError, match="reported usage must be a whole number"):
        memory.report_usage(memory.context(), reported)
    assert before == state(memory)


# -- settings -------------------------------------------------------------------------------------

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("budget must be a whole number of tokens, 0 or more, got -5", {"budget": -5}),
    ("got 4096.0", {"budget": 4096.0}),
    ("got True", {"budget": True}),
    ("above the reserve for the reply, got budget=0", {"budget": 0}),
    ("got budget=100, reserve=100", {"budget": 100, "reserve": 100}),
    ("reserve must be a whole number of tokens", {"reserve": -1}),
    ("low_water must lie above 0 and at most at 1 .* got 0", {"low_water": 0}),
    ("got 1.5", {"low_water": 1.5}),
    ("got nan", {"low_water": float("nan")}),
    ("got '0.5'", {"low_water": "0.5"}),
    ("oversize must be 'raise' or 'clip', got 'cut'", {"oversize": "cut"}),
    ("max_policy_ms must be a positive number .* got 0", {"max_policy_ms": 0}),
    ("there is no policy 'best'; known are hybrid", {"policy": "best"}),
    ("policy must be a name .* got int: 5", {"policy": 5}),
    ("store must be an object with create.* got str: 'chat.db'", {"store": "chat.db"}),
    ("summarizer must be an object with summarize, got function", {"summarizer": quarter}),
    ("observers must be a list of callables", {"observers": print}),
    ("observers must be a list of callables, got \\[5\\]", {"observers": [5]}),
    ("recall must be a Recall, such as Recall\\(\\), or None, got True", {"recall": True}),
    ("recall must be a Recall", {"recall": {"share": 0.5}}),
    ("a session id is empty", {"session_id": ""}),
    ("a session id must be text, got int", {"session_id": 5}),
    ("a session id has a NUL", {"session_id": "\0"}),
]


@pytest.mark.parametrize(("expected", "arguments"), SETTINGS)
def test_settings_that_cannot_work_are_refused(expected: str, arguments: dict[str, Any]) -> None:
    """Each bad setting is named with its value and what would work."""
    with pytest.raises(ConfigError, match=expected):
        Memory(**{"budget": 400, **arguments})


def test_a_budget_smaller_than_what_must_stay_says_what_it_leaves() -> None:
    """The error names the budget, what was needed, and what can be done."""
    memory = Memory(60, counter=quarter)
    with pytest.raises(BudgetError, match="the budget of 60 leaves 57 for it") as caught:
        memory.append(Message.system("x" * 400))
    assert (104, 57) == (caught.value.needed, caught.value.available)
    assert "raise the budget, shorten it, or let it be clipped" in str(caught.value)
    assert 0 == len(memory.transcript)


def test_a_memory_says_what_it_was_made_with() -> None:
    """Its properties are the arguments."""
    policy, store = SlidingWindow(sinks=1), InMemoryStore()
    memory = Memory(400, policy, counter=quarter, store=store, session_id="s", tools=[TOOL])
    assert (400, policy, store, "s") == (
        memory.budget,
        memory.policy,
        memory.store,
        memory.session_id,
    )
    assert {"sinks": 1} == memory.settings.policy_settings
    assert "quarter" == memory.settings.counter
    assert "Memory(budget=400, policy='sliding', 0 messages" in repr(memory)
    assert "<Transcript of session 's': 0 messages>" == repr(memory.transcript)


# -- reading --------------------------------------------------------------------------------------


def test_the_transcript_is_a_sequence() -> None:
    """It can be indexed, sliced, searched and compared, and shows what is appended later."""
    memory = Memory(400, counter=quarter)
    transcript = memory.transcript
    said = [Message.user(str(i)) for i in range(10)]
    memory.append(*said)
    assert said == transcript
    assert (said[2], said[-1]) == (transcript[2], transcript[-1])
    assert tuple(said[2:5]) == transcript[2:5]
    assert tuple(said[::-3]) == transcript[::-3]
    assert () == transcript[5:2]
    assert said[4] in transcript
    assert 4 == transcript.index(said[4])
    assert transcript != said[:-1]
    assert transcript != "0123456789"
    for index in (10, -11):
        with pytest.raises(IndexError, match="of a transcript of 10 messages"):
            transcript[index]


def test_a_context_reads_as_a_sequence_and_as_json() -> None:
    """Its messages are at hand in every form that a backend wants."""
    memory = Memory(400, counter=quarter, reserve=50)
    memory.append(Message.user("hi", timestamp=None, metadata={"a": 1}), Message.assistant("yes"))
    context = memory.context(query="what?")
    assert 2 == len(context)
    assert ["hi", "yes"] == [m.text for m in context]
    assert "yes" == context[-1].text
    assert [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}] == (
        context.to_dicts()
    )
    assert {"a": 1} == context.to_dict()["messages"][0]["metadata"]
    assert (400, 50, "what?") == (context.budget, context.reserve, context.query)
    assert context.question == memory.transcript[0]
    assert context.explain() is None
    assert "Context(2 messages, 11 of 400 tokens, 0 stable)" == repr(context)
    assert all(hasattr(context, name) for name in Context.__slots__)  # however it was made


def test_a_reset_forgets_everything_but_the_settings() -> None:
    """After it the memory is as a new one of the same session, in the store too."""
    memory = full(tools=[TOOL], session_id="s")
    memory.pin(0)
    memory.reset()
    assert state(Memory(400, counter=quarter, tools=[TOOL], session_id="s")) == state(memory)
    memory.append(Message.user("again"))
    resumed = Memory.resume(memory.store, "s", counter=quarter)
    assert ["again"] == [m.text for m in resumed.context()]


def test_a_reset_recalls_nothing_from_before() -> None:
    """What was forgotten is not found again, and what is said afterwards is."""
    memory = Memory(400, counter=quarter, recall=Recall(gate=0.0))
    secret = "The password of the blue vault is swordfish."
    memory.append(Message.user(secret))
    for i in range(40):
        memory.append(Message.user(prose(i, 80)))
    assert memory.search("password of the blue vault")
    memory.context("What is the password of the blue vault?")
    memory.reset()
    assert [] == memory.search("password of the blue vault")
    memory.append(Message.user("My cat is called Murr."))
    for i in range(40):
        memory.append(Message.user(prose(i, 80)))
        assert secret not in memory.context("What is the password of the blue vault?")[0].text
    assert 0 == memory.search("What is my cat called?")[0].index


def test_a_turn_of_many_messages_recalls_what_is_written() -> None:
    """What a turn itself stages is not in the archive before it is written."""
    memory = Memory(400, counter=quarter, recall=Recall(gate=0.0))
    memory.append(Message.user("Ada lives in Turin."))
    with memory.turn() as turn:
        for i in range(40):
            turn.append(Message.user(prose(i, 80)), Message.assistant(prose(i + 1, 80)))
        turn.append(Message.user("Where does Ada live?"))
        assert turn.context().token_count <= 400
    resumed = Memory.resume(memory.store, memory.session_id, counter=quarter)
    assert state(memory) == state(resumed)
    assert [0] == [hit.index for hit in memory.context().recalled][:1]
