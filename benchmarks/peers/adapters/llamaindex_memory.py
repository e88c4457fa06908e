"""llama-index's `Memory` over its default store, an SQLite database in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from base import Base, quarter
from llama_index.core.llms import ChatMessage  # type: ignore[import-not-found]
from llama_index.core.memory import Memory  # type: ignore[import-not-found]
from llama_index.core.storage.chat_store.sql import (  # type: ignore[import-not-found]
    MessageStatus,
)


class Adapter(Base):
    """Only the limit and the counter are ours; the flush size is its default, 3,000 tokens."""

    def __init__(self, budget: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._memory = Memory.from_defaults(
            token_limit=budget,
            tokenizer_fn=lambda text: [0] * quarter(text),
        )

    def take(self, message: dict[str, Any]) -> ChatMessage:
        """Return a `ChatMessage`; what concerns tools goes where its OpenAI classes put it."""
        extra = {key: message[key] for key in ("tool_calls", "tool_call_id") if key in message}
        return ChatMessage(
            role=message["role"], content=message["content"] or "", additional_kwargs=extra
        )

    def append(self, *messages: ChatMessage) -> None:
        """Append; counted and evicted here."""
        for message in messages:
            self._loop.run_until_complete(self._memory.aput(message))

    def load(self, messages: list[ChatMessage]) -> None:
        """Put all but the last 60 straight into the archive; that is where they would be."""
        store, key = self._memory.sql_store, self._memory.session_id
        old = messages[:-60]
        self._loop.run_until_complete(store.add_messages(key, old, status=MessageStatus.ARCHIVED))
        super().load(messages[-60:])

    def context(self) -> list[ChatMessage]:
        """Return its queue."""
        messages: list[ChatMessage] = self._loop.run_until_complete(self._memory.aget())
        return messages

    def show(self, context: list[ChatMessage]) -> list[dict[str, Any]]:
        """Return dicts."""
        return [
            {"role": m.role.value, "content": m.content or "", **m.additional_kwargs}
            for m in context
        ]
