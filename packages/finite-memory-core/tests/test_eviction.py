"""Eviction: rare and deep, with a reason for each block, and a dry run that tells the truth."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    MUST_LEAVE,
    BudgetError,
    Deadline,
    EstimatingCounter,
    FellBack,
    Memory,
    MemoryEvent,
    Message,
    Policy,
    SlidingWindow,
    ToolCall,
    ToolCallError,
    View,
)
from finite_memory_core.eviction import select
from finite_memory_core.policies import POLICIES

from .checks import state, take
from .examples import some
from .strategies import CORE, Setup, characters, conversations, prose, quarter, setups


def chat(memory: Memory, turns: int, size: int = 60, start: int = 0) -> None:
    """Append `turns` questions and answers."""
    for i in range(start, start + 2 * turns, 2):
        memory.append(Message.user(prose(i, size)))
        memory.append(Message.assistant(prose(i + 1, size)))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("low_water", [0.5, 0.75])
def test_an_eviction_stops_at_low_water(policy: str, low_water: float) -> None:
    """Right after an eviction at most the low water is in use; before the next, nearly all is."""
    memory = Memory(1_000, policy, low_water=low_water, counter=quarter)
    memory.append(Message.system("Be brief."))
    evictions, highest, after, before = 0, 0, [], []
    for i in range(400):
        memory.append(Message.user(prose(i, 80)))
        held = memory.context().token_count
        if memory.stats.evictions > evictions:
            evictions = memory.stats.evictions
            after.append(held)
            before.append(highest)
        highest = held
    assert max(after) <= low_water * 1_000
    assert min(before) > 1_000 - 30
    assert evictions <= 400 * 24 / (1_000 * (1 - low_water)) * 1.6


def test_low_water_leaves_room_beside_large_instructions() -> None:
    """Where instructions take more than the low water, turns still pass without evictions."""
    memory = Memory(1_000, low_water=0.5, counter=quarter)
    memory.append(Message.system("x" * 2_800))
    chat(memory, 50, 80)
    assert 0 < memory.stats.evictions < 50


def test_sinks_stay() -> None:
    """A sliding window with sinks keeps the oldest blocks and the newest, and none between."""
    memory = Memory(300, SlidingWindow(sinks=2), counter=quarter)
    chat(memory, 40)
    indices = [block.index for block in memory.blocks]
    assert [0, 1] == indices[:2]
    assert list(range(indices[2], 80)) == indices[2:]
    assert indices[2] > 2


@settings(CORE, max_examples=some(25))
@given(setup=setups, said=conversations())
def test_explanations_agree_with_what_happened(setup: Setup, said: list[Message]) -> None:
    """Each block that left has a decision that says so, and the others one that says they stay."""
    memory = setup.memory()
    for message in said:
        before = {b.index: b for b in memory.blocks}
        evictions = memory.stats.evictions
        if not take(memory, message) or memory.stats.evictions == evictions:
            continue
        eviction = memory.context().explain()
        assert eviction is not None
        assert setup.policy == eviction.policy
        now = {b.index for b in memory.blocks}
        for decision in eviction.decisions:
            assert decision.kept == (decision.index in now)
            assert decision.reason
            if decision.index in before:
                assert before[decision.index].tokens == decision.tokens
            if decision.worth is None or not eviction.decisions:
                continue
            assert decision.density is not None
            if decision.kept:
                assert eviction.threshold is not None
                assert decision.density >= eviction.threshold
        assert str(eviction).count("\n") == len(eviction.decisions)
        assert setup.policy in str(eviction)


@settings(CORE, max_examples=some(25))
@given(setup=setups, said=conversations(), policy=st.sampled_from(POLICIES))
def test_a_dry_run_changes_nothing(setup: Setup, said: list[Message], policy: str) -> None:
    """A dry run with any policy and budget leaves the memory as it was, and can be repeated."""
    memory = setup.memory()
    for message in said:
        take(memory, message)
    before = state(memory)
    for budget in (None, 300):
        first = memory.dry_run(policy=policy, budget=budget)
        again = memory.dry_run(policy=policy, budget=budget)
        assert first.decisions == again.decisions
        assert [b.index for b in memory.blocks] == [d.index for d in first.decisions]
        assert policy == first.policy
    assert before == state(memory)


def test_a_dry_run_with_less_budget_keeps_less() -> None:
    """The smaller the budget that is tried, the more would leave."""
    memory = Memory(1_000, counter=quarter)
    chat(memory, 20)
    left = [sum(not d.kept for d in memory.dry_run(budget=b).decisions) for b in (900, 500, 100)]
    assert sorted(left) == left
    assert left[0] < left[2]


def test_an_answer_that_does_not_fit_beside_its_question_leaves_at_once() -> None:
    """A long answer to a long question is in the transcript, and the context says why it is not."""
    memory = Memory(500, counter=characters)
    memory.append(Message.user("q" * 300))
    memory.append(Message.assistant("a" * 300))
    context = memory.context()
    assert ["q" * 300] == [m.text for m in context.messages]
    assert 2 == len(memory.transcript)
    eviction = context.explain()
    assert eviction is not None
    assert ["does not fit beside the last user message"] == [d.reason for d in eviction.decisions]
    memory.append(Message.user("next"))
    assert "next" == memory.context().messages[-1].text


def test_a_pinned_answer_that_does_not_fit_is_refused() -> None:
    """What was to be pinned cannot leave at once, so it is refused by name."""
    memory = Memory(500, counter=characters)
    memory.append(Message.user("q" * 300))
    with pytest.raises(BudgetError, match="a pinned message costs 304 tokens"):
        memory.append(Message.assistant("a" * 300, pinned=True))


# -- the room is filled exactly -------------------------------------------------------------------


@pytest.mark.parametrize("oversize", ["raise", "clip"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_message_that_just_fits_is_taken_whole(policy: str, oversize: str) -> None:
    """To the token: one that fits beside the instructions is whole, one more is not taken so."""
    for extra in (0, 1):
        memory = Memory(500, policy, counter=characters, oversize=oversize)
        memory.append(Message.system("s" * 46))
        chat(memory, 10)
        text = "q" * (500 - 3 - 50 - 4 + extra)
        if extra and oversize == "raise":
            with pytest.raises(BudgetError) as caught:
                memory.append(Message.user(text))
            assert (448, 447) == (caught.value.needed, caught.value.available)
        else:
            memory.append(Message.user(text))
            assert (text == memory.context().messages[-1].text) == (not extra)


class Characters(EstimatingCounter):
    """An estimate, so it is corrected; of a token a character, so it can be steered."""

    def __call__(self, text: str, /) -> int:
        return len(text)


@pytest.mark.parametrize(("budget", "counted", "reported"), [(1_001, 342, 399), (250, 50, 53)])
def test_a_correction_that_rounds_up_evicts_in_time(
    budget: int, counted: int, reported: int
) -> None:
    """Filled to the last token that the correction leaves, a context is within its budget."""
    for more in range(3, 40):
        memory = Memory(budget, counter=Characters())
        memory.append(Message.user("x" * (counted - 3 - 4)))
        context = memory.context()
        assert counted == context.counted_tokens
        memory.report_usage(context, reported)
        room = int(budget * counted / reported)
        memory.append(Message.user("y" * (room - counted - 4 - 20 + more)))
        assert memory.context().token_count <= budget


def test_what_must_stay_and_costs_more_than_it_seemed_is_told() -> None:
    """Where not even the pinned fit by the provider's count, the error says by how much."""
    memory = Memory(400, counter=Characters())
    memory.append(Message.user("p" * 180, pinned=True), Message.user("q" * 100))
    memory.report_usage(memory.context(), 2 * memory.context().counted_tokens)
    with pytest.raises(BudgetError, match=r"factor 2\.000.*unpin something") as caught:
        memory.context()
    assert (2 * (3 + 184 + 104), 400) == (caught.value.needed, caught.value.available)
    memory.unpin(0)
    assert ["q" * 100] == [m.text for m in memory.context()]


