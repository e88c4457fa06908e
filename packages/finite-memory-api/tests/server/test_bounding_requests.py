"""What goes upstream: what fits as it came, else less of it, each message with its own bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from finite_memory_api.server.bounding import history_of
from finite_memory_api.server.cursors import Cursor
from finite_memory_api.server.scanning import scan
from finite_memory_api.server.wires import MESSAGES

from ..servers import JSON, Answer, Server
from ..serving import Starter
from .histories import chat, chatter

OK = Answer([b'{"id": "1"}'], kind=JSON)
Serve = Callable[..., Server]


def test_a_history_that_fits_goes_on_byte_for_byte(serve: Serve, proxy: Starter) -> None:
    """Odd spacing, unknown fields and all."""
    upstream = serve(OK)
    body = b'{ "messages" :[ {"role":"user" ,"content":"h\\u00e9"}],\n"x_new":[1.50, null]}'
    answer = proxy(upstream.url).post("/v1/chat/completions", body)
    assert answer.json() == {"id": "1"}
    assert upstream.asked[0].body == body
    assert answer.headers["x-finite-memory-dropped"] == "0"


def test_what_does_not_fit_is_left_out(serve: Serve, proxy: Starter) -> None:
    """Instructions and the last question stay; the response's headers say what was done."""
    upstream = serve(OK)
    body = chat(40, temperature=0.5)
    answer = proxy(upstream.url).post("/v1/chat/completions", body)
    sent = upstream.asked[0].json
    dropped = int(answer.headers["x-finite-memory-dropped"])
    assert dropped > 40
    assert sent["temperature"] == 0.5
    assert sent["messages"][0] == body["messages"][0]
    assert sent["messages"][-1] == body["messages"][-1]
    assert len(sent["messages"]) == len(body["messages"]) - dropped
    assert int(answer.headers["x-finite-memory-tokens"]) <= 400


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/",
        "/openai/v1/chat/completions",
        "/openai/deployments/d/chat/completions",
        "/chat/completions",
        "/anthropic/v1/messages",
        "/v1/responses/",
    ],
)
def test_a_path_with_a_prefix_or_a_slash(serve: Serve, proxy: Starter, path: str) -> None:
    """It is bounded as well, and asked for as it came."""
    upstream = serve(OK)
    listed = "input" if "responses" in path else "messages"
    answer = proxy(upstream.url).post(f"{path}?api-version=1", {listed: chatter(40)})
    assert int(answer.headers["x-finite-memory-dropped"]) > 40
    assert upstream.asked[0].line == f"POST {path}?api-version=1 HTTP/1.1"
    assert len(upstream.asked[0].json[listed]) < 40


@pytest.mark.parametrize("path", ["/v1/threads/t/messages", "/v1/completions", "/v1/files"])
def test_what_is_no_history_is_not_read(serve: Serve, proxy: Starter, path: str) -> None:
    """Other requests pass through, whatever they say."""
    upstream = serve(OK)
    body = b'{"role": "user", "content": "hello"}'
    answer = proxy(upstream.url).post(path, body)
    assert "x-finite-memory-budget" not in answer.headers
    assert upstream.asked[0].body == body


def test_messages_that_stay_keep_their_bytes(serve: Serve, proxy: Starter) -> None:
    """What is sent is cut from what came, not written anew."""
    upstream = serve(OK)
    spoken = [
        '{"role" : "user",  "content": "caf\\u00e9 ' + f'{i}", "weight": 1.00}}' for i in range(60)
    ]
    text = '{"messages":[' + " ,\n".join(spoken) + ' ], "seed": 1e2}'
    proxy(upstream.url).post("/v1/chat/completions", text.encode())
    sent = upstream.asked[0].body.decode()
    kept = [one for one in spoken if one in sent]
    assert kept == spoken[-len(kept) :]
    assert sent == '{"messages":[' + " ,\n".join(kept) + '], "seed": 1e2}'


@pytest.mark.parametrize("policy", ["sliding", "importance", "semantic", "hybrid"])
def test_the_prefix_stays_between_evictions(serve: Serve, proxy: Starter, policy: str) -> None:
    """Most requests begin with all of the one before: eviction is rare and deep."""
    upstream = serve(OK)
    server = proxy(upstream.url, policy=policy, budget=600)
    for turn in range(1, 60):
        server.post("/v1/chat/completions", chat(turn))
    bodies = [asked.json["messages"] for asked in upstream.asked]
    grown = [b[: len(a)] == a for a, b in pairwise(bodies)]
    assert grown.count(False) < 8
    assert not all(grown)


