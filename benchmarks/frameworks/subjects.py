"""An agent of each framework with its own trimming, and with the memory in its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from agents import (
    Agent as SdkAgent,
    Model,
    ModelResponse as SdkResponse,
    RunConfig,
    Runner,
    SessionSettings,
    SQLiteSession,
    Usage,
    function_tool,
    set_tracing_disabled,
)
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage, trim_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatResponse, LLMMetadata
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.memory import Memory as LlamaMemory
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from pydantic_ai import Agent, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.capabilities import Hooks, ProcessHistory
from pydantic_ai.models.function import FunctionModel

from benchmarks.frameworks.script import BUDGET, Edge, Turn, tokens
from finite_memory_core import Memory, Recall
from finite_memory_core.integrations.langchain import MemoryMiddleware
from finite_memory_core.integrations.llama_index import FiniteMemory
from finite_memory_core.integrations.openai_agents import MemorySession
from finite_memory_core.integrations.pydantic_ai import MemoryProcessor
from finite_memory_core.testing.fuzz import quarter

set_tracing_disabled(True)
Trim = Callable[[Any], Any]


def memory(reserve: int = 0) -> Memory:
    """Return the memory that is measured."""
    return Memory(BUDGET, "hybrid", counter=quarter, recall=Recall(), reserve=reserve)


class Work:
    """The conversation under way: what the tool finds now, and what the model is sent."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.found = ""

    def begin(self, turn: Turn) -> str:
        """Begin a turn; return what is asked."""
        self.edge.wanted, self.found = turn.wanted, turn.found
        return turn.asked


# -- pydantic-ai --------------------------------------------------------------------------------


def _request_texts(messages: Sequence[Any]) -> list[str]:
    texts = []
    for message in messages:
        for part in message.parts:
            texts.append(str(part.args if isinstance(part, ToolCallPart) else part.content))
    return texts


def newest_that_fit(messages: list[Any]) -> list[Any]:
    """Keep the newest messages within the budget, from a user's on: a recipe of its docs."""
    left, start = BUDGET, len(messages)
    for at in range(len(messages) - 1, -1, -1):
        left -= sum(map(tokens, _request_texts([messages[at]])))
        if left < 0:
            break
        first = messages[at].parts[0]
        if isinstance(messages[at], ModelRequest) and not isinstance(first, ToolReturnPart):
            start = at
    return messages[start:]


def pydantic_ai(turns: Sequence[Turn], ours: bool) -> Edge:
    """Run an agent of pydantic-ai."""
    work = Work()

    def answer(messages: list[Any], info: Any) -> ModelResponse:
        last = messages[-1].parts[-1]
        done = isinstance(last, ToolReturnPart)
        work.edge.see(_request_texts(messages), first=not done)
        if done:
            return ModelResponse([TextPart("Noted, thank you.")])
        return ModelResponse([ToolCallPart("report", {"line": work.edge.requests})])

    processor = MemoryProcessor(memory())
    hook: Any = ProcessHistory(newest_that_fit)
    if ours:
        hook = Hooks(before_model_request=processor.before_model_request)
    agent: Any = Agent(FunctionModel(answer), capabilities=[hook])

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def report(line: int) -> str:
        return work.found

    async def run() -> None:
        history: list[Any] = []
        for turn in turns:
            result = await agent.run(work.begin(turn), message_history=history)
            history = result.all_messages()

    asyncio.run(run())
    return work.edge


# -- LangChain ----------------------------------------------------------------------------------


def _texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [
        str(m.content) + "".join(json.dumps(c["args"]) for c in getattr(m, "tool_calls", ()))
        for m in messages
    ]


