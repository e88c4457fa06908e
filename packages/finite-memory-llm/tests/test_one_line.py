"""A chat in one line, however its turns are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from finite_memory_llm import (
    CallableBackend,
    Chat,
    ConfigError,
    FiniteMemoryLLM,
    InMemoryStore,
    Memory,
    SlidingWindow,
)


def by_send(chat: Chat, text: str) -> str:
    return chat.send(text).text


def by_stream(chat: Chat, text: str) -> str:
    return "".join(delta.text for delta in chat.stream(text))


def by_asend(chat: Chat, text: str) -> str:
    async def ask() -> str:
        return (await chat.asend(text)).text

    return asyncio.run(ask())


def by_astream(chat: Chat, text: str) -> str:
    async def ask() -> str:
        return "".join([delta.text async for delta in chat.astream(text)])

    return asyncio.run(ask())


@pytest.mark.parametrize("take", [by_send, by_stream, by_asend, by_astream])
def test_a_chat_in_one_line(take: Callable[[Chat, str], str]) -> None:
    """It is a `Chat` that stays within its budget, for as long as it goes on."""
    chat = FiniteMemoryLLM("reader", budget=300, policy="sliding", system="Quote what was said.")
    assert isinstance(chat, Chat)
    for turn in range(40):
        take(chat, f"Boat {turn} is moored in berth {turn}.")
    assert "berth 39" in take(chat, "Where is boat 39 moored?")
    assert chat.memory.stats.evictions > 0
    assert chat.memory.context().token_count <= 300
    assert chat.memory.blocks[0].text == "Quote what was said."


def test_a_backend_and_a_policy_may_be_objects() -> None:
    """As they may for `Chat` and `Memory`, whose other settings can be given too."""
    store = InMemoryStore()
    chat = FiniteMemoryLLM(
        CallableBackend(lambda context: context.messages[-1].text.upper()),
        budget=500,
        policy=SlidingWindow(),
        store=store,
        session_id="ada",
        reserve=50,
    )
    assert chat.send("hello").text == "HELLO"
    assert len(Memory.resume(store, "ada").transcript) == 2


def test_a_backend_by_name_gets_its_options() -> None:
    """They go to its loader, which says what it does not take."""
    chat = FiniteMemoryLLM("openai:gpt-5.6", budget=500, options={"api_key": "sk-1"})
    assert type(chat.backend).__name__ == "OpenAIBackend"
    with pytest.raises(ConfigError, match="there is no backend 'nobody'"):
        FiniteMemoryLLM("nobody:x")
