"""The fold, step by step and to the token, with a counter of one token a character."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from finite_memory_core import (
    MUST_LEAVE,
    BudgetError,
    Clipped,
    Evicted,
    FellBack,
    Forgotten,
    Message,
    MessageError,
    Policy,
    SlidingWindow,
    Summarized,
    ToolCall,
    ToolCallError,
    Unanswered,
    View,
)
from finite_memory_core.accounting import Accountant
from finite_memory_core.blocks import Block
from finite_memory_core.counting import Calibration
from finite_memory_core.fold import Fold
from finite_memory_core.limits import Limits
from finite_memory_core.policies import CannotDecide
from finite_memory_core.rounds import RESULT_RESERVE
from finite_memory_core.stores.base import Counted, Event
from finite_memory_core.summary import Offer, Running, Vetted, Waiting
from finite_memory_core.tombstone import tombstone
from finite_memory_core.window import BRIDGE

from .strategies import characters
from .test_summary_keeping import Answering

BRIDGE_TOKENS = 4 + len(BRIDGE.text)


def limits(budget: int = 303, **more: Any) -> Limits:
    """Return limits that leave a window 300 tokens, 100 of them at low water."""
    values: dict[str, Any] = {
        "low_water": 1 / 3,
        "reserve": 0,
        "clips": False,
        "max_policy_ms": None,
        "summary_share": 0.2,
        **more,
    }
    return Limits(budget, **values)


def fold(policy: Policy | None = None, summarizer: Answering | None = None, **more: Any) -> Fold:
    return Fold(
        "s",
        policy or SlidingWindow(),
        Accountant(characters),
        limits(**more),
        summarizer=summarizer,
    )


def user(tokens: int, mark: str = "u", **more: Any) -> Message:
    """Return a user's message that costs so many tokens."""
    return Message.user(mark * (tokens - 4), **more)


def assistant(tokens: int, mark: str = "a", **more: Any) -> Message:
    return Message.assistant(mark * (tokens - 4), **more)


def call(*ids: str, text: str = "", **more: Any) -> Message:
    """Return an assistant's message that costs 14 tokens a call, and 4."""
    return Message.assistant(text, tool_calls=[ToolCall(i, "f", "xxxx") for i in ids], **more)


def result(call_id: str, tokens: int, **more: Any) -> Message:
    return Message.tool("r" * (tokens - 4 - len(call_id)), tool_call_id=call_id, **more)


def places(one: Fold) -> list[int]:
    return [block.index for block in one.window.blocks]


def kinds(one: Fold) -> list[str]:
    return [event.kind for event in one.journal.events]


# -- sums -----------------------------------------------------------------------------------------


def test_a_fold_begins_with_nothing() -> None:
    """Its limits are what they leave; a context by itself counts 3."""
    one = fold(reserve=20)
    assert (0, 0, {}) == (one.count, one.tokens_seen, one.stored_clips)
    assert (280, 280, 0) == (one.limit, one.most, one.recall_room)
    assert (3, 3) == (one.raw_tokens, one.everything)
    assert 93 == one.target()
    assert ([], [], []) == (one.journal.staged, one.journal.events, one.notices)
    one.checkpoint_if_due()
    assert [] == one.journal.events


def test_what_is_said_is_counted_once() -> None:
    """In the context, in the transcript, and staged for the store."""
    one = fold()
    one.push(user(30))
    one.push(assistant(20), 50)
    assert (2, 80) == (one.count, one.tokens_seen)
    assert [Counted(user(30), 30), Counted(assistant(20), 50)] == one.journal.staged
    assert (83, 83) == (one.raw_tokens, one.everything)
    one.set_tools([{"name": "f"}])
    tools = 8 + len('{"name": "f"}')
    assert (83 + tools, 83 + tools) == (one.raw_tokens, one.everything)
    assert 300 - tools == one.limit
    assert [Event("tools", 2, '[{"name": "f"}]')] == one.journal.events


def test_recalled_text_has_room_of_its_own() -> None:
    """Which what must stay may use."""
    one = fold(recall_share=0.1)
    assert (30, 270, 300) == (one.recall_room, one.limit, one.most)
    one.push(user(300))
    assert 300 == one.window.tokens


