"""Clients that somebody already has: the official SDKs', httpx2's, and httpx's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from finite_memory_api import AnthropicBackend, HTTPBackend, OpenAIBackend
from finite_memory_api.errors import (
    ConnectionLostError,
    DeadlineError,
    PromptTooLongError,
    RateLimitedError,
    RedirectedError,
)
from finite_memory_core import BackendError, Chat, ConfigError, Interrupted, Reply

from .replies import KEY, WIRES, Wire
from .servers import JSON, Answer, Server
from .test_faults import cut
from .turns import DRIVES, context_of, memory_of, state_of

Serve = Callable[..., Server]
EACH_DRIVE = pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))
SDKS: dict[str, tuple[Any, Any, Callable[..., HTTPBackend], str, dict[str, Any]]] = {
    "openai chat": (openai.OpenAI, openai.AsyncOpenAI, OpenAIBackend, "openai-chat", {}),
    "openai responses": (
        openai.OpenAI,
        openai.AsyncOpenAI,
        OpenAIBackend,
        "openai-responses",
        {"api": "responses"},
    ),
    "anthropic": (
        anthropic.Anthropic,
        anthropic.AsyncAnthropic,
        AnthropicBackend,
        "anthropic-messages",
        {},
    ),
}
EACH_SDK = pytest.mark.parametrize("sdk", list(SDKS))


class Given:
    """A backend over an SDK's clients, closed when it is done with."""

    def __init__(self, sdk: str, server: Server, **settings: Any) -> None:
        kind, akind, backend, api, more = SDKS[sdk]
        self.wire: Wire = WIRES[api]
        url = server.url.removesuffix("/v1") if sdk == "anthropic" else server.url
        self.clients = kind(api_key=KEY, base_url=url), akind(api_key=KEY, base_url=url)
        settings = {"retries": 0, "idle_timeout": 5.0, **more, **settings}
        self.backend = backend(
            "some-model", client=self.clients[0], async_client=self.clients[1], **settings
        )

    def turn(self, drive: Callable[..., Reply], memory: Any) -> Reply:
        """Take a turn, and close the clients in the world that they were used in."""
        try:
            return drive(Chat(self.backend, memory), "Hello?")
        finally:
            self.clients[0].close()


@EACH_DRIVE
@EACH_SDK
def test_an_sdk_sends_what_we_would(serve: Serve, sdk: str, drive: Callable[..., Reply]) -> None:
    """The same request, its key and its address; the reply is read as ours."""
    wire = WIRES[SDKS[sdk][3]]
    server = serve(wire.answer("He", "re."))
    given = Given(sdk, server, options={"metadata": {"a": "b"}})
    reply = given.turn(drive, memory_of())
    assert reply.text == "Here."
    assert reply.usage is not None
    assert (30, 5, 10) == (
        reply.usage.input_tokens,
        reply.usage.output_tokens,
        reply.usage.cached_tokens,
    )
    ours = json.loads(given.backend._codec.body(reply.context))
    assert ours == server.asked[0].json
    assert KEY in str(server.asked[0].headers)


@EACH_DRIVE
@EACH_SDK
@pytest.mark.parametrize("end", ["abort", "fin", "clean", "stall"])
def test_faults_are_ours_to_tell(
    serve: Serve, sdk: str, drive: Callable[..., Reply], end: str
) -> None:
    """What the SDKs let pass, or let out raw, is an interruption with the text that had come."""
    wire = WIRES[SDKS[sdk][3]]
    memory = memory_of()
    before = state_of(memory)
    given = Given(sdk, serve(cut(wire, end)), idle_timeout=0.3 if end == "stall" else 5.0)
    with pytest.raises(Interrupted) as caught:
        given.turn(drive, memory)
    assert caught.value.partial == "Half a reply"
    assert before == state_of(memory)


