"""What the tests of chats share: the four ways to drive a turn, and what must not change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

from finite_memory_core import (
    Backend,
    Chat,
    Context,
    Delta,
    InMemoryStore,
    Memory,
    Message,
    Reply,
    Store,
)
from finite_memory_core.stores.base import Counted, Event


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
    assert [None] * (len(deltas) - 1) == [delta.reply for delta in deltas[:-1]]
    return reply


Drive = Callable[..., Reply]
DRIVES: dict[str, Drive] = {
    "send": Chat.send,
    "stream": by_stream,
    "asend": by_asend,
    "astream": by_astream,
}


class Fake(Backend):
    """A backend whose stream is any function, however wrong."""

    name = "fake"

    def __init__(self, stream: Callable[[Context], Any]) -> None:
        self._stream = stream

    def stream(self, context: Context) -> Iterator[Delta]:
        found: Iterator[Delta] = self._stream(context)
        return found


class AsyncFake(Fake):
    """The same on the event loop's own thread: `pause` is awaited before each piece."""

    def __init__(self, stream: Callable[[Context], Any], pause: Callable[[], Any]) -> None:
        super().__init__(stream)
        self._pause = pause

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        try:
            await self._pause()
            for delta in self._stream(context):
                yield delta
                await self._pause()
        finally:
            await self._pause()


class State(NamedTuple):
    """All that a turn that was undone must leave as it was."""

    transcript: list[Message]
    context: tuple[Message, ...]
    tokens: int
    stats: dict[str, Any]
    stored: list[Counted]
    events: list[Event]


def state_of(memory: Memory) -> State:
    """Return what memory and store hold now."""
    stats = memory.stats.to_dict()
    for name in ("contexts", "context_tokens", "stable_tokens", "stable_share"):
        del stats[name]  # they count contexts that were built, whatever became of the turn
    context = memory.context()
    store, session = memory.store, memory.session_id
    return State(
        list(memory.transcript),
        context.messages,
        context.token_count,
        stats,
        list(store.messages(session)),
        list(store.events(session)),
    )


def talked(store: Store | None = None, **settings: Any) -> Memory:
    """Return a memory in which something was said already, and left."""
    memory = Memory(settings.pop("budget", 200), store=store or InMemoryStore(), **settings)
    memory.append(Message.system("Be brief."))
    for i in range(12):
        memory.append(Message.user(f"This is question number {i}, which is about trains."))
        memory.append(Message.assistant(f"And this is answer number {i}."))
    assert memory.stats.evictions
    return memory


def resumed(memory: Memory) -> Memory:
    """Return the memory that another process would resume."""
    return Memory.resume(memory.store, memory.session_id)