class Script(BaseChatModel):
    """The scripted model."""

    work: Any

    @property
    def _llm_type(self) -> str:
        return "script"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Take any tools."""
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        done = isinstance(messages[-1], ToolMessage)
        self.work.edge.see(_texts(messages), first=not done)
        message = AIMessage("Noted, thank you.")
        if not done:
            number = self.work.edge.requests
            call: Any = {"id": f"call_{number}", "name": "report", "args": {"line": number}}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


@wrap_model_call
def trimmed(request: Any, handler: Any) -> Any:
    """Send what `trim_messages` leaves."""
    messages = trim_messages(
        request.messages,
        strategy="last",
        max_tokens=BUDGET,
        token_counter=lambda ms: sum(map(tokens, _texts(ms))),
        start_on="human",
        include_system=True,
    )
    return handler(request.override(messages=messages))


def langchain(turns: Sequence[Turn], ours: bool) -> Edge:
    """Run an agent of `create_agent`."""
    work = Work()

    def report(line: int) -> str:
        """Read the report of a line."""
        return work.found

    middleware: Any = MemoryMiddleware(memory()) if ours else trimmed
    agent: Any = create_agent(Script(work=work), [report], middleware=[middleware])
    state: Any = {"messages": []}
    for turn in turns:
        said = [*state["messages"], HumanMessage(work.begin(turn))]
        state = agent.invoke({"messages": said})
    return work.edge


# -- OpenAI Agents SDK --------------------------------------------------------------------------


def _item_text(item: Any) -> str:
    said = item.get("content") or item.get("output") or item.get("arguments") or ""
    return said if isinstance(said, str) else "".join(str(part.get("text")) for part in said)


class ScriptModel(Model):
    """The scripted model."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def get_response(self, system_instructions: Any, input: Any, *a: Any, **k: Any) -> Any:
        """Answer."""
        done = input[-1].get("type") == "function_call_output"
        self.work.edge.see(list(map(_item_text, input)), first=not done)
        number = self.work.edge.requests
        reply: Any = ResponseFunctionToolCall(
            type="function_call",
            id=f"f{number}",
            call_id=f"call_{number}",
            name="report",
            arguments=json.dumps({"line": number}),
        )
        if done:
            said = ResponseOutputText(type="output_text", text="Noted, thank you.", annotations=[])
            reply = ResponseOutputMessage(
                type="message",
                id=f"m{number}",
                role="assistant",
                status="completed",
                content=[said],
            )
        return SdkResponse(output=[reply], usage=Usage(), response_id=None)

    def stream_response(self, *a: Any, **k: Any) -> Any:
        """Stream nothing."""
        raise NotImplementedError


ITEMS_THAT_FIT = 4 * (BUDGET // 140)
"""A limit of items, not tokens, is what its sessions have; a turn of four takes about 140."""


def openai_agents(turns: Sequence[Turn], ours: bool) -> Edge:
    """Run an agent of the SDK."""
    work = Work()

    @function_tool
    def report(line: int) -> str:
        """Read the report of a line."""
        return work.found

    agent = SdkAgent("clerk", model=ScriptModel(work), tools=[report])
    mine = MemorySession(memory())
    session: Any = mine
    config = RunConfig(call_model_input_filter=mine.model_input)
    if not ours:
        session = SQLiteSession("s")
        config = RunConfig(session_settings=SessionSettings(limit=ITEMS_THAT_FIT))

    async def run() -> None:
        for turn in turns:
            await Runner.run(agent, work.begin(turn), session=session, run_config=config)

    asyncio.run(run())
    return work.edge


# -- LlamaIndex ---------------------------------------------------------------------------------


class ScriptLLM(MockLLM):
    """The scripted model."""

    work: Any = None

    @property
    def metadata(self) -> Any:
        """Say that it can call tools."""
        return LLMMetadata(is_function_calling_model=True)

    async def achat_with_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Answer."""
        said = kwargs["chat_history"]
        done = said[-1].role == "tool"
        texts = [(m.content or "") + str(m.additional_kwargs.get("tool_calls", "")) for m in said]
        self.work.edge.see(texts, first=not done)
        if done:
            return ChatResponse(message=ChatMessage("Noted, thank you.", role="assistant"))
        number = self.work.edge.requests
        function = {"name": "report", "arguments": json.dumps({"line": number})}
        more = {"tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}]}
        return ChatResponse(message=ChatMessage("", role="assistant", additional_kwargs=more))

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


def llama_index(turns: Sequence[Turn], ours: bool) -> Edge:
    """Run a `FunctionAgent`."""
    work = Work()

    def report(line: int) -> str:
        """Read the report of a line."""
        return work.found

    held: Any = FiniteMemory(memory(reserve=300))
    if not ours:
        held = LlamaMemory.from_defaults(
            token_limit=BUDGET, tokenizer_fn=lambda text: [0] * (len(text) // 4)
        )
    model = ScriptLLM()
    model.work = work
    agent = FunctionAgent(tools=[report], llm=model, streaming=False)

    async def run() -> None:
        for turn in turns:
            await agent.run(work.begin(turn), memory=held)

    asyncio.run(run())
    return work.edge


SUBJECTS: dict[str, tuple[str, Callable[[Sequence[Turn], bool], Edge]]] = {
    "pydantic-ai": ("the newest messages that fit", pydantic_ai),
    "LangChain": ("`trim_messages`", langchain),
    "OpenAI Agents SDK": ("`SQLiteSession` with a limit", openai_agents),
    "LlamaIndex": ("`Memory`", llama_index),
}