def test_counts_are_corrected_upward() -> None:
    """By what a provider reported."""
    calibration = Calibration()
    calibration.observe(100, 150)
    one = Fold("s", SlidingWindow(), Accountant(characters), limits(), calibration=calibration)
    assert [150, 2] == [one.corrected(100), one.corrected(1)]
    assert 202 - 3 == one.limit


@pytest.mark.parametrize("said", ["hello", None, {"role": "user"}])
def test_only_messages_are_said(said: object) -> None:
    """Anything else is named, and nothing has changed."""
    one = fold()
    with pytest.raises(MessageError) as caught:
        one.push(said)  # type: ignore[arg-type]
    assert (
        f"append takes Message objects, got {type(said).__name__}: {said!r}; use Message.from_dict "
        "for the OpenAI chat shape"
    ) == str(caught.value)
    assert 0 == one.count


def test_what_was_forgotten_costs_nothing() -> None:
    """A tombstone takes its place in the transcript and none in the window."""
    one = fold()
    one.push(user(30))
    one.push(tombstone(datetime(2026, 5, 1, tzinfo=UTC)))
    assert (2, 30, [0]) == (one.count, one.tokens_seen, places(one))
    assert one.window.open is None


# -- undoing --------------------------------------------------------------------------------------


def test_everything_is_undone() -> None:
    """What was said, evicted, noted and told; and what is due to be written."""
    one = fold()
    one.push(user(100))
    one.push(assistant(100))
    before = (one.mark(), [*one.journal.staged], places(one))
    mark = one.mark()
    one.push(user(150))
    one.push(call("a"))
    one._checkpoint_due = True
    assert places(one) != before[2]
    one.rewind(mark)
    assert before == (one.mark(), [*one.journal.staged], places(one))
    assert ([], []) == (one.journal.events, one.notices)
    one.checkpoint_if_due()
    assert [] == one.journal.events


# -- what does not fit ----------------------------------------------------------------------------


def test_the_budget_is_filled_before_anything_leaves() -> None:
    """To the token."""
    one = fold()
    for message in (user(50), assistant(50), user(50), assistant(50), user(100)):
        one.push(message)
    assert ([0, 1, 2, 3, 4], 300) == (places(one), one.window.tokens)
    assert (0, []) == (one.journal.totals.evictions, one.journal.events)


def test_one_token_more_and_what_is_old_leaves() -> None:
    """Down to low water, which the newest and a bridge may need; told, counted, written down."""
    one = fold()
    for message in (user(50), assistant(50), user(50), assistant(50), user(101)):
        one.push(message)
    assert [4] == places(one)
    assert (1, 4, 200) == (
        one.journal.totals.evictions,
        one.journal.totals.blocks_evicted,
        one.journal.totals.tokens_evicted,
    )
    assert ["checkpoint"] == kinds(one)
    (told,) = one.notices
    assert isinstance(told, Evicted)
    eviction = told.eviction
    assert eviction is one.state.last
    assert (4, 301, 101, 0, "sliding") == (
        eviction.at,
        eviction.before,
        eviction.after,
        eviction.room,
        eviction.policy,
    )


def test_room_is_made_for_the_newest_and_the_question() -> None:
    """A user's message takes the place of the question before it; an answer stands behind it."""
    one = fold(low_water=0.5)
    one.push(user(40))
    one.push(assistant(200))
    one.push(user(50))
    one.push(assistant(60))
    eviction = one.state.last
    assert eviction is not None
    assert [2, 3] == places(one)
    assert 150 - 60 - 50 - BRIDGE_TOKENS == eviction.room
    assert "the last user message, which always stays" == eviction.decisions[-1].rule
    one.push(user(200))
    assert [4] == places(one)
    assert one.state.last is not None
    assert [None, None] != [d.worth for d in one.state.last.decisions]


