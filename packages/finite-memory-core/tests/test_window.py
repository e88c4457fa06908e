"""The window: what stands in the context, what it costs, and what must stay of it."""

from __future__ import annotations

import pytest

from finite_memory_core import Message, Role, ToolCall
from finite_memory_core.blocks import Block
from finite_memory_core.rounds import opened
from finite_memory_core.window import BRIDGE, Window

BRIDGE_TOKENS = 7
SYSTEM = Block(0, (Message.system("s"),), 5, pinned=True)
HELLO = Block(1, (Message.assistant("hello"),), 11)
QUESTION = Block(2, (Message.user("q"),), 13)
ANSWER = Block(3, (Message.assistant("a"),), 17)
PINNED = Block(4, (Message.assistant("p"),), 19, pinned=True)
PINNED_QUESTION = Block(5, (Message.user("pq"),), 23, pinned=True)
SUMMARY = Block(-1, (Message.user("so far"),), 29, pinned=True)


def window(*blocks: Block, summary: Block | None = None) -> Window:
    made = Window(BRIDGE_TOKENS, summary)
    for block in blocks:
        made.push(block)
    return made


def texts(one: Window) -> list[str]:
    return [message.text for message in one.flat]


def test_a_window_begins_empty() -> None:
    """Nothing stands, nothing costs, nothing was asked or cut back."""
    empty = window()
    assert ([], [], 0, 0, 0) == (
        empty.blocks,
        empty.flat,
        empty.tokens,
        empty.fixed,
        empty.cuts,
    )
    assert (None, None, None) == (empty.question, empty.open, empty.summary)


def test_an_assistant_that_speaks_first_is_led() -> None:
    """By the bridge, behind the instructions, once; a user needs none."""
    led = window(SYSTEM, HELLO, QUESTION, ANSWER)
    assert ["s", BRIDGE.text, "hello", "q", "a"] == texts(led)
    assert [SYSTEM, HELLO, QUESTION, ANSWER] == led.blocks
    assert 5 + BRIDGE_TOKENS + 11 + 13 + 17 == led.tokens
    plain = window(SYSTEM, QUESTION, ANSWER)
    assert ["s", "q", "a"] == texts(plain)
    assert 5 + 13 + 17 == plain.tokens


@pytest.mark.parametrize("first", [QUESTION, HELLO])
def test_a_summary_leads_whoever_speaks(first: Block) -> None:
    """Behind the instructions, and in the bridge's place."""
    led = window(SYSTEM, first, ANSWER, summary=SUMMARY)
    assert ["s", "so far", first.messages[0].text, "a"] == texts(led)
    assert 5 + 29 + first.tokens + 17 == led.tokens


def test_what_leads_is_counted_before_it_stands() -> None:
    """For the first that speaks only, and none where instructions come."""
    for role, cost in ((Role.ASSISTANT, 7), (Role.TOOL, 7), (Role.USER, 0), (Role.SYSTEM, 0)):
        assert cost == window(SYSTEM).lead_cost(role)
    for role, cost in ((Role.ASSISTANT, 29), (Role.USER, 29), (Role.DEVELOPER, 0)):
        assert cost == window(SYSTEM, summary=SUMMARY).lead_cost(role)
    for role in (Role.ASSISTANT, Role.USER):
        assert 0 == window(QUESTION).lead_cost(role)
        assert 0 == window(QUESTION, summary=SUMMARY).lead_cost(role)


def test_the_last_user_asks_and_the_pinned_are_fixed() -> None:
    """An answer changes neither."""
    one = window(SYSTEM, QUESTION, ANSWER, PINNED)
    assert one.question is QUESTION
    assert 5 + 19 == one.fixed
    one.push(PINNED_QUESTION)
    assert one.question is PINNED_QUESTION
    assert 5 + 19 + 23 == one.fixed


@pytest.mark.parametrize(
    ("blocks", "role", "needed"),
    [
        ((SYSTEM,), None, 5),
        ((SYSTEM,), Role.USER, 5),
        ((SYSTEM,), Role.ASSISTANT, 5 + 7),
        ((SYSTEM,), Role.TOOL, 5 + 7),
        ((SYSTEM, QUESTION), None, 5 + 13),
        ((SYSTEM, QUESTION), Role.USER, 5),
        ((SYSTEM, QUESTION), Role.ASSISTANT, 5 + 13),
        ((SYSTEM, QUESTION, ANSWER), Role.ASSISTANT, 5 + 13),
        ((SYSTEM, PINNED), None, 5 + 19 + 7),
        ((SYSTEM, PINNED), Role.USER, 5 + 19 + 7),
        ((SYSTEM, QUESTION, PINNED), None, 5 + 13 + 19),
        ((SYSTEM, QUESTION, PINNED), Role.USER, 5 + 19 + 7),
        ((SYSTEM, PINNED_QUESTION), None, 5 + 23),
        ((SYSTEM, PINNED_QUESTION), Role.ASSISTANT, 5 + 23),
        ((SYSTEM, PINNED_QUESTION, QUESTION), Role.USER, 5 + 23),
    ],
)
def test_what_must_stay(blocks: tuple[Block, ...], role: Role | None, needed: int) -> None:
    """Instructions, pins, the question unless another comes, and a bridge where it is needed."""
    assert needed == window(*blocks).required(role)


def test_an_open_round_needs_to_be_led() -> None:
    """It is an assistant's, though it does not stand yet; a user's message closes it."""
    one = window(SYSTEM)
    one.open = opened(1, Message.assistant(tool_calls=[ToolCall("a", "f")]), 9)
    assert 5 + 7 == one.required()
    assert 5 == one.required(Role.USER)


def test_a_window_is_built_again() -> None:
    """Of other blocks, behind another summary; the old one stays as it was."""
    old = window(SYSTEM, QUESTION, ANSWER)
    old.open = opened(4, Message.assistant(tool_calls=[ToolCall("a", "f")]), 9)
    new = old.rebuilt((SYSTEM, ANSWER), SUMMARY)
    assert ["s", "so far", "a"] == texts(new)
    assert 5 + 29 + 17 == new.tokens
    assert new.question is QUESTION  # it left, and is asked all the same
    assert new.open is old.open
    assert ["s", "q", "a"] == texts(old)
    assert 5 + 7 + 17 == old.rebuilt([SYSTEM, ANSWER], None).tokens
    assert old.rebuilt([QUESTION, PINNED_QUESTION], None).question is PINNED_QUESTION


@pytest.mark.parametrize("summary", [None, SUMMARY])
def test_what_was_pushed_is_undone(summary: Block | None) -> None:
    """Back to the mark all is as it was, what leads too, and the cut is counted."""
    one, same = (window(SYSTEM, summary=summary) for _ in range(2))
    mark = one.mark()
    one.push(HELLO)
    one.push(QUESTION)
    one.push(PINNED)
    one.open = opened(5, Message.assistant(tool_calls=[ToolCall("a", "f")]), 9)
    one.cut(mark)
    assert 1 == one.cuts
    assert (same.mark(), texts(same), same.blocks) == (one.mark(), texts(one), one.blocks)
    one.push(HELLO)
    same.push(HELLO)
    assert (same.mark(), texts(same)) == (one.mark(), texts(one))
    one.cut(one.mark())
    assert 2 == one.cuts
