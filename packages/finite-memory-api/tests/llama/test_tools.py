"""Tool calls through the drop-in server, by the official SDKs: 200 turns over a small budget.

The model is a random one that begins a call wherever it may, and ``tool_choice`` has its server's
grammar write the rest. So each turn is a question, a call and its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")
anthropic = pytest.importorskip("anthropic", reason="needs the extra [anthropic]")
openai = pytest.importorskip("openai", reason="needs the extra [openai]")

from ..serving import Starter, proxy  # noqa: E402
from .test_clients import BUDGET, TURNS, ask, inside  # noqa: E402

__all__ = ["proxy"]

SCHEMA = {
    "type": "object",
    "properties": {"berth": {"type": "string", "enum": ["north", "south"]}},
    "required": ["berth"],
    "additionalProperties": False,
}
TOOL = {"name": "look", "description": "Looks at a berth."}
CHAT_TOOLS = [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}]
ITEM_TOOLS = [{"type": "function", **TOOL, "parameters": SCHEMA, "strict": False}]
CLAUDE_TOOLS = [{**TOOL, "input_schema": SCHEMA}]
MOST = 120
"""The most tokens of a reply: enough for one call, and the second is cut off."""
END = "</tool_call>"
"""Where Chat Completions can be told to stop; elsewhere the first call is kept alone."""
SYSTEM = "You are a patient guide to the harbour."

Fields = dict[str, Any]
Create = Callable[..., Awaitable[Any]]
"""Asks for one reply, streamed or not, blocking or not."""


def fields_of(model: Any) -> Fields:
    """What an SDK's user hands back of a reply."""
    found: Fields = model.model_dump(exclude_none=True)
    return found


async def hold_chat(create: Create) -> int:
    """Chat Completions. Returns the largest prompt."""
    said: list[Fields] = [{"role": "system", "content": SYSTEM}]
    largest = 0
    given: Fields = {"model": "tiny", "tools": CHAT_TOOLS, "tool_choice": "required", "stop": END}
    for turn in range(TURNS):
        said.append({"role": "user", "content": ask(turn)})
        reply = await create(**given, messages=said)
        message = reply.choices[0].message
        said.append(fields_of(message))
        for call in message.tool_calls:
            assert call.function.name == "look"
            told = {"tool_call_id": call.id, "content": f"Ship {turn} is there."}
            said.append({"role": "tool", **told})
        largest = max(largest, reply.usage.prompt_tokens)
    return largest


async def hold_items(create: Create) -> int:
    """The same with Responses."""
    said: list[Fields] = []
    largest = 0
    given: Fields = {"model": "tiny", "instructions": SYSTEM, "tools": ITEM_TOOLS}
    given |= {"tool_choice": "required", "max_output_tokens": MOST}
    for turn in range(TURNS):
        said.append({"role": "user", "content": ask(turn)})
        reply = await create(**given, input=said)
        call = next(item for item in reply.output if item.type == "function_call")
        assert call.name == "look"
        output = {"call_id": call.call_id, "output": f"Ship {turn} is there."}
        said += [fields_of(call), {"type": "function_call_output", **output}]
        largest = max(largest, reply.usage.input_tokens)
    return largest


async def hold_messages(create: Create) -> int:
    """The same with Anthropic's Messages."""
    said: list[Fields] = []
    largest = 0
    given: Fields = {"model": "tiny", "system": SYSTEM, "tools": CLAUDE_TOOLS, "max_tokens": MOST}
    for turn in range(TURNS):
        said.append({"role": "user", "content": ask(turn)})
        reply = await create(**given, messages=said, tool_choice={"type": "any"})
        call = next(block for block in reply.content if block.type == "tool_use")
        assert call.name == "look"
        result = {"tool_use_id": call.id, "content": f"Ship {turn} is there."}
        said.append({"role": "assistant", "content": [fields_of(call)]})
        said.append({"role": "user", "content": [{"type": "tool_result", **result}]})
        largest = max(largest, whole(reply.usage))
    return largest


def whole(usage: Any) -> int:
    """A prompt's tokens: Anthropic counts those that the cache served apart."""
    prompt: int = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    return prompt


def blocking(create: Callable[..., Any]) -> Create:
    """A blocking client's `create`, in one piece."""

    async def ask_for_it(**given: Any) -> Any:
        return create(**given)

    return ask_for_it


def streaming(stream: Callable[..., Any], final: str, **more: Any) -> Create:
    """An asynchronous client's `stream`, read to its end."""

    async def ask_for_it(**given: Any) -> Any:
        async with stream(**given, **more) as events:
            count = 0
            async for _ in events:
                count += 1
            assert count > 1
            return await getattr(events, final)()

    return ask_for_it


def by_events(create: Callable[..., Any]) -> Create:
    """An asynchronous client's plain stream; the last event has the whole response.

    Its helper, `stream`, wants every event to be numbered, which llama.cpp's are not.
    """

    async def ask_for_it(**given: Any) -> Any:
        events = [event async for event in await create(**given, stream=True)]
        assert len(events) > 1
        assert events[-1].type in ("response.completed", "response.incomplete")
        return events[-1].response

    return ask_for_it


def held(hold: Callable[[Create], Any], client: Any, create: Create) -> int:
    """Hold a conversation and close the client."""

    async def run() -> int:
        largest: int = await hold(create)
        if iscoroutinefunction(client.close):
            await client.close()
        else:
            client.close()
        return largest

    return asyncio.run(run())


@pytest.mark.parametrize("way", ["blocking", "streaming"])
def test_openai_chat(calling_llama: str, proxy: Starter, way: str) -> None:
    """Chat Completions."""
    running = proxy(calling_llama, BUDGET)
    given: Any = {"base_url": f"{running.url}/v1", "api_key": "k", "max_retries": 0}
    if way == "blocking":
        client = openai.OpenAI(**given)
        create = blocking(client.chat.completions.create)
    else:
        client = openai.AsyncOpenAI(**given)
        usage = {"stream_options": {"include_usage": True}}
        create = streaming(client.chat.completions.stream, "get_final_completion", **usage)
    assert 0 < held(hold_chat, client, create) <= BUDGET
    assert inside(running)


@pytest.mark.parametrize("way", ["blocking", "streaming"])
def test_openai_responses(calling_llama: str, proxy: Starter, way: str) -> None:
    """Responses."""
    running = proxy(calling_llama, BUDGET)
    given: Any = {"base_url": f"{running.url}/v1", "api_key": "k", "max_retries": 0}
    if way == "blocking":
        client = openai.OpenAI(**given)
        create = blocking(client.responses.create)
    else:
        client = openai.AsyncOpenAI(**given)
        create = by_events(client.responses.create)
    assert 0 < held(hold_items, client, create) <= BUDGET
    assert inside(running)


@pytest.mark.parametrize("way", ["blocking", "streaming"])
def test_anthropic_messages(calling_llama: str, proxy: Starter, way: str) -> None:
    """Messages."""
    running = proxy(calling_llama, BUDGET)
    given: Any = {"base_url": running.url, "api_key": "k", "max_retries": 0}
    if way == "blocking":
        client = anthropic.Anthropic(**given)
        create = blocking(client.messages.create)
    else:
        client = anthropic.AsyncAnthropic(**given)
        create = streaming(client.messages.stream, "get_final_message")
    assert 0 < held(hold_messages, client, create) <= BUDGET
    assert inside(running)
