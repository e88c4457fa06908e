"""rollmem's `RollingMemory`, without a summarizer."""

from __future__ import annotations

from typing import Any

from base import Base, quarter, quarter_bytes
from rollmem import Message, RollingMemory, ToolCall  # type: ignore[import-not-found]


class Adapter(Base):
    """Messages are dropped from its buffer when they leave.

    `bytes` counts a token for four bytes, not characters.
    """

    def __init__(self, budget: int, bytes: bool = False) -> None:
        counter = quarter_bytes if bytes else quarter
        self._memory = RollingMemory(max_tokens=budget, token_counter=counter)

    def take(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of `add_message`."""
        calls = [
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        ]
        return {
            "role": message["role"],
            "content": message["content"] or "",
            "tool_calls": calls,
            "tool_call_id": message.get("tool_call_id"),
        }

    def append(self, *messages: dict[str, Any]) -> None:
        """Append; counted and evicted here."""
        for message in messages:
            self._memory.add_message(**message)

    def context(self) -> list[Message]:
        """Return its buffer."""
        messages: list[Message] = self._memory.get_messages()
        return messages

    def show(self, context: list[Message]) -> list[dict[str, Any]]:
        """Return dicts."""
        return list(map(_show, context))


def _show(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        shown["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        shown["tool_call_id"] = message.tool_call_id
    return shown
