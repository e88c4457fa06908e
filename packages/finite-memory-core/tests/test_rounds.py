"""Rounds of tool calls while their results come in, and what is told where one is out of place."""

from __future__ import annotations

import pytest

from finite_memory_core import Message, ToolCall, ToolCallError
from finite_memory_core.rounds import RESULT_RESERVE, opened, waiting_for


def call(*ids: str, pinned: bool = False) -> Message:
    return Message.assistant(tool_calls=[ToolCall(i, "f") for i in ids], pinned=pinned)


def result(call_id: str, pinned: bool = False) -> Message:
    return Message.tool("found", tool_call_id=call_id, pinned=pinned)


def test_a_round_keeps_room_for_the_results_to_come() -> None:
    """For each the same; what came counts what it costs."""
    first = opened(4, call("a", "b"), 30)
    assert (4, 30, frozenset("ab"), False) == (
        first.start,
        first.tokens,
        first.pending,
        first.pinned,
    )
    assert 30 + 2 * RESULT_RESERVE == first.needed
    second = first.with_result(result("b"), 12)
    assert (4, 42, frozenset("a")) == (second.start, second.tokens, second.pending)
    assert 42 + RESULT_RESERVE == second.needed
    last = second.with_result(result("a"), 5)
    assert (47, frozenset()) == (last.needed, last.pending)
    block = last.block
    assert (4, (call("a", "b"), result("b"), result("a")), 47, False) == (
        block.index,
        block.messages,
        block.tokens,
        block.pinned,
    )


@pytest.mark.parametrize(("of_call", "of_result"), [(True, False), (False, True), (True, True)])
def test_one_pinned_message_pins_the_round(of_call: bool, of_result: bool) -> None:
    """The call, or any of the results."""
    pinned = opened(0, call("a", "b", pinned=of_call), 9).with_result(result("a", of_result), 9)
    assert pinned.pinned is True
    assert pinned.with_result(result("b"), 9).block.pinned is True
    assert of_call is opened(0, call("a", pinned=of_call), 9).pinned


def test_an_id_that_stands_twice_is_told() -> None:
    """By its name."""
    with pytest.raises(ToolCallError) as caught:
        opened(0, call("a", "b", "c", "b"), 9)
    assert "tool call id 'b' stands twice in one message; ids must differ" == str(caught.value)


def test_a_result_out_of_place_is_told() -> None:
    """Nothing is open, it has come already, or another was called."""
    open_round = opened(0, call("b", "c", "a"), 9).with_result(result("a"), 9)
    assert open_round is waiting_for("b", open_round)
    for call_id, waiting, told in [
        (
            "x",
            None,
            (
                "a result for tool call 'x', but no tool call is open; append the assistant's "
                "message with that call first, and its results before anything else"
            ),
        ),
        ("a", open_round, "tool call 'a' has its result already; each call takes one"),
        (
            "x",
            open_round,
            (
                "a result for tool call 'x', which is not among the open calls ['b', 'c']; append "
                "the message with that call first"
            ),
        ),
    ]:
        with pytest.raises(ToolCallError) as caught:
            waiting_for(call_id, waiting)
        assert told == str(caught.value)
