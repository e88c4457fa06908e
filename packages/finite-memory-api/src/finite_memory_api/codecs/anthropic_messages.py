"""Anthropic's Messages API, version 2023-06-01, which every model and every clone of it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from finite_memory_core import Context, Message, Role, Usage
from finite_memory_core.messages import thaw

from ..caching import places
from ..jsonbytes import encode, object_or_text
from ..parts import Media, Own, Text, Unknown, read_parts
from ..sse import Event
from .base import (
    Calls,
    Codec,
    NoReply,
    Overfull,
    Reader,
    Refusal,
    StreamError,
    assemble,
    clean,
    mapping,
    mark_groups,
    parse,
    speaks,
    whole_number,
)
from .layout import Group, Rules

VERSION = "2023-06-01"
MAX_TOKENS = 4_096
"""Of a reply, where nobody says more: this API wants a number."""
_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
_NOTHING = "(no text)"
_OURS = {
    "text": frozenset({"text"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
}
_NEEDS = {"thinking": "signature", "redacted_thinking": "data"}


class AnthropicMessages(Codec):
    """Messages to ``/v1/messages`` and back, thinking included."""

    name = "anthropic-messages"

    def path(self) -> str:
        """See `Codec.path`."""
        return "/messages"

    def body(self, context: Context) -> bytes:
        """See `Codec.body`."""
        settings = self.settings
        fields: dict[str, Any] = {
            "model": settings.model,
            "max_tokens": settings.max_tokens or context.reserve or MAX_TOKENS,
            "stream": settings.streaming,
        }
        return self._body(context, {**fields, **thaw(settings.options)})

    def _body(self, context: Context, fields: dict[str, Any]) -> bytes:
        laid = self.layouts.of(context)
        system = [block for message in laid.head for block in self._blocks(message)]
        tools = [_tool(tool) for tool in context.tools]
        fragments = list(laid.fragments)
        if self.settings.marks:
            head_mark = _mark(self.settings.head_ttl or self.settings.ttl)
            if last := (system or tools)[-1:]:
                last[0].update(head_mark)
            found = places(context, laid.groups, laid.ends, has_head=bool(system or tools))
            mark_groups(fragments, found, encode(_mark(self.settings.ttl))[1:-1])
        if tools:
            fields = {"tools": tools, **fields}
        if system:
            fields = {"system": system, **fields}
        return assemble(fields, "messages", fragments)

    def rules(self) -> Rules:
        """See `Codec.rules`."""
        return Rules(hoist=True, merge=True, results_are=Role.USER)

    def fragment(self, group: Group, before: Group) -> bytes:  # noqa: ARG002
        """See `Codec.fragment`."""
        role = "assistant" if group[0].role is Role.ASSISTANT else "user"
        blocks = [block for message in group for block in self._of(message)]
        return encode({"role": role, "content": blocks or [{"type": "text", "text": _NOTHING}]})

    def _of(self, message: Message) -> Iterator[dict[str, Any]]:
        if message.role is Role.TOOL:
            yield self._result(message)
            return
        yield from self._blocks(message)
        for call in message.tool_calls:
            arguments = object_or_text(call.arguments, "input")
            yield {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": arguments}

    def _blocks(self, message: Message) -> Iterator[dict[str, Any]]:
        prefix = speaks(message)
        for part in read_parts(message):
            if isinstance(part, Text):
                if part.text.strip():  # blank text is refused
                    yield {"type": "text", "text": prefix + part.text}
                    prefix = ""
            elif isinstance(part, Media) and message.role in (Role.USER, Role.TOOL):
                yield self._media(part, message)
            elif isinstance(part, Own):
                yield from _own(part.part)
            elif isinstance(part, Unknown) and _goes_back(part.part, message.role):
                yield thaw(part.part)
            else:
                raise self.cannot(f"a part {_kind(part)!r}", message)

    def _media(self, media: Media, message: Message) -> dict[str, Any]:
        block = {"image": "image", "file": "document"}.get(media.kind)
        if block is None:
            raise self.cannot(f"a part of kind {media.kind!r}", message)
        title = {"title": media.name} if media.name and block == "document" else {}
        if media.url is not None:
            return {"type": block, "source": {"type": "url", "url": media.url}, **title}
        if media.data is None:
            raise self.cannot("a file by another provider's id", message)
        default = "image/png" if block == "image" else "application/pdf"
        media_type = media.media_type or default
        if media_type not in _TAKEN[block]:
            raise self.cannot(f"{media_type!r}", message)
        source = {"type": "base64", "media_type": media_type, "data": media.data}
        return {"type": block, "source": source, **title}

    def _result(self, message: Message) -> dict[str, Any]:
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": _id(message.tool_call_id or ""),
        }
        if message.extra.get("is_error") is True:
            block["is_error"] = True
        if content := list(self._blocks(message)):
            block["content"] = content
        return block

    def reader(self) -> Reader:
        """See `Codec.reader`."""
        return MessagesReader()

    def counting(self, context: Context) -> tuple[str, bytes] | None:
        """See `Codec.counting`."""
        return "/messages/count_tokens", self._body(context, {"model": self.settings.model})


_TAKEN = {
    "image": frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}),
    "document": frozenset({"application/pdf"}),
}
_UPLOADS = frozenset({"container_upload"})


def _goes_back(part: Mapping[str, Any], role: Role) -> bool:
    """Return whether a block is sent as it is: what a reply held, tools of the server and all."""
    return role is Role.ASSISTANT or part["type"] in _UPLOADS


def _mark(ttl: str | None) -> dict[str, Any]:
    kept = {"ttl": ttl} if ttl in ("5m", "1h") else {}
    return {"cache_control": {"type": "ephemeral", **kept}}


def _id(id: str) -> str:
    return _NO_ID.sub("_", id) or "_"


def _own(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a block of reasoning if it is this API's; others cannot read it and lose nothing."""
    kind = part["type"]
    if kind in _NEEDS and isinstance(part.get(_NEEDS[kind]), str):
        yield {"type": kind, **{k: v for k, v in thaw(part).items() if k in _OURS[kind]}}


