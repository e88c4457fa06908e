"""The OpenAI Agents SDK: a session, and a filter for the calls inside a run; nothing lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ..examples import some
from . import require

require("agents")

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    Usage,
    function_tool,
    set_tracing_disabled,
)
from agents.run import CallModelData, ModelInputData
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from pydantic import BaseModel

from finite_memory_core import Memory, Message
from finite_memory_core.integrations.history import HistoryError
from finite_memory_core.integrations.openai_agents import MemorySession
from finite_memory_core.stores import InMemoryStore

from .driving import Heard, Telling, hold, mark, memory

set_tracing_disabled(True)

# -- both directions ----------------------------------------------------------------------------

TEXTS = st.text(max_size=12)
NAMES = st.text("abc_", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("input_text"), "text": TEXTS}),
    st.just({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}),
    st.just({"type": "input_file", "file_data": "JVBERg==", "filename": "a.pdf"}),
    st.just({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
)
ITEMS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "system", "developer", "assistant", "oracle"]),
            "content": TEXTS | st.lists(PARTS, max_size=3),
        },
        optional={"type": st.just("message"), "id": NAMES},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.just("assistant"),
            "id": NAMES,
            "status": st.just("completed"),
            "content": st.lists(
                st.fixed_dictionaries(
                    {"type": st.just("output_text"), "text": TEXTS, "annotations": st.just([])}
                )
                | st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXTS}),
                max_size=2,
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("reasoning"),
            "id": NAMES,
            "summary": st.lists(
                st.fixed_dictionaries({"type": st.just("summary_text"), "text": TEXTS}), max_size=2
            ),
            "encrypted_content": st.none() | NAMES,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("function_call"),
            "call_id": NAMES,
            "name": NAMES,
            "arguments": st.sampled_from(["", "{}", '{"a": 1}', "{broken"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["function_call_output", "computer_call_output"]),
            "call_id": NAMES,
            "output": TEXTS | st.lists(PARTS, max_size=2) | JSON,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["computer_call", "shell_call", "apply_patch_call"]),
            "call_id": NAMES,
            "id": NAMES,
            "action": JSON,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["web_search_call", "file_search_call", "item_reference", "hologram"]
            ),
            "id": NAMES,
            "more": JSON,
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("mcp_approval_request"), "id": NAMES, "name": NAMES, "arguments": NAMES}
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("mcp_approval_response"),
            "approval_request_id": NAMES,
            "approve": st.booleans(),
        }
    ),
)


@given(st.lists(ITEMS, max_size=7), st.integers(0, 7))
@settings(max_examples=some(80), deadline=None)
def test_every_history_comes_back_identical(items: list[Any], cut: int) -> None:
    """Whatever was said comes back as it was, from this process and from a store."""
    store = InMemoryStore()
    mine = memory(100_000, store=store, session_id="s")
    history = MemorySession(mine).history
    history.append(items[:cut])
    history.append(items[cut:])
    assert items == history.everything()
    again = MemorySession(Memory.resume(store, "s", counter=mine.accountant.counter))
    assert items == again.history.everything()


# -- the conformance fuzz -----------------------------------------------------------------------


def tell(message: Message) -> list[Any]:
    """Return the message as the SDK says it."""
    if message.role == "tool":
        result = {"call_id": message.tool_call_id, "output": message.text}
        return [{"type": "function_call_output", **result}]
    said = [{"role": message.role.value, "content": message.text}] if message.text else []
    calls = [
        {"type": "function_call", "call_id": c.id, "name": c.name, "arguments": c.arguments}
        for c in message.tool_calls
    ]
    return [*said, *calls]


def show(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the SDK's items in the OpenAI chat shape."""
    shown: list[dict[str, Any]] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            if not shown or not shown[-1].get("tool_calls"):
                shown.append({"role": "assistant", "content": None, "tool_calls": []})
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            shown[-1]["tool_calls"].append(call)
        elif kind == "function_call_output":
            text = item["output"]
            one = {"role": "tool", "tool_call_id": item["call_id"], "content": text}
            shown.append({**one, **mark(text)})
        else:
            text = item["content"]
            shown.append({"role": item["role"], "content": text, **mark(text)})
    return shown


def subject(held: Memory) -> Telling:
    """Return the session as a subject of the fuzz."""
    session = MemorySession(held)

    def put(said: list[list[Any]]) -> None:
        asyncio.run(session.add_items([item for items in said for item in items]))

    return Telling(put, lambda: asyncio.run(session.get_items()), tell, show)


def test_no_history_is_invalid() -> None:
    """The fuzz finds nothing."""
    hold(subject)


# -- real runs ----------------------------------------------------------------------------------


