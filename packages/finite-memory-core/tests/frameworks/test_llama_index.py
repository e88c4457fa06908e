"""LlamaIndex: a memory for its agents and chat engines; nothing lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ..examples import some
from . import require

require("llama_index")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms import types as t
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.llm import ToolSelection

from finite_memory_core import BudgetError, Memory, Message
from finite_memory_core.integrations.llama_index import FiniteMemory
from finite_memory_core.stores import InMemoryStore

from .driving import Heard, Telling, hold, mark, memory

# -- both directions ----------------------------------------------------------------------------

TEXTS = st.text(max_size=12)
NAMES = st.text("abc_", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
PNG = b"iVBORw0KGgo="
MADE: list[st.SearchStrategy[Any]] = [
    st.builds(t.TextBlock, text=TEXTS),
    st.just(t.ImageBlock(url="https://example.com/a.png")),
    st.just(t.ImageBlock(image=PNG, image_mimetype="image/png")),
    st.just(t.AudioBlock(url="https://example.com/a.mp3")),
    st.just(t.DocumentBlock(url="https://example.com/a.pdf", title="a", document_mimetype="x/y")),
]
if hasattr(t, "ThinkingBlock"):
    more = st.dictionaries(NAMES, JSON, max_size=2)
    MADE.append(st.builds(t.ThinkingBlock, content=TEXTS, additional_information=more))
if hasattr(t, "ToolCallBlock"):
    arguments = st.dictionaries(NAMES, JSON, max_size=2)
    made = st.builds(
        t.ToolCallBlock, tool_call_id=st.none() | NAMES, tool_name=NAMES, tool_kwargs=arguments
    )
    MADE.append(made)
KWARGS = st.fixed_dictionaries(
    {},
    optional={
        "tool_call_id": NAMES,
        "name": NAMES,
        "reasoning": JSON,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {
                    "id": NAMES,
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries({"name": NAMES, "arguments": NAMES}),
                }
            ),
            max_size=2,
        ),
    },
)
MESSAGES = st.builds(
    ChatMessage,
    role=st.sampled_from(list(t.MessageRole)),
    blocks=st.lists(st.one_of(MADE), max_size=3),
    additional_kwargs=KWARGS,
)


@given(st.lists(MESSAGES, max_size=6))
@settings(max_examples=some(60), deadline=None)
def test_every_history_comes_back_identical(items: list[ChatMessage]) -> None:
    """Whatever was said comes back as it was, from this process and from a store."""
    store = InMemoryStore()
    mine = memory(100_000, store=store, session_id="s")
    adapter = FiniteMemory(mine)
    adapter.put_messages(items)
    assert items == adapter.get_all()
    again = FiniteMemory(Memory.resume(store, "s", counter=mine.accountant.counter))
    assert items == again.get_all()


# -- the conformance fuzz -----------------------------------------------------------------------


def tell(message: Message) -> ChatMessage:
    """Return the message as LlamaIndex says it."""
    more: dict[str, Any] = {}
    if message.tool_calls:
        more["tool_calls"] = [call.to_dict() for call in message.tool_calls]
    if message.tool_call_id:
        more["tool_call_id"] = message.tool_call_id
    return ChatMessage(role=message.role.value, content=message.text, additional_kwargs=more)


def show(items: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return LlamaIndex's messages in the OpenAI shape."""
    shown = []
    for item in items:
        one = {"role": item.role.value, "content": item.content or "", **item.additional_kwargs}
        shown.append({**one, **mark(item.content)})
    return shown


def subject(held: Memory) -> Telling:
    """Return the memory as a subject of the fuzz."""
    adapter = FiniteMemory(held)
    return Telling(adapter.put_messages, adapter.get, tell, show)


def test_no_history_is_invalid() -> None:
    """The fuzz finds nothing."""
    hold(subject)


# -- a real agent -------------------------------------------------------------------------------


