"""The four ways to drive a turn, and a memory that tells whether anything changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from finite_memory_core import Chat, Context, Delta, InMemoryStore, Memory, Message, Reply


def by_stream(chat: Chat, *said: str | Message) -> Reply:
    """Drive a turn by `stream`."""
    return _reply(list(chat.stream(*said)))


def by_asend(chat: Chat, *said: str | Message) -> Reply:
    """Drive a turn by `asend`."""
    return asyncio.run(chat.asend(*said))


def by_astream(chat: Chat, *said: str | Message) -> Reply:
    """Drive a turn by `astream`."""

    async def collect() -> list[Delta]:
        return [delta async for delta in chat.astream(*said)]

    return _reply(asyncio.run(collect()))


def _reply(deltas: list[Delta]) -> Reply:
    reply = deltas[-1].reply
    assert reply is not None
    return reply


DRIVES: dict[str, Callable[..., Reply]] = {
    "send": Chat.send,
    "stream": by_stream,
    "asend": by_asend,
    "astream": by_astream,
}


def memory_of(*messages: Message, budget: int = 4_000, **settings: Any) -> Memory:
    """A memory with a store, that holds `messages`."""
    memory = Memory(budget, store=InMemoryStore(), session_id="session-1", **settings)
    if messages:
        memory.append(*messages)
    return memory


def context_of(*messages: Message, **settings: Any) -> Context:
    """The context that holds `messages`."""
    return memory_of(*messages, budget=100_000, **settings).context()


def state_of(memory: Memory) -> Any:
    """All that a failed turn must leave as it was: what was said, shown and stored."""
    stored = Memory.resume(memory.store, memory.session_id)
    shown, again = memory.context().to_dicts(), stored.context().to_dicts()
    return list(memory.transcript), shown, list(stored.transcript), again
