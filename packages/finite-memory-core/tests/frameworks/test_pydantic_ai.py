"""pydantic-ai: whole histories in, bounded ones out, nothing lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ..examples import some
from . import require

require("pydantic_ai")

from pydantic import BaseModel
from pydantic_ai import Agent, messages as m
from pydantic_ai.models.function import AgentInfo, FunctionModel

from finite_memory_core import Memory, Message, Recall
from finite_memory_core.integrations.history import HistoryError
from finite_memory_core.integrations.pydantic_ai import MemoryProcessor
from finite_memory_core.stores import InMemoryStore

from .driving import Heard, Replacing, Resending, hold, mark, memory, wander

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Place(BaseModel):
    """Where something is."""

    shelf: str


def agent(model: FunctionModel, processor: MemoryProcessor) -> Agent[None, str]:
    """Return an agent with the processor where its release takes one."""
    try:
        from pydantic_ai.capabilities import ProcessHistory
    except ImportError:
        old: Any = {"history_processors": [processor]}
        return Agent(model, **old)
    return Agent(model, capabilities=[ProcessHistory(processor)])


# -- both directions ----------------------------------------------------------------------------

TEXTS = st.text(max_size=12)
NAMES = st.text("abc_", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
MEDIA = st.one_of(
    TEXTS,
    st.builds(m.ImageUrl, st.just("https://example.com/a.png")),
    st.builds(m.AudioUrl, st.just("https://example.com/a.mp3")),
    st.builds(m.VideoUrl, st.just("https://example.com/a.mp4")),
    st.builds(m.DocumentUrl, st.just("https://example.com/a.pdf")),
    st.builds(
        m.BinaryContent,
        st.binary(max_size=9),
        media_type=st.sampled_from(["image/png", "audio/wav", "application/pdf"]),
    ),
)
REQUEST_PARTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(m.SystemPromptPart, TEXTS, timestamp=st.just(AT)),
    st.builds(m.UserPromptPart, TEXTS | st.lists(MEDIA, max_size=3), timestamp=st.just(AT)),
    st.builds(
        m.ToolReturnPart, NAMES, JSON, NAMES, metadata=st.none() | JSON, timestamp=st.just(AT)
    ),
)
RESPONSE_PARTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(m.TextPart, TEXTS),
    st.builds(m.ThinkingPart, TEXTS, signature=st.none() | NAMES),
    st.builds(
        m.ToolCallPart,
        NAMES,
        st.none() | NAMES | st.dictionaries(NAMES, JSON, max_size=2),
        NAMES,
    ),
)
MESSAGES = st.one_of(
    st.builds(m.ModelRequest, st.lists(REQUEST_PARTS, max_size=3), instructions=st.none() | TEXTS),
    st.builds(
        m.ModelResponse,
        st.lists(RESPONSE_PARTS, max_size=3),
        timestamp=st.just(AT),
        model_name=st.none() | NAMES,
    ),
)


def dumped(items: list[m.ModelMessage]) -> Any:
    """Return messages as pydantic-ai writes them."""
    return m.ModelMessagesTypeAdapter.dump_python(items, mode="json")


@given(st.lists(MESSAGES, max_size=6))
@settings(max_examples=some(60), deadline=None)
def test_every_history_comes_back_identical(items: list[m.ModelMessage]) -> None:
    """Whatever was said comes back as it was, from this process and from a store."""
    store = InMemoryStore()
    mine = memory(100_000, store=store, session_id="s")
    history = MemoryProcessor(mine).history
    history.append(items)
    assert items == history.everything()
    again = MemoryProcessor(Memory.resume(store, "s", counter=mine.accountant.counter))
    # From JSON its own loader makes a BinaryImage of a BinaryContent; nothing else may differ.
    assert dumped(items) == dumped(again.history.everything())


@pytest.mark.filterwarnings("ignore:.*RetryPromptPart")
def test_a_history_that_fits_is_sent_as_it_is() -> None:
    """Every part is there, in its request, and equal."""
    items: list[m.ModelMessage] = [
        m.ModelRequest([m.SystemPromptPart("Be brief."), m.UserPromptPart(["Look:", _image()])]),
        m.ModelResponse([
            m.ThinkingPart("hm", signature="s1"),
            m.ToolCallPart("look", {"at": 1}, "c1"),
            m.ToolCallPart("look", '{"at": 2}', "c2"),
        ]),
        m.ModelRequest([
            m.ToolReturnPart("look", {"seen": ["a"]}, "c1"),
            vars(m)["RetryPromptPart"]("try again", tool_name="look", tool_call_id="c2"),
            m.UserPromptPart("and hurry"),
        ]),
    ]  # fmt: skip
    assert items == MemoryProcessor(memory(20_000))(items)


def _image() -> m.BinaryContent:
    return m.BinaryContent(b"\x89PNG", media_type="image/png")


# -- the conformance fuzz -----------------------------------------------------------------------


def tell(message: Message) -> m.ModelMessage:
    """Return the message as pydantic-ai says it."""
    content: Any = message.text
    if message.role == "assistant":
        said: list[Any] = [m.TextPart(content)] if content else []
        calls = [m.ToolCallPart(c.name, c.arguments, c.id) for c in message.tool_calls]
        return m.ModelResponse([*said, *calls], timestamp=AT)
    if message.role == "tool":
        result = m.ToolReturnPart("t", content, message.tool_call_id or "", timestamp=AT)
        return m.ModelRequest([result])
    if message.role == "system":
        return m.ModelRequest([m.SystemPromptPart(content, timestamp=AT)])
    return m.ModelRequest([m.UserPromptPart(content, timestamp=AT)])


def show(items: Sequence[m.ModelMessage]) -> list[dict[str, Any]]:
    """Return pydantic-ai's messages in the OpenAI shape."""
    shown: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, m.ModelResponse):
            shown.append(_show_response(item))
            continue
        parts: Sequence[Any] = item.parts
        for part in parts:
            role = {"system-prompt": "system", "user-prompt": "user"}.get(part.part_kind, "tool")
            more = {"tool_call_id": part.tool_call_id} if role == "tool" else {}
            shown.append({"role": role, "content": part.content, **more, **mark(part.content)})
    return shown


