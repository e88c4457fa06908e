"""What goes wrong: an error in the shape of the client's API, in time, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from finite_memory_api.server import ServeSettings
from finite_memory_core import ConfigError

from ..servers import EVENTS, JSON, Answer, Server
from ..serving import Running, Starter
from .histories import chat

OK = Answer([b'{"id": "1"}'], kind=JSON)
Serve = Callable[..., Server]

MALFORMED = {
    "nothing": b"",
    "no JSON": b"hello",
    "cut": b'{"messages": [{"role": "user"',
    "a list": b"[]",
    "NaN": b'{"messages": [], "temperature": NaN}',
    "behind the end": b'{"messages": []} {}',
    "twice": b'{"messages": [], "messages": []}',
    "no UTF-8": b'{"messages": ["\xff"]}',
    "no comma": b'{"messages": [{} {}]}',
    "a comma too many": b'{"messages": [{},]}',
    "no list": b'{"messages": "hello"}',
    "absent": b'{"model": "m"}',
    "items of the wrong type": b'{"messages": [1, null]}',
    "deep": b'{"messages": [{"role":"user","content":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    "a huge number": b'{"messages": [{"role": "user", "content": ' + b"9" * 9_000 + b"}]}",
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_malformed_bodies(serve: Serve, proxy: Starter, path: str) -> None:
    """Each is told as the client's API would, and none is sent upstream."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    for name, body in MALFORMED.items():
        answer = server.post(path, body)
        assert (name, answer.status_code) == (name, 400)
        told = answer.json()
        assert told["error"]["type"] == "invalid_request_error"
        assert told["error"]["message"]
        assert ("type" in told) == (path == "/v1/messages")
    assert not upstream.asked
    assert server.post(path, chat(1)).status_code == 200


ODD: list[Any] = [None, True, 0, 1.5, "", "\ud800\0", [], [None], [[]], {}, {"type": []}, {"a": {}}]


@pytest.mark.parametrize("field", ["role", "content", "tool_calls", "tool_call_id", "type", "name"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_fields_of_the_wrong_type_are_the_upstreams_to_judge(
    serve: Serve, proxy: Starter, path: str, field: str
) -> None:
    """The server reads no more of a message than it needs, and fails at nothing."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    listed = "input" if path == "/v1/responses" else "messages"
    for value in ODD:
        item = {"role": "user", "content": "hello", field: value}
        beside = {"system": value, "tools": value, "model": value, "metadata": value}
        body = json.dumps({listed: [item, item], **beside}).encode()
        assert server.post(path, body).status_code == 200
        assert upstream.asked[-1].body == body
    assert not server.events


def test_a_body_that_is_too_large(serve: Serve, proxy: Starter) -> None:
    """Announced or not, it is refused before it is held."""
    upstream = serve(OK)
    server = proxy(upstream.url, max_body=10_000)
    assert server.post("/v1/messages", b" " * 10_001).status_code == 413

    def pieces() -> Any:
        yield from [b" " * 1_000] * 11

    answer = server.client.post("/v1/messages", content=pieces())
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"
    assert not upstream.asked


def test_too_many_messages(serve: Serve, proxy: Starter) -> None:
    """A million of them are refused."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    body = b'{"messages":[' + b",".join([b"{}"] * 1_000_000) + b"]}"
    assert server.post("/v1/chat/completions", body).status_code == 413
    assert not upstream.asked


def raw(server: Running, data: bytes) -> bytes:
    """Send bytes over a connection of their own, and return all that comes back."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(data)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    return answer


def test_a_slow_sender(serve: Serve, proxy: Starter) -> None:
    """A request that does not arrive in time is given up."""
    server = proxy(serve(OK).url, body_seconds=0.2)
    head = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
    answer = raw(server, head)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"timeout_error"' in answer


def test_headers_that_never_end(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that does not even ask is closed."""
    monkeypatch.setattr("finite_memory_api.server._running.HEADER_SECONDS", 0.2)
    server = proxy(serve(OK).url)
    assert raw(server, b"POST /v1/messages HTTP/1.1\r\nhost: loc") == b""


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 5\r\ncontent-length: 6",
        b"content-length: 5\r\ntransfer-encoding: chunked, identity",
        b"transfer-encoding: xchunked",
        b"content-length: -1",
        b"x-bad\x00name: 1",
    ],
)
def test_smuggled_headers(serve: Serve, proxy: Starter, lines: bytes) -> None:
    """What two servers could read in two ways is refused."""
    upstream = serve(OK)
    head = (
        b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\n" + lines + b"\r\nconnection: close\r\n\r\n"
    )
    assert raw(proxy(upstream.url), head + b"hello").startswith(b"HTTP/1.1 400")
    assert not upstream.asked