@pytest.mark.parametrize("size", range(200, 420, 10))
def test_a_round_after_which_nothing_else_stays_counts_the_summary(size: int) -> None:
    """Where only a summary and a tool's result are left, they fit together all the same."""
    memory = Memory(450, "rolling_summary", counter=characters, session_id="s")
    memory.append(*(Message.assistant(prose(9 * i, 70)) for i in range(20)))
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f", "x" * 100)]))
    taken = take(memory, Message.tool("x" * (size - 100), tool_call_id="a"))
    context = memory.context()
    assert context.token_count <= 450
    assert not taken or "tool" == context.messages[-1].role
    assert not context.messages or "user" == context[0].role


def test_a_result_comes_once() -> None:
    """A second result for one call is refused, and one for a call that is not open too."""
    memory = Memory(600, counter=quarter)
    memory.append(Message.user("Look."))
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
    memory.append(Message.tool("1", tool_call_id="a"))
    for call_id, expected in [
        ("a", "tool call 'a' has its result already"),
        ("c", r"'c', which is not among the open calls \['b'\]"),
    ]:
        with pytest.raises(ToolCallError, match=expected):
            memory.append(Message.tool("1", tool_call_id=call_id))
    memory.append(Message.tool("2", tool_call_id="b"))
    with pytest.raises(ToolCallError, match="but no tool call is open"):
        memory.append(Message.tool("2", tool_call_id="b"))