def test_a_bridge_counts_before_it_stands() -> None:
    """An assistant that speaks first and just fits beside it stays; one more token does not."""
    one = fold()
    one.push(assistant(300 - BRIDGE_TOKENS))
    assert 300 == one.window.tokens
    with pytest.raises(BudgetError) as caught:
        fold().push(assistant(301 - BRIDGE_TOKENS))
    assert (301 - BRIDGE_TOKENS, 300 - BRIDGE_TOKENS) == (
        caught.value.needed,
        caught.value.available,
    )


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (user(201), "a message of role 'user'"),
        (Message.system("s" * 197), "a message of role 'system'"),
        (user(201, pinned=True), "a pinned message"),
        (call("a", text="x" * (201 - 18 - RESULT_RESERVE)), "calls"),
    ],
)
def test_what_must_stay_and_does_not_fit_is_refused(message: Message, what: str) -> None:
    """By name, with what it costs and what there is; it is the message that was rejected."""
    one = fold()
    one.push(Message.system("s" * 96))
    with pytest.raises(BudgetError) as caught:
        one.push(message)
    assert message is caught.value.rejected
    if what == "calls":
        what = "a message with tool calls, with its results,"
        assert (201, 200 - BRIDGE_TOKENS) == (caught.value.needed, caught.value.available)
    else:
        assert (201, 200) == (caught.value.needed, caught.value.available)
    assert str(caught.value).startswith(f"{what} costs 201 tokens, but the budget of 303 leaves ")


def test_what_a_model_was_found_to_take_is_told_where_it_bounds() -> None:
    """Beside the budget."""
    one = fold()
    one.state = one.state._replace(ceiling=203).fitted()
    with pytest.raises(BudgetError, match=r"found to take 203\) leaves 200 for it") as caught:
        one.push(user(201))
    assert (201, 200) == (caught.value.needed, caught.value.available)


def test_an_answer_that_does_not_fit_beside_its_question_leaves_at_once() -> None:
    """It is evicted by a rule; the question stands; a checkpoint is written."""
    one = fold()
    one.push(user(200))
    one.push(assistant(101))
    assert ([0], 2, 301) == (places(one), one.count, one.tokens_seen)
    eviction = one.state.last
    assert eviction is not None
    (decision,) = eviction.decisions
    assert (1, 1, 101, False, None, None, 0, "does not fit beside the last user message") == (
        decision.index,
        decision.messages,
        decision.tokens,
        decision.kept,
        decision.worth,
        decision.threshold,
        decision.room,
        decision.rule,
    )
    assert (1, "sliding", 301, 200, 0, None, 0.0) == (
        eviction.at,
        eviction.policy,
        eviction.before,
        eviction.after,
        eviction.room,
        eviction.threshold,
        eviction.ms,
    )
    assert ["checkpoint"] == kinds(one)
    assert (1, 101) == (one.journal.totals.blocks_evicted, one.journal.totals.tokens_evicted)


@pytest.mark.parametrize(("tokens", "fits"), [(300 - BRIDGE_TOKENS, True), (301, False)])
def test_an_answer_that_would_fit_nowhere_is_refused(tokens: int, fits: bool) -> None:
    """Only what could stand by itself may leave at once, and no pinned one."""
    one = fold()
    one.push(user(200))
    if fits:
        one.push(assistant(tokens))
        assert [0] == places(one)
    else:
        with pytest.raises(BudgetError, match=r"^a message of role 'assistant' costs 301 tokens"):
            one.push(assistant(tokens))
    with pytest.raises(BudgetError, match=r"^a pinned message costs 101 tokens"):
        one.push(assistant(101, pinned=True))


# -- clipping -------------------------------------------------------------------------------------


def test_what_may_be_clipped_takes_half_of_the_window() -> None:
    """Or what there is, if that is less; it is noted, told and counted."""
    one = fold(clips=True)
    one.push(user(1_000))
    (block,) = one.window.blocks
    assert 140 < block.tokens <= 150
    assert (1_000, 1) == (one.tokens_seen, one.journal.totals.clipped)
    (shown,) = block.messages
    assert Event("clip", 0, json.dumps([shown.to_dict(), block.tokens])) == one.journal.events[0]
    told = one.notices[0]
    assert isinstance(told, Clipped)
    assert ("s", 0, 1_000) == (told.session_id, told.index, told.tokens)
    assert f"[... {told.left_out} tokens left out ...]" in shown.text
    assert {0: Counted(shown, block.tokens)} == one.state.clips
    assert not block.pinned
    other = fold(clips=True)
    other.push(Message.system("s" * 196))
    other.push(user(1_000, pinned=True))
    assert 90 < other.window.blocks[1].tokens <= 100
    assert other.window.blocks[1].pinned


