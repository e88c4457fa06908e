"""What passes through: headers, streams, keys; and what must not."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ..servers import JSON, Answer, Server
from ..serving import Starter
from .histories import chat

OK = Answer([b'{"id": "1"}'], kind=JSON)
Serve = Callable[..., Server]


def test_headers_go_both_ways(serve: Serve, proxy: Starter) -> None:
    """Those of one connection and our own do not."""
    upstream = serve(
        Answer(
            [b"{}"],
            429,
            JSON,
            {"retry-after": "7", "x-request-id": "r", "keep-alive": "1", "x-finite-memory-x": "1"},
        )
    )
    sent = {
        "authorization": "Bearer sk-1",
        "openai-organization": "o",
        "cookie": "c=1",
        "connection": "x-mine",
        "x-mine": "1",
        "x-finite-memory-token": "t",
    }
    answer = proxy(upstream.url).post("/v1/chat/completions", chat(1), headers=sent)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-request-id"] == "r"
    assert "keep-alive" not in answer.headers
    assert "x-finite-memory-x" not in answer.headers
    got = upstream.asked[0].headers
    assert got["authorization"] == "Bearer sk-1"
    assert got["openai-organization"] == "o"
    assert got["host"] == upstream.url.removeprefix("http://").removesuffix("/v1")
    assert got["accept-encoding"] == "identity"
    assert not {"cookie", "x-mine", "x-finite-memory-token"} & got.keys()


def test_cookies_of_one_client_are_not_kept_for_the_next(serve: Serve, proxy: Starter) -> None:
    """The upstream's cookie reaches its client, and no other request."""
    upstream = serve(Answer([b"{}"], kind=JSON, headers={"set-cookie": "session=secret"}))
    server = proxy(upstream.url)
    for _ in range(2):
        assert server.post("/v1/chat/completions", chat(1)).headers["set-cookie"]
        server.client.cookies.clear()
    assert all("cookie" not in asked.headers for asked in upstream.asked)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"])
def test_other_requests_pass_through(serve: Serve, proxy: Starter, method: str) -> None:
    """Whatever their method, path, query and body."""
    upstream = serve(OK)
    body = b"\x00\xffdata" if method in ("PUT", "PATCH") else b""
    answer = proxy(upstream.url).client.request(
        method, "/v1/files/a%20b?limit=2&after=%2F", content=body
    )
    assert answer.json() == {"id": "1"}
    assert upstream.asked[0].line == f"{method} /v1/files/a%20b?limit=2&after=%2F HTTP/1.1"
    assert upstream.asked[0].body == body


def test_the_upstreams_own_path_is_kept(serve: Serve, proxy: Starter) -> None:
    """An upstream may live below a path, with or without ``/v1`` at its end."""
    upstream = serve(OK)
    root = upstream.url.removesuffix("/v1")
    for base in (f"{root}/api", f"{root}/api/", f"{root}/api/v1", f"{root}/api/v1/"):
        proxy(base).post("/v1/chat/completions", chat(1))
    assert {asked.line for asked in upstream.asked} == {"POST /api/v1/chat/completions HTTP/1.1"}


def test_the_two_apis_may_have_two_upstreams(serve: Serve, proxy: Starter) -> None:
    """Anthropic's paths, and what its SDK asks for besides, go to the second."""
    first, second = serve(OK), serve(OK)
    server = proxy(first.url, anthropic_upstream=second.url)
    server.post("/v1/chat/completions", chat(1))
    server.post("/v1/messages", chat(1))
    server.client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    assert [len(first.asked), len(second.asked)] == [1, 2]


def test_a_stream_is_not_held_back(serve: Serve, proxy: Starter) -> None:
    """The first event arrives while the second has not been sent."""
    upstream = serve(Answer([b"data: 1\n\n"], end="stall"))
    server = proxy(upstream.url)
    with server.client.stream("POST", "/v1/chat/completions", json=chat(1)) as answer:
        assert next(answer.iter_raw()) == b"data: 1\n\n"
    assert upstream.hung_up.wait(20)
    server.close()
    assert server.proxy.metrics.count("hang_ups_total") == 1


def test_a_client_that_leaves_before_the_answer(serve: Serve, proxy: Starter) -> None:
    """The upstream is let go of as well."""
    import httpx2

    upstream = serve(Answer(end="silent"))
    server = proxy(upstream.url)
    with pytest.raises(httpx2.ReadTimeout):
        server.post("/v1/chat/completions", chat(1), timeout=0.5)
    assert upstream.hung_up.wait(20)


def test_a_client_that_reads_no_more(serve: Serve, proxy: Starter) -> None:
    """It holds neither a place here nor a stream of the upstream."""
    upstream = serve(Answer([b"data: 1\n\n" + b" " * 200_000] * 300))
    server = proxy(upstream.url, body_seconds=0.3)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert upstream.hung_up.wait(20)
    server.close()
    assert server.proxy.metrics.count("hang_ups_total") == 1
    assert server.proxy.metrics.in_flight == 0


def test_a_token(serve: Serve, proxy: Starter) -> None:
    """Where one is set, nothing but the health of the server is told without it."""
    upstream = serve(OK)
    server = proxy(upstream.url, token="let-me-in")
    get = server.client.get
    assert get("/v1/models").status_code == 401
    assert get("/metrics").status_code == 401
    assert get("/v1/models", headers={"authorization": "Bearer let-me-in"}).status_code == 401
    assert get("/v1/models", headers={"x-finite-memory-token": "let-me-i"}).status_code == 401
    assert get("/healthz").status_code == 200
    assert not upstream.asked
    for shown in (
        {"x-finite-memory-token": "let-me-in"},
        {"proxy-authorization": "Bearer let-me-in"},
    ):
        assert get("/v1/models", headers=shown).status_code == 200
    assert all("let-me-in" not in str(asked.headers) for asked in upstream.asked)


