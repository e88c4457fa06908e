"""llama.cpp's own server: it counts, caches, overflows and stops as a real one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from finite_memory_api import CompatibleBackend, HTTPBackend
from finite_memory_core import Chat, Context, ContextOverflowError, Memory, Message, Reply, Usage
from finite_memory_core.testing.streams import plain_chat

from ..turns import DRIVES, memory_of, state_of
from .conftest import WINDOW

APIS = ("openai-chat", "openai-responses", "anthropic-messages")
EACH_API = pytest.mark.parametrize("api", APIS)
EACH_DRIVE = pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))


def backend(url: str, api: str = "openai-chat", **settings: Any) -> HTTPBackend:
    """A backend that asks the server for short replies."""
    settings = {"max_tokens": 8, "options": {"temperature": 0}, **settings}
    return CompatibleBackend(url, "tiny", profile="llamacpp", api=api, **settings)


def usage_of(made: HTTPBackend, context: Context) -> Usage:
    """What a reply to `context` cost."""
    last = list(made.stream(context))[-1]
    assert last.usage is not None
    return last.usage


@EACH_DRIVE
@EACH_API
@pytest.mark.parametrize("streaming", [True, False])
def test_a_chat(llama: str, api: str, drive: Callable[..., Reply], streaming: bool) -> None:
    """Each wire format, by each way to take a turn, streamed or not; the cache serves the rest."""
    memory = memory_of(Message.system(f"Be brief, {api} {drive.__name__} {streaming}. " * 5))
    chat = Chat(backend(llama, api, streaming=streaming), memory)
    first, second = drive(chat, "Where does Ada live?"), drive(chat, "And her sister?")
    assert first.text
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.output_tokens <= 8
    assert second.usage.cached_tokens is not None
    assert second.usage.cached_tokens >= first.usage.input_tokens * 0.9
    assert len(memory.transcript) == 5


@EACH_API
def test_counts_are_those_of_the_reply(llama: str, api: str) -> None:
    """The counting services and the usage agree to the token, with and without blocking."""
    memory = memory_of(
        Message.system("Be brief."),
        Message.user("My sister Ada lives in Turin, since the 4th of May."),
        Message.assistant("Noted."),
        Message.user("Where does Ada live? 我的妹妹住在哪里？"),
    )
    made, context = backend(llama, api), memory.context()
    counted = made.count_tokens(context)
    assert counted == usage_of(made, context).input_tokens
    assert counted == asyncio.run(made.acount_tokens(context))


@EACH_API
@EACH_DRIVE
def test_an_overflow_has_the_servers_numbers(
    llama: str, api: str, drive: Callable[..., Reply]
) -> None:
    """What does not fit the window is a typed error before the first piece."""
    memory = memory_of(Message.user("Turin garden window. " * 3_000), budget=100_000)
    before = state_of(memory)
    with pytest.raises(ContextOverflowError) as caught:
        _asked(backend(llama, api), memory.context(), drive)
    assert caught.value.limit == WINDOW
    assert caught.value.actual is not None
    assert caught.value.actual > WINDOW
    assert before == state_of(memory)


def _asked(made: HTTPBackend, context: Context, drive: Callable[..., Reply]) -> None:
    """Ask without a chat, which would recover; blocking or not as `drive` does."""

    async def ask() -> None:
        async for _ in made.astream(context):
            pass

    if drive.__name__ in ("send", "by_stream"):
        list(made.stream(context))
    else:
        asyncio.run(ask())


@EACH_API
@EACH_DRIVE
def test_a_chat_recovers_from_an_overflow(
    llama: str, api: str, drive: Callable[..., Reply]
) -> None:
    """With a budget beyond the window, it learns the limit from the refusal and goes on."""
    memory = memory_of(budget=30_000)
    for number in range(40):
        memory.append(Message.user(f"{number} " + "Turin garden window river. " * 60))
        memory.append(Message.assistant(f"{number} It is so."))
    reply = drive(Chat(backend(llama, api), memory), "Where does Ada live?")
    assert reply.text
    assert reply.usage is not None
    assert reply.usage.input_tokens <= WINDOW
    assert memory.stats.ceiling is not None
    assert len(memory.transcript) == 82


def is_busy(url: str) -> bool:
    """Whether the server's slot is at work."""
    slots = httpx2.get(f"{url.removesuffix('/v1')}/slots", timeout=60).json()
    return any(slot["is_processing"] for slot in slots)


def require_free(url: str) -> None:
    """Ask until the slot is free: far sooner than the reply would have ended."""
    for _ in range(200):
        if not is_busy(url):
            return
    raise AssertionError("the slot is still at work")


LONG = {"max_tokens": 100_000}


@EACH_API
def test_closing_frees_the_slot(llama: str, api: str) -> None:
    """A stream that is left stops the server's work on it."""
    memory = memory_of(Message.system("Be brief."))
    deltas: Any = Chat(backend(llama, api, **LONG), memory).stream("Tell me everything.")
    next(deltas)
    assert is_busy(llama)
    deltas.close()
    require_free(llama)
    assert len(memory.transcript) == 1


@EACH_API
def test_cancelling_frees_the_slot(llama: str, api: str) -> None:
    """So does a cancelled task."""
    memory = memory_of(Message.system("Be brief."))

    async def leave() -> None:
        started = asyncio.Event()

        async def listen() -> None:
            chat = Chat(backend(llama, api, **LONG), memory)
            async with aclosing(chat.astream("Tell me everything.")) as deltas:  # type: ignore[type-var]
                async for _ in deltas:
                    started.set()

        task = asyncio.create_task(listen())
        await started.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(leave())
    require_free(llama)
    assert len(memory.transcript) == 1


def hit_rate(url: str, low_water: float) -> float:
    """Return the share of prompt tokens that the cache served, once the budget was full."""
    memory = Memory(1_600, low_water=low_water)
    made = backend(url, max_tokens=4)
    cached = total = 0
    for step in plain_chat(3, 120, 1_600):
        memory.append(*(replace(m, content=m.text[:50]) for m in step.messages))
        if step.calls_model and memory.stats.evictions:
            usage = usage_of(made, memory.context())
            cached += usage.cached_tokens or 0
            total += usage.input_tokens
    assert total > 50_000
    return cached / total


def test_a_full_memory_keeps_the_cache_warm(llama: str) -> None:
    """Rare, deep evictions leave the prefix alone; a window that is cut every turn does not."""
    ours, minimal = hit_rate(llama, 0.75), hit_rate(llama, 1.0)
    assert ours >= 0.9
    assert minimal <= 0.5


def test_the_estimate_learns_the_servers_tokens(llama: str) -> None:
    """After ten turns the corrected count is within 2 % of the server's own."""
    memory = Memory(6_000)
    made = backend(llama, max_tokens=4)
    errors = []
    for step in plain_chat(5, 40, 6_000):
        memory.append(*step.messages)
        if step.calls_model:
            context = memory.context()
            usage = usage_of(made, context)
            errors.append(abs(context.token_count / usage.input_tokens - 1))
            memory.report_usage(context, usage.input_tokens)
    assert errors[0] > 0.02
    assert max(errors[10:]) <= 0.02
