"""Recall in a memory: what left comes back next to the question, inside the budget, or not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    ConfigError,
    Context,
    InMemoryStore,
    Memory,
    Message,
    SQLiteStore,
    ToolCall,
)
from finite_memory_core.accounting import Accountant
from finite_memory_core.recall import Recall
from finite_memory_core.recall.archive import Archive
from finite_memory_core.recall.choosing import (
    MOST_READ,
    NOTHING,
    Recalled as Found,
    choose,
    fitted,
)
from finite_memory_core.recall.index import InMemoryIndex
from finite_memory_core.stores.base import Counted, Version

from .checks import mark_of, recount, take, wire
from .examples import some
from .recalling import FACTS, chat, recalled_text, talked
from .strategies import CORE, Setup, conversations, quarter_bytes, setups

recalls = st.builds(
    Recall, share=st.sampled_from([0.1, 0.25, 0.5, 0.75]), gate=st.sampled_from([0.0, 0.2, 1.0])
)
queries = st.sampled_from([None, None, "Where does Ada live?", "Turin 1998", "妹妹", "ok", "f(x)"])


@st.composite
def recalling(draw: st.DrawFn) -> Setup:
    """Draw a setup with recall."""
    return replace(draw(setups), recall=draw(recalls))


def place_of_recalled(context: Context) -> int | None:
    places = [i for i, m in enumerate(context.messages) if mark_of(m) == "recalled"]
    assert len(places) <= 1
    return places[0] if places else None


def test_of_facts_that_changed_the_newer_stands_later_under_its_day() -> None:
    """Two recalled messages that disagree are told oldest first, each with its date."""
    memory = Memory(600, recall=Recall(gate=0.0), counter=quarter_bytes)
    for month, city in ((1, "Turin"), (5, "Lyon")):
        at = datetime(2024, month, 3)
        memory.append(Message.user(f"I moved to {city}.", timestamp=at))
        memory.append(*[replace(m, timestamp=at) for m in chat(30)])
    text = recalled_text(memory, "Where did I move?")
    places = [text.index(part) for part in ("(2024-01-03)", "Turin", "(2024-05-03)", "Lyon")]
    assert sorted(places) == places


# -- what always holds ----------------------------------------------------------------------------


@CORE
@given(setup=recalling(), said=conversations(max_turns=16), query=queries)
def test_a_context_with_recall_keeps_the_rules(
    setup: Setup, said: list[Message], query: str | None
) -> None:
    """Budget, place, provenance: recalled is what was said, stands nowhere else, in one message."""
    memory = setup.memory()
    for message in said:
        take(memory, message)
        context = memory.context(query)
        assert context.token_count + setup.reserve <= setup.budget
        place = place_of_recalled(context)
        if place is None:
            assert not context.recalled
            continue
        shown = context.messages[place]
        transcript = list(memory.transcript)
        in_window = {i for block in memory.blocks for i in range(block.index, block.end)}
        assert context.recalled
        for hit in context.recalled:
            assert transcript[hit.index] == hit.message
            assert hit.message.text in shown.text
            assert not hit.message.role.instructs
            assert hit.index not in in_window
        if context.question is not None:
            assert context.messages[place + 1] == context.question
            assert all(m.role != "user" for m in context.messages[place + 2 :])
        assert recount(shown, setup.counter) <= setup.recall.share * setup.budget  # type: ignore[union-attr]


@CORE
@given(setup=recalling(), said=conversations(max_turns=16))
def test_the_stable_prefix_is_counted_right(setup: Setup, said: list[Message]) -> None:
    """`stable_tokens` is what the leading messages cost that two contexts share, and no more."""
    memory = setup.memory()
    before = memory.context()
    for message in said:
        take(memory, message)
        context = memory.context()
        pairs = zip(wire(context.messages), wire(before.messages), strict=False)
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        assert shared == context.stable_messages
        behind = sum(recount(m, setup.counter) for m in context.messages[shared:])
        assert context.stable_tokens == (context.token_count - behind if shared else 0)
        before = context


@CORE
@given(
    setup=recalling(),
    said=conversations(max_turns=16),
    query=queries,
    asked=st.sets(st.integers(0, 40)),
)
def test_contexts_do_not_depend_on_what_was_asked_before(
    setup: Setup, said: list[Message], query: str | None, asked: set[int]
) -> None:
    """Searches and contexts in between, a resume, or none of it: the same in the end."""
    quiet, busy = setup.memory(), setup.memory()
    for i, message in enumerate(said):
        assert take(quiet, message) == take(busy, message)
        if i in asked:
            busy.context("Turin 1998" if i % 2 else None)
            busy.search("sister")
    expected = quiet.context(query)
    resumed = setup.resume(quiet.store)
    for memory in (busy, resumed):
        context = memory.context(query)
        assert wire(expected.messages) == wire(context.messages)
        assert expected.recalled == context.recalled
        assert [h.parts for h in expected.recalled] == [h.parts for h in context.recalled]
        assert expected.token_count == context.token_count
    assert quiet.search("Turin moved") == busy.search("Turin moved")


@settings(CORE, max_examples=some(20))
@given(setup=recalling(), said=conversations(max_turns=12), undone=conversations(max_turns=3))
def test_an_undone_turn_leaves_no_trace(
    setup: Setup, said: list[Message], undone: list[Message]
) -> None:
    """What was staged and rolled back is found by no search, and changes no context."""
    memory, other = setup.memory(), setup.memory()
    for message in said:
        assert take(memory, message) == take(other, message)
    with memory.turn() as turn:
        for message in undone:
            try:
                turn.append(message)
            except Exception:  # noqa: BLE001 (whatever was refused, the turn goes on)
                continue
            turn.context()
        turn.rollback()
    assert other.search("ada turin", 100) == memory.search("ada turin", 100)
    for query in (None, "Ada in Turin", "1998"):
        assert wire(other.context(query).messages) == wire(memory.context(query).messages)


# -- what it does ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("In which city does my sister live?", FACTS[0]),
        ("How much was the repair of the boiler?", FACTS[1]),
        ("What is our dog called, the greyhound?", FACTS[2]),
        ("When does my flight leave?", FACTS[3]),
        ("Which allergies do I have, walnuts?", FACTS[4]),
    ],
)
def test_what_left_comes_back_when_it_is_asked_for(names: bool, question: str, fact: str) -> None:
    """The fact stands in the context, quoted, with who said it and when."""
    memory = Memory(400, recall=Recall(), counter=quarter_bytes)
    memory.append(*chat(60, names=names))
    memory.append(*[m for i in range(20) for m in _small_talk(i)])
    assert fact not in "".join(m.text for m in memory.context("xyzzy").messages)
    memory.append(Message.user(question))
    text = recalled_text(memory)
    assert f"{'Bob' if names else 'user'}: {fact}" in text
    assert "(2023-05-" in text


def _small_talk(number: int) -> list[Message]:
    return [Message.user(f"Hm, {number}."), Message.assistant(f"Indeed, {number}.")]


def test_it_stands_before_the_question_in_all_rounds_of_a_turn() -> None:
    """Tool calls and results come behind the question; what is recalled does not move."""
    memory = talked(budget=600, low_water=0.5)
    evictions = memory.stats.evictions
    while memory.stats.evictions == evictions:  # just behind an eviction there is room
        memory.append(Message.user("Hm."), Message.assistant("Indeed."))
    memory.append(Message.user("What was the dog called, the greyhound?"))
    before = memory.context()
    place = place_of_recalled(before)
    assert place == len(before.messages) - 2
    call = ToolCall("1", "look", "{}")
    memory.append(Message.assistant(None, tool_calls=[call]), Message.tool("x", tool_call_id="1"))
    after = memory.context()
    assert before.messages == after.messages[: len(before.messages)]
    assert len(before.messages) == after.stable_messages


def test_the_prefix_before_it_stands_still() -> None:
    """From turn to turn, until something is evicted, only what is recalled and the end change."""
    memory = talked()
    evictions, window = memory.stats.evictions, None
    for i in range(4):
        memory.append(Message.user(f"Where does Ada live, {i}?"))
        context = memory.context()
        place = place_of_recalled(context)
        assert place is not None
        head = context.messages[:place]
        if window is not None and memory.stats.evictions == evictions:
            assert window == head[: len(window)]
            assert context.stable_messages >= len(window)
        window, evictions = head, memory.stats.evictions
        memory.append(Message.assistant("In Turin."))


def test_the_gate_keeps_small_talk_free() -> None:
    """What holds too little of the message stays in the archive."""
    strict = talked(recall=Recall(gate=1.0))
    assert not strict.context("Was the greyhound tired of Lisbon?").recalled
    assert strict.context("greyhound").recalled
    assert talked(recall=Recall(gate=0.0)).context("Was the greyhound in Lisbon?").recalled


def test_where_the_gate_hardly_opens_less_is_recalled() -> None:
    """At the gate a bit more than half of the room is filled, all of it from 1.75 times it on."""
    question = "Was the greyhound in Lisbon, or in Turin with Rossi?"
    match = talked(turns=300)._recaller._searched().search(question, 600, lambda _: True).match
    tokens = []
    for gate in (match * 1.01, match, match / 1.4, match / 1.75, match / 4, 0.0):
        memory = talked(turns=300, budget=2_000, recall=Recall(0.5, gate))
        found = memory.context(question)
        place = place_of_recalled(found)
        tokens.append(0 if place is None else recount(found.messages[place], quarter_bytes))
    assert 0 == tokens[0]
    for share, found_tokens in zip((1 / 1.75, 1.4 / 1.75, 1, 1, 1), tokens[1:], strict=True):
        assert 0.96 * share * 1_000 <= found_tokens <= share * 1_000


def test_words_that_were_never_said_do_not_close_the_gate() -> None:
    """Only what the archive could hold counts as the question's information."""
    memory = talked(recall=Recall(gate=0.9))
    assert memory.context("greyhound xyzzy plugh").recalled