def test_a_clip_is_noted_as_it_reads() -> None:
    """Whatever script it is in."""
    one = fold(clips=True)
    one.push(user(1_000, "ß"))
    assert "ßß" in one.journal.events[0].body


def test_what_just_fits_is_not_clipped() -> None:
    """Whole to the last token."""
    one = fold(clips=True)
    one.push(user(300))
    assert ([300], {}) == ([b.tokens for b in one.window.blocks], one.state.clips)


def test_a_stored_clip_is_found_again() -> None:
    """A resume shows what was shown, where it fits; it is not noted again."""
    stored = Counted(user(50, "c"), 50)
    one = fold(clips=True)
    one.stored_clips = {0: stored}
    one.push(user(1_000))
    assert [(stored.message,)] == [b.messages for b in one.window.blocks]
    assert "clip" not in kinds(one)
    assert not any(isinstance(event, Clipped) for event in one.notices)
    assert ({0: stored}, 1) == (one.state.clips, one.journal.totals.clipped)
    just = fold(clips=True)
    just.stored_clips = {0: Counted(user(150, "c"), 150)}
    just.push(user(1_000))
    assert "clip" not in kinds(just)
    other = fold(clips=True)
    other.stored_clips = {0: Counted(user(151, "c"), 151)}
    other.push(user(1_000))
    assert "clip" in kinds(other)


def test_clips_leave_with_their_block() -> None:
    """What is no longer shown is no longer known."""
    one = fold(clips=True)
    one.push(user(1_000))
    one.push(user(250))
    assert ([1], {}) == (places(one), one.state.clips)


# -- tool calls -----------------------------------------------------------------------------------


def test_a_round_stands_when_its_last_result_is_there() -> None:
    """Until then it takes room, with some for each result to come."""
    one = fold()
    one.push(user(30))
    one.push(call("a", "b"))
    assert 32 + 2 * RESULT_RESERVE == one.open_tokens()
    assert [0] == places(one)
    one.push(result("b", 20))
    assert 52 + RESULT_RESERVE == one.open_tokens()
    one.push(result("a", 10))
    assert ([0, 1], 0, 92) == (places(one), one.open_tokens(), one.window.tokens)
    assert one.window.open is None
    with pytest.raises(ToolCallError, match="no tool call is open"):
        one.push(result("a", 10))


def test_an_open_round_makes_room() -> None:
    """Where it is opened, and where a result is larger than what was kept for it."""
    one = fold()
    one.push(user(100))
    one.push(assistant(100))
    one.push(user(18))
    one.push(call("a"))  # 18 and 64 for the result: 300
    assert [0, 1, 2] == places(one)
    one.push(result("a", 65))
    assert ([2, 3], 18 + 18 + 65) == (places(one), one.window.tokens)
    other = fold()
    other.push(user(100))
    other.push(assistant(100))
    other.push(user(19))
    other.push(call("a"))
    assert ([2], 1) == (places(other), other.journal.totals.evictions)


def test_a_result_that_cannot_fit_is_refused_or_clipped() -> None:
    """With room for those that are still to come; its share, and half of the window at most."""
    for clips in (False, True):
        one = fold(clips=clips)
        one.push(user(100))
        one.push(call("a", "b"))
        room = 300 - 100 - 32 - RESULT_RESERVE
        if not clips:
            with pytest.raises(BudgetError) as caught:
                one.push(result("a", room + 1))
            assert (room + 1, room) == (caught.value.needed, caught.value.available)
            assert str(caught.value).startswith("the result of tool call 'a' costs 105 tokens")
        one.push(result("a", room))
        assert 32 + room + RESULT_RESERVE == one.open_tokens()
    one = fold(clips=True)
    one.push(user(100))
    one.push(call("a", "b"))
    one.push(result("a", 1_000))
    assert 40 < one.open_tokens() - 32 - RESULT_RESERVE <= 104 // 2
    assert [2] == [*one.state.clips]
    assert [1_000] == [event.tokens for event in one.notices if isinstance(event, Clipped)]
    alone = fold(clips=True)
    alone.push(user(10))
    alone.push(call("a"))
    alone.push(result("a", 1_000))
    assert 140 < alone.window.blocks[1].tokens - 18 <= 150


