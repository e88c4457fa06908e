"""langchain-core's `trim_messages` over a list that the caller keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from base import Base, quarter, quarter_bytes
from langchain_core.messages import (  # type: ignore[import-not-found]
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)


def count(messages: Sequence[BaseMessage]) -> int:
    """Count the texts and the tool calls of `messages`."""
    total = 0
    for message in messages:  # a loop, for it is the hot path of every call
        total += len(message.content) // 4
        if message.type == "ai" and message.tool_calls:
            for call in message.tool_calls:
                total += quarter(call["name"]) + quarter(json.dumps(call["args"]))
    return total


def count_bytes(messages: Sequence[BaseMessage]) -> int:
    """Count the texts of `messages`, a token for four bytes."""
    return sum(quarter_bytes(message.content) for message in messages)


class Adapter(Base):
    """The whole list is trimmed at every call; `options` go to `trim_messages`.

    `bytes` counts a token for four bytes, not characters, and texts only.
    """

    def __init__(self, budget: int, bytes: bool = False, **options: Any) -> None:
        self._budget = budget
        self._count = count_bytes if bytes else count
        self._options = options
        self._messages: list[BaseMessage] = []

    def take(self, message: dict[str, Any]) -> BaseMessage:
        """Return one of its message classes."""
        content = message["content"] or ""
        if message["role"] == "tool":
            return ToolMessage(content, tool_call_id=message["tool_call_id"])
        if message["role"] == "assistant":
            calls = [
                {
                    "id": call["id"],
                    "name": call["function"]["name"],
                    "args": json.loads(call["function"]["arguments"]),
                }
                for call in message.get("tool_calls", ())
            ]
            return AIMessage(content, tool_calls=calls)
        return (SystemMessage if message["role"] == "system" else HumanMessage)(content)

    def append(self, *messages: BaseMessage) -> None:
        """Append to the list."""
        self._messages.extend(messages)

    def context(self) -> list[BaseMessage]:
        """Trim the list."""
        trimmed: list[BaseMessage] = trim_messages(
            self._messages, max_tokens=self._budget, token_counter=self._count, **self._options
        )
        return trimmed

    def show(self, context: list[BaseMessage]) -> list[dict[str, Any]]:
        """Return dicts."""
        return list(map(_show, context))


def _show(message: BaseMessage) -> dict[str, Any]:
    roles = {"human": "user", "ai": "assistant"}
    shown = {"role": roles.get(message.type, message.type), "content": message.content}
    if calls := getattr(message, "tool_calls", ()):
        shown["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
            }
            for call in calls
        ]
    if message.type == "tool":
        shown["tool_call_id"] = message.tool_call_id
    return shown