def test_a_key_of_the_servers_own(serve: Serve, proxy: Starter) -> None:
    """Clients show the token as their key, and the upstream gets the real one."""
    upstream = serve(OK)
    server = proxy(upstream.url, token="let-me-in", upstream_key="sk-real")
    bearer, plain = {"authorization": "Bearer let-me-in"}, {"x-api-key": "let-me-in"}
    assert server.post("/v1/chat/completions", chat(1), headers=bearer).status_code == 200
    assert server.post("/v1/messages", chat(1), headers=plain).status_code == 200
    assert server.post("/v1/messages", chat(1)).status_code == 401
    assert upstream.asked[0].headers["authorization"] == "Bearer sk-real"
    assert upstream.asked[1].headers["x-api-key"] == "sk-real"
    assert "let-me-in" not in str([asked.headers for asked in upstream.asked])


def test_a_key_goes_to_one_host(serve: Serve, proxy: Starter) -> None:
    """No header of a client sends the key of one provider to another."""
    openai, anthropic = serve(OK), serve(OK)
    shown = {"authorization": "Bearer let-me-in", "x-api-key": "let-me-in"}
    shown["anthropic-version"] = "2023-06-01"
    own: dict[str, Any] = {"token": "let-me-in", "anthropic_upstream": anthropic.url}
    server = proxy(openai.url, upstream_key="sk-openai", **own)
    for path in ("/v1/messages", "/v1/chat/completions"):
        answer = server.post(path, chat(1), headers=shown)
        assert answer.status_code == 403
        assert answer.json()["type"] == "error"
    assert not anthropic.asked
    both = proxy(openai.url, upstream_key="sk-openai", anthropic_key="sk-ant", **own)
    assert both.post("/v1/messages", chat(1), headers=shown).status_code == 200
    assert anthropic.asked[0].headers["x-api-key"] == "sk-ant"
    assert "authorization" not in anthropic.asked[0].headers
    del shown["anthropic-version"]
    for one, status in ((both, 200), (proxy(openai.url, anthropic_key="sk-ant", **own), 403)):
        assert one.post("/v1/chat/completions", chat(1), headers=shown).status_code == status
    assert [asked.headers["authorization"] for asked in openai.asked] == ["Bearer sk-openai"]
    assert "x-api-key" not in openai.asked[0].headers


def test_no_key_is_kept_or_logged(
    serve: Serve, proxy: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    """Not when all goes well, and not when it does not."""
    caplog.set_level(logging.DEBUG)
    secret = {"authorization": "Bearer sk-very-secret", "x-api-key": "sk-very-secret"}
    server = proxy(serve(OK).url, token="tok-secret")
    shown = {**secret, "x-finite-memory-token": "tok-secret"}
    long = {"messages": [{"role": "user", "content": "too long " * 1_000}]}
    bodies: list[Any] = [chat(1), long, b"rubbish"]
    for body in bodies:
        server.post("/v1/chat/completions", body, headers=shown)
    proxied = server.proxy
    told = [caplog.text, repr(proxied.settings), str(server.events), proxied.metrics.text(0)]
    held = [str(vars(proxied.bounder)), str(proxied.bounder.cursors._held)]
    assert "secret" not in "".join([*told, *held])


def test_health_and_readiness(serve: Serve, proxy: Starter) -> None:
    """The server says that it is there, and whether it takes requests."""
    server = proxy(serve(OK).url)
    assert server.client.get("/healthz").json() == {"status": "ok"}
    assert server.client.get("/readyz").status_code == 200
    server.proxy.ready = False
    assert server.client.get("/readyz").status_code == 503


def test_metrics_are_prometheus_text(serve: Serve, proxy: Starter) -> None:
    """Each has its help and type, and counts what happened."""
    usage = b'{"usage": {"prompt_tokens": 90, "prompt_tokens_details": {"cached_tokens": 80}}}'
    server = proxy(serve(Answer([usage], kind=JSON)).url)
    server.post("/v1/chat/completions", chat(40))
    server.post("/v1/chat/completions", b"rubbish")
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    prefix = "finite_memory_serve"
    assert f'{prefix}_requests_total{{endpoint="/v1/chat/completions",status="200"}} 1' in lines
    assert f'{prefix}_refused_total{{status="400"}} 1' in lines
    assert f"{prefix}_messages_total 82" in lines
    assert f"{prefix}_prompt_tokens_total 90" in lines
    assert f"{prefix}_cached_tokens_total 80" in lines
    assert f"{prefix}_cursors 1" in lines
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    counted = {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")}
    assert names == counted


def test_open_streams_end_before_the_server_does(serve: Serve, proxy: Starter) -> None:
    """A server that was told to stop finishes what it began."""
    chunks = [b"data: %d\n\n" % i + b" " * 50_000 for i in range(100)]
    upstream = serve(Answer(chunks))
    server = proxy(upstream.url)
    with server.client.stream("POST", "/v1/chat/completions", json=chat(1)) as answer:
        pieces = answer.iter_raw()
        got = next(pieces)
        server.server.should_exit = True
        got += b"".join(pieces)
    assert got == b"".join(chunks)
