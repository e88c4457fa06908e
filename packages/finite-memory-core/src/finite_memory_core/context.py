"""The context: what the model sees, with the length of its stable prefix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .eviction import Eviction
from .messages import Message, thaw
from .recall import Hit


class Context:
    """A bounded view of a conversation, ready for a backend. Immutable.

    Attributes:
        session_id: the session that it belongs to; a backend may keep computed state under it.
        messages: what the model sees, in order.
        token_count: what it costs, everything counted (tool schemas too), corrected by reported
            usage; with `reserve` at most `budget`.
        stable_tokens: leading tokens that are the same as in the context before this one.
        stable_messages: leading messages that are.
        counted_tokens: `token_count` before correction, which is what usage is compared with.
        budget: the most tokens that it may hold, the reply's `reserve` among them.
        reserve: tokens kept free for the reply.
        erasures: how often something of this session was truly forgotten. When it has grown,
            whoever holds computed state of an earlier context (a KV cache) must drop all of it
            from the first message that differs: an eviction may leave traces, a deletion not.
        recalled: what was brought back from the archive, the best first; it stands as one quoting
            message before the last user message.
        tools: the tool schemas that are counted in it.
        query: what was asked for; None where the last user message is the question.
        question: the last user message, None before there is one.
    """

    __slots__ = (
        "_eviction",
        "budget",
        "counted_tokens",
        "erasures",
        "messages",
        "query",
        "question",
        "recalled",
        "reserve",
        "session_id",
        "stable_messages",
        "stable_tokens",
        "token_count",
        "tools",
    )

    def __init__(
        self,
        messages: tuple[Message, ...],
        *,
        session_id: str,
        token_count: int,
        counted_tokens: int,
        stable_tokens: int,
        stable_messages: int,
        budget: int,
        reserve: int,
        tools: tuple[Mapping[str, Any], ...],
        query: str | None,
        question: Message | None,
        recalled: tuple[Hit, ...],
        eviction: Eviction | None,
        erasures: int = 0,
    ) -> None:
        self.session_id = session_id
        self.messages = messages
        self.token_count = token_count
        self.counted_tokens = counted_tokens
        self.stable_tokens = stable_tokens
        self.stable_messages = stable_messages
        self.budget = budget
        self.reserve = reserve
        self.tools = tools
        self.query = query
        self.question = question
        self.recalled = recalled
        self.erasures = erasures
        self._eviction = eviction

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __getitem__(self, index: int) -> Message:
        return self.messages[index]

    def __repr__(self) -> str:
        return (
            f"Context({len(self.messages)} messages, {self.token_count} of {self.budget} tokens, "
            f"{self.stable_tokens} stable)"
        )

    def explain(self) -> Eviction | None:
        """Return why blocks left and stayed at the last eviction.

        None before there was one, and after a resume until the next: reasons are not stored.

        It has one decision a block, oldest first, and `str()` of it is a readable table.
        """
        return self._eviction

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the messages in the OpenAI chat shape, with only what providers take."""
        return [message.to_dict(wire=True) for message in self.messages]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, for logs and ``--json``."""
        return {
            "session_id": self.session_id,
            "messages": [message.to_dict() for message in self.messages],
            "tools": [thaw(tool) for tool in self.tools],
            "token_count": self.token_count,
            "stable_tokens": self.stable_tokens,
            "stable_messages": self.stable_messages,
            "budget": self.budget,
            "reserve": self.reserve,
        }