def test_a_lost_cursor_changes_nothing(serve: Serve, proxy: Starter) -> None:
    """Any worker comes to the same context: one that saw all turns, and one that saw none."""
    upstream = serve(OK)
    known, forgetful = proxy(upstream.url), proxy(upstream.url)
    for turn in range(1, 50):
        known.post("/v1/chat/completions", chat(turn))
        forgetful.proxy.bounder.cursors.__init__(10)  # type: ignore[misc]
        forgetful.post("/v1/chat/completions", chat(turn))
    bodies = [asked.body for asked in upstream.asked]
    assert bodies[::2] == bodies[1::2]


@pytest.mark.parametrize("policy", ["sliding", "hybrid"])
def test_the_short_way_is_the_fold(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Where nothing has to leave, what is new is added up; the whole fold comes to the same."""
    upstream = serve(OK)
    short, whole = proxy(upstream.url, policy=policy), proxy(upstream.url, policy=policy)
    monkeypatch.setattr(whole.proxy.bounder, "_grown", lambda *_: None)
    told = []
    for turn in range(60):
        answers = [one.post("/v1/chat/completions", chat(turn)) for one in (short, whole)]
        told += [{k: v for k, v in a.headers.items() if k.startswith("x-fin")} for a in answers]
    bodies = [asked.body for asked in upstream.asked]
    assert bodies[::2] == bodies[1::2]
    assert told[::2] == told[1::2]


def test_an_edited_history_is_noticed(serve: Serve, proxy: Starter) -> None:
    """What is sent after an edit is what a server that never saw the old version would send."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    server.post("/v1/chat/completions", chat(40))
    edited = chat(40)
    edited["messages"][65]["content"] = "I meant something else entirely: trains."
    del edited["messages"][70:]
    edited["messages"] += chatter(8, 100)
    server.post("/v1/chat/completions", edited)
    proxy(upstream.url).post("/v1/chat/completions", edited)
    assert upstream.asked[1].body == upstream.asked[2].body
    assert "trains" in upstream.asked[1].body.decode()


def test_a_moved_cache_mark_is_no_edit(serve: Serve, proxy: Starter) -> None:
    """Clients mark another message with each request; the history is still the same."""
    upstream = serve(OK)
    server = proxy(upstream.url)

    def marked(turns: int) -> dict[str, Any]:
        messages = chatter(turns)
        text = {"type": "text", "text": messages[-1]["content"]}
        messages[-1]["content"] = [{**text, "cache_control": {"type": "ephemeral"}}]
        return {"model": "m", "max_tokens": 9, "messages": messages}

    before, after = marked(39), {**marked(39), "messages": chatter(40)}
    text = {"type": "text", "text": after["messages"][78]["content"]}
    after["messages"][78]["content"] = [text]
    server.post("/v1/messages", before)
    cursors = server.proxy.bounder.cursors
    (packed,) = cursors._held.values()
    scanned = scan(json.dumps(after, separators=(",", ":")).encode(), "messages")
    assert Cursor.unpack(packed).fits(history_of(scanned, MESSAGES).chain)


def tool_round(number: int, size: int = 3) -> list[dict[str, Any]]:
    """A step of an agent: two calls and their results."""
    ids = [f"call_{number}_{i}" for i in range(2)]
    function = {"name": "look", "arguments": '{"at": "the harbour of Genoa"}'}
    calls = [{"id": i, "type": "function", "function": function} for i in ids]
    results = [{"role": "tool", "tool_call_id": i, "content": "A boat. " * size} for i in ids]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


def test_calls_and_results_stay_together(serve: Serve, proxy: Starter) -> None:
    """An agent's steps leave whole, and its one question stays."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    messages = [{"role": "user", "content": "Watch the harbour."}]
    for step in range(30):
        messages += tool_round(step)
        server.post("/v1/chat/completions", {"model": "m", "messages": messages})
    for asked in upstream.asked:
        sent = asked.json["messages"]
        assert sent[0] == messages[0]
        calls = [c["id"] for m in sent for c in m.get("tool_calls", ())]
        assert calls == [m["tool_call_id"] for m in sent if m["role"] == "tool"]
        assert sent[-1]["role"] == "tool"
    assert len(upstream.asked[-1].json["messages"]) < len(messages)


def test_results_of_messages_stay_with_their_calls(serve: Serve, proxy: Starter) -> None:
    """In Anthropic's API results stand in a user's message."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Watch the harbour."}]
    for step in range(40):
        call = {"type": "tool_use", "id": f"t{step}", "name": "look", "input": {"at": "Genoa"}}
        result = {"type": "tool_result", "tool_use_id": f"t{step}", "content": "A boat. " * 3}
        messages += [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
    server.post("/v1/messages", {"model": "m", "max_tokens": 9, "messages": messages})
    sent = upstream.asked[0].json["messages"]
    assert len(sent) < len(messages)
    assert [m["role"] for m in sent] == ["user", "assistant"] * (len(sent) // 2) + ["user"]
    assert sent[0] == messages[0]


def test_reasoning_stays_with_what_follows_it(serve: Serve, proxy: Starter) -> None:
    """In the Responses API the steps of a model are items of a list."""
    upstream = serve(OK)
    items: list[dict[str, Any]] = [{"role": "user", "content": "Watch the harbour."}]
    for step in range(40):
        items += [
            {"type": "reasoning", "id": f"r{step}", "summary": [], "encrypted_content": "x" * 20},
            {"type": "function_call", "call_id": f"c{step}", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"c{step}", "output": "A boat. " * 3},
        ]
    proxy(upstream.url).post("/v1/responses", {"model": "m", "input": items})
    sent = upstream.asked[0].json["input"]
    assert len(sent) < len(items)
    kinds = [item.get("type") for item in sent]
    assert kinds[1:] == ["reasoning", "function_call", "function_call_output"] * (len(sent) // 3)


def test_a_history_that_the_upstream_holds_passes_through(serve: Serve, proxy: Starter) -> None:
    """So does a question without one."""
    upstream = serve(OK)
    server = proxy(upstream.url, budget=20)
    for body in (
        {"model": "m", "input": "word " * 100},
        {"model": "m", "previous_response_id": "r", "input": [{"role": "user", "content": "hi"}]},
    ):
        assert server.post("/v1/responses", body).status_code == 200
    assert not server.events


def test_a_message_that_never_fits_is_left_out(serve: Serve, proxy: Starter) -> None:
    """It does not keep the rest of the conversation from being bounded."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    body = chat(30)
    body["messages"].insert(11, {"role": "user", "content": "far too long " * 1_000})
    answer = server.post("/v1/chat/completions", body)
    assert "x-finite-memory-passed" not in answer.headers
    assert len(upstream.asked[0].body) < 3_000


def test_what_cannot_be_bounded_passes_through_and_is_told(serve: Serve, proxy: Starter) -> None:
    """The client gets its answer; a header, an event and a metric say what happened."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    body = json.dumps({"messages": [{"role": "user", "content": "too long " * 1_000}]}).encode()
    answer = server.post("/v1/chat/completions", body)
    assert answer.status_code == 200
    assert answer.headers["x-finite-memory-passed"] == "BudgetError"
    assert upstream.asked[0].body == body
    assert [event.what for event in server.events] == ["BudgetError"]
    assert server.proxy.metrics.count("passed_total") == 1


def test_a_strict_server_refuses_instead(serve: Serve, proxy: Starter) -> None:
    """In the shape that clients know for a context that is too long."""
    upstream = serve(OK)
    body = {"messages": [{"role": "user", "content": "too long " * 1_000}]}
    answer = proxy(upstream.url, strict=True).post("/v1/chat/completions", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert not upstream.asked


def test_an_unforeseen_failure_passes_through_too(
    serve: Serve, proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours is no reason to leave a client without an answer."""
    upstream = serve(OK)
    server = proxy(upstream.url)
    server.injected = True
    monkeypatch.setattr(server.proxy.bounder, "bound", lambda *_: 1 / 0)
    answer = server.post("/v1/chat/completions", chat(3))
    assert answer.status_code == 200
    assert answer.headers["x-finite-memory-passed"] == "ZeroDivisionError"
