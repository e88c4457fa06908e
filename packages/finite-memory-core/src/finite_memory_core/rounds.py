"""Rounds: an assistant's tool calls, and their results while they are still coming in."""

from __future__ import annotations

from typing import NamedTuple

from .blocks import Block
from .errors import ToolCallError
from .messages import Message

RESULT_RESERVE = 64
"""Tokens kept free for each tool result that is still to come, so that a short one always fits."""


class OpenRound(NamedTuple):
    """An assistant's tool calls whose results are still coming in; not in the context yet.

    Attributes:
        start: the transcript index of the call.
        messages: the call and the results so far.
        tokens: their cost.
        pending: the ids of the calls without a result.
        pinned: whether a message of it is pinned.
    """

    start: int
    messages: tuple[Message, ...]
    tokens: int
    pending: frozenset[str]
    pinned: bool

    @property
    def needed(self) -> int:
        """Its tokens, with those kept free for the results to come."""
        return self.tokens + RESULT_RESERVE * len(self.pending)

    @property
    def block(self) -> Block:
        """What it is once the last result has come."""
        return Block(self.start, self.messages, self.tokens, self.pinned)

    def with_result(self, message: Message, tokens: int) -> OpenRound:
        """Return it with the result of one of the pending calls."""
        return OpenRound(
            self.start,
            (*self.messages, message),
            self.tokens + tokens,
            self.pending - {message.tool_call_id or ""},
            self.pinned or message.pinned,
        )


def opened(start: int, message: Message, tokens: int) -> OpenRound:
    """Return the round that a message with tool calls opens.

    Raises:
        ToolCallError: an id is used twice.
    """
    ids = [call.id for call in message.tool_calls]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise ToolCallError(f"tool call id {twice!r} stands twice in one message; ids must differ")
    return OpenRound(start, (message,), tokens, frozenset(ids), message.pinned)


def waiting_for(call_id: str | None, opened: OpenRound | None) -> OpenRound:
    """Return the open round, which waits for the result of this call.

    Raises:
        ToolCallError: it does not.
    """
    if opened is None:
        raise ToolCallError(
            f"a result for tool call {call_id!r}, but no tool call is open; append the assistant's "
            "message with that call first, and its results before anything else"
        )
    if call_id in opened.pending:
        return opened
    if any(call_id == call.id for call in opened.messages[0].tool_calls):
        raise ToolCallError(f"tool call {call_id!r} has its result already; each call takes one")
    raise ToolCallError(
        f"a result for tool call {call_id!r}, which is not among the open calls "
        f"{sorted(opened.pending)}; append the message with that call first"
    )