def test_a_smuggled_request_stays_a_body(serve: Serve, proxy: Starter) -> None:
    """Chunks win over a length, and what goes upstream has one length, which is true."""
    upstream = serve(OK)
    inner = b"GET /v1/secret HTTP/1.1\r\nhost: x\r\n\r\n"
    head = (
        b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n"
        b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    raw(proxy(upstream.url), head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner))
    for asked in upstream.asked:
        assert asked.line == "POST /v1/files HTTP/1.1"
        assert asked.body == inner
        assert "transfer-encoding" not in asked.headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%252e%252e/admin",
        "//evil.example/v1/models",
        "/v1//models",
        "/v1/..%2fadmin",
        "/v1/models%00",
        "/v1\\models",
        "/@evil.example/",
        "http://evil.example/v1/models",
    ],
)
def test_tricks_with_paths(serve: Serve, proxy: Starter, path: str) -> None:
    """No path leaves the upstream's own, and none names another host."""
    upstream = serve(OK)
    line = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert raw(proxy(upstream.url), line.encode()).startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
    assert not upstream.asked


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_headers_that_are_not_ascii(serve: Serve, proxy: Starter, path: str) -> None:
    """Their bytes go on as they came, in whatever encoding."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    lines = {"x-title": "café ☕", "x-api-key": "sk-1\u200b"}
    head = [(name.encode(), value.encode()) for name, value in lines.items()]
    answer = server.client.post(path, json=chat(1), headers=head)
    assert answer.status_code == 200
    assert upstream.asked[0].headers["x-title"] == "café ☕"
    assert upstream.asked[0].headers["x-api-key"] == "sk-1\u200b"


@pytest.mark.parametrize("query", ["a=#x", "#"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_query_that_no_url_has(serve: Serve, proxy: Starter, path: str, query: str) -> None:
    """It is refused in the shape of the API, and counted."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    body = b'{"messages": [{"role": "user", "content": "Hello."}]}'
    line = f"POST {path}?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    answer = raw(server, f"{line}content-length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"invalid_request_error"' in answer
    assert (b'"type": "error"' in answer) == (path == "/v1/messages")
    assert server.proxy.metrics.count("refused_total") == 1
    assert not upstream.asked


def test_a_name_that_is_not_this_machine(serve: Serve, proxy: Starter) -> None:
    """A web page cannot reach the server under a name of its own."""
    upstream = serve(OK)
    answer = proxy(upstream.url).client.get("/v1/models", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert not upstream.asked


def test_a_redirect_is_not_followed(serve: Serve, proxy: Starter) -> None:
    """It is the client's to see: a key goes to no other host."""
    elsewhere = serve(OK)
    upstream = serve(Answer(status=302, headers={"location": elsewhere.url}))
    answer = proxy(upstream.url).post("/v1/chat/completions", chat(1))
    assert answer.status_code == 302
    assert answer.headers["location"] == elsewhere.url
    assert not elsewhere.asked


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_an_upstream_that_is_down(proxy: Starter, path: str) -> None:
    """A 502, which clients try again."""
    answer = proxy(closed_port()).post(path, chat(1))
    assert answer.status_code == 502
    assert "cannot be reached" in answer.json()["error"]["message"]


def test_an_upstream_that_is_silent(serve: Serve, proxy: Starter) -> None:
    """A 504 after the time that it was given."""
    server = proxy(serve(Answer(end="silent")).url, read_seconds=0.2)
    assert server.post("/v1/chat/completions", chat(1)).status_code == 504


@pytest.mark.parametrize("end", ["fin", "abort", "stall"])
def test_an_answer_that_breaks_off(serve: Serve, proxy: Starter, end: str) -> None:
    """The client is not told that it was whole."""
    import httpx2

    upstream = serve(Answer([b"data: {}\n\n"], end=end))
    server = proxy(upstream.url, read_seconds=0.3)
    with pytest.raises(httpx2.RemoteProtocolError):
        server.post("/v1/chat/completions", chat(1))
    assert server.proxy.metrics.count("cut_total") == 1


def test_rubbish_is_passed_on_as_it_came(serve: Serve, proxy: Starter) -> None:
    """What an upstream answers is its own."""
    upstream = serve(Answer([b"<html>", b'\xff\0 usage"input_tokens": 99'], 418, EVENTS))
    answer = proxy(upstream.url).post("/v1/chat/completions", chat(1))
    assert answer.status_code == 418
    assert answer.content == b'<html>\xff\0 usage"input_tokens": 99'


def test_an_upstream_that_speaks_no_http(proxy: Starter) -> None:
    """A 502."""
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = Thread(target=speak)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert proxy(url).post("/v1/chat/completions", chat(1)).status_code == 502
        thread.join()


def test_too_many_at_one_time(serve: Serve, proxy: Starter) -> None:
    """Who comes too late is asked to come again."""
    upstream = serve(Answer(end="silent"))
    server = proxy(upstream.url, max_requests=1)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as first:
        first.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
        while not upstream.asked:
            pass
        answer = server.post("/v1/chat/completions", chat(1))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_bytes_that_are_compressed(serve: Serve, proxy: Starter) -> None:
    """They cannot be read, and are not guessed at."""
    answer = proxy(serve(OK).url).post(
        "/v1/messages", b"\x1f\x8b", headers={"content-encoding": "gzip"}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "example.org"},
        {"upstream": "ftp://example.org"},
        {"upstream": "https://user:secret@example.org"},
        {"upstream": "example.org"},
        {"policy": "rolling_summary"},
        {"recall": 0.2},
        {"recall": 1.0, "store": "sqlite:x"},
        {"upstream_key": "sk-1"},
        {"anthropic_key": "sk-1"},
        {"token": "a b"},
        {"reserve": 1_000},
        {"low_water": 0.0},
        {"max_body": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    """They are refused when the server is made, and no secret is in the error."""
    with pytest.raises(ConfigError) as caught:
        ServeSettings(1_000, **settings)
    assert "secret" not in str(caught.value)
