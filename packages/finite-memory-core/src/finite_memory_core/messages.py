"""Messages: what was said, immutable, in the OpenAI chat shape and back without loss.

This module knows nothing of budgets, tokens, blocks or stores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from types import MappingProxyType
from typing import Any, TypeAlias, TypedDict, Unpack

from .errors import MessageError

Part: TypeAlias = Mapping[str, Any]
Content: TypeAlias = "str | tuple[Part, ...] | None"

_NOTHING: Mapping[str, Any] = MappingProxyType({})

_DEEPEST = 100  # levels of nesting
_INTEGER_BITS = 4_300 * 3  # Python reads no more than 4,300 digits, of over 3 bits each
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


class Role(StrEnum):
    """Who speaks. Compares equal to its string."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"

    @property
    def instructs(self) -> bool:
        """Whether messages of this role are standing instructions, which are never evicted."""
        return self in _INSTRUCTING


_INSTRUCTING = frozenset({Role.SYSTEM, Role.DEVELOPER})
_ROLES: dict[object, Role] = {role.value: role for role in Role}


def check_text(text: object, where: str) -> str:
    """Return `text`, a string that every store and provider can hold.

    Raises:
        MessageError: no string, a NUL, or a lone surrogate (which UTF-8 cannot carry).
    """
    if not isinstance(text, str):
        raise MessageError(f"{where} must be text, got {type(text).__name__}: {text!r:.80}")
    if "\0" in text:
        raise MessageError(
            f"{where} has a NUL character at index {text.index(chr(0))}; remove it: "
            "databases and providers refuse it"
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MessageError(
                f"{where} has a lone surrogate ({text[error.start]!r}) at index {error.start}; "
                "decode the text with errors='replace' before it gets here"
            ) from error
    return text


def freeze(value: object, where: str, depth: int = 0) -> Any:
    """Return a deeply immutable copy of the JSON value `value`, which lies `depth` levels down.

    Raises:
        MessageError: something in it has no place in JSON, or it is nested too deeply.
    """
    if depth > _DEEPEST:
        raise MessageError(
            f"{where[:80]}... is nested more than {_DEEPEST} levels deep, or holds itself; flatten "
            "it, or pass it as JSON text"
        )
    if value is None or isinstance(value, bool | int):
        if value and value.bit_length() > _INTEGER_BITS:
            raise MessageError(
                f"{where} has a whole number of {value.bit_length()} bits, which JSON readers "
                "refuse; write it as text"
            )
        return value
    if isinstance(value, str):
        return check_text(value, where)
    if isinstance(value, float):
        if isfinite(value):
            return value
        raise MessageError(f"{where} has the number {value}, which JSON cannot carry")
    if isinstance(value, Mapping):
        return MappingProxyType(
            {
                check_text(key, f"a key of {where}"): freeze(item, f"{where}[{key!r}]", depth + 1)
                for key, item in value.items()
            }
        )
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return tuple(freeze(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value))
    raise MessageError(
        f"{where} has a {type(value).__name__}, which JSON cannot carry: {value!r:.80}"
    )


def thaw(value: Any) -> Any:
    """Return the plain dicts and lists behind what `freeze` made."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


@dataclass(frozen=True, slots=True, init=False)
class ToolCall:
    """One call that the assistant asks for.

    Attributes:
        id: what the result refers to; unique within its message.
        name: the tool's name.
        arguments: the arguments as the model wrote them, byte for byte (for most models JSON
            text); a mapping is accepted and written as JSON.
        type: the provider's kind of call.
        extra: fields of the wire shape that are not modelled here, such as thought signatures.

    Raises:
        MessageError: no id or name, or something that is no text.
    """

    id: str
    name: str
    arguments: str
    type: str
    extra: Mapping[str, Any]

    def __init__(
        self,
        id: str,  # the providers' word
        name: str,
        arguments: str | Mapping[str, Any] = "{}",
        type: str = "function",
        extra: Mapping[str, Any] = _NOTHING,
    ) -> None:
        if isinstance(arguments, Mapping):
            plain = thaw(freeze(arguments, f"the arguments of tool call {id!r}"))
            arguments = json.dumps(plain, ensure_ascii=False)
        for field, value in (("id", id), ("name", name), ("type", type)):
            if not check_text(value, f"a tool call's {field}"):
                raise MessageError(f"a tool call's {field} is empty; give it one (name {name!r})")
            object.__setattr__(self, field, value)
        check_text(arguments, f"the arguments of tool call {id!r}")
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "extra", extra if extra is _NOTHING else self._checked(extra))

    def _checked(self, extra: object) -> Mapping[str, Any]:
        """Return `extra`; what would stand in the place of our own fields is refused."""
        where = f"extra of tool call {self.id!r}"
        fields = _fields(extra, where)
        _refuse_modelled(fields, {"id", "type"}, where)
        key, body = _call_keys(self.type)
        inner = _fields(fields.get(key, _NOTHING), f"{where}[{key!r}]")
        _refuse_modelled(inner, {"name", body}, f"{where}[{key!r}]")
        return fields

    def __hash__(self) -> int:
        return hash((self.id, self.name, self.arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        return (ToolCall.from_dict, (self.to_dict(),))

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape: ``{"id", "type", "function": {"name", "arguments"}}``."""
        key, body = _call_keys(self.type)
        extra = thaw(self.extra)
        call = {"name": self.name, body: self.arguments, **extra.pop(key, {})}
        return {"id": self.id, "type": self.type, key: call, **extra}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolCall:
        """Read the OpenAI shape; keys that are not modelled are kept in `extra`.

        Raises:
            MessageError: it has no function or custom call, no id or no name.
        """
        if not isinstance(data, Mapping):
            raise MessageError(f"a tool call must be an object, got {data!r:.80}")
        kind = data.get("type") or "function"
        key, body = _call_keys(kind)
        call = data.get(key)
        if not isinstance(call, Mapping):
            raise MessageError(f"a tool call of type {kind!r} has no {key!r} object: {data!r:.120}")
        extra = {k: v for k, v in data.items() if k not in ("id", "type", key)}
        if inner := {k: v for k, v in call.items() if k not in ("name", body)}:
            extra[key] = inner
        return cls(
            data.get("id"),  # type: ignore[arg-type]  # checked by the constructor
            call.get("name"),  # type: ignore[arg-type]
            arguments=call.get(body, "{}"),
            type=kind,
            extra=extra or _NOTHING,
        )


def _call_keys(kind: object) -> tuple[str, str]:
    """Return where a call of that type stands on the wire, and what its arguments are called."""
    return ("custom", "input") if kind == "custom" else ("function", "arguments")


class _Fields(TypedDict, total=False):
    """What a message may have beside its role and content; see `Message`."""

    name: str | None
    timestamp: datetime | None
    tool_calls: Iterable[ToolCall]
    tool_call_id: str | None
    pinned: bool
    metadata: Mapping[str, Any]
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """One utterance. Immutable, comparable, and the same after any number of round trips.

    Attributes:
        role: who speaks.
        content: the text, or a sequence of parts in the provider's shape (text, images, files,
            reasoning), or None for an assistant that only calls tools.
        name: the speaker's name; None when the role says enough.
        timestamp: when it was said; None when unknown.
        tool_calls: what the assistant asks for.
        tool_call_id: for a tool's result, the call that it answers.
        pinned: whether it must never be evicted.
        metadata: the application's own JSON; never sent to a model and not counted.
        extra: fields of the wire shape that are not modelled here; sent and counted. One that is
            None counts as absent.

    Raises:
        MessageError: an unknown role, empty content, content that is no text and no parts,
            a NUL or lone surrogate anywhere, tool fields on a role that cannot have them.
    """

    role: Role
    content: Content
    name: str | None
    timestamp: datetime | None
    tool_calls: tuple[ToolCall, ...]
    tool_call_id: str | None
    pinned: bool
    metadata: Mapping[str, Any]
    extra: Mapping[str, Any]

    def __init__(
        self,
        role: Role | str,
        content: str | Sequence[Part] | None,
        *,
        name: str | None = None,
        timestamp: datetime | None = None,
        tool_calls: Iterable[ToolCall] = (),
        tool_call_id: str | None = None,
        pinned: bool = False,
        metadata: Mapping[str, Any] = _NOTHING,
        extra: Mapping[str, Any] = _NOTHING,
    ) -> None:
        put = object.__setattr__
        put(self, "role", role if type(role) is Role else _role(role))
        put(self, "content", _content(content))
        put(self, "name", name)
        put(self, "timestamp", timestamp)
        put(self, "tool_calls", _calls(tool_calls) if tool_calls else ())
        put(self, "tool_call_id", tool_call_id)
        put(self, "pinned", pinned)
        put(self, "metadata", _fields(metadata, "metadata"))
        put(self, "extra", extra if extra is _NOTHING else _extra(extra))
        if pinned is not False and pinned is not True:
            raise MessageError(f"pinned must be True or False, got {pinned!r:.80}")
        if self.tool_calls or tool_call_id is not None or not content or role == "tool":
            self._check_tools_and_emptiness()
        if name is not None or timestamp is not None:
            self._check_speaker()

    def _check_speaker(self) -> None:
        if self.name is not None and not check_text(self.name, "name"):
            raise MessageError("name is empty; leave it out or give the speaker's name")
        if self.timestamp is not None and not isinstance(self.timestamp, datetime):
            raise MessageError(f"timestamp must be a datetime, got {self.timestamp!r:.80}")

    def _check_tools_and_emptiness(self) -> None:
        if self.tool_calls and self.role is not Role.ASSISTANT:
            raise MessageError(f"only an assistant calls tools, not role {self.role.value!r}")
        if self.role is Role.TOOL:
            self._check_result()
        elif self.tool_call_id is not None:
            raise MessageError(
                f"tool_call_id {self.tool_call_id!r} belongs to role 'tool', not "
                f"{self.role.value!r}"
            )
        elif not self.content and not self.tool_calls and not self.extra:
            raise MessageError(
                f"a message of role {self.role.value!r} has no content ({self.content!r}); "
                "give it text, or leave the message out"
            )

    def _check_result(self) -> None:
        if self.tool_call_id is None or not check_text(self.tool_call_id, "tool_call_id"):
            raise MessageError("a tool result needs the tool_call_id of the call that it answers")
        if self.content is None:
            raise MessageError(
                f"the result of tool call {self.tool_call_id!r} is None; give it text, '' at least"
            )

    def __hash__(self) -> int:
        return hash((self.role, self.text, self.tool_call_id))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Message.from_dict, (self.to_dict(),))

    def __deepcopy__(self, memo: object) -> Message:
        return self

    @classmethod
    def system(cls, content: str | Sequence[Part] | None, **fields: Unpack[_Fields]) -> Message:
        """Return a system message; `fields` are those of `Message`."""
        return cls(Role.SYSTEM, content, **fields)

    @classmethod
    def user(cls, content: str | Sequence[Part] | None, **fields: Unpack[_Fields]) -> Message:
        """Return a user's message; `fields` are those of `Message`."""
        return cls(Role.USER, content, **fields)

    @classmethod
    def assistant(
        cls, content: str | Sequence[Part] | None = None, **fields: Unpack[_Fields]
    ) -> Message:
        """Return an assistant's message; `fields` are those of `Message`."""
        return cls(Role.ASSISTANT, content, **fields)

    @classmethod
    def tool(cls, content: str | Sequence[Part] | None, **fields: Unpack[_Fields]) -> Message:
        """Return a tool's result; `fields` are those of `Message`."""
        return cls(Role.TOOL, content, **fields)

    @property
    def text(self) -> str:
        """The text of the content: all of it, or its text parts joined by line ends."""
        if type(self.content) is str:
            return self.content
        return "\n".join(
            str(part["text"])
            for part in self.content or ()
            if isinstance(part, Mapping) and part["type"] in _TEXT_PARTS and "text" in part
        )

    def to_dict(self, *, wire: bool = False) -> dict[str, Any]:
        """Return the OpenAI chat shape.

        Args:
            wire: leave out what no provider takes (`timestamp`, `pinned`, `metadata`), so that
                the result can be sent; without it `from_dict` gives back an equal message.
        """
        data: dict[str, Any] = {"role": self.role.value, "content": thaw(self.content)}
        if self.name is not None:
            data["name"] = self.name
        if self.tool_calls:
            data["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        if self.extra:
            data.update(thaw(self.extra))
        if not wire:
            self._add_own_fields(data)
        return data

    def _add_own_fields(self, data: dict[str, Any]) -> None:
        if self.timestamp is not None:
            data["timestamp"] = self.timestamp.isoformat()
        if self.pinned:
            data["pinned"] = True
        if self.metadata:
            data["metadata"] = thaw(self.metadata)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        """Read the OpenAI chat shape; keys that are not modelled are kept in `extra`.

        A null field counts as absent, as in the providers' schemas.

        Raises:
            MessageError: as `Message`, or `data` is no mapping or has no role.
        """
        if not isinstance(data, Mapping):
            raise MessageError(f"a message must be an object with a role, got {data!r:.80}")
        if "role" not in data:
            raise MessageError(f"a message has no role; its keys are {sorted(map(str, data))}")
        calls = data.get("tool_calls") or ()
        if not isinstance(calls, Sequence) or isinstance(calls, str):
            raise MessageError(f"tool_calls must be a list, got {calls!r:.80}")
        extra = {k: v for k, v in data.items() if k not in _KNOWN and v is not None}
        return cls(
            data["role"],
            data.get("content"),
            name=data.get("name"),
            timestamp=_timestamp(data.get("timestamp")),
            tool_calls=tuple(ToolCall.from_dict(call) for call in calls),
            tool_call_id=data.get("tool_call_id"),
            pinned=bool(data.get("pinned", False)),
            metadata=data.get("metadata") or _NOTHING,
            extra=extra or _NOTHING,
        )


_KNOWN = frozenset(
    ["role", "content", "name", "timestamp", "tool_calls", "tool_call_id", "pinned", "metadata"]
)


def _role(value: object) -> Role:
    try:
        return _ROLES[value]
    except (KeyError, TypeError):
        raise MessageError(
            f"unknown role {value!r}; use one of {', '.join(role.value for role in Role)}"
        ) from None


def _calls(calls: object) -> tuple[ToolCall, ...]:
    made = tuple(calls) if isinstance(calls, Iterable) else (calls,)
    for call in made:
        if not isinstance(call, ToolCall):
            raise MessageError(f"tool_calls takes ToolCall objects, got {call!r:.80}")
    return made


def _extra(value: object) -> Mapping[str, Any]:
    extra = _fields(value, "extra")
    _refuse_modelled(extra, _KNOWN, "extra")
    if None not in extra.values():
        return extra
    return MappingProxyType({key: item for key, item in extra.items() if item is not None})


def _refuse_modelled(extra: Mapping[str, Any], modelled: Set[str], where: str) -> None:
    if taken := sorted(extra.keys() & modelled):
        raise MessageError(f"{where} has {taken[0]!r}, which has its own argument; pass it there")


def _content(content: object) -> Content:
    if type(content) is str:
        return check_text(content, "content")
    return content if content is None else _parts(content)


def _parts(content: object) -> Content:
    if isinstance(content, str):  # a subclass of str: keep the plain text
        return check_text(str(content), "content")
    if not isinstance(content, list | tuple):
        kind = type(content).__name__
        raise MessageError(f"content must be text or a list of parts, got {kind}: {content!r:.80}")
    for i, part in enumerate(content):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise MessageError(
                f"content[{i}] must be an object with a 'type', such as "
                f'{{"type": "text", "text": ...}}; got {part!r:.80}'
            )
    return tuple(freeze(part, f"content[{i}]") for i, part in enumerate(content))


def _fields(value: object, where: str) -> Mapping[str, Any]:
    if value is _NOTHING:
        return _NOTHING
    if not isinstance(value, Mapping):
        raise MessageError(f"{where} must be a mapping, got {type(value).__name__}: {value!r:.80}")
    return freeze(value, where) if value else _NOTHING


def _timestamp(value: object) -> datetime | None:
    """Read ISO 8601 text, or seconds since 1970 (as UTC)."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, tz=UTC)
    except (ValueError, OverflowError, OSError):
        pass  # refused below, with what was wrong
    raise MessageError(f"timestamp {value!r:.80} is neither ISO 8601 text nor seconds since 1970")
