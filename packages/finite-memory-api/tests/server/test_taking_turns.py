"""User and assistant take turns in what is sent, as strict chat templates want it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from finite_memory_api.server.joining import joined, quoting
from finite_memory_api.server.scanning import encode
from finite_memory_api.server.settings import POLICIES
from finite_memory_api.server.wires import CHAT, MESSAGES, RESPONSES

from ..servers import JSON, Answer, Server
from ..serving import Starter
from .histories import chatter

OK = Answer([b'{"id": "1"}'], kind=JSON)
Serve = Callable[..., Server]


def parted(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every other question as a list of parts, and answers as SDKs hand them back."""
    made = [dict(message) for message in messages]
    for one in made[::4]:
        one["content"] = [{"type": "text", "text": one["content"]}]
    for one in made[1::2]:
        one |= {"refusal": None, "annotations": []}
    return made


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("recall", [0.0, 0.3])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [list, parted])
def test_roles_alternate(
    serve: Serve,
    proxy: Starter,
    tmp_path: Path,
    policy: str,
    recall: float,
    path: str,
    shape: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
) -> None:
    """Whatever leaves and whatever is recalled; and while nothing leaves, the prefix stays."""
    upstream = serve(OK)
    store = f"sqlite:{tmp_path / 'a.db'}" if recall else ""
    server = proxy(upstream.url, policy=policy, recall=recall, store=store, budget=600)
    dropped, recalled = [], 0
    for turn in range(3, 48, 3):
        answer = server.post(path, {"model": "m", "messages": shape(chatter(turn))})
        assert "x-finite-memory-passed" not in answer.headers
        dropped.append(int(answer.headers["x-finite-memory-dropped"]))
        recalled += int(answer.headers["x-finite-memory-recalled"])
    assert dropped[-1]
    assert bool(recalled) == bool(recall)
    bodies = [asked.json["messages"] for asked in upstream.asked]
    for messages in bodies:
        turns = ["user", "assistant"] * len(messages)
        assert [message["role"] for message in messages] == turns[: len(messages)]
        assert messages[-1]["role"] == "user"
    stood = [
        before[:-1] == after[: len(before) - 1]
        for (before, gone), (after, also) in pairwise(zip(bodies, dropped, strict=True))
        if gone == also
    ]
    assert stood
    assert all(stood)


def test_the_clients_own_runs_stay_as_they_came(serve: Serve, proxy: Starter) -> None:
    """Only what an eviction left side by side is joined."""
    upstream = serve(OK)
    spoken = [{"role": "user", "content": f"Remark {i}, the harbour is calm."} for i in range(80)]
    proxy(upstream.url).post("/v1/chat/completions", {"messages": spoken})
    sent = upstream.asked[0].json["messages"]
    assert 1 < len(sent) < 80
    assert sent == spoken[-len(sent) :]


def test_what_says_more_than_a_text_is_not_joined() -> None:
    """Two names stay two, and so do a result and a question; a call keeps the text before it."""
    said = {"role": "assistant", "content": "Let me look.", "refusal": None}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert joined(said, call, CHAT) == {**call, "content": "Let me look."}
    ada, bob = ({"role": "user", "content": "Hi.", "name": n} for n in ("ada", "bob"))
    assert joined(ada, bob, CHAT) is None
    assert joined(ada, ada, CHAT) == {**ada, "content": "Hi.\n\nHi."}
    assert joined({"role": "tool", "content": "1"}, {"role": "user", "content": "2"}, CHAT) is None
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]}
    both = joined(result, {"role": "user", "content": "And?"}, MESSAGES)
    assert both == {
        "role": "user",
        "content": [*result["content"], {"type": "text", "text": "And?"}],
    }
    heard = {"role": "assistant", "content": [{"type": "output_text", "text": "1"}]}
    assert joined({"role": "assistant", "content": "0"}, heard, RESPONSES) is None


def test_a_quote_is_a_part_where_the_question_is_a_list() -> None:
    """In the words of its API."""
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    for wire, kind in ((CHAT, "text"), (MESSAGES, "text"), (RESPONSES, "input_text")):
        made = quoting("Quoted.", {"role": "user", "content": [image]}, wire)
        assert made == {"role": "user", "content": [{"type": kind, "text": "Quoted."}, image]}
    assert quoting("Quoted.", {"role": "user", "content": 1}, CHAT) is None
    assert encode(quoting("A", {"role": "user", "content": "\ud800é"}, CHAT)).count("\\ud800é") == 1