class Scripted(MockLLM):
    """A model that calls a tool once a question, and keeps what it was sent."""

    sent: list[Any] = []  # noqa: RUF012  # pydantic copies it

    @property
    def metadata(self) -> Any:
        """Say that it can call tools."""
        return t.LLMMetadata(is_function_calling_model=True)

    async def achat_with_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Answer."""
        said = kwargs["chat_history"]
        self.sent.append(said)
        if said[-1].role == "tool":
            message = ChatMessage("It is found.", role="assistant")
        else:
            call = {"id": f"c{len(self.sent)}", "type": "function"}
            function = {"name": "look_up", "arguments": json.dumps({"what": "x" * 50})}
            more = {"tool_calls": [{**call, "function": function}]}
            message = ChatMessage("", role="assistant", additional_kwargs=more)
        return t.ChatResponse(message=message)

    async def astream_chat_with_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Answer in one piece, as the first releases of 0.13 ask for it."""

        async def pieces() -> Any:
            yield await self.achat_with_tools(tools, **kwargs)

        return pieces()

    def get_tool_calls_from_response(self, response: Any, **kwargs: Any) -> list[ToolSelection]:
        """Read what `achat_with_tools` asked for."""
        return [
            ToolSelection(
                tool_id=call["id"],
                tool_name=call["function"]["name"],
                tool_kwargs=json.loads(call["function"]["arguments"]),
            )
            for call in response.message.additional_kwargs.get("tool_calls", ())
        ]


def look_up(what: str) -> str:
    """Look something up."""
    return f"found {what} " * 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own use of pydantic
def test_an_agent_with_tools_stays_in_its_budget() -> None:
    """30 turns with a tool each: the budget holds, and all is in the transcript."""
    made: Any = Scripted  # its checker asks for what its constructor has defaults for
    model = made()
    adapter = FiniteMemory(memory(reserve=300))
    agent: Any = FunctionAgent(
        tools=[look_up], llm=model, streaming=False, system_prompt="Be brief."
    )

    async def work() -> None:
        for turn in range(30):
            await agent.run(f"Question {turn}?", memory=adapter)

    asyncio.run(work())
    held = adapter.history.memory
    assert len(model.sent) == 60
    assert max(len(json.dumps(show(messages))) for messages in model.sent) < 12_000
    assert held.stats.evictions > 1
    assert held.stats.messages == 30 * 4
    assert held.stats.unanswered == 0
    assert len(adapter.get_all()) == 120


# -- what is odd --------------------------------------------------------------------------------


def test_a_history_can_be_set_and_reset() -> None:
    """`set` begins again; `from_defaults` makes a memory."""
    adapter = FiniteMemory.from_defaults(budget=2_000)
    adapter.put(ChatMessage("a"))
    said = [ChatMessage("b"), ChatMessage("c", role="assistant")]
    adapter.set(said)
    assert said == adapter.get_all() == adapter.get("b")
    adapter.reset()
    assert adapter.get() == []


def test_a_history_that_is_refused_changes_nothing() -> None:
    """What was said before `set` still is."""
    adapter = FiniteMemory(memory(200))
    said = [ChatMessage("b"), ChatMessage("c", role="assistant")]
    adapter.put_messages(said)
    with pytest.raises(BudgetError):
        adapter.set([ChatMessage("x" * 10_000)])
    assert said == adapter.get_all() == adapter.get()


def test_what_is_not_known_is_kept_counted_and_said() -> None:
    """A block of a newer release goes back as the object that it is."""

    class Hologram(t.TextBlock):
        block_type: Any = "hologram"

    heard = Heard()
    held = memory(observers=[heard])
    adapter = FiniteMemory(held)
    message = ChatMessage("see").model_copy(update={"blocks": [Hologram(text="x" * 400)]})
    adapter.put(message)
    assert adapter.get()[0] is message
    assert any("hologram" in why for why in heard.fallbacks)
    assert held.stats.fallbacks["foreign message"] == 1
    assert held.stats.tokens_held > 100
