"""The memory as a session of the OpenAI Agents SDK (extra ``openai-agents``).

::

    session = MemorySession(Memory(budget=8_000))
    config = RunConfig(call_model_input_filter=session.model_input)
    result = await Runner.run(agent, "Where does Ada live?", session=session, run_config=config)

The session bounds what a run begins with; the filter, what each of its model calls is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..messages import Message, Part, Role, ToolCall
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
    from agents import AgentOutputSchema, AgentOutputSchemaBase, FunctionTool
except ImportError as error:
    raise missing("openai-agents", error) from error

if TYPE_CHECKING:
    from agents.items import TResponseInputItem
    from agents.run import CallModelData, ModelInputData

    from ..memory import Memory

__all__ = ["MemorySession"]


class MemorySession:
    """Keeps one conversation; the Agents SDK's protocol `Session`.

    Args:
        memory: the conversation's memory; its session id is this session's.

    Attributes:
        history: the memory in the SDK's items.
    """

    session_settings: Any = None

    def __init__(self, memory: Memory) -> None:
        self.history: History[TResponseInputItem] = History(memory, _Codec())
        self.session_id = memory.session_id

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return what a run should begin with, within the budget; at most the last `limit`."""
        items = await asyncio.to_thread(self.history.standing)
        return items if limit is None else items[len(items) - min(limit, len(items)) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Record what was said; see `History.append` for errors."""
        if items:
            await asyncio.to_thread(self.history.append, items)

    async def pop_item(self) -> TResponseInputItem | None:
        """Forget what was said last, and return it."""
        return await asyncio.to_thread(self.history.take_back)

    async def clear_session(self) -> None:
        """Forget the whole conversation."""
        await asyncio.to_thread(self.history.clear)

    async def model_input(self, data: CallModelData[Any]) -> ModelInputData:
        """Bound one call's input, with instructions and tools counted; a `RunConfig` filter."""
        asked = data.model_data
        beside: list[dict[str, Any]] = [
            {"name": tool.name, "description": tool.description, "schema": tool.params_json_schema}
            for tool in data.agent.tools
            if isinstance(tool, FunctionTool)
        ]
        if asked.instructions:
            beside.append({"instructions": asked.instructions})
        beside += _output_schema(data.agent.output_type)
        shown = await asyncio.to_thread(
            self.history.context, asked.input, beside=beside, keep=False, records=False
        )
        return replace(asked, input=shown)


def _output_schema(output_type: Any) -> list[dict[str, Any]]:
    """Return what the model is told of the shape that its answer should have."""
    if output_type is None or output_type is str:
        return []
    schema = output_type
    if not isinstance(schema, AgentOutputSchemaBase):
        schema = AgentOutputSchema(output_type, strict_json_schema=False)
    return [] if schema.is_plain_text() else [{"output": schema.json_schema()}]


class _Codec:
    """An atom is an item; what a model says in one go is one message."""

    name = "openai-agents"

    def cut(self, items: Sequence[TResponseInputItem]) -> list[Atom]:
        return [atom(_plain_item(item), item, _same) for item in items]

    def read(self, atoms: Sequence[Atom]) -> list[Read]:
        reads: list[Read] = []
        going: list[Any] = []
        for one in atoms:
            item = json.loads(one.text)
            if _is_said_by_model(item):
                if going and _answers_itself(going):
                    reads.append(_reply(going))
                    going = []
                going.append(item)
                continue
            if going:
                reads.append(_reply(going))
                going = []
            reads.append(_read(item))
        return [*reads, _reply(going)] if going else reads

    def load(self, text: str) -> Atom:
        return stored(text, _same)

    def is_ours(self, atom: Atom) -> bool:  # noqa: ARG002
        return False  # nobody sends a context back but who got it from this object

    def shortened(self, atom: Atom, text: str) -> Atom:
        item = json.loads(atom.text)
        key = "output" if "output" in item else "content"
        item[key] = _with_text(item[key], text)
        return self.cut([item])[0]

    def say(self, message: Message) -> Atom:
        item: Any = {"role": message.role.value, "content": message.text}
        if message.role is Role.TOOL:
            item = {"call_id": message.tool_call_id, "output": message.text}
            item["type"] = "function_call_output"
        return self.cut([item])[0]

    def join(self, atoms: Sequence[Atom]) -> list[TResponseInputItem]:
        return [json.loads(a.text) if a.whole is None else a.whole for a in atoms]


def _plain_item(item: Any) -> Any:
    return item if isinstance(item, dict) else item.model_dump(mode="json", exclude_unset=True)


def _same(item: Any) -> Any:
    """Return what stays of an item while the SDK passes it round."""
    if not isinstance(item, dict):
        return item
    kept = {k: v for k, v in item.items() if k not in _PASSING and v is not None}
    if kept.get("type") == "message":
        del kept["type"]
    return dict(sorted(kept.items()))


_PASSING = frozenset(["id", "status", "provider_data", "created_by"])


def _kind(item: Any) -> str:
    return str(item.get("type") or "message")


def _call_id(item: Any) -> Any:
    if _kind(item) == "mcp_approval_request":
        return item.get("id")
    return item.get("call_id") or item.get("approval_request_id")


def _is_result(item: Any) -> bool:
    return _call_id(item) is not None and _kind(item).endswith(("_output", "_response"))


def _is_call(item: Any) -> bool:
    return _call_id(item) is not None and not _is_result(item) and _kind(item) != "message"


def _is_said_by_model(item: Any) -> bool:
    if _kind(item) == "message":
        return bool(item.get("role") == "assistant")
    return not _is_result(item)


def _answers_itself(going: list[Any]) -> bool:
    """Whether what a model has said so far is whole, so that the next item begins anew."""
    return _kind(going[-1]) == "message"


def _reply(items: Sequence[Any]) -> Read:
    parts: list[Part] = []
    calls: list[ToolCall] = []
    problem = None
    for item in items:
        kind = _kind(item)
        if kind == "message":
            parts += _parts(item.get("content"))
        elif _is_call(item):
            body = item.get("arguments") or item.get("input")
            if not isinstance(body, str):
                body = {k: v for k, v in item.items() if k not in ("call_id", "type", "name")}
            calls.append(call(_call_id(item), item.get("name") or kind, body))
        else:
            parts.append(other_part(kind, item))
            if kind not in _KNOWN and not kind.endswith("_call"):
                problem = f"an item of type {kind!r} is not known; it is kept, and counted as JSON"
    content = content_of(parts) if parts or not calls else None
    return Read(Message.assistant(content, tool_calls=calls), len(items), problem)


_KNOWN = frozenset(["reasoning", "compaction", "item_reference", "mcp_list_tools"])


def _read(item: Any) -> Read:
    if _is_result(item):
        output = item.get("output", item)
        content = content_of(_parts(output)) if output != "" else ""
        return Read(Message.tool(content, tool_call_id=plain(str(_call_id(item)))))
    content = content_of(_parts(item.get("content")))
    role = item.get("role")
    if role not in ("user", "system", "developer"):
        problem = f"a message of role {role!r} is not known; it is kept, and counted as a user's"
        return Read(Message.user(content), problem=problem)
    return Read(Message(role, content))


def _parts(content: Any) -> list[Part]:
    if isinstance(content, str):
        return [text_part(content)] if content else []
    if not isinstance(content, list):
        return [other_part("output", content)]
    return [_part(part) for part in content]


def _part(part: Any) -> Part:
    if not isinstance(part, dict):
        return other_part("untyped", part)
    kind = str(part.get("type", "untyped"))
    if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return text_part(part["text"])
    if kind == "refusal":
        return text_part(str(part.get("refusal")))
    if kind == "input_image":
        return IMAGE
    if kind in ("input_file", "input_audio"):
        audio = part.get("input_audio")
        data = audio.get("data") if isinstance(audio, dict) else part.get("file_data")
        return data_part(data if isinstance(data, str) else "")
    return other_part(kind, part)


def _with_text(content: Any, text: str) -> Any:
    """Return `content`, which says one text, with `text` in its place."""
    if isinstance(content, list) and isinstance(content[0], dict) and "text" in content[0]:
        return [{**content[0], "text": text}]
    return text
