"""What differs between the three APIs: where messages stand, and which belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .scanning import encode

BRIDGE = "[The conversation so far:]"
"""Stands before an assistant that would speak first, which several providers refuse."""


class Kind(Enum):
    """What an item of a history is to those around it."""

    INSTRUCTION = "instruction"
    USER = "user"
    STEP = "step"
    """Something that the model said or asked for."""
    RESULT = "result"
    """Something that goes with what stands before it."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One API.

    Attributes:
        path: where requests are posted.
        listed: the field that holds the messages.
        beside: the fields that go to the model beside them, and cost tokens.
        held: fields that make the upstream hold the history; a request with one passes through.
        anthropic: whether errors have Anthropic's shape.
        runs: whether all that a model said between two users' messages or results is one step.
    """

    path: str
    listed: str
    beside: tuple[str, ...]
    held: tuple[str, ...] = ()
    anthropic: bool = False
    runs: bool = False

    def kind(self, item: Mapping[str, Any]) -> Kind:
        """Return what `item` is."""
        role, type_ = item.get("role"), item.get("type")
        if role in ("system", "developer"):
            # Anthropic lets instructions stand inside the history only behind a user's message.
            return Kind.RESULT if self.anthropic else Kind.INSTRUCTION
        if role in ("tool", "function") or _is_output(type_):
            return Kind.RESULT
        if role == "user":
            return Kind.RESULT if self.anthropic and _has_result(item) else Kind.USER
        return Kind.STEP

    def instructs(self, item: Mapping[str, Any]) -> bool:
        """Return whether `item` may never leave."""
        return item.get("role") in ("system", "developer")

    def calls(self, item: Mapping[str, Any]) -> Iterator[str]:
        """Yield the ids of the tool calls in `item`."""
        for call in (*_listed(item.get("tool_calls")), *_listed(item.get("content")), item):
            type_ = call.get("type")
            if type_ == "tool_use" or "function" in call or "custom" in call:
                yield from _texts(call.get("id"))
            elif isinstance(type_, str) and type_.endswith("_call"):
                yield from _texts(call.get("call_id"))

    def answers(self, item: Mapping[str, Any]) -> Iterator[str]:
        """Yield the ids of the calls that `item` has results of."""
        if _is_output(item.get("type")):
            yield from _texts(item.get("call_id"))
        yield from _texts(item.get("tool_call_id"))
        for part in _listed(item.get("content")):
            yield from _texts(part.get("tool_use_id"))

    def spoken(self, text: str) -> str:
        """Return the JSON text of a user's message that says `text`."""
        return encode({"role": "user", "content": text})


def _is_output(kind: object) -> bool:
    return isinstance(kind, str) and kind.endswith(("_output", "_response"))


def _has_result(item: Mapping[str, Any]) -> bool:
    return any(part.get("type") == "tool_result" for part in _listed(item.get("content")))


def _listed(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else []


CHAT = Wire("/v1/chat/completions", "messages", ("tools", "functions", "response_format"))
RESPONSES = Wire(
    "/v1/responses",
    "input",
    ("instructions", "tools", "text"),
    held=("previous_response_id", "conversation"),
    runs=True,
)
MESSAGES = Wire("/v1/messages", "messages", ("system", "tools"), anthropic=True)
COUNT = Wire("/v1/messages/count_tokens", "messages", ("system", "tools"), anthropic=True)

WIRES = {wire.path: wire for wire in (CHAT, RESPONSES, MESSAGES, COUNT)}


def wire_of(path: str) -> Wire | None:
    """Return the API that requests to `path` speak; it may stand behind a gateway's prefix."""
    end = path.removesuffix("/")
    if end.endswith("/chat/completions"):  # not everyone has a version before it
        return CHAT
    return next((wire for known, wire in WIRES.items() if end.endswith(known)), None)