def _kind(part: object) -> str:
    return str(part.part["type"] if isinstance(part, Unknown | Own) else getattr(part, "kind", ""))


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in this API's shape; one that has OpenAI's is rewritten."""
    plain: dict[str, Any] = thaw(tool)
    function = plain.get("function") if plain.get("type") == "function" else None
    if function is None and plain.get("type") == "function":
        function = plain
    if not isinstance(function, dict):
        return plain
    made = {k: function[k] for k in ("name", "description") if function.get(k) is not None}
    return {**made, "input_schema": function.get("parameters") or {"type": "object"}}


class MessagesReader(Reader):
    """Reads events until ``message_stop``; unknown ones pass."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}
        self._calls = Calls()
        self._numbers: dict[str, Any] = {}

    def event(self, event: Event) -> str:
        """See `Reader.event`."""
        data = parse(event)
        kind = data.get("type") or event.name
        if kind == "error" or (data.get("error") and kind != "message_delta"):
            raise StreamError(data)
        take = {
            "message_start": self._start,
            "content_block_start": self._block,
            "content_block_delta": self._delta,
            "message_delta": self._end,
        }.get(str(kind))
        if kind == "message_stop":
            self.complete = self.over = self.finish is not None
        return "" if take is None else take(data)

    def whole(self, data: Mapping[str, Any]) -> str:
        """See `Reader.whole`."""
        if data.get("type") == "error" or data.get("error"):
            raise StreamError(data)
        if not isinstance(data.get("content"), list):
            raise NoReply(f"no content in it: {str(dict(data))[:200]}")
        self._start({"message": data})
        for index, block in enumerate(data["content"]):
            self._block({"index": index, "content_block": block})
        self._end({"delta": data})
        self.complete = True
        return self.partial

    def _start(self, data: Mapping[str, Any]) -> str:
        self._count(mapping(mapping(data.get("message")).get("usage")))
        return ""

    def _block(self, data: Mapping[str, Any]) -> str:
        index, block = data.get("index"), mapping(data.get("content_block"))
        if not isinstance(index, int):
            return ""
        if block.get("type") == "tool_use":
            held = block.get("input")
            # The stream begins each input with an empty object, and then sends its text.
            arguments = held or None
            self._calls.add(index, id=block.get("id"), name=block.get("name"), arguments=arguments)
            return ""
        self._blocks[index] = dict(block)
        if block.get("type") != "text":
            return ""
        self._blocks[index]["text"] = ""
        return self._say(index, block.get("text"))

    def _say(self, index: int, text: object) -> str:
        said = self.say(text)
        self._blocks[index]["text"] += said
        return said

    def _delta(self, data: Mapping[str, Any]) -> str:
        index, delta = data.get("index"), mapping(data.get("delta"))
        kind = delta.get("type")
        if not isinstance(index, int):
            return ""
        block = self._blocks.setdefault(index, {"type": "text", "text": ""})
        if kind == "text_delta":
            block.setdefault("text", "")
            return self._say(index, delta.get("text"))
        if kind == "input_json_delta":
            self._take_input(index, delta.get("partial_json"))
        if kind == "compaction_delta":
            whole = {k: v for k, v in delta.items() if k != "type" and v is not None}
            block.update(whole)
        for name in ("thinking", "signature"):
            if kind == f"{name}_delta" and isinstance(delta.get(name), str):
                block[name] = block.get(name, "") + clean(delta[name])
        return ""

    def _take_input(self, index: int, text: object) -> None:
        if self._blocks[index] == {"type": "text", "text": ""}:
            del self._blocks[index]
            self._calls.add(index, arguments=text)
        elif isinstance(text, str):  # of a tool that the server runs
            self._inputs[index] = self._inputs.get(index, "") + text

    def _end(self, data: Mapping[str, Any]) -> str:
        reason = mapping(data.get("delta")).get("stop_reason")
        if reason:
            self.finish = str(reason)
        self._count(mapping(data.get("usage")))
        return ""

    def _count(self, usage: Mapping[str, Any]) -> None:
        """Take in numbers; later ones count, and those that are missing stay."""
        self._numbers.update({k: v for k, v in usage.items() if v is not None})
        self.usage = usage_of(self._numbers) or self.usage
        split = mapping(self._numbers.get("cache_creation"))
        self.written_for_an_hour = whole_number(split.get("ephemeral_1h_input_tokens")) or 0

    def refuse(self) -> None:
        """See `Reader.refuse`."""
        if self.finish == "refusal":
            raise Refusal(self.finish, self.partial)
        if self.finish == "pause_turn":
            raise NoReply("the turn is paused for a tool of the server, which cannot be resumed")
        if self.finish == "model_context_window_exceeded" and not (self.partial or self._calls):
            raise Overfull

    def message(self) -> Message | None:
        """See `Reader.message`."""
        calls, text = self._calls.made(), self.partial
        if not text and not calls:
            return None
        for index, written in self._inputs.items():
            if written:
                self._blocks[index]["input"] = _parsed(written)
        blocks = [block for _, block in sorted(self._blocks.items())]
        blocks = [block for block in blocks if block.get("type") != "text" or block["text"]]
        if all(block.get("type") == "text" for block in blocks):
            return Message.assistant(text or None, tool_calls=calls)
        return Message.assistant([_kept(block) for block in blocks], tool_calls=calls)


def _parsed(text: str) -> dict[str, Any]:
    """Return the input of a tool; what was cut off goes along as text, as that of a call does."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"input": clean(text)}


def _kept(block: dict[str, Any]) -> dict[str, Any]:
    names = _OURS.get(str(block.get("type")))
    if names is None:
        return block
    return {"type": block["type"], **{k: v for k, v in block.items() if k in names}}


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Return the numbers: ``input_tokens`` is here only what no cache had to do with."""
    rest, reply = (whole_number(usage.get(n)) for n in ("input_tokens", "output_tokens"))
    if rest is None:
        return None
    read = whole_number(usage.get("cache_read_input_tokens"))
    written = whole_number(usage.get("cache_creation_input_tokens"))
    details = mapping(usage.get("output_tokens_details"))
    total = rest + (read or 0) + (written or 0)
    return Usage(total, reply or 0, read, written, whole_number(details.get("thinking_tokens")))