def test_the_share_bounds_what_is_recalled() -> None:
    """What is recalled costs no more than its share, marks included, and uses most of it."""
    for share in (0.1, 0.25, 0.5, 0.75):
        memory = talked(budget=1_000, recall=Recall(share, gate=0.0), turns=200)
        context = memory.context("Where does Ada live, near the river in Turin?")
        place = place_of_recalled(context)
        assert place is not None
        tokens = recount(context.messages[place], quarter_bytes)
        assert share * 1_000 * 0.85 <= tokens <= share * 1_000


def test_nothing_is_recalled_before_something_left() -> None:
    """A conversation that fits is not quoted to itself."""
    memory = Memory(100_000, recall=Recall(gate=0.0))
    memory.append(*chat(20))
    assert not memory.context("greyhound").recalled
    assert [] == memory.search("greyhound")


def test_instructions_and_silent_messages_are_not_quoted() -> None:
    """A picture without a word says nothing as a quote."""
    picture = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}
    memory = Memory(1_000, recall=Recall(gate=0.0), counter=quarter_bytes)
    memory.append(Message.system("Speak of the greyhound."))
    memory.append(Message.user("The greyhound!"), Message.user([picture]))
    memory.append(*chat(100))
    context = memory.context("greyhound")
    assert context.recalled
    assert all(hit.message.text for hit in context.recalled)
    assert not any(hit.message.role.instructs for hit in context.recalled)