def _show_response(item: m.ModelResponse) -> dict[str, Any]:
    text = "".join(part.content for part in item.parts if isinstance(part, m.TextPart))
    calls = [
        {
            "id": part.tool_call_id,
            "type": "function",
            "function": {"name": part.tool_name, "arguments": part.args},
        }
        for part in item.parts
        if isinstance(part, m.ToolCallPart)
    ]
    shown: dict[str, Any] = {"role": "assistant", "content": text or None, **mark(text)}
    return {**shown, "tool_calls": calls} if calls else shown


def test_no_history_is_invalid() -> None:
    """The fuzz finds nothing where the agent keeps its history."""
    hold(lambda held: Resending(MemoryProcessor(held), tell, show))


def test_no_history_is_invalid_where_it_is_replaced() -> None:
    """Nor where the agent goes on with the context, as `ProcessHistory` has it do."""
    hold(lambda held: Replacing(MemoryProcessor(held), tell, show))


# -- real agents --------------------------------------------------------------------------------


def test_an_agent_with_tools_stays_in_its_budget() -> None:
    """60 turns with a tool each; the budget holds, and all that was said is in the transcript."""
    seen: list[int] = []

    def answer(said: list[m.ModelMessage], info: AgentInfo) -> m.ModelResponse:
        seen.append(sum(len(json.dumps(one)) for one in show(said)))
        last = said[-1].parts[-1]
        if isinstance(last, m.ToolReturnPart):
            return m.ModelResponse([m.TextPart(f"It is {last.content}.")])
        return m.ModelResponse([m.ToolCallPart("look_up", {"what": "x" * 50})])

    held = memory(recall=Recall())
    worker = agent(FunctionModel(answer), MemoryProcessor(held))

    @worker.tool_plain
    def look_up(what: str) -> str:
        return f"found {what} " * 5

    async def work() -> int:
        said: list[m.ModelMessage] = []
        for turn in range(60):
            result = await worker.run(f"Question {turn}?", message_history=said)
            said = result.all_messages()
        return len(said)

    asyncio.run(work())
    assert len(seen) == 120
    assert max(seen) < 12_000  # characters of JSON for 2,000 tokens
    assert held.stats.evictions > 3
    asked = [message.text for message in held.transcript if message.role == "user"]
    assert [f"Question {turn}?" for turn in range(59)] == asked[:59]
    assert 60 * 4 - 3 <= held.stats.messages  # the last answer is recorded when it is sent back


def test_a_run_that_fails_leaves_no_trace() -> None:
    """What was not answered is not in the memory, and the conversation goes on."""
    held = memory()
    fails = [False, True, False]

    def answer(said: list[m.ModelMessage], info: AgentInfo) -> m.ModelResponse:
        if fails.pop(0):
            raise ConnectionError("gone")
        return m.ModelResponse([m.TextPart("Noted.")])

    worker = agent(FunctionModel(answer), MemoryProcessor(held))

    async def work() -> None:
        said = (await worker.run("First.")).all_messages()
        with pytest.raises(Exception, match="gone"):
            await worker.run("Second.", message_history=said)
        await worker.run("Third.", message_history=said)

    asyncio.run(work())
    assert ["First.", "Noted."] == [message.text for message in held.transcript]


def test_tools_and_instructions_are_counted_by_the_hook() -> None:
    """As a hook of 2.x the agent's own history stays whole, and nothing goes uncounted."""
    capabilities = pytest.importorskip("pydantic_ai.capabilities", reason="pydantic-ai 1")
    held = memory()
    processor = MemoryProcessor(held)
    sent: list[int] = []

    def answer(said: list[m.ModelMessage], info: AgentInfo) -> m.ModelResponse:
        sent.append(len(said))
        return m.ModelResponse([m.TextPart("Noted. " * 40)])

    hook = capabilities.Hooks(before_model_request=processor.before_model_request)
    worker = Agent(FunctionModel(answer), capabilities=[hook], instructions="Be brief. " * 20)

    async def work() -> list[m.ModelMessage]:
        said: list[m.ModelMessage] = []
        for turn in range(40):
            said = (await worker.run(f"Turn {turn}.", message_history=said)).all_messages()
        return said

    said = asyncio.run(work())
    assert len(said) == 80
    assert max(sent) < 80
    assert held.stats.evictions
    assert "Be brief." in str(held.tools)