def test_calls_that_nobody_answers_stay_out() -> None:
    """Told once, with the ids that are missing; their clips are let go."""
    one = fold(clips=True, budget=503)
    one.push(user(30))
    one.push(call("c", "a", "b"))
    one.push(result("a", 1_000))
    assert [2] == [*one.state.clips]
    one.push(user(30))
    assert ([0, 3], 0, {}) == (places(one), one.open_tokens(), one.state.clips)
    assert Unanswered("s", 1, ("b", "c")) == one.notices[-1]
    assert 1 == one.journal.totals.unanswered
    one.push(call("d"))
    one.push(call("e"))
    assert 2 == one.journal.totals.unanswered
    assert [5] == [calls.start for calls in (one.window.open,) if calls is not None]


def test_other_clips_outlive_a_round_that_nobody_answers() -> None:
    """What stands clipped before it goes on standing."""
    one = fold(clips=True)
    one.push(user(1_000))
    one.push(call("a"))
    one.push(assistant(20))
    assert ([0, 2], [0]) == (places(one), [*one.state.clips])


def test_calls_that_just_fit_are_taken() -> None:
    """With room for the result and for a bridge."""
    one = fold()
    one.push(Message.system("s" * 96))
    one.push(call("a", text="x" * (200 - BRIDGE_TOKENS - 18 - RESULT_RESERVE)))
    assert 200 - BRIDGE_TOKENS == one.open_tokens()


# -- what the policy is asked ---------------------------------------------------------------------


class Watching(Policy):
    """Keeps nothing, or cannot decide, and keeps what it saw."""

    name = "watching"

    def __init__(self, able: bool = True) -> None:
        self.able = able
        self.seen: list[View] = []

    def worth(self, view: View) -> Sequence[float]:
        self.seen.append(view)
        if not self.able:
            raise CannotDecide("no model")
        return [MUST_LEAVE] * len(view.candidates)


def test_a_policy_has_its_time() -> None:
    """The limits' own."""
    policy = Watching()
    one = fold(policy, max_policy_ms=60_000)
    one.push(user(200))
    one.push(user(200))
    assert [60_000] == [view.deadline.ms for view in policy.seen]


@pytest.mark.parametrize("pinned", [False, True])
def test_a_policy_sees_the_round_that_comes(pinned: bool) -> None:
    """With its messages, what it needs, and whether it is pinned."""
    policy = Watching()
    one = fold(policy)
    one.push(user(200))
    one.push(assistant(50))
    said = call("a", pinned=pinned)
    one.push(said)
    newest = policy.seen[0].kept[-1]
    assert (2, (said,), 18 + RESULT_RESERVE, pinned) == (
        newest.index,
        newest.messages,
        newest.tokens,
        newest.pinned,
    )


def test_a_window_that_stands_in_is_told() -> None:
    """Counted as the policy's, with its name and why."""
    one = fold(Watching(able=False))
    one.push(user(200))
    one.push(user(200))
    why = "watching: no model; the sliding window decided"
    assert FellBack("s", "policy", why) == one.notices[-1]
    assert {"policy": 1} == one.journal.totals.fallbacks


def test_room_is_kept_for_the_summary() -> None:
    """Its share of the limit where there is a summarizer; otherwise what stands."""
    policy = Watching()
    one = fold(policy, Answering())
    assert 60 == one.summary_room()
    one.push(user(250))
    one.push(user(60))
    assert max(0, 100 - 60 - BRIDGE_TOKENS - 60) == policy.seen[0].room
    assert 0 == fold().summary_room()
    one.push(assistant(10))
    one.summaries.summarizer = None
    assert one.window.summary is not None
    assert one.window.summary.tokens == one.summary_room()


# -- the summary ----------------------------------------------------------------------------------


def test_what_leaves_is_in_the_summary() -> None:
    """Which stands before what is left."""
    one = fold(summarizer=Answering("They met."), summary_share=0.5)
    one.push(user(200))
    one.push(user(110))
    assert "They met." == one.state.running.text
    assert one.window.summary is not None
    assert [True, False] == ["They met." in m.text for m in one.window.flat]
    assert any(isinstance(event, Summarized) for event in one.notices)