def test_a_hit_that_is_too_long_leaves_room_for_the_others() -> None:
    """A message that fits no share is passed over, and those behind it in rank stand."""
    memory = Memory(400, recall=Recall(gate=0.0), counter=quarter_bytes)
    memory.append(Message.user("zeppelin " * 60), Message.assistant("Once more: zeppelin."))
    memory.append(*chat(60))
    found = [hit.index for hit in memory.search("zeppelin", 100)]
    assert found.index(1) < found.index(0)
    recalled = {hit.index for hit in memory.context("zeppelin").recalled}
    assert 1 in recalled
    assert 0 not in recalled


def test_a_result_that_needs_the_room_takes_it() -> None:
    """What must stay comes first: what is recalled shrinks to what is left."""
    memory = talked(budget=600, recall=Recall(0.5, gate=0.0), oversize="clip")
    memory.append(Message.user("What about the greyhound?"))
    before = memory.context()
    call = ToolCall("1", "look", "{}")
    memory.append(Message.assistant(None, tool_calls=[call]))
    memory.append(Message.tool("long " * 300, tool_call_id="1"))
    after = memory.context()
    assert after.token_count <= 600
    assert len(after.recalled) < len(before.recalled)


def chosen(said: list[Message], room: int, text: str) -> Found:
    """Choose among all of `said`, by tokens of four bytes."""
    store = InMemoryStore()
    store.create("s", "{}")
    store.append("s", Version(0, 0), [Counted(message, 1) for message in said], ())
    return choose(
        Archive(store, "s", InMemoryIndex()),
        Recall(gate=0.0),
        Accountant(quarter_bytes),
        text=text,
        stop=len(said),
        room=room,
        eligible=lambda _: True,
    )


def test_no_more_than_so_many_messages_are_read() -> None:
    """However large the room is."""
    found = chosen([Message.user("dog")] * 700, 1_000_000, "dog")
    assert len(found.hits) == MOST_READ


def test_instructions_are_never_quoted() -> None:
    """Not even if they are found: their words would come back as a user's."""
    said = [Message.system("Feed the dog."), Message.user("Which dog?")]
    assert [1] == [hit.index for hit in chosen(said, 1_000, "dog").hits]


