"""A prompt that the upstream finds too long is made shorter and sent again, twice at most."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from finite_memory_api.server.shrinking import most_after, too_long

from ..servers import JSON, Answer, Server
from ..serving import Starter
from .histories import chat

OK = Answer([b'{"id": "1"}'], kind=JSON)
Serve = Callable[..., Server]


def refusal(limit: int = 1_000, actual: int = 1_400) -> Answer:
    """llama.cpp's, with its numbers."""
    told = {
        "code": 400,
        "message": f"request ({actual} tokens) exceeds the available context size ({limit} tokens)",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": actual,
        "n_ctx": limit,
    }
    return Answer([json.dumps({"error": told}).encode()], 400, JSON)


def sizes(server: Server) -> list[int]:
    """How many messages each request had."""
    return [len(asked.json["messages"]) for asked in server.asked]


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("budget", [100_000, 900])
def test_a_refused_prompt_is_sent_again_shorter(
    serve: Serve, proxy: Starter, tmp_path: Path, budget: int, store: bool
) -> None:
    """The client sees one answer, and headers that tell of what was sent in the end."""
    upstream = serve(refusal(), OK)
    kept = f"sqlite:{tmp_path / 'a.db'}" if store else ""
    server = proxy(upstream.url, budget, store=kept)
    body = chat(60)
    answer = server.post("/v1/chat/completions", body)
    assert answer.json() == {"id": "1"}
    first, second = sizes(upstream)
    assert 1 < second < first
    assert upstream.asked[1].json["messages"][-1] == body["messages"][-1]
    assert int(answer.headers["x-finite-memory-dropped"]) == len(body["messages"]) - second
    assert int(answer.headers["x-finite-memory-tokens"]) <= 950
    assert len(answer.headers.get_list("x-finite-memory-dropped")) == 1
    assert server.proxy.metrics.count("resent_total") == 1
    server.post("/v1/chat/completions", chat(61))
    assert sizes(upstream)[2] == second + 2  # the prefix that was taken goes on


def test_what_is_sent_again_is_counted(serve: Serve, proxy: Starter, tmp_path: Path) -> None:
    """All that was sent upstream, and what the client sent once."""
    body = chat(60)
    body["messages"][1]["content"] = "My bicycle is locked with code 7193."
    body["messages"][-1]["content"] = "What is the code of my bicycle?"
    plain = proxy(serve(OK).url, 100_000, store=f"sqlite:{tmp_path / 'a.db'}", recall=0.3)
    first = plain.post("/v1/chat/completions", body).headers
    upstream = serve(refusal(), OK)
    server = proxy(upstream.url, 100_000, store=f"sqlite:{tmp_path / 'b.db'}", recall=0.3)
    second = server.post("/v1/chat/completions", body).headers
    counted = server.proxy.metrics.count
    tokens, recalled = (f"x-finite-memory-{name}" for name in ("tokens", "recalled"))
    assert int(first[tokens]) + int(second[tokens]) == counted("tokens_total")
    assert int(second["x-finite-memory-messages"]) == counted("messages_total")
    assert 0 == int(first[recalled]) < int(second[recalled]) == counted("recalled_total")


def test_twice_at_most(serve: Serve, proxy: Starter) -> None:
    """After that the refusal is the client's, as the upstream made it."""
    upstream = serve(refusal(900, 1_300), refusal(900, 1_200), refusal(900, 1_100), OK)
    server = proxy(upstream.url, 100_000)
    answer = server.post("/v1/chat/completions", chat(60))
    assert answer.status_code == 400
    assert answer.json()["error"]["n_prompt_tokens"] == 1_100
    assert all(before > after for before, after in pairwise(sizes(upstream)))
    assert len(upstream.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer([b'{"error": {"message": "no such model", "type": "invalid"}}'], 404, JSON),
        Answer([b'{"error": {"message": "temperature is too high"}}'], 400, JSON),
        Answer([b"<html>", b"x" * 200_000, b"</html>"], 500, "text/html"),
        Answer([b'{"error": {"message": "prompt is too long"}}'], 200, JSON),
    ],
)
def test_other_answers_are_the_clients(serve: Serve, proxy: Starter, answer: Answer) -> None:
    """Byte for byte, and nothing is sent twice."""
    upstream = serve(answer)
    told = proxy(upstream.url, 900).post("/v1/chat/completions", chat(60))
    assert told.status_code == answer.status
    assert told.content == b"".join(answer.chunks)
    assert len(upstream.asked) == 1


def test_what_cannot_be_made_shorter_is_not_sent_again(serve: Serve, proxy: Starter) -> None:
    """A single question that is too long; and a request that was never bounded."""
    upstream = serve(refusal())
    server = proxy(upstream.url, 100_000)
    long: Any = {"messages": [{"role": "user", "content": "ship " * 2_000}]}
    assert server.post("/v1/chat/completions", long).status_code == 400
    assert server.post("/v1/chat/completions", b'{"messages": []}').status_code == 400
    assert len(upstream.asked) == 2
    assert not server.events


def test_a_refusal_that_breaks_off_is_no_answer(serve: Serve, proxy: Starter) -> None:
    """Nothing of it was sent on yet, so the client gets an error that can be read."""
    broken = Answer([b'{"error": '], 400, JSON, end="abort")
    answer = proxy(serve(broken).url).post("/v1/chat/completions", chat(3))
    assert answer.status_code == 502
    assert "cannot be read" in answer.json()["error"]["message"]


def test_how_much_shorter() -> None:
    """The provider's limit less the reply, by its own count; three quarters where it is silent."""
    told = json.loads(refusal(1_000, 2_000).chunks[0])
    found = too_long(400, json.dumps(told).encode())
    assert found is not None
    assert most_after(found, 1_000, 1.0, {}, 0) == 475  # it counts twice as many as we do
    assert most_after(found, 1_000, 1.0, {"max_tokens": 150}, 100) == 400
    assert most_after(found, 1_000, 1.0, {"max_tokens": 5_000}, 0) == 750  # nothing would be left
    silent = too_long(400, b'{"error": {"message": "prompt is too long"}}')
    assert silent is not None
    assert most_after(silent, 1_000, 1.0, {}, 0) == 750