def test_a_summary_that_has_no_room_does_not_stand() -> None:
    """It is kept, and stands again where there is."""
    one = fold(summarizer=Answering("They met."), summary_share=0.5)
    one.push(user(200))
    one.push(user(299))
    assert "They met." == one.state.running.text
    assert (None, 299) == (one.window.summary, one.window.tokens)
    one.push(user(30))
    assert one.window.summary is not None


@pytest.mark.parametrize("more", [0, 1])
def test_a_summary_stands_where_it_just_fits(more: int) -> None:
    """Beside what comes in, and the bridge that may be needed instead."""
    summarizer = Answering("They met.")
    twin = fold(summarizer=summarizer, summary_share=0.5)
    twin.push(user(200))
    twin.push(user(110))
    block = twin.summaries.block(twin.state.running)
    assert block is not None
    one = fold(summarizer=summarizer, summary_share=0.5)
    one.push(user(200))
    one.push(user(300 - BRIDGE_TOKENS - block.tokens + more))
    assert (None if more else block.tokens) == (one.window.summary and one.window.summary.tokens)


def test_an_offer_is_noted_and_stands_on_demand() -> None:
    """With a checkpoint; without an offer nothing happens."""
    one = fold(summarizer=Answering(background=True), summary_share=0.5)
    one.push(user(200))
    one.push(user(110))
    assert (Waiting(0, 1, 200),) == one.state.running.waiting
    events, window = len(one.journal.events), one.window
    one.swap()
    assert one.window is window
    one.offer(Vetted("Sie trafen sich, schön.", None), 1)
    assert [Event("summary", 2, '["Sie trafen sich, schön.", null, 1]')] == one.journal.events[
        events:
    ]
    assert Offer("Sie trafen sich, schön.", 1) == one.state.running.offer
    one.swap()
    assert Running("Sie trafen sich, schön.") == one.state.running
    assert one.window.summary is not None
    assert "checkpoint" == kinds(one)[-1]
    assert events + 2 == len(one.journal.events)


def test_an_answer_that_is_turned_away_waits() -> None:
    """At most what the window holds."""
    one = fold(summarizer=Answering(background=True))
    one.push(user(200))
    one.push(assistant(150))
    assert (Waiting(1, 2, 150),) == one.state.running.waiting


# -- what is not a message ------------------------------------------------------------------------


def test_schemas_that_leave_no_room_are_refused() -> None:
    """What must stay counts, an open round too; what stood may be given up for them."""
    one = fold()
    one.push(Message.system("s" * 96))
    one.push(assistant(50))
    one.push(user(100))
    tool = {"name": "x" * (101 - 8 - len('{"name": ""}'))}
    with pytest.raises(BudgetError) as caught:
        one.set_tools([tool])
    assert (101, 100) == (caught.value.needed, caught.value.available)
    assert str(caught.value).startswith("the list of tool schemas costs 101 tokens")
    assert ((), []) == (one.state.tools, one.journal.events)
    tool = {"name": "x" * (100 - 8 - len('{"name": ""}'))}
    one.set_tools([tool])
    assert ([0, 2], (tool,), 100) == (places(one), one.state.tools, one.state.tools_tokens)
    assert ["tools", "checkpoint"] == kinds(one)
    one.set_tools([tool])
    assert 100 == one.state.tools_tokens
    one.set_tools([])
    assert (300, 0) == (one.limit, one.state.tools_tokens)


def test_schemas_are_noted_as_they_are() -> None:
    """Whatever script they are in."""
    one = fold()
    one.set_tools([{"name": "größe"}])
    assert '[{"name": "größe"}]' == one.journal.events[0].body


def test_a_block_can_be_pinned_where_it_stands_or_stood() -> None:
    """In its order; a checkpoint is written."""
    one = fold()
    one.push(user(100))
    one.push(assistant(100))
    one.push(user(50))
    one.replace(Block(1, (assistant(100),), 100, pinned=True))
    assert ([0, 1, 2], 100) == (places(one), one.window.fixed)
    assert ["checkpoint"] == kinds(one)
    one.push(user(150))
    assert [1, 3] == places(one)
    one.replace(Block(2, (user(20),), 20))
    assert [1, 2, 3] == places(one)


