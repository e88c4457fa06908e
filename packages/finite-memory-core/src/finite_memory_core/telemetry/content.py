"""What was said, in the shapes of the GenAI conventions, as JSON. Only where it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..messages import Message, thaw

if TYPE_CHECKING:
    from ..chat import Reply
    from ..context import Context


def asked(context: Context) -> str:
    """Return a context's messages as ``gen_ai.input.messages``."""
    return _dumped([_message(message) for message in context.messages])


def said(reply: Reply) -> str:
    """Return a reply as ``gen_ai.output.messages``."""
    return _dumped([{**_message(reply.message), "finish_reason": reply.finish}])


def tool_definitions(tools: Iterable[Mapping[str, Any]]) -> str:
    """Return schemas of tools as ``gen_ai.tool.definitions``."""
    made = []
    for schema in map(thaw, tools):
        function = schema.get("function")
        flat = {**schema, **function} if isinstance(function, dict) else schema
        flat.pop("function", None)
        made.append({"type": "function", **flat})
    return _dumped(made)


def found(context: Context) -> tuple[str, str]:
    """Return what was searched for, and ``gen_ai.memory.records``."""
    question = context.question
    query = context.query or ("" if question is None else question.text)
    records = [
        {"id": f"{hit.session_id}/{hit.index}", "content": hit.message.text}
        for hit in context.recalled
    ]
    return query, _dumped(records)


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role.value, "parts": _parts(message)}
    if message.name is not None:
        made["name"] = message.name
    return made


def _parts(message: Message) -> list[dict[str, Any]]:
    content = message.content
    if message.tool_call_id is not None:
        response = content if isinstance(content, str) else thaw(content)
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": response}]
    parts = [{"type": "text", "content": content}] if isinstance(content, str) else []
    for part in () if content is None or isinstance(content, str) else content:
        if part["type"] == "text":
            parts.append({"type": "text", "content": part.get("text", "")})
        else:
            parts.append(thaw(part))
    for call in message.tool_calls:
        parts.append(
            {
                "type": "tool_call",
                "id": call.id,
                "name": call.name,
                "arguments": _arguments(call.arguments),
            }
        )
    return parts


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
