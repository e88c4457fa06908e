"""Whatever fails in here, the client gets its answer, and everyone is told; unless ``--strict``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from finite_memory_api.server import _app
from finite_memory_api.server._app import Proxy
from finite_memory_api.server.bounding import Bounder
from finite_memory_api.server.usage import Learnt, Reader

from ..servers import JSON, Answer, Server
from ..serving import Running, Starter
from .histories import chat

REPLY = b'{"usage": {"prompt_tokens": 30}}'
OK = Answer([REPLY], kind=JSON)
Serve = Callable[..., Server]
BEFORE: dict[str, tuple[Any, str]] = {
    "reading the body": (_app, "scan"),
    "telling messages apart": (_app, "history_of"),
    "naming the session": (_app, "session_key"),
    "folding": (Bounder, "bound"),
    "counting": (Proxy, "_add"),
    "telling": (Proxy, "_told"),
}
BEHIND: dict[str, tuple[Any, str]] = {
    "seeing the answer": (Reader, "see"),
    "reading usage": (Reader, "reported"),
    "learning": (Learnt, "observe"),
}


def broken(*_: Any, **__: Any) -> Any:
    """A fault."""
    raise KeyError("a fault of ours")


def started(proxy: Starter, url: str, **settings: Any) -> Running:
    server = proxy(url, **settings)
    server.injected = True
    return server


@pytest.mark.parametrize("fault", BEFORE)
def test_a_request_goes_on_as_it_came(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Byte for byte, with a header, an event, and a count."""
    upstream = serve(OK)
    server = started(proxy, upstream.url)
    monkeypatch.setattr(*BEFORE[fault], broken)
    body = json.dumps(chat(60), indent=1).encode()
    answer = server.post("/v1/chat/completions", body)
    assert (answer.status_code, answer.content) == (200, REPLY)
    assert upstream.asked[0].body == body
    assert answer.headers["x-finite-memory-passed"] == "KeyError"
    assert "x-finite-memory-dropped" not in answer.headers
    assert [(event.what, event.why) for event in server.events] == [
        ("KeyError", "'a fault of ours'")
    ]
    assert server.proxy.metrics.count("passed_total") == 1


@pytest.mark.parametrize("fault", BEFORE)
def test_a_strict_server_refuses(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """In the shape of the API, and nothing goes upstream."""
    upstream = serve(OK)
    server = started(proxy, upstream.url, strict=True)
    monkeypatch.setattr(*BEFORE[fault], broken)
    answer = server.post("/v1/messages", chat(60))
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "api_error"
    assert not upstream.asked


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("fault", BEHIND)
def test_an_answer_goes_on_as_it_comes(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch, fault: str, strict: bool
) -> None:
    """What is learnt from it is our affair alone."""
    server = started(proxy, serve(OK).url, strict=strict)
    monkeypatch.setattr(*BEHIND[fault], broken)
    answer = server.post("/v1/chat/completions", chat(60))
    assert (answer.status_code, answer.content) == (200, REPLY)
    server.client.get("/healthz")  # what follows an answer is done before the next is begun
    assert "KeyError" in {event.what for event in server.events}


def test_an_observer_that_fails_stops_nobody(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it keep the event from the others."""
    server = started(proxy, serve(OK).url)
    heard: list[Any] = []
    monkeypatch.setattr(server.proxy, "_observers", (broken, heard.append))
    monkeypatch.setattr(Bounder, "bound", broken)
    assert server.post("/v1/chat/completions", chat(60)).status_code == 200
    assert [event.what for event in heard] == ["KeyError"]


def test_a_refusal_is_sent_on_where_it_cannot_be_understood(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a prompt shorter may fail too."""
    told = b'{"error": {"message": "prompt is too long"}}'
    server = started(proxy, serve(Answer([told], 400, JSON)).url)
    monkeypatch.setattr(_app, "most_after", broken)
    answer = server.post("/v1/chat/completions", chat(60))
    assert (answer.status_code, answer.content) == (400, told)
    assert [event.what for event in server.events] == ["KeyError"]


def test_where_nothing_can_pass_through_the_error_is_one(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without headers there is no request; the server goes on."""
    server = started(proxy, serve(OK).url)
    with monkeypatch.context() as patch:
        patch.setattr(_app, "for_upstream", broken)
        answer = server.post("/v1/messages", chat(2))
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "type": "api_error",
        "message": "the server failed (KeyError)",
    }
    assert server.post("/v1/messages", chat(2)).status_code == 200