def test_a_pin_that_does_not_fit_is_refused() -> None:
    """By the block's place; nothing has changed."""
    one = fold()
    one.push(user(150))
    one.push(user(200))
    window = one.window
    with pytest.raises(BudgetError) as caught:
        one.replace(Block(0, (user(150),), 150, pinned=True))
    assert (150, 100) == (caught.value.needed, caught.value.available)
    assert str(caught.value).startswith("block 0, to be pinned, costs 150 tokens")
    assert one.window is window
    one.replace(Block(0, (user(100),), 100, pinned=True))
    assert 300 == one.window.tokens


def test_lower_limits_are_settled() -> None:
    """By an eviction, and a checkpoint; or it is told that what must stay does not fit."""
    one = fold()
    one.push(user(100))
    one.push(user(100))
    one.bound(limits(203))
    one.settle()
    assert [] == kinds(one)
    one.bound(limits(202))
    one.settle()
    assert ([1], ["checkpoint"]) == (places(one), kinds(one))
    one.bound(limits(102))
    with pytest.raises(BudgetError) as caught:
        one.settle()
    assert (100, 99) == (caught.value.needed, caught.value.available)
    assert str(caught.value).startswith("what must stay costs 100 tokens")


def test_an_open_round_counts_where_limits_are_lowered() -> None:
    """With what is kept free for its results, and the bridge that it would need."""
    one = fold()
    one.push(assistant(50))
    one.push(call("a"))
    needed = 18 + RESULT_RESERVE + BRIDGE_TOKENS
    one.bound(limits(3 + needed))
    one.settle()
    assert [] == places(one)
    one.bound(limits(2 + needed))
    with pytest.raises(BudgetError) as caught:
        one.require_room()
    assert (needed, needed - 1) == (caught.value.needed, caught.value.available)


def test_a_round_that_speaks_first_counts_its_bridge_there_too() -> None:
    """It fits to the token."""
    one = fold()
    one.push(Message.system("s" * 46))
    one.push(call("a"))
    needed = 50 + 18 + RESULT_RESERVE + BRIDGE_TOKENS
    one.bound(limits(3 + needed))
    one.settle()
    assert ([0], 0) == (places(one), one.journal.totals.evictions)


def test_an_empty_window_evicts_nothing() -> None:
    """However small its budget is."""
    one = fold()
    one.bound(limits(20))
    one.settle()
    assert 0 == one.journal.totals.evictions


@pytest.mark.parametrize("less", [0, 1])
def test_a_summary_gives_way_to_an_open_round(less: int) -> None:
    """Where limits are lowered and nothing else is left that could leave."""
    summarizer = Answering("They met.")
    one = fold(summarizer=summarizer, summary_share=0.5)
    one.push(assistant(200))
    one.push(call("a", text="x" * 60))
    assert one.window.summary is not None
    needed = one.open_tokens() + one.window.summary.tokens
    one.bound(limits(3 + needed - less, summary_share=0.5))
    one.settle()
    assert (not less) is (one.window.summary is not None)
    assert 1 + less == one.journal.totals.evictions


# -- forgetting -----------------------------------------------------------------------------------


def test_what_is_forgotten_is_nowhere() -> None:
    """Neither in window and question nor in sums; it is told and noted, in order."""
    one = fold()
    for message in (user(50), assistant(40), user(30), assistant(20)):
        one.push(message)
    one.forget({2, 0}, 80, [])
    assert ([1, 3], 60, 4) == (places(one), one.tokens_seen, one.count)
    assert one.window.question is None
    assert BRIDGE_TOKENS + 60 == one.window.tokens
    assert [Forgotten("s", (0, 2))] == one.notices
    assert [Event("forgotten", 4, "2")] == one.journal.events
    assert (1, 2) == (one.journal.totals.erasures, one.journal.totals.forgotten)
    assert one.state.last is None


def test_an_open_round_is_forgotten_or_stays_open() -> None:
    """Whole."""
    for gone, is_open in ((1, True), (2, False)):
        one = fold()
        one.push(user(50))
        one.push(assistant(40))
        one.push(call("a"))
        one.forget({gone}, 40, [])
        assert is_open is (one.window.open is not None)
        assert one.window.question is not None


