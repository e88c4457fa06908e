"""A tool that lets a model search what left its context: ready to be handed to any backend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..messages import Message, ToolCall
from .analysis import searchable
from .choosing import fitted

if TYPE_CHECKING:
    from ..memory import Memory

_DESCRIPTION = (
    "Search what was said earlier in this conversation and is no longer in view. Returns verbatim "
    "quotes with who said them and when, oldest first. Use the words that the answer would hold."
)
_MOST_ASKED = 50


class SearchTool:
    """Answers a model's tool calls with quotes from a memory's archive.

    What it quotes stands in the same marks as recalled text: it is data, and no text can end them.

    Args:
        memory: what is searched, with its scope if it has one.
        name: what the tool is called.
        limit: how many messages are quoted where the model does not say.
        max_tokens: the most that an answer's quotes may cost.

    Attributes:
        schema: the tool's definition in the OpenAI shape, for `Memory.set_tools`.

    Raises:
        ConfigError: a name or a number that cannot work.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        name: str = "search_memory",
        limit: int = 8,
        max_tokens: int = 1_000,
    ) -> None:
        if not name:
            raise ConfigError("a tool needs a name, such as 'search_memory'")
        for what, value in (("limit", limit), ("max_tokens", max_tokens)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"{what} must be a whole number, 1 or more, got {value!r:.80}")
        self._memory = memory
        self._name = name
        self._limit = limit
        self._max_tokens = max_tokens
        self.schema: dict[str, Any] = {
            "type": "function",
            "function": {
                "name": name,
                "description": _DESCRIPTION,
                "parameters": {
                    "type": "object",
                    "properties": {
                        "query": {"type": "string", "description": "What to look for."},
                        "limit": {
                            "type": "integer",
                            "description": f"The most messages to quote, {limit} unless given.",
                            "minimum": 1,
                            "maximum": _MOST_ASKED,
                        },
                    },
                    "required": ["query"],
                    "additionalProperties": False,
                },
            },
        }

    def __call__(self, call: ToolCall) -> Message:
        """Return the result of a call. Arguments that make no sense are answered with what would.

        Raises:
            ConfigError: it is a call of another tool.
            StoreError: the store cannot be read.
        """
        if call.name != self._name:
            raise ConfigError(f"{call.name!r} is not this tool, which is {self._name!r}")
        return Message.tool(self._answer(call.arguments), tool_call_id=call.id)

    def _answer(self, arguments: str) -> str:
        try:
            asked = json.loads(arguments)
        except (ValueError, RecursionError):
            asked = None
        query = asked.get("query") if isinstance(asked, dict) else None
        if not isinstance(query, str) or not query.strip():
            return 'Error: the arguments must be JSON with a text to look for: {"query": "..."}'
        limit = asked.get("limit")
        if type(limit) is not int or not 1 <= limit <= _MOST_ASKED:
            limit = self._limit
        return self._quotes(query, limit)

    def _quotes(self, query: str, limit: int) -> str:
        memory = self._memory
        hits = tuple(
            hit
            for hit in memory.search(query, limit)
            if not hit.message.role.instructs and searchable(hit.message).strip()
        )
        found = fitted(hits, memory.accountant, self._max_tokens, memory.session_id)
        return "Nothing was found." if found.message is None else found.message.text
