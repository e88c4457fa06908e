"""strands-agents' `SlidingWindowConversationManager`, which bounds the number of messages."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from base import Base
from strands.agent.conversation_manager import (  # type: ignore[import-not-found]
    SlidingWindowConversationManager,
)


class Adapter(Base):
    """Instructions stand outside its messages, and are shown in front of them."""

    def __init__(self, budget: int, window: int) -> None:  # noqa: ARG002 (it has no budget)
        self._manager = SlidingWindowConversationManager(window_size=window)
        self._agent = SimpleNamespace(messages=[])
        self._system: list[dict[str, Any]] = []

    def take(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message in its shape, which is that of Amazon Bedrock."""
        if message["role"] == "system":
            return message
        if message["role"] == "tool":
            result = {
                "toolUseId": message["tool_call_id"],
                "status": "success",
                "content": [{"text": message["content"]}],
            }
            return {"role": "user", "content": [{"toolResult": result}]}
        content = [{"text": message["content"]}] if message["content"] else []
        for call in message.get("tool_calls", ()):
            arguments = json.loads(call["function"]["arguments"])
            use = {"toolUseId": call["id"], "name": call["function"]["name"], "input": arguments}
            content.append({"toolUse": use})
        return {"role": message["role"], "content": content}

    def append(self, *messages: dict[str, Any]) -> None:
        """Append to the agent's list; results of one round make one message."""
        held = self._agent.messages
        for message in messages:
            if message["role"] == "system":
                self._system.append(message)
            elif _is_result(message) and held and _is_result(held[-1]):
                held[-1]["content"].extend(message["content"])
            else:
                held.append(message)

    def context(self) -> list[dict[str, Any]]:
        """Let the manager cut the list, as it does after each cycle of the agent."""
        self._manager.apply_management(self._agent)
        return self._agent.messages

    def show(self, context: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return dicts."""
        return [*self._system, *(shown for message in context for shown in _show(message))]


def _is_result(message: dict[str, Any]) -> bool:
    return "toolResult" in message["content"][0]


def _show(message: dict[str, Any]) -> list[dict[str, Any]]:
    if _is_result(message):
        results = [part["toolResult"] for part in message["content"]]
        return [
            {"role": "tool", "tool_call_id": r["toolUseId"], "content": r["content"][0]["text"]}
            for r in results
        ]
    texts = [part["text"] for part in message["content"] if "text" in part]
    uses = [part["toolUse"] for part in message["content"] if "toolUse" in part]
    calls = [
        {
            "id": use["toolUseId"],
            "type": "function",
            "function": {"name": use["name"], "arguments": json.dumps(use["input"])},
        }
        for use in uses
    ]
    shown = {"role": message["role"], "content": "".join(texts)}
    return [{**shown, "tool_calls": calls} if calls else shown]