@EACH_DRIVE
@EACH_SDK
def test_errors_of_an_sdk_become_ours(serve: Serve, sdk: str, drive: Callable[..., Reply]) -> None:
    """Statuses, overflows, waiting: typed as without an SDK, tried once, and without a request."""
    long = {
        "error": {
            "message": "prompt is too long: 9000 tokens > 8192 maximum",
            "type": "invalid_request_error",
        }
    }
    answers: dict[type[BackendError], Answer] = {
        PromptTooLongError: Answer([json.dumps(long).encode()], 400, JSON),
        RateLimitedError: Answer([b"{}"], 429, JSON, {"retry-after": "7", "request-id": "r1"}),
        DeadlineError: Answer(end="silent"),
    }
    for kind, answer in answers.items():
        server = serve(answer)
        given = Given(sdk, server, idle_timeout=0.3 if kind is DeadlineError else 5.0)
        with pytest.raises(BackendError) as caught:
            _ask(given, drive)
        assert isinstance(caught.value, kind)
        assert len(server.asked) == 1
        error: BaseException | None = caught.value
        while error is not None:
            assert not hasattr(error, "request")
            error = error.__cause__ or error.__context__
    gone = serve(Answer())
    gone.close()
    with pytest.raises(ConnectionLostError):
        Given(sdk, gone).turn(drive, memory_of())


@EACH_DRIVE
@EACH_SDK
@pytest.mark.parametrize("status", [302, 307, 308])
def test_an_sdk_follows_no_redirect(
    serve: Serve, sdk: str, drive: Callable[..., Reply], status: int
) -> None:
    """Neither the key nor the prompt goes where the answer points; the client stays as it was."""
    elsewhere = serve(WIRES[SDKS[sdk][3]].answer("Caught."))
    there = elsewhere.url.removesuffix("/v1") + "/other"
    server = serve(Answer(status=status, headers={"location": there}))
    given, memory = Given(sdk, server), memory_of()
    before = state_of(memory)
    with pytest.raises(RedirectedError, match="not followed"):
        given.turn(drive, memory)
    assert [] == elsewhere.asked
    assert before == state_of(memory)
    assert not any("_prepare_options" in vars(client) for client in given.clients)


def _ask(given: Given, drive: Callable[..., Reply]) -> None:
    """Ask without a chat, which would recover from an overflow."""

    async def ask() -> None:
        async for _ in given.backend.astream(context_of()):
            pass

    if drive.__name__ in ("send", "by_stream"):
        list(given.backend.stream(context_of()))
    else:
        asyncio.run(ask())
    given.clients[0].close()


def test_azure_over_its_sdk(serve: Serve) -> None:
    """What only the SDK can do: the deployment's path and the key's header."""
    server = serve(WIRES["openai-chat"].answer("Here."))
    with openai.AzureOpenAI(
        api_key=KEY, azure_endpoint=server.url.removesuffix("/v1"), api_version="2026-01-01"
    ) as client:
        backend = HTTPBackend("my-deployment", "azure", client=client)
        assert Chat(backend, memory_of()).send("Hello?").text == "Here."
    line = server.asked[0].line
    assert "/openai/deployments/my-deployment/chat/completions?api-version=2026-01-01" in line
    assert KEY == server.asked[0].headers["api-key"]


def test_an_sdk_speaks_only_its_own_format() -> None:
    """A client of the wrong SDK is refused when it is given."""
    with anthropic.Anthropic(api_key=KEY) as client, pytest.raises(ConfigError, match="not speak"):
        OpenAIBackend("m", client=client)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
def test_a_client_of_either_library(serve: Serve, wire: Wire, library: Any) -> None:
    """It sends with its own settings, and its faults are told the same."""
    server = serve(wire.answer("Here."))
    with library.Client(headers={"x-mine": "1"}, follow_redirects=True) as client:
        backend = wire.backend(server.url, client=client)
        assert Chat(backend, memory_of()).send("Hello?").text == "Here."
        assert asyncio.run(Chat(backend, memory_of()).asend("Hello?")).text == "Here."
        broken = wire.backend(serve(cut(wire, "abort")).url, client=client)
        with pytest.raises(Interrupted):
            Chat(broken, memory_of()).send("Hello?")

    async def in_a_loop() -> str:
        async with library.AsyncClient() as client:
            backend = wire.backend(server.url, async_client=client)
            return (await Chat(backend, memory_of()).asend("Hello?")).text

    assert asyncio.run(in_a_loop()) == "Here."
    assert server.asked[0].headers["x-mine"] == "1"


def test_only_an_asynchronous_sdk_cannot_block() -> None:
    """It is said, and what to do."""
    backend = OpenAIBackend("m", async_client=openai.AsyncOpenAI(api_key=KEY))
    with pytest.raises(BackendError, match="only async_client was given"):
        Chat(backend, memory_of()).send("Hello?")
