"""Clients that nobody here wrote hold long conversations through the drop-in server."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")

from .. import node
from ..serving import Starter, proxy

__all__ = ["proxy"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TURNS = 200
BUDGET = 1_500


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """Find here, where it is no error, what these clients leave open."""
    yield
    gc.collect()


def ask(turn: int) -> str:
    """What the user says."""
    return f"Tell me about ship {turn} and who sails on it."


def inside(running: Any) -> bool:
    """Whether messages were left out, and no request failed or was passed on unbounded."""
    metrics = running.proxy.metrics
    return (
        metrics.count("dropped_total") > 0
        and not metrics.count("passed_total")
        and not metrics.count("refused_total")
    )


def test_langchain(llama: str, proxy: Starter) -> None:
    """langchain-openai, streaming every second turn."""
    module = pytest.importorskip("langchain_openai", reason="needs langchain-openai")
    running = proxy(llama, BUDGET)
    model = module.ChatOpenAI(
        model="tiny", base_url=f"{running.url}/v1", api_key="k", max_tokens=8, max_retries=0
    )
    said: list[Any] = [("system", "Be brief.")]
    largest = 0
    for turn in range(TURNS):
        said.append(("user", ask(turn)))
        if turn % 2:
            reply = "".join(str(piece.content) for piece in model.stream(said))
        else:
            answer = model.invoke(said)
            largest = max(largest, answer.usage_metadata["input_tokens"])
            reply = answer.content
        assert reply
        said.append(("assistant", reply))
    assert 0 < largest <= BUDGET
    assert inside(running)


def test_pydantic_ai(llama: str, proxy: Starter) -> None:
    """pydantic-ai, which keeps the history in shapes of its own."""
    pytest.importorskip("pydantic_ai", reason="needs pydantic-ai-slim[openai]")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    running = proxy(llama, BUDGET)
    provider = OpenAIProvider(base_url=f"{running.url}/v1", api_key="k")
    agent = Agent(OpenAIChatModel("tiny", provider=provider), instructions="Be brief.")

    async def hold() -> int:
        history: list[Any] = []
        largest = 0
        for turn in range(TURNS):
            done = await agent.run(
                ask(turn), message_history=history, model_settings={"max_tokens": 8}
            )
            history = done.all_messages()
            largest = max(largest, done.usage.input_tokens)
        await provider.client.close()
        return largest

    assert 0 < asyncio.run(hold()) <= BUDGET
    assert inside(running)


def test_llm(llama: str, proxy: Starter) -> None:
    """simonw's llm, as a library."""
    pytest.importorskip("llm", reason="needs llm")
    from llm.default_plugins.openai_models import Chat

    running = proxy(llama, BUDGET)
    model = Chat("tiny", model_name="tiny", api_base=f"{running.url}/v1")  # type: ignore[no-untyped-call]
    model.key = "k"
    conversation = model.conversation()
    largest = 0
    for turn in range(TURNS):
        reply = conversation.prompt(ask(turn), max_tokens=8, stream=bool(turn % 2))
        assert reply.text()
        largest = max(largest, reply.input_tokens or 0)
    assert 0 < largest <= BUDGET
    assert inside(running)


def test_langchain_tools(calling_llama: str, proxy: Starter) -> None:
    """langchain-openai with a bound tool, called in every turn."""
    module = pytest.importorskip("langchain_openai", reason="needs langchain-openai")
    from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

    running = proxy(calling_llama, BUDGET)
    model = module.ChatOpenAI(
        model="tiny", base_url=f"{running.url}/v1", api_key="k", max_retries=0
    )
    schema = {
        "title": "look",
        "description": "Looks at a berth.",
        "type": "object",
        "properties": {"berth": {"type": "string", "enum": ["north", "south"]}},
        "required": ["berth"],
    }
    caller = model.bind_tools([schema], tool_choice="required", stop=["</tool_call>"])
    said: list[Any] = [SystemMessage("Be brief.")]
    largest = 0
    for turn in range(TURNS):
        said.append(HumanMessage(ask(turn)))
        call = caller.invoke(said)
        assert {one["name"] for one in call.tool_calls} == {"look"}
        said.append(call)
        said += [ToolMessage("It is there.", tool_call_id=one["id"]) for one in call.tool_calls]
        largest = max(largest, call.usage_metadata["input_tokens"])
    assert 0 < largest <= BUDGET
    assert inside(running)


def test_pydantic_ai_structured(calling_llama: str, proxy: Starter) -> None:
    """pydantic-ai gets structured output by a tool call, behind whose result the user speaks."""
    pytest.importorskip("pydantic_ai", reason="needs pydantic-ai-slim[openai]")
    from typing import Literal

    from pydantic import BaseModel
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Berth(BaseModel):
        berth: Literal["north", "south"]

    running = proxy(calling_llama, BUDGET)
    provider = OpenAIProvider(base_url=f"{running.url}/v1", api_key="k")
    agent = Agent(
        OpenAIChatModel("tiny", provider=provider), instructions="Be brief.", output_type=Berth
    )

    async def hold() -> int:
        history: list[Any] = []
        largest = 0
        for turn in range(TURNS):
            done = await agent.run(
                ask(turn),
                message_history=history,
                model_settings={"max_tokens": 120},
            )
            assert done.output.berth in ("north", "south")
            history = done.all_messages()
            largest = max(largest, done.usage.input_tokens)
        await provider.client.close()
        return largest

    assert 0 < asyncio.run(hold()) <= BUDGET
    assert inside(running)


def test_ai_sdk(calling_llama: str, proxy: Starter) -> None:
    """The AI SDK, from npm: tools that it runs itself, streamed every second turn."""
    running = proxy(calling_llama, BUDGET)
    program = node.PROGRAMS / "chat.mjs"
    told = json.loads(node.run(program, f"{running.url}/v1", str(TURNS)))
    assert told["calls"] >= TURNS
    assert 0 < told["largest"] <= BUDGET
    assert inside(running)