class Unable:
    """An embedder that has no model."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        raise OSError("no model")


def test_an_embedder_that_fails_is_stood_in_for() -> None:
    """The conversation goes on by the sliding window, and the explanation says what failed."""
    memory = Memory(300, "semantic", embedder=Unable(), counter=quarter)
    memory.append(*(Message.user(prose(i, 60)) for i in range(60)))
    assert {"policy": memory.stats.evictions} == memory.stats.fallbacks
    assert "OSError: no model" in str(memory.context().explain())


def test_usage_never_makes_a_context_that_fits_be_refused() -> None:
    """A correction factor that does not divide evenly does not lose the last token."""
    for counted, reported in [(342, 399), (3, 4), (7, 9), (99, 101), (342, 398), (171, 200)]:
        memory = Memory(1_001)
        memory.append(Message.user("hello"))
        context = memory.context()
        scale = context.counted_tokens
        memory.report_usage(context, scale * reported // counted)
        for i in range(200):
            memory.append(Message.user("word " * (i % 7 + 1)))
            assert memory.context().token_count <= 1_001


def test_reported_usage_evicts_where_it_must() -> None:
    """A provider that counts more than we did makes the context smaller at once."""
    memory = Memory(500)
    while memory.stats.tokens_held < 450:
        memory.append(Message.user("The cat sat on the mat and looked at the moon."))
    context = memory.context()
    memory.report_usage(context, context.token_count * 2)
    smaller = memory.context()
    assert smaller.token_count <= 500
    assert 2.0 == memory.stats.correction
    assert 1 == memory.stats.evictions
    assert len(smaller.messages) < len(context.messages)


# -- deadlines ------------------------------------------------------------------------------------


class Spinning(Policy):
    """Thinks until it is stopped."""

    name = "spinning"

    def worth(self, view: View) -> Sequence[float]:
        while True:
            view.deadline.check()


def test_a_policy_that_runs_out_of_time_is_stood_in_for() -> None:
    """The sliding window decides in its place, and stats, event and explanation say so."""
    heard: list[MemoryEvent] = []
    memory = Memory(300, Spinning(), counter=quarter, max_policy_ms=0.1, observers=[heard.append])
    twin = Memory(300, SlidingWindow(), counter=quarter)
    chat(memory, 20)
    chat(twin, 20)
    assert twin.context().messages == memory.context().messages
    assert {"policy": memory.stats.evictions} == memory.stats.fallbacks
    fell = [event for event in heard if isinstance(event, FellBack)]
    assert memory.stats.evictions == len(fell) > 0
    assert "longer than max_policy_ms=0.1; the sliding window decided" in fell[0].why
    eviction = memory.context().explain()
    assert eviction is not None
    assert "spinning (sliding window: it took longer" in str(eviction)
    assert memory.stats.policy_ms >= memory.stats.policy_ms_max >= 0.1


def test_a_deadline_of_none_never_passes() -> None:
    """Without a limit, checking it does nothing."""
    Deadline(None).check()


# -- the knapsack ---------------------------------------------------------------------------------


@CORE
@given(
    items=st.lists(st.tuples(st.floats(-10, 100), st.integers(0, 50)), max_size=30),
    room=st.integers(0, 300),
)
def test_the_room_is_filled_and_not_more(items: list[tuple[float, int]], room: int) -> None:
    """What is chosen fits, and nothing that was left out would fit beside it."""
    worths, tokens = [w for w, _ in items], [t for _, t in items]
    chosen, threshold = select(worths, tokens, room)
    spent = sum(tokens[i] for i in chosen)
    assert spent <= room
    assert all(spent + t > room for i, t in enumerate(tokens) if i not in chosen)
    assert (threshold is None) == (not chosen)


def test_ties_go_to_the_newer_and_must_leave_is_never_chosen() -> None:
    """Of equals the newer stays; `MUST_LEAVE` leaves even where there is room."""
    assert {2, 1} == select([1.0, 1.0, 1.0], [5, 5, 5], 10)[0]
    assert {1} == select([MUST_LEAVE, 1.0], [5, 5], 100)[0]
    assert (set(), None) == select([MUST_LEAVE], [5], 100)


# -- tool rounds ----------------------------------------------------------------------------------


def test_unanswered_calls_stay_out_of_the_context() -> None:
    """Calls without all their results never reach a model; the transcript has them."""
    memory = Memory(600, counter=quarter)
    memory.append(Message.user("Find it."))
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
    assert 1 == len(memory.context())
    memory.append(Message.tool("found", tool_call_id="a"))
    assert 1 == len(memory.context())
    memory.append(Message.user("Never mind."))
    assert ["Find it.", "Never mind."] == [m.text for m in memory.context()]
    assert 1 == memory.stats.unanswered
    assert 4 == len(memory.transcript)


def test_parallel_results_come_in_any_order_and_once() -> None:
    """A round joins the context when its last result is there, results in the order they came."""
    memory = Memory(600, counter=quarter)
    memory.append(Message.user("Find it."))
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
    memory.append(Message.tool("2", tool_call_id="b"), Message.tool("1", tool_call_id="a"))
    assert ["Find it.", "", "2", "1"] == [m.text for m in memory.context()]
    assert [1, 3] == [len(b.messages) for b in memory.blocks]
    assert "f {}\nf {}\n2\n1" == memory.blocks[1].text


def test_a_bridge_stands_before_an_assistant_that_speaks_first() -> None:
    """Several providers refuse an assistant's first word, so a marked user's stands before it."""
    memory = Memory(300, counter=quarter)
    memory.append(Message.system("Be brief."), Message.assistant("Hello! How can I help?"))
    context = memory.context()
    assert ["system", "user", "assistant"] == [m.role for m in context]
    assert {"finite_memory": "bridge"} == context[1].metadata
    assert 2 == len(memory.transcript)
