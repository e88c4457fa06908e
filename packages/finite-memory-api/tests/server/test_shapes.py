"""Whatever a policy lets go, what is sent has a shape that its provider accepts.

The providers' own SDKs say which fields there are; which message may follow which is what their
documentation says, in its strictest reading: users and assistants take turns, a call has its
results right behind it, and behind results the assistant speaks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_api.server import ServeSettings
from finite_memory_api.server.bounding import Bounder, history_of
from finite_memory_api.server.scanning import scan
from finite_memory_api.server.settings import POLICIES
from finite_memory_api.server.wires import WIRES
from finite_memory_core import BudgetError

from ..checking import check
from .histories import WORDS

Item = dict[str, Any]
Round = tuple[str, list[tuple[str, str]]]
"""What the assistant says first, and its calls with their results."""


def chat_round(said: str, calls: list[tuple[str, str]]) -> list[Item]:
    asked = [
        {"id": name, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for name, _ in calls
    ]
    call = {"role": "assistant", "content": said or None, "tool_calls": asked}
    return [call, *({"role": "tool", "tool_call_id": n, "content": told} for n, told in calls)]


def claude_round(said: str, calls: list[tuple[str, str]]) -> list[Item]:
    asked: list[Item] = [{"type": "text", "text": said}] if said else []
    asked += [{"type": "tool_use", "id": n, "name": "look", "input": {}} for n, _ in calls]
    told = [{"type": "tool_result", "tool_use_id": n, "content": text} for n, text in calls]
    return [{"role": "assistant", "content": asked}, {"role": "user", "content": told}]


def item_round(said: str, calls: list[tuple[str, str]]) -> list[Item]:
    items: list[Item] = [{"role": "assistant", "content": said}] if said else []
    for name, _ in calls:
        call = {"type": "function_call", "call_id": name, "name": "look", "arguments": "{}"}
        items.append(call)
    for name, told in calls:
        items.append({"type": "function_call_output", "call_id": name, "output": told})
    return items


def require_chat(items: list[Item]) -> None:
    """Calls have their results right behind them, and users do not speak behind results."""
    pending: set[str] = set()
    for before, item in pairwise([{"role": "system"}, *items]):
        if item["role"] == "tool":
            pending.remove(item["tool_call_id"])
            continue
        assert not pending
        assert (before["role"], item["role"]) not in {
            ("user", "user"),
            ("tool", "user"),
            ("system", "assistant"),
        }
        pending = {call["id"] for call in item.get("tool_calls", ())}
        assert before["role"] != "assistant" or item["role"] != "assistant"
    assert not pending


def require_claude(items: list[Item]) -> None:
    """Roles alternate; each call is answered in the very next message."""
    assert [item["role"] for item in items] == (["user", "assistant"] * len(items))[: len(items)]
    asked: set[str] = set()
    for item in items:
        parts = item["content"] if isinstance(item["content"], list) else []
        told = [part["tool_use_id"] for part in parts if part["type"] == "tool_result"]
        assert set(told) == asked
        assert [part["type"] for part in parts[: len(told)]] == ["tool_result"] * len(told)
        asked = {part["id"] for part in parts if part["type"] == "tool_use"}
    assert not asked


def require_items(items: list[Item]) -> None:
    """Each call has its output, each output its call, and users do not speak behind outputs."""
    pending: set[str] = set()
    for before, item in pairwise([{"role": "system"}, *items]):
        kind = item.get("type", "message")
        if kind == "function_call":
            pending.add(item["call_id"])
        elif kind == "function_call_output":
            pending.remove(item["call_id"])
        elif item["role"] == "user":
            assert not pending
            assert before.get("type") != "function_call_output"
            assert before.get("role") != "user"
    assert not pending


Shape = tuple[str, str, Callable[[str, list[tuple[str, str]]], list[Item]], Any]
SHAPES: dict[str, Shape] = {
    "openai-chat": ("/v1/chat/completions", "max_tokens", chat_round, require_chat),
    "openai-responses": ("/v1/responses", "max_output_tokens", item_round, require_items),
    "anthropic-messages": ("/v1/messages", "max_tokens", claude_round, require_claude),
}


def spoken(chance: Random, turns: int, shaped: Callable[..., list[Item]]) -> list[list[Item]]:
    """Return the histories of so many requests: each turn has rounds of tools, or none."""
    said: list[Item] = []
    requests = []
    for turn in range(turns):
        about = " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))
        said.append({"role": "user", "content": f"Question {turn}: {about}?"})
        requests.append([*said])
        for number in range(chance.choice([0, 0, 1, 3])):
            calls = [
                (f"call_{turn}_{number}_{i}", " ".join(chance.choices(WORDS, k=9)))
                for i in range(chance.randint(1, 2))
            ]
            said += shaped(chance.choice(["", "Let me look."]), calls)
            requests.append([*said])
        said.append({"role": "assistant", "content": f"Answer {turn}: {about}."})
    return requests


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("api", SHAPES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.sampled_from([250, 400, 700]))
def test_the_shape_is_accepted(api: str, policy: str, seed: int, budget: int) -> None:
    """Tool loops and plain turns, at budgets that drop most of them."""
    path, most, shaped, require = SHAPES[api]
    wire = WIRES[path]
    bounder = Bounder(ServeSettings(budget, policy=policy))
    dropped = 0
    for items in spoken(Random(seed), 24, shaped):
        body = json.dumps({"model": "m", most: 9, wire.listed: items}).encode()
        try:
            made = bounder.bound(history_of(scan(body, wire.listed), wire), b"k")
        except BudgetError:  # a round that never fits is told, not sent
            continue
        dropped += made.dropped
        sent = check(api, made.body or body)[wire.listed]
        require(sent)
        assert made.tokens <= budget
    assert dropped
