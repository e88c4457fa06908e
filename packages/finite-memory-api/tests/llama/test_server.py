"""The drop-in server between real clients and llama.cpp's server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")
anthropic = pytest.importorskip("anthropic", reason="needs the extra [anthropic]")
openai = pytest.importorskip("openai", reason="needs the extra [openai]")

from ..serving import PLAIN, Starter, proxy  # noqa: E402
from .test_llama_server import is_busy, require_free  # noqa: E402

__all__ = ["proxy"]

TURNS = 200
BUDGET = 4_000
SYSTEM = "You are a patient guide to the harbour of Genoa. " * 4

Say = Callable[[str], dict[str, Any]]
"""Makes a message of a reply's text."""
Ask = Callable[[list[dict[str, Any]]], tuple[str, int, int]]
"""Asks for a reply to a history: its text, and the tokens of the prompt, read and cached."""


def plainly(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def as_item(text: str) -> dict[str, Any]:
    """A reply as the Responses API gives it."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "id": "m", "content": content}


def converse(
    ask: Ask, said: Callable[[str], dict[str, Any]] = plainly, turns: int = TURNS
) -> tuple[int, float]:
    """Hold a conversation that a budget overflows many times.

    Returns the largest prompt, and the share of all prompts that the cache served once full.
    """
    messages: list[dict[str, Any]] = []
    largest = total = cached = 0
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Tell me about ship {turn} and its crew."})
        text, prompt, hit = ask(messages)
        assert text
        messages.append(said(text))
        largest = max(largest, prompt)
        if turn > turns // 4:
            total, cached = total + prompt, cached + hit
    return largest, cached / total


@pytest.fixture
def client(llama: str, proxy: Starter) -> Iterator[Any]:
    """The openai SDK in front of the server."""
    url = f"{proxy(llama, BUDGET).url}/v1"
    with openai.OpenAI(base_url=url, api_key="sk-test", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(llama: str, proxy: Starter) -> Iterator[Any]:
    """The anthropic SDK in front of the server."""
    url = proxy(llama, BUDGET).url
    with anthropic.Anthropic(base_url=url, api_key="sk-test", max_retries=0) as made:
        yield made


def test_a_long_chat_keeps_the_cache_warm(client: Any) -> None:
    """200 turns of the openai SDK: no prompt above the budget, and 92 % of them from the cache."""

    def ask(messages: list[dict[str, Any]]) -> tuple[str, int, int]:
        system = {"role": "system", "content": SYSTEM}
        reply = client.chat.completions.create(
            model="tiny", messages=[system, *messages], max_tokens=12, temperature=0
        )
        usage = reply.usage
        return (
            reply.choices[0].message.content,
            usage.prompt_tokens,
            usage.prompt_tokens_details.cached_tokens,
        )

    largest, share = converse(ask)
    assert largest <= BUDGET
    assert share >= 0.92


def test_a_long_streamed_chat(llama: str, proxy: Starter) -> None:
    """Streaming, without blocking."""
    server = proxy(llama, BUDGET)

    async def hold() -> tuple[int, float]:
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
        largest = pieces = 0
        for turn in range(TURNS):
            messages.append({"role": "user", "content": f"Tell me about ship {turn}, please."})
            stream = await client.chat.completions.create(
                model="tiny",
                messages=messages,
                max_tokens=8,
                stream=True,
                stream_options={"include_usage": True},
            )
            text = ""
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    text += chunk.choices[0].delta.content
                    pieces += 1
                if chunk.usage is not None:
                    largest = max(largest, chunk.usage.prompt_tokens)
            messages.append({"role": "assistant", "content": text})
        await client.close()
        return largest, pieces / TURNS

    largest, pieces = asyncio.run(hold())
    assert 0 < largest <= BUDGET
    assert pieces > 4


def test_a_long_conversation_of_responses(client: Any) -> None:
    """The Responses API."""

    def ask(messages: list[dict[str, Any]]) -> tuple[str, int, int]:
        reply = client.responses.create(
            model="tiny", instructions=SYSTEM, input=messages, max_output_tokens=12
        )
        usage = reply.usage
        return reply.output_text, usage.input_tokens, usage.input_tokens_details.cached_tokens

    largest, share = converse(ask, as_item)
    assert largest <= BUDGET
    assert share >= 0.9


def test_a_long_conversation_of_messages(claude: Any) -> None:
    """The anthropic SDK; its counting service counts what would be sent."""
    counts = []

    def ask(messages: list[dict[str, Any]]) -> tuple[str, int, int]:
        given = {"model": "tiny", "system": SYSTEM, "messages": messages}
        reply = claude.messages.create(**given, max_tokens=12)
        counts.append(claude.messages.count_tokens(**given).input_tokens)
        read = reply.usage.cache_read_input_tokens
        return reply.content[0].text, reply.usage.input_tokens + read, read

    largest, share = converse(ask)
    assert largest <= BUDGET
    assert share >= 0.9
    assert max(counts) <= BUDGET


def test_a_streamed_message(llama: str, proxy: Starter) -> None:
    """The anthropic SDK's own stream, without blocking."""
    server = proxy(llama, BUDGET)

    async def ask() -> Any:
        client = anthropic.AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0)
        messages = [{"role": "user", "content": "Which ship is in the harbour?"}]
        async with client.messages.stream(model="tiny", max_tokens=8, messages=messages) as stream:
            pieces = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
        await client.close()
        return pieces, final

    pieces, final = asyncio.run(ask())
    assert len(pieces) > 1
    assert final.content[0].text == "".join(pieces)


def test_a_client_that_hangs_up_frees_the_slot(llama: str, client: Any) -> None:
    """The upstream stops working on what nobody reads."""
    stream = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "Tell me everything."}],
        max_tokens=100_000,
        stream=True,
    )
    next(iter(stream))
    assert is_busy(llama)
    stream.close()
    require_free(llama)


def test_errors_of_the_upstream_are_its_own(llama: str, proxy: Starter) -> None:
    """Status and body reach the client as the upstream made them."""
    url = f"{proxy(llama, 100_000).url}/v1"
    long = [{"role": "user", "content": "ship " * 20_000}]
    made = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
    with made as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=long)
    assert caught.value.body["type"] == "exceed_context_size_error"


def test_everything_else_passes_through(llama: str, client: Any) -> None:
    """Lists of models, and services that the server knows nothing of."""
    assert [model.id for model in client.models.list()]
    root, body = str(client.base_url).removesuffix("/v1/"), {"content": "the harbour"}
    with httpx2.Client(verify=PLAIN, timeout=60) as plain:
        answer = plain.post(f"{root}/tokenize", json=body)
        direct = plain.post(f"{llama.removesuffix('/v1')}/tokenize", json=body)
    assert answer.json() == direct.json()
