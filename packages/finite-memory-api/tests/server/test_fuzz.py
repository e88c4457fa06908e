"""Whatever is posted, the server answers, in time and in the shape of the API, and goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from finite_memory_api.server import ServeSettings
from finite_memory_api.server._app import Proxy
from finite_memory_api.server.wires import BRIDGE, WIRES

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(["user", "assistant", "system", "tool", "tool_use", "tool_result", "call_1"]),
)
NAMES = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "id",
        "tool_calls",
        "tool_call_id",
        "call_id",
        "tool_use_id",
        "text",
        "function",
        "name",
        "arguments",
        "input",
        "output",
        "cache_control",
        "source",
        "data",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
MESSAGES = st.lists(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES, max_size=12)
FIELDS = st.dictionaries(
    st.sampled_from(["model", "system", "tools", "instructions", "metadata", "user", "stream"]),
    VALUES,
)


class Echo(httpx2.AsyncBaseTransport):
    """An upstream in this process that says what it was sent."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer with the request's body."""
        return httpx2.Response(200, content=request.read())


def post(path: str, body: bytes, budget: int) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask an application of its own, as uvicorn would."""
    out: list[Any] = []

    async def ask() -> None:
        app = Proxy(ServeSettings(budget, upstream="http://echo"))
        await app.open()
        assert app._upstream is not None
        await app._upstream._transport.aclose()
        app._upstream._transport = Echo()  # type: ignore[assignment]
        asked = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            if (message := next(asked, None)) is not None:
                return message
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            out.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
        headers = [(b"host", b"localhost")]
        await asyncio.wait_for(
            app({**scope, "query_string": b"", "headers": headers}, receive, send), 20
        )
        assert app.metrics.in_flight == 0

    asyncio.run(ask())
    content = b"".join(message.get("body", b"") for message in out[1:])
    return out[0]["status"], dict(out[0]["headers"]), content


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the certificates of all authorities takes long, and nothing here speaks TLS."""
    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", lambda **_: Echo())


def is_own(sent: Any, came: Any) -> bool:
    """Whether a message is the client's, or the client's with an earlier one joined to it."""
    if sent == came or not isinstance(sent, dict) or not isinstance(came, dict):
        return bool(sent == came)
    return {**sent, "content": 0} == {**came, "content": 0}


@pytest.mark.parametrize("path", WIRES)
@FUZZ
@given(messages=MESSAGES, fields=FIELDS, budget=st.integers(20, 400))
def test_any_json(path: str, messages: Any, fields: dict[str, Any], budget: int) -> None:
    """It is refused, or sent on with messages of the client's own in their order, and no others."""
    listed = WIRES[path].listed
    body = {listed: messages, **fields}
    status, headers, content = post(path, json.dumps(body).encode(), budget)
    if status != 200:
        assert status == 400
        assert json.loads(content)["error"]["message"]
        return
    sent = json.loads(content)
    if b"x-finite-memory-passed" in headers:
        assert sent == json.loads(json.dumps(body))
        return
    came = iter(json.loads(json.dumps(messages)))
    bridge = {"role": "user", "content": BRIDGE}
    kept = [one for one in sent[listed] if one != bridge]
    assert all(any(is_own(one, other) for other in came) for one in kept)
    assert {k: v for k, v in sent.items() if k != listed} == json.loads(json.dumps(fields))


@pytest.mark.parametrize("path", WIRES)
@FUZZ
@given(
    body=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes(path: str, body: bytes) -> None:
    """What is no JSON object is refused as what it is."""
    status, _, content = post(path, body, 100)
    assert status == 400
    assert json.loads(content)["error"]["type"] == "invalid_request_error"
