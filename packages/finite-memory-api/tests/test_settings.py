"""Bad settings and bad keys: told when they are given, or when they are used, and never shown."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from finite_memory_api import (
    AnthropicBackend,
    CompatibleBackend,
    GeminiBackend,
    HTTPBackend,
    OpenAIBackend,
    Profile,
)
from finite_memory_api.errors import AuthenticationError
from finite_memory_core import Chat, ConfigError, Prices

from .replies import KEY, WIRES
from .servers import Answer, Server
from .turns import memory_of

Serve = Callable[..., Server]
CHAT = WIRES["openai-chat"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": ""}, "model must name"),
        ({"model": None}, "model must name"),
        ({"base_url": "ftp://host"}, "must be http"),
        ({"base_url": "host/v1"}, "must be http"),
        ({"base_url": "https://"}, "must be http"),
        ({"base_url": "https://me:secret@host/v1"}, "credentials"),
        ({"base_url": "https://host/v1?key=x"}, "query"),
        ({"base_url": "https://ho st/v1"}, "white space"),
        ({"base_url": "https://host:99999/v1"}, "no URL"),
        ({"base_url": 5}, "must be text"),
        ({"api_key": ""}, "empty"),
        ({"api_key": "sk-with-newline\n"}, "strip"),
        ({"api_key": "sk with space"}, "strip"),
        ({"api_key": 5}, "api_key must be text"),
        ({"api": "smoke-signals"}, "no wire format"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"options": {"x": object()}}, "options"),
        ({"headers": {"x": "a\nb"}}, "header 'x'"),
        ({"headers": {"x": 5}}, "header 'x'"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"idle_timeout": -1}, "idle_timeout"),
        ({"connect_timeout": "5"}, "connect_timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"cache_ttl": "2h"}, "cache_ttl"),
        ({"cache_ttl": "1h", "instructions_ttl": "5m"}, "longer ones must come first"),
        ({"client": object()}, "httpx2, httpx, openai or anthropic"),
        ({"client": httpx2.AsyncClient()}, "async_client="),
        ({"async_client": httpx2.Client()}, "client="),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    """At once, with what was wrong, and without showing a secret."""
    settings = {"model": "gpt-4o", **settings}
    with pytest.raises(ConfigError, match=said) as caught:
        OpenAIBackend(**settings)
    assert "secret" not in str(caught.value)
    assert "sk-" not in str(caught.value)


def test_an_unknown_profile_is_refused() -> None:
    """With those that are known."""
    with pytest.raises(ConfigError, match="known are openai, azure, anthropic"):
        HTTPBackend("m", "closedai")


def test_an_account_with_an_address_of_its_own_needs_it() -> None:
    """Azure has no common address."""
    with pytest.raises(ConfigError, match="pass base_url"):
        HTTPBackend("m", "azure")


@pytest.mark.parametrize(
    ("backend", "variable", "header", "value"),
    [
        (OpenAIBackend, "OPENAI_API_KEY", "authorization", f"Bearer {KEY}"),
        (AnthropicBackend, "ANTHROPIC_API_KEY", "x-api-key", KEY),
        (GeminiBackend, "GEMINI_API_KEY", "x-goog-api-key", KEY),
    ],
)
def test_keys_come_from_the_environment(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    backend: Callable[..., HTTPBackend],
    variable: str,
    header: str,
    value: str,
) -> None:
    """When they are used, each under its header; without one the error names the variable."""
    made = backend("m", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(AuthenticationError, match=f"set {variable}, or pass api_key"):
        Chat(made, memory_of()).send("Hello?")
    monkeypatch.setenv(variable, KEY)
    server = serve(Answer(status=401))
    with pytest.raises(AuthenticationError):
        Chat(backend("m", base_url=server.url), memory_of()).send("Hello?")
    assert value == server.asked[0].headers[header]


@pytest.mark.parametrize("given", ["environment", "function"])
def test_a_key_with_a_line_end_is_told(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """And not shown."""
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    key = (lambda: f"{KEY}\n") if given == "function" else None
    with pytest.raises(AuthenticationError, match=r"strip\(\)") as caught:
        Chat(OpenAIBackend("m", api_key=key), memory_of()).send("Hello?")
    assert KEY not in str(caught.value)


def test_keys_are_never_seen(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a repr, not in what is pickled, not in what is logged, not in what is stored."""
    caplog.set_level(logging.DEBUG)
    server = serve(CHAT.answer("Here."))
    backend = CHAT.backend(server.url)
    memory = memory_of()
    Chat(backend, memory).send("Hello?")
    asyncio.run(Chat(backend, memory).asend("Hello?"))
    assert KEY in str(server.asked[0].headers)
    assert KEY not in repr(backend) + repr(vars(backend)) + repr(backend._key) + caplog.text
    assert KEY.encode() not in pickle.dumps(backend)
    assert KEY not in repr(list(memory.transcript)) + str(memory.stats.to_dict())


