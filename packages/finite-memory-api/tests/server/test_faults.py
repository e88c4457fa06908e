"""Many sessions at once, with faults: no session loses or mixes up a message."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from finite_memory_api.server import ServeSettings
from finite_memory_api.server._app import Proxy
from finite_memory_api.server.bounding import Bounder, History

REQUESTS, SESSIONS = 10_000, 250
FAULTS = (
    httpx2.ConnectError("refused"),
    httpx2.ReadTimeout("silent"),
    httpx2.RemoteProtocolError("rubbish"),
)


class Sea(httpx2.AsyncBaseTransport):
    """An upstream in this process that fails now and then, and remembers what it was sent."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.sent: list[Any] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer, or fail."""
        body = json.loads(request.read())
        await asyncio.sleep(0)
        if self._chance.random() < 0.025:
            raise self._chance.choice(FAULTS)
        self.sent.append(body)
        return httpx2.Response(200, json={"reply": body["messages"][-1]["content"]})


def breaking(bounder: Bounder, chance: random.Random) -> Callable[..., Any]:
    """Return `bounder.bound`, which now and then fails in the middle of its work."""
    bound = bounder.bound

    def fail(history: History, key: bytes, most: int | None = None) -> Any:
        made = bound(history, key, most)
        if chance.random() < 0.025:
            raise OSError("a fault of ours")
        return made

    return fail


async def post(app: Proxy, body: dict[str, Any], name: str) -> tuple[int, bytes]:
    """Ask the application as uvicorn would."""
    path, sent, out = "/v1/chat/completions", False, []

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        out.append(message)

    headers = [(b"host", b"localhost"), (b"x-session-id", name.encode())]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
    await app({**scope, "query_string": b"", "headers": headers}, receive, send)
    return out[0]["status"], b"".join(m.get("body", b"") for m in out[1:])


async def converse(app: Proxy, name: str, turns: int) -> int:
    """Hold one conversation; return how many of its requests failed and were asked again."""
    messages: list[dict[str, Any]] = []
    failed = 0
    for turn in range(turns):
        question = f"{name} asks {turn} " + "about the harbour " * 4
        messages.append({"role": "user", "content": question})
        body = {"model": "m", "messages": messages}
        status, told = await post(app, body, name)
        if status != 200:
            failed += 1
            assert "error" in json.loads(told)
            messages.pop()
            continue
        assert json.loads(told)["reply"] == question
        messages.append({"role": "assistant", "content": f"{name} hears {turn}"})
    return failed


@pytest.mark.timeout(280)
def test_ten_thousand_requests_with_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in twenty fails, upstream or here; what is sent is always the session's own, in order."""
    chance = random.Random(1)
    sea = Sea(chance)
    app = Proxy(ServeSettings(400, upstream="http://sea"))
    monkeypatch.setattr(app.bounder, "bound", breaking(app.bounder, chance))

    async def run() -> int:
        await app.open()
        assert app._upstream is not None
        await app._upstream._transport.aclose()
        app._upstream._transport = sea  # type: ignore[assignment]
        names = [f"session-{i}" for i in range(SESSIONS)]
        turns = REQUESTS // SESSIONS
        failed = sum(await asyncio.gather(*(converse(app, name, turns) for name in names)))
        await app.close()
        return failed

    failed = asyncio.run(run())
    assert failed + len(sea.sent) == REQUESTS
    assert 0.01 * REQUESTS < failed < 0.05 * REQUESTS
    assert 0.01 * REQUESTS < app.metrics.count("passed_total") < 0.05 * REQUESTS
    assert len(app.bounder.cursors) <= SESSIONS * 3
    for body in sea.sent:
        said = [message["content"] for message in body["messages"]]
        names = {text.split()[0] for text in said if text.startswith("session-")}
        assert len(names) == 1
        turns = [int(text.split()[2]) for text in said if text.startswith("session-")]
        assert turns == sorted(turns)