class Scripted(Model):
    """A model that calls a tool twice a question, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []

    async def get_response(self, system_instructions: Any, input: Any, *a: Any, **k: Any) -> Any:
        """Answer."""
        self.sent.append(list(input))
        number = len(self.sent)
        output: Any = ResponseFunctionToolCall(
            type="function_call",
            call_id=f"c{number}",
            id=f"fc{number}",
            name="look_up",
            arguments=json.dumps({"what": "x" * 50}),
        )
        if number % 3 == 0:
            said = ResponseOutputText(type="output_text", text="It is found.", annotations=[])
            output = ResponseOutputMessage(
                type="message",
                id=f"m{number}",
                role="assistant",
                status="completed",
                content=[said],
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *a: Any, **k: Any) -> AsyncIterator[Any]:
        """Stream nothing."""
        raise NotImplementedError


@function_tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"found {what} " * 5


def run(turns: int) -> tuple[Scripted, MemorySession]:
    """Run an agent with a session."""
    model, session = Scripted(), MemorySession(memory())
    agent = Agent("worker", instructions="Be brief.", model=model, tools=[look_up])
    config = RunConfig(call_model_input_filter=session.model_input)

    async def work() -> None:
        for turn in range(turns):
            await Runner.run(agent, f"Question {turn}?", session=session, run_config=config)

    asyncio.run(work())
    return model, session


def test_an_agent_with_tools_stays_in_its_budget() -> None:
    """30 turns with two tools each: the budget holds, and each item is recorded once."""
    model, session = run(30)
    held = session.history.memory
    assert len(model.sent) == 90
    assert max(len(json.dumps(show(_plain(items)))) for items in model.sent) < 12_000
    assert held.stats.evictions > 2
    assert "Be brief." in str(held.tools)
    assert "look_up" in str(held.tools)
    asked = [message.text for message in held.transcript if message.role == "user"]
    assert [f"Question {turn}?" for turn in range(30)] == asked
    assert held.stats.messages == 30 * 6
    assert held.stats.unanswered == 0


def _plain(items: list[Any]) -> list[Any]:
    texts = ("output_text", "input_text")
    plain = []
    for item in items:
        content = item.get("content")
        if isinstance(content, list):
            said = "".join(part["text"] for part in content if part["type"] in texts)
            item = {**item, "content": said}
        plain.append(item)
    return plain


def test_what_was_said_last_can_be_taken_back() -> None:
    """Item by item, a tool's result before its call; then the session goes on."""
    session = MemorySession(memory())
    user: Any = {"role": "user", "content": "Look."}
    call: Any = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    result: Any = {"type": "function_call_output", "call_id": "c", "output": "seen"}

    async def work() -> None:
        assert await session.pop_item() is None
        await session.add_items([user, call, result])
        assert [user, call, result] == await session.get_items()
        assert [result] == await session.get_items(limit=1)
        assert result == await session.pop_item()
        assert [user] == await session.get_items()
        await session.add_items([result])
        assert [user, call, result] == await session.get_items()
        assert result == await session.pop_item()
        assert call == await session.pop_item()
        assert user == await session.pop_item()
        assert await session.pop_item() is None
        await session.add_items([user])
        await session.clear_session()
        assert await session.get_items() == []

    asyncio.run(work())


def test_what_is_not_known_is_kept_counted_and_said() -> None:
    """An item of a newer release goes back as it is."""
    heard = Heard()
    held = memory(observers=[heard])
    session = MemorySession(held)
    items: list[Any] = [
        {"role": "user", "content": "Show it."},
        {"type": "hologram", "id": "h1", "shape": "x" * 400},
    ]

    async def work() -> None:
        await session.add_items(items)
        assert items == await session.get_items()

    asyncio.run(work())
    assert any("hologram" in why for why in heard.fallbacks)
    assert held.stats.fallbacks["foreign message"] == 1
    assert held.stats.tokens_held > 100


class Place(BaseModel):
    """Where something is."""

    shelf: str


def test_the_shape_of_the_answer_is_counted() -> None:
    """It goes with each request, as tools and instructions do."""
    session = MemorySession(memory())
    agent = Agent("worker", model=Scripted(), output_type=Place)
    asked = ModelInputData(input=[{"role": "user", "content": "Where?"}], instructions=None)
    data = CallModelData(model_data=asked, agent=agent, context=None)
    assert asked == asyncio.run(session.model_input(data))
    assert "shelf" in str(session.history.memory.tools)


def test_the_filter_only_looks() -> None:
    """What the session is told of later is recorded once, and nothing of it is taken back."""
    session = MemorySession(memory())
    user: Any = {"role": "user", "content": "Look."}
    call: Any = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    result: Any = {"type": "function_call_output", "call_id": "c", "output": "seen"}
    agent = Agent("worker", model=Scripted())

    def ask(*items: Any) -> Any:
        model_data = ModelInputData(input=[*items], instructions=None)
        data = CallModelData(model_data=model_data, agent=agent, context=None)
        return asyncio.run(session.model_input(data)).input

    assert [user, call, result] == ask(user, call, result)
    assert session.history.memory.stats.messages == 0
    asyncio.run(session.add_items([user, call]))
    with pytest.raises(HistoryError):
        ask({"role": "user", "content": "rewritten by a handoff"})
    assert session.history.memory.stats.messages == 2
    asyncio.run(session.add_items([result]))
    assert [user, call, result] == ask(user, call, result)
    assert session.history.memory.stats.messages == 3
