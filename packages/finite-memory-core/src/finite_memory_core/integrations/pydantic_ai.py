"""The memory as a history processor of pydantic-ai (extra ``pydantic-ai``).

::

    processor = MemoryProcessor(Memory(budget=8_000))
    agent = Agent(model, capabilities=[Hooks(before_model_request=processor.before_model_request)])

or, for every release, as a plain history processor: ``history_processors=[processor]`` in
pydantic-ai 1, ``capabilities=[ProcessHistory(processor)]`` in 2.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
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
    from pydantic_ai.messages import (
        ModelMessage,
        ModelMessagesTypeAdapter,
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )
except ImportError as error:
    raise missing("pydantic-ai", error) from error

if TYPE_CHECKING:
    from ..memory import Memory

__all__ = ["MemoryProcessor"]

_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATOR = frozenset(
    [
        "instruction-baseline",
        "instruction-delta",
        "tool-availability-delta",
        "capability-load-delta",
        "model-settings-delta",
    ]
)
"""Request parts that speak for the application, and hold for all that follows."""
_SAID_IN_PASSING = frozenset(["thinking", "compaction", "file", "speech"])


class MemoryProcessor:
    """Bounds the history of one conversation; a history processor.

    Args:
        memory: the conversation's memory.

    Attributes:
        history: the memory in pydantic-ai's messages.
    """

    def __init__(self, memory: Memory) -> None:
        self.history: History[ModelMessage] = History(memory, _Codec())

    def __call__(self, messages: list[ModelMessage]) -> list[ModelMessage]:
        """Return what of `messages` the model should see; see `History.context` for errors."""
        return self.history.context(messages)

    async def before_model_request(self, ctx: Any, request_context: Any) -> Any:  # noqa: ARG002
        """Bound one request only, with its tools and instructions counted; a hook of 2.x.

        The agent's own history stays whole, as ``result.all_messages()`` gives it.
        """
        parameters = request_context.model_request_parameters
        beside = [
            {"name": t.name, "description": t.description, "schema": t.parameters_json_schema}
            for t in [*parameters.function_tools, *parameters.output_tools]
        ]
        said = [part.content for part in parameters.instruction_parts or ()]
        if said:
            beside.append({"instructions": said})
        output = parameters.output_object
        if output is not None and not parameters.output_tools:  # these tell it themselves
            beside.append({"output": output.json_schema, "description": output.description})
        request_context.messages = await asyncio.to_thread(
            self.history.context, request_context.messages, beside=beside, keep=False
        )
        return request_context


class _Codec:
    """An atom is a response, or a request with one of its parts."""

    name = "pydantic-ai"

    def cut(self, items: Sequence[ModelMessage]) -> list[Atom]:
        atoms = []
        for item in items:
            if isinstance(item, ModelRequest) and item.parts:
                ones = [replace(item, parts=[part]) for part in item.parts]
                atoms += [_atom(one, i, len(ones)) for i, one in enumerate(ones)]
            else:
                atoms.append(_atom(item, 0, 0))
        return atoms

    def read(self, atoms: Sequence[Atom]) -> list[Read]:
        return [_read(_whole(one)) for one in atoms]

    def load(self, text: str) -> Atom:
        return stored(text, _same)

    def is_ours(self, atom: Atom) -> bool:
        part: Any = next(iter(_whole(atom).parts), None)
        return getattr(part, "timestamp", None) == _UNKNOWN_TIME

    def shortened(self, atom: Atom, text: str) -> Atom:
        message: Any = _whole(atom)
        return _atom(replace(message, parts=[replace(message.parts[0], content=text)]), 0, 1)

    def say(self, message: Message) -> Atom:
        at = message.timestamp or _UNKNOWN_TIME
        if message.role is Role.ASSISTANT:
            parts: list[Any] = [TextPart(message.text)] if message.text else []
            parts += [ToolCallPart(c.name, c.arguments, c.id) for c in message.tool_calls]
            return _atom(ModelResponse(parts=parts, timestamp=at), 0, 0)
        part: Any = UserPromptPart(message.text, timestamp=at)
        if message.role is Role.TOOL:
            name, call_id = message.name or "tool", message.tool_call_id or ""
            part = ToolReturnPart(name, message.text, call_id, timestamp=at)
        elif message.role.instructs:
            part = SystemPromptPart(message.text, timestamp=at)
        return _atom(ModelRequest(parts=[part]), 0, 1)

    def join(self, atoms: Sequence[Atom]) -> list[ModelMessage]:
        items: list[ModelMessage] = []
        envelope, last = None, -1
        for one in atoms:
            value = json.loads(one.text)
            message, place = _whole(one), value.pop("at")
            value["message"].pop("parts")
            if isinstance(message, ModelRequest) and value == envelope and place > last:
                before: Any = items[-1]
                items[-1] = replace(before, parts=[*before.parts, *message.parts])
            else:
                items.append(message)
            envelope, last = value, place
        return items


def _atom(message: ModelMessage, at: int, of: int) -> Atom:
    lost: list[str] = []

    def other(item: Any) -> str:
        lost.append(type(item).__name__)
        return repr(item)

    return atom({"message": _dump(message, other), "at": at, "of": of}, message, _same, lost)


def _same(value: Any) -> Any:
    """Return what stays of an atom: pydantic-ai joins requests that follow each other."""
    return [value["message"]["kind"], value["message"]["parts"]]


def _whole(one: Atom) -> ModelMessage:
    if one.whole is not None:
        return one.whole  # type: ignore[no-any-return]
    message = json.loads(one.text)["message"]
    return ModelMessagesTypeAdapter.validate_python([message])[0]


def _read(message: ModelMessage) -> Read:
    if isinstance(message, ModelResponse):
        return _response(message)
    if not message.parts:
        return Read(Message.user([text_part("")]))
    part: Any = message.parts[0]
    kind = part.part_kind
    if kind == "system-prompt":
        return Read(Message.system(content_of([text_part(part.content)])))
    if kind == "user-prompt":
        said = [part.content] if isinstance(part.content, str) else part.content
        return Read(Message.user(content_of([_user_part(item) for item in said])))
    if kind == "tool-return":
        return _result(part, part.model_response_str())
    if kind in ("retry-prompt", "retry-feedback"):
        text = part.model_response()
        if getattr(part, "tool_name", None) is not None:
            return _result(part, text)
        return Read(Message.user(content_of([text_part(text)])))
    if kind in _OPERATOR:
        return Read(Message.system([other_part(kind, _dump(message))]))
    if kind == "speech":
        return Read(Message.user([other_part(kind, _dump(message))]))
    problem = f"a request's part of kind {kind!r} is not known; it is kept, and counted as JSON"
    return Read(Message.user([other_part(kind, _dump(message))]), problem=problem)


def _result(part: Any, text: str) -> Read:
    return Read(Message.tool(plain(text), tool_call_id=plain(part.tool_call_id) or "none"))


def _response(message: ModelResponse) -> Read:
    calls, unknown = [], None
    parts: list[Part] = []
    for part in message.parts:
        kind = part.part_kind
        if isinstance(part, TextPart):
            parts.append(text_part(part.content))
        elif isinstance(part, ToolCallPart):
            calls.append(call(part.tool_call_id, part.tool_name, part.args or "{}"))
        else:
            parts.append(other_part(kind, _dump(replace(message, parts=[part]))["parts"][0]))
            if kind not in _SAID_IN_PASSING and not kind.startswith("builtin-tool-"):
                unknown = (
                    f"a response's part of kind {kind!r} is not known; it is kept, and counted "
                    "as JSON"
                )
    content = content_of(parts) if parts or not calls else None
    return Read(Message.assistant(content, tool_calls=calls), problem=unknown)


def _dump(message: ModelMessage, other: Callable[[Any], str] = repr) -> Any:
    """Return the message as JSON; `other` writes what is none."""
    # Warnings are for parts that its own release does not know; those are told in `_read`.
    dumped = ModelMessagesTypeAdapter.dump_python(
        [message], mode="json", warnings=False, fallback=other
    )
    return dumped[0]


def _user_part(item: Any) -> Part:
    if isinstance(item, str):
        return text_part(item)
    kind = getattr(item, "kind", type(item).__name__)
    if kind in ("text-content", "structured-content") and isinstance(item.content, str):
        return text_part(item.content)
    if kind == "image-url" or getattr(item, "is_image", False):
        return IMAGE
    if kind == "binary":
        return data_part(item.base64)
    if kind in ("audio-url", "document-url", "video-url", "uploaded-file"):
        return data_part("")
    return other_part(kind, repr(item))