@pytest.mark.parametrize("room", range(60, 400, 7))
def test_the_room_is_filled(room: int) -> None:
    """But for less than a short message; each day is said once, the oldest first."""
    said = [
        Message.user("dog " * (i % 7 + 1), timestamp=datetime(2023, 1, 1) + timedelta(days=i // 2))
        for i in range(60)
    ]
    found = chosen(said, room, "dog")
    assert found.message is not None
    assert room - 12 <= found.tokens <= room
    days = [line for line in found.message.text.split("\n") if line.startswith("(2023")]
    assert sorted(set(days)) == days


def test_the_worst_leave_first_where_less_fits() -> None:
    """In any room stand the best that fit it; in none, nothing."""
    hits = talked(recall=Recall(0.5, gate=0.0)).context("greyhound").recalled
    accountant = Accountant(quarter_bytes)
    most = fitted(hits, accountant, 1_000)
    assert hits == most.hits
    for room in range(most.tokens + 1):
        found = fitted(hits, accountant, room)
        assert found.tokens <= room
        assert hits[: len(found.hits)] == found.hits
        assert (found.message is None) == (not found.hits)
    assert NOTHING == fitted(hits, accountant, 0)
    assert most == fitted(hits, accountant, most.tokens)


@pytest.mark.parametrize("how", ["sqlite", "file", "reset"])
def test_it_is_the_same_after_a_restart(how: str, tmp_path: object) -> None:
    """From a file or a database, the index is built again and finds the same; a reset, nothing."""
    store = SQLiteStore(f"{tmp_path}/memory.db") if how == "sqlite" else InMemoryStore()
    with store:
        memory = talked(store=store)
        expected = memory.context("Where does Ada live?"), memory.search("Lisbon flight")
        assert expected[0].recalled
        if how == "sqlite":
            again = Memory.resume(store, "s", counter=quarter_bytes)
        elif how == "file":
            memory.save(f"{tmp_path}/memory.json")
            again = Memory.load(f"{tmp_path}/memory.json", counter=quarter_bytes)
        else:
            memory.reset()
            assert [] == memory.search("Lisbon flight")
            assert not memory.context("Where does Ada live?").messages
            memory.append(*chat(60))
            again = memory
        assert expected[0].messages == again.context("Where does Ada live?").messages
        assert expected[1] == again.search("Lisbon flight")


def test_stats_and_events_say_what_was_recalled() -> None:
    """An observer hears of what came back and what it cost."""
    heard: list[object] = []
    memory = talked(observers=[heard.append])
    context = memory.context("greyhound")
    assert len(context.recalled) == memory.stats.recalled
    told = [e for e in heard if type(e).__name__ == "Recalled"]
    assert [context.recalled] == [getattr(e, "hits", None) for e in told]
    place = place_of_recalled(context)
    assert place is not None
    assert [recount(context.messages[place], quarter_bytes)] == [
        getattr(e, "tokens", None) for e in told
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"share": value} for value in (0, 1, "half", True, None, float("nan"))),
        *({"gate": value} for value in (-0.1, 1.1, "none", True, None, float("nan"))),
    ],
)
def test_numbers_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    """The error says which number, and what would work."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must lie"):
        Recall(**wrong)  # type: ignore[arg-type]


def test_reported_usage_changes_nothing_within_a_turn() -> None:
    """All rounds of a question begin alike, whatever is learnt of the provider's counts meanwhile.

    The next question's room follows them. A resume in between changes nothing either.
    """
    memory = talked(150, budget=1_500, counter=None, recall=Recall(gate=0.0))
    before = memory.stats.evictions
    while memory.stats.evictions == before:
        memory.append(Message.user("It rained all day."))
    memory.append(Message.user("Where does Ada live, and what did the boiler cost?"))
    evictions, first = memory.stats.evictions, recalled_text(memory)
    room = memory._fold.state.asked_room
    for i in range(4):
        context = memory.context()
        memory.report_usage(context, round(context.counted_tokens * 1.1))
        call = ToolCall(f"c{i}", "f")
        memory.append(Message.assistant(tool_calls=[call]), Message.tool("x", tool_call_id=call.id))
        assert evictions == memory.stats.evictions
        assert first == recalled_text(memory)
        assert first == recalled_text(Memory.resume(memory.store, "s"))
    memory.append(Message.user("And the greyhound?"))
    assert room > memory._fold.state.asked_room == memory._fold.recall_room
