"""The memory as a middleware and as a message trimmer of LangChain (extra ``langchain``).

::

    agent = create_agent(model, tools, middleware=[MemoryMiddleware(Memory(budget=8_000))])

    trim = MessageTrimmer(Memory(budget=8_000))        # in LCEL
    chain = RunnableLambda(trim) | model

    create_react_agent(model, tools, pre_model_hook=trim.pre_model_hook)   # in LangGraph
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..messages import Message, Part, Role
from .history import (
    IMAGE,
    Atom,
    History,
    Read,
    atom,
    call,
    content_of,
    data_part,
    missing,
    other_part,
    plain,
    stored,
    text_part,
)

try:
    from langchain.agents.middleware import AgentMiddleware
    from langchain.agents.structured_output import ToolStrategy
    from langchain_core.messages import (
        AIMessage,
        BaseMessage,
        HumanMessage,
        SystemMessage,
        ToolMessage,
        message_to_dict,
        messages_from_dict,
    )
    from langchain_core.utils.function_calling import convert_to_openai_tool
except ImportError as error:
    raise missing("langchain", error) from error

if TYPE_CHECKING:
    from ..memory import Memory

__all__ = ["MemoryMiddleware", "MessageTrimmer"]


class MessageTrimmer:
    """Bounds the messages of one conversation: whole history in, context out.

    Args:
        memory: the conversation's memory.

    Attributes:
        history: the memory in LangChain's messages.
    """

    def __init__(self, memory: Memory) -> None:
        self.history: History[BaseMessage] = History(memory, _Codec())

    def __call__(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return what of `messages` the model should see; see `History.context` for errors."""
        return self.history.context(messages, keep=False)

    def pre_model_hook(self, state: Any) -> dict[str, list[BaseMessage]]:
        """Bound what the model sees of a graph's state, which stays whole."""
        return {"llm_input_messages": self(state["messages"])}


class MemoryMiddleware(AgentMiddleware[Any, Any]):
    """Bounds each request of an agent of `create_agent`; its state stays whole.

    Args:
        memory: the conversation's memory. Instructions and tools of the agent are counted.

    Attributes:
        history: the memory in LangChain's messages.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.history: History[BaseMessage] = History(memory, _Codec())

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Call the model with the bounded request; see `History.context` for errors."""
        return handler(self._bounded(request))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Do the same on an event loop, which goes on while the memory works."""
        return await handler(await asyncio.to_thread(self._bounded, request))

    def _bounded(self, request: Any) -> Any:
        tools = [t if isinstance(t, dict) else convert_to_openai_tool(t) for t in request.tools]
        said = [{"instructions": request.system_prompt}] if request.system_prompt else []
        beside = [*said, *tools, *_schemas(request.response_format)]
        messages = self.history.context(request.messages, beside=beside, keep=False)
        return request.override(messages=messages)


def _schemas(response_format: Any) -> list[dict[str, Any]]:
    """Return what the model is told of the shape that its answer should have."""
    one = getattr(response_format, "schema_spec", None)
    specs = getattr(response_format, "schema_specs", () if one is None else (one,))
    if specs:
        return [{"name": spec.name, "schema": spec.json_schema} for spec in specs]
    schema = getattr(response_format, "schema", None)
    return [] if schema is None else _schemas(ToolStrategy(schema))  # how it is asked for is open


class _Codec:
    """An atom is a message."""

    name = "langchain"

    def cut(self, items: Sequence[BaseMessage]) -> list[Atom]:
        return [atom(message_to_dict(item), item) for item in items]

    def read(self, atoms: Sequence[Atom]) -> list[Read]:
        return [_read(_whole(one)) for one in atoms]

    def load(self, text: str) -> Atom:
        return stored(text)

    def is_ours(self, atom: Atom) -> bool:  # noqa: ARG002
        return False  # nobody sends a context back but who got it from this object

    def shortened(self, atom: Atom, text: str) -> Atom:
        return self.cut([_whole(atom).model_copy(update={"content": text})])[0]

    def say(self, message: Message) -> Atom:
        content: Any = message.to_dict()["content"] or ""
        said: BaseMessage
        if message.role is Role.ASSISTANT:
            calls: Any = [_asked(c.id, c.name, c.arguments) for c in message.tool_calls]
            said = AIMessage(content, tool_calls=calls, name=message.name)
        elif message.role is Role.TOOL:
            said = ToolMessage(content, tool_call_id=message.tool_call_id or "")
        elif message.role.instructs:
            said = SystemMessage(content, name=message.name)
        else:
            said = HumanMessage(content, name=message.name)
        return self.cut([said])[0]

    def join(self, atoms: Sequence[Atom]) -> list[BaseMessage]:
        return [_whole(one) for one in atoms]


def _whole(one: Atom) -> BaseMessage:
    if one.whole is not None:
        return one.whole  # type: ignore[no-any-return]
    return messages_from_dict([json.loads(one.text)])[0]


def _asked(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "name": name, "args": json.loads(arguments), "type": "tool_call"}


_ROLES = {
    "human": Role.USER,
    "ai": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "tool": Role.TOOL,
    "function": Role.USER,
}


def _read(message: BaseMessage) -> Read:
    kind = message.type.removesuffix("MessageChunk").lower()
    role: Any = _ROLES.get(kind)
    problem = None
    if kind == "chat":
        role = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}.get(
            getattr(message, "role", "")
        )
    if role is None:
        problem = f"a message of type {message.type!r} is not known; it is kept, and counted whole"
    calls = [call(c["id"], c["name"], c["args"]) for c in getattr(message, "tool_calls", ())]
    parts = _parts(message, bool(calls))
    content = content_of(parts) if parts or not calls else None
    name = plain(message.name) if message.name else None
    if role is Role.TOOL:
        call_id = plain(getattr(message, "tool_call_id", "")) or "none"
        said = content if content != [text_part("")] else ""
        return Read(Message.tool(said, tool_call_id=call_id, name=name))
    if role is Role.ASSISTANT:
        return Read(Message.assistant(content, tool_calls=calls, name=name))
    return Read(Message(role or Role.USER, content, name=name), problem=problem)


def _parts(message: BaseMessage, has_calls: bool) -> list[Part]:
    content = [message.content] if isinstance(message.content, str) else message.content
    parts = [_part(item) for item in content if item and not (has_calls and _is_call(item))]
    broken = getattr(message, "invalid_tool_calls", None)
    if broken:
        parts.append(other_part("invalid_tool_calls", broken))
    more = {k: v for k, v in message.additional_kwargs.items() if k != "tool_calls"}
    if more:
        parts.append(other_part("additional_kwargs", more))
    return parts


def _is_call(item: Any) -> bool:
    """Whether a part of the content says again what stands in `tool_calls`."""
    return isinstance(item, dict) and item.get("type") in ("tool_use", "tool_call", "function_call")


def _part(item: Any) -> Part:
    if isinstance(item, str):
        return text_part(item)
    kind = str(item.get("type", "untyped"))
    rest = {k: v for k, v in item.items() if k not in ("type", "text")}
    if kind == "text" and isinstance(item.get("text"), str) and not rest:
        return text_part(item["text"])
    if kind in ("image", "image_url"):
        return IMAGE
    if kind in ("file", "audio", "video", "input_audio"):
        data = item.get("base64") or item.get("data")
        return data_part(data if isinstance(data, str) else "")
    return other_part(kind, item)