def test_a_backend_travels_in_a_pickle(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key that was passed; one from the environment is found again."""
    server = serve(CHAT.answer("Here."))
    again = pickle.loads(pickle.dumps(CHAT.backend(server.url)))
    with pytest.raises(AuthenticationError, match="a pickle does not carry"):
        Chat(again, memory_of()).send("Hello?")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = OpenAIBackend("some-model", base_url=server.url)
    again = pickle.loads(pickle.dumps(found))
    assert Chat(again, memory_of()).send("Hello?").text == "Here."
    with httpx2.Client() as client, pytest.raises(ConfigError, match="cannot be pickled"):
        pickle.dumps(OpenAIBackend("m", client=client))


def test_secrets_in_headers_and_query_stay_out_of_a_pickle(serve: Serve) -> None:
    """What looks like a key is left behind, which is told at use; all else travels."""
    server = serve(CHAT.answer("Here."))
    secret = CompatibleBackend(
        server.url, "m", headers={"X-Api-Key": "locker 4711"}, query={"sig": "locker 4712"}
    )
    pickled = pickle.dumps(secret)
    assert b"locker" not in pickled
    assert "locker" not in repr(vars(secret))
    with pytest.raises(AuthenticationError, match="does not carry x-api-key of the headers="):
        Chat(pickle.loads(pickled), memory_of()).send("Hello?")
    with pytest.raises(AuthenticationError, match="does not carry x-api-key"):
        Chat(pickle.loads(pickle.dumps(pickle.loads(pickled))), memory_of()).send("Hello?")
    plain = CompatibleBackend(server.url, "m", headers={"X-Tenant": "t"}, query={"v": "1"})
    assert Chat(pickle.loads(pickle.dumps(plain)), memory_of()).send("Hello?").text == "Here."
    assert "t" == server.asked[0].headers["x-tenant"]
    assert "?v=1 " in server.asked[0].line


def test_a_copy_keeps_its_key(serve: Serve) -> None:
    """It stays in the memory that holds the key anyway."""
    server = serve(CHAT.answer("Here."))
    for copied in (copy.copy, copy.deepcopy):
        backend = copied(CHAT.backend(server.url, headers={"X-Secret": "s"}))
        assert Chat(backend, memory_of()).send("Hello?").text == "Here."
    for asked in server.asked:
        assert (f"Bearer {KEY}", "s") == (asked.headers["authorization"], asked.headers["x-secret"])


def test_a_copy_shares_the_client_that_was_handed_over(serve: Serve) -> None:
    """It is open, and somebody else's: no copy of it is made."""
    server = serve(CHAT.answer("Here."))
    with httpx2.Client() as client:
        backend = CHAT.backend(server.url, client=client)
        for copied in (copy.copy, copy.deepcopy):
            again = copied(backend)
            assert again._clients.given is client
            assert Chat(again, memory_of()).send("Hello?").text == "Here."


@pytest.mark.parametrize(
    "url", ["https://h/v1?key=hidden", "ftp://h/v1?key=hidden", "https://h x/?hidden"]
)
def test_a_key_in_an_address_is_not_shown(url: str) -> None:
    """The address is refused, and what stands behind the question mark is not repeated."""
    with pytest.raises(ConfigError, match="base_url") as caught:
        OpenAIBackend("m", base_url=url)
    assert "hidden" not in str(caught.value)


def test_options_headers_and_query_are_sent(serve: Serve) -> None:
    """As they are given; options win over what we would send."""
    server = serve(CHAT.answer("Here."))
    backend = CompatibleBackend(
        server.url,
        "m",
        options={"temperature": 0.5, "stream_options": None},
        headers={"X-Tenant": "t"},
        query={"api-version": "1"},
    )
    assert Chat(backend, memory_of()).send("Hello?").text == "Here."
    asked = server.asked[0]
    assert "POST /v1/chat/completions?api-version=1 HTTP/1.1" == asked.line
    assert (0.5, None) == (asked.json["temperature"], asked.json["stream_options"])
    assert asked.headers["x-tenant"] == "t"
    assert "authorization" not in asked.headers


def test_a_profile_of_ones_own(serve: Serve) -> None:
    """A row of data is all that a new provider takes."""
    server = serve(CHAT.answer("Here."))
    row = Profile("mine", base_url=server.url, auth="x-token", affinity="x-session")
    backend = HTTPBackend("m", row, api_key=KEY, prices=Prices(1, 2, 0.1, 1, 300))
    reply = Chat(backend, memory_of()).send("Hello?")
    assert reply.usage is not None
    assert reply.usage.cost == pytest.approx((20 * 1 + 10 * 0.1 + 5 * 2) / 1e6)
    assert KEY == server.asked[0].headers["x-token"]
    assert server.asked[0].headers["x-session"] == "session-1"
    assert backend.name == "mine:m"


def test_connections_are_given_back(serve: Serve) -> None:
    """A backend is a context manager, in both worlds, and works again after it was closed."""
    server = serve(CHAT.answer("Here."))
    backend = CHAT.backend(server.url)
    with backend:
        Chat(backend, memory_of()).send("Hello?")
    assert Chat(backend, memory_of()).send("Hello?").text == "Here."

    async def in_a_loop() -> str:
        async with backend:
            first = await Chat(backend, memory_of()).asend("Hello?")
        second = await Chat(backend, memory_of()).asend("Hello?")
        return first.text + second.text

    assert asyncio.run(in_a_loop()) == "Here.Here."


def test_one_backend_serves_many_loops_and_tasks(serve: Serve) -> None:
    """One after the other, and many at once in one of them."""
    server = serve(CHAT.answer("Here."))
    backend = CHAT.backend(server.url)

    async def many() -> list[str]:
        chats = [Chat(backend, memory_of()) for _ in range(5)]
        replies = await asyncio.gather(*(chat.asend("Hello?") for chat in chats))
        return [reply.text for reply in replies]

    for _ in range(3):
        assert ["Here."] * 5 == asyncio.run(many())