@pytest.mark.parametrize("kind", ["ToolOutput", "NativeOutput", "PromptedOutput"])
def test_the_shape_of_the_output_is_counted_once(kind: str) -> None:
    """However the model is told of it."""
    pydantic_ai = pytest.importorskip("pydantic_ai")
    capabilities = pytest.importorskip("pydantic_ai.capabilities", reason="pydantic-ai 1")
    held = memory()
    hook = capabilities.Hooks(before_model_request=MemoryProcessor(held).before_model_request)
    said = '{"shelf": "A"}'

    def answer(_: list[m.ModelMessage], info: AgentInfo) -> m.ModelResponse:
        tools: list[Any] = [m.ToolCallPart(tool.name, said) for tool in info.output_tools]
        return m.ModelResponse(tools or [m.TextPart(said)])

    output_type: Any = getattr(pydantic_ai, kind)(Place)
    worker: Any = Agent(FunctionModel(answer), output_type=output_type, capabilities=[hook])
    assert asyncio.run(worker.run("Where?")).output == Place(shelf="A")
    assert str(held.tools).count("'shelf': ") == 1


# -- what is odd --------------------------------------------------------------------------------


def test_another_conversation_is_refused() -> None:
    """One memory holds one conversation; what it holds is not thrown away."""
    processor = MemoryProcessor(memory())
    processor([*map(tell, (Message.user("a"), Message.assistant("b"), Message.user("c")))])
    with pytest.raises(HistoryError, match="memory of its own"):
        processor([tell(Message.user("something else"))])
    assert processor.history.memory.stats.messages == 2


@dataclass
class _NewPart:
    content: str
    part_kind: str = "hologram"
    timestamp: datetime = AT


def test_what_is_not_known_is_kept_counted_and_said() -> None:
    """A part of a newer release goes back as the object that it is."""
    heard = Heard()
    held = memory(observers=[heard])
    part: Any = _NewPart("x" * 400)
    odd = replace(m.ModelRequest([]), parts=[part])
    items = [odd, tell(Message.assistant("I see."))]
    assert items == MemoryProcessor(held)(items)
    assert any("hologram" in why for why in heard.fallbacks)
    assert held.stats.fallbacks["foreign message"]
    assert held.stats.tokens_held > 100


def test_quotes_of_a_context_are_not_recorded_after_a_resume() -> None:
    """An agent that goes on with contexts sends them to another process; none of it was said."""
    store = InMemoryStore()
    held = memory(600, store=store, session_id="s", recall=Recall())
    processor, said = MemoryProcessor(held), list[m.ModelMessage]()
    for turn in range(40):
        asked = tell(Message.user(f"What of part {turn} in the order of {turn % 7}? " * 2))
        answer = tell(Message.assistant(f"Part {turn} is on shelf {turn % 5}. " * 2))
        said = [*processor([*said, asked]), answer]
    assert held.stats.recalled
    sent = m.ModelMessagesTypeAdapter.dump_json([*said, tell(Message.user("And?"))])
    again = Memory.resume(store, "s", counter=held.accountant.counter)
    MemoryProcessor(again)(m.ModelMessagesTypeAdapter.validate_json(sent))
    assert again.stats.messages == 80
    assert not any("[Recalled" in message.text for message in again.transcript)


def test_a_failed_run_is_taken_back_where_the_agent_goes_on_with_contexts() -> None:
    """What was cut is sent again without the failed run, twice."""
    held = memory(600, recall=Recall())
    processor, said = MemoryProcessor(held), list[m.ModelMessage]()
    for turn in range(40):
        asked = tell(Message.user(f"What of part {turn} in the order of {turn % 7}? " * 2))
        said = [*processor([*said, asked]), tell(Message.assistant(f"On shelf {turn % 5}. " * 2))]
    call = m.ModelResponse([m.ToolCallPart("look", "{}", "c1")])
    result = m.ModelRequest([m.ToolReturnPart("look", "seen", "c1")])
    for turn in range(2):
        run = [*processor([*said, tell(Message.user(f"Look {turn}."))]), call, result]
        processor(run)
        assert held.stats.messages == 82 + 2 * turn
    shown = processor([*said, tell(Message.user("Forget it."))])
    assert "Look" not in str(shown)
    assert "Forget it." in str(shown[-1])
    assert held.stats.forgotten == 4


def test_runs_that_fail_and_words_that_recur_are_told_apart() -> None:
    """Whether the agent goes on with its history, or with contexts."""
    wander(lambda held: MemoryProcessor(held).history, tell, keep=False, resumes=True)
    wander(lambda held: MemoryProcessor(held).history, tell, keep=True, resumes=False)