def test_a_summary_is_made_again_without_it() -> None:
    """Of what else has left, in batches; where that gives none it is told that it was dropped."""
    summarizer = Answering("They met.")
    one = fold(summarizer=summarizer, summary_share=0.5)
    one.push(user(100))
    one.push(user(100))
    one.push(user(110))
    assert one.state.running.text
    others = [[Block(1, (user(100),), 100)]]
    one.forget({0}, 100, others)
    assert ("", others[0]) == summarizer.asked[-1][:2]
    assert ("They met.", None) == (one.state.running.text, one.state.last)
    assert not any(isinstance(event, FellBack) for event in one.notices)
    one.forget({1}, 100, [])
    assert Running() == one.state.running
    why = "it was dropped, for it may have told what is forgotten"
    assert FellBack("s", "summary", why) in one.notices
    assert one.window.summary is None


OTHERS = [[Block(7, (user(30),), 30)]]
"""What else has left, to make a summary of."""


def test_a_summary_stands_where_a_forgotten_round_was() -> None:
    """What was kept for its results is free again."""
    one = fold(summarizer=Answering("They met."), summary_share=0.5)
    one.set_running(Running("Before."))
    one.push(call("a", text="x" * 150))
    one.forget({0}, 168, OTHERS)
    assert one.window.summary is not None


@pytest.mark.parametrize("more", [0, 1])
def test_a_summary_that_is_made_again_stands_where_it_just_fits(more: int) -> None:
    """Beside what stayed."""
    one = fold(summarizer=Answering("They met."), summary_share=0.5)
    block = one.summaries.block(Running("They met."))
    assert block is not None
    one.set_running(Running("Before."))
    one.push(user(300 - BRIDGE_TOKENS - block.tokens + more))
    one.forget({7}, 0, OTHERS)
    assert (not more) is (one.window.summary is not None)


def test_a_summary_that_is_made_again_leaves_an_open_round_its_room() -> None:
    """It does not stand then, and nothing has to be evicted for it."""
    one = fold(summarizer=Answering("They met."), summary_share=0.5)
    one.set_running(Running("Before."))
    one.push(user(50))
    one.push(call("a", text="x" * (300 - BRIDGE_TOKENS - 50 - 18 - RESULT_RESERVE)))
    one.forget({7}, 0, OTHERS)
    assert ("They met.", None) == (one.state.running.text, one.window.summary)
    assert 0 == one.journal.totals.evictions


def test_what_was_never_summarized_is_not_read_again() -> None:
    """Without a summary the archive stays closed."""

    def archived() -> Iterator[Sequence[Block]]:
        assert not places(one), "it was read"
        yield []

    one = fold(summarizer=Answering())
    one.push(user(50))
    one.forget({0}, 50, archived())
    assert not any(isinstance(event, FellBack) for event in one.notices)


# -- the dry run ----------------------------------------------------------------------------------


def test_a_dry_run_is_of_what_would_be() -> None:
    """By another policy, and with another budget; the room is low water without the bridge."""
    policy = Watching()
    one = fold(low_water=0.5, max_policy_ms=50_000)
    one.push(user(50))
    one.push(assistant(40))
    one.push(user(30))
    assert ("sliding", 3, 150 - 30 - BRIDGE_TOKENS) == (
        one.dry_run(None, None).policy,
        one.dry_run(None, None).at,
        one.dry_run(None, None).room,
    )
    tried = one.dry_run(policy, limits(403))
    assert ("watching", 200 - 30 - BRIDGE_TOKENS) == (tried.policy, tried.room)
    assert (120, 30) == (tried.before, tried.after)
    assert 50_000 == policy.seen[0].deadline.ms
    assert [0, 1, 2] == places(one)
    summing = fold(summarizer=Answering(), recall_share=0.5, low_water=0.9)
    summing.push(user(50))
    assert (149, 29) == (summing.limit, summing.summary_room())
    more = summing.dry_run(None, limits(403)).room
    assert int(0.9 * (149 + 50)) - 50 - BRIDGE_TOKENS - 29 == more


def test_a_dry_run_with_another_budget_is_corrected_too() -> None:
    """What the budget has more is divided by what a provider reported."""
    calibration = Calibration()
    calibration.observe(100, 200)
    one = Fold("s", SlidingWindow(), Accountant(characters), limits(), calibration=calibration)
    assert 151 - 3 == one.limit
    more = one.dry_run(None, limits(603, low_water=0.9)).room
    assert int((148 + 150) / 3) - BRIDGE_TOKENS == more
