"""OpenAI's Responses API, used without its server-side state: every request carries its context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finite_memory_core import Context, Message, Role, ToolCall, Usage
from finite_memory_core.messages import thaw

from ..caching import places, session_key
from ..jsonbytes import encode
from ..parts import Media, Own, Text, data_url, read_part, read_parts
from ..sse import Event
from .base import (
    Codec,
    NoReply,
    Reader,
    Refusal,
    StreamError,
    assemble,
    clean,
    mapping,
    mark_groups,
    marked,
    parse,
    speaks,
    whole_number,
)
from .layout import Group, Rules
from .openai_chat import _breakpoint

_OURS = "item_id"
"""Where a message and its calls keep the ids of the items that they were."""
_AFTER = "item_after"
"""Where a call keeps how many parts came before it, if others came behind it."""
_OWN = frozenset({"reasoning", "compaction"})


class OpenAIResponses(Codec):
    """Messages to ``/responses`` and back, reasoning items included."""

    name = "openai-responses"

    def path(self) -> str:
        """See `Codec.path`."""
        return "/responses"

    def body(self, context: Context) -> bytes:
        """See `Codec.body`."""
        items = self._items(context)
        settings = self.settings
        fields: dict[str, Any] = {"model": settings.model, "stream": settings.streaming}
        fields["store"] = False
        if "openai" in settings.quirks:
            fields["include"] = ["reasoning.encrypted_content"]
        if settings.max_tokens is not None:
            fields["max_output_tokens"] = settings.max_tokens
        if context.tools:
            fields["tools"] = [_tool(tool) for tool in context.tools]
        if settings.cache_key == "prompt_cache_key":
            fields["prompt_cache_key"] = session_key(context.session_id)
        return assemble({**fields, **thaw(settings.options)}, "input", items)

    def _items(self, context: Context) -> list[bytes]:
        laid = self.layouts.of(context)
        instructions = [self.fragment((message,), ()) for message in laid.head]
        fragments = list(laid.fragments)
        if self.settings.marks:
            mark = _breakpoint("openai", self.settings.ttl)
            found = places(
                context,
                laid.groups,
                laid.ends,
                has_head=bool(laid.head),
                most=3,
                input_only=True,
            )
            if instructions:
                head = _breakpoint("openai", self.settings.head_ttl or self.settings.ttl)
                instructions[-1] = marked(instructions[-1], head)
            mark_groups(fragments, found, mark)
        return [item for item in (*instructions, *fragments) if item]

    def rules(self) -> Rules:
        """See `Codec.rules`."""
        return Rules(hoist="hoist" in self.settings.quirks, merge=False)

    def fragment(self, group: Group, before: Group) -> bytes:  # noqa: ARG002
        """See `Codec.fragment`: the items of one message, with commas between them."""
        return b",".join(encode(item) for item in self._of(group[0]))

    def _of(self, message: Message) -> Iterator[dict[str, Any]]:
        if message.role is Role.TOOL:
            yield self._result(message)
        elif message.role is Role.ASSISTANT:
            yield from self._said(message)
        else:
            yield {"role": message.role.value, "content": list(self._input(message))}

    def _input(self, message: Message) -> Iterator[dict[str, Any]]:
        prefix = speaks(message)
        empty = True
        for part in read_parts(message):
            if isinstance(part, Text):
                yield {"type": "input_text", "text": prefix + part.text}
                prefix = ""
            elif isinstance(part, Media):
                yield self._media(part, message)
            elif isinstance(part, Own):
                continue
            else:
                raise self.cannot(f"a part {part.part['type']!r}", message)
            empty = False
        if empty:
            yield {"type": "input_text", "text": ""}

    def _media(self, media: Media, message: Message) -> dict[str, Any]:
        if media.kind == "image":
            detail = {"detail": media.detail or "auto"}
            if media.id is not None:
                return {"type": "input_image", **detail, "file_id": media.id}
            return {"type": "input_image", **detail, "image_url": data_url(media, "image/png")}
        if media.kind != "file":
            raise self.cannot(f"a part of kind {media.kind!r}", message)
        if media.id is not None:
            return {"type": "input_file", "file_id": media.id}
        if media.data is None:
            return {"type": "input_file", "file_url": media.url}
        data = data_url(media, "application/pdf")
        return {"type": "input_file", "filename": media.name or "file.pdf", "file_data": data}

    def _said(self, message: Message) -> Iterator[dict[str, Any]]:
        """Yield the items of a reply as they came; reasoning of other providers is left out."""
        items: list[dict[str, Any]] = []
        texts: list[str] = []
        content = message.content
        for part in (content or ()) if not isinstance(content, str) else ():
            if part["type"] in _OWN and "id" in part:
                items.append(thaw(part))
            elif isinstance(part.get(_OURS), str):
                items.append(_output(part))
            elif isinstance(found := read_part(part), Text):
                texts.append(found.text)
            elif not isinstance(found, Own):
                raise self.cannot(f"a part {part['type']!r}", message)
        if isinstance(content, str):
            texts.append(content)
        if any(texts) or not (message.tool_calls or content):
            said = "\n\n".join(texts)
            items.append({"type": "message", "role": "assistant", "content": said})
        for place in range(len(items) + 1):
            here = (call for call in message.tool_calls if _place(call, len(items)) == place)
            yield from map(_call, here)
            yield from items[place : place + 1]

    def _result(self, message: Message) -> dict[str, Any]:
        parts = list(self._input(message))
        output: Any = parts
        if all(part["type"] == "input_text" for part in parts):
            output = "\n\n".join(part["text"] for part in parts)
        kind = "function_call_output"
        if message.extra.get("type") == "custom":
            kind = "custom_tool_call_output"
        return {"type": kind, "call_id": message.tool_call_id, "output": output}

    def reader(self) -> Reader:
        """See `Codec.reader`."""
        return ResponsesReader()

    def counting(self, context: Context) -> tuple[str, bytes] | None:
        """See `Codec.counting`."""
        fields: dict[str, Any] = {"model": self.settings.model}
        if context.tools:
            fields["tools"] = [_tool(tool) for tool in context.tools]
        return "/responses/input_tokens", assemble(fields, "input", self._items(context))


def _output(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item that a text was; newer models want its phase back."""
    text = {"type": "output_text", "text": part["text"], "annotations": [], "logprobs": []}
    said = {"type": "message", "id": part[_OURS], "role": "assistant", "status": "completed"}
    phase = {"phase": part["phase"]} if isinstance(part.get("phase"), str) else {}
    return {**said, **phase, "content": [text]}


def _place(call: ToolCall, last: int) -> int:
    """Return how many items a call stands behind; it does not say so where that is all of them."""
    place = call.extra.get(_AFTER)
    return min(place, last) if type(place) is int and place >= 0 else last


def _call(call: ToolCall) -> dict[str, Any]:
    own = {"id": call.extra[_OURS]} if isinstance(call.extra.get(_OURS), str) else {}
    if call.type == "custom":
        body = {"name": call.name, "input": call.arguments}
        return {"type": "custom_tool_call", **own, "call_id": call.id, **body}
    body = {"name": call.name, "arguments": call.arguments}
    return {"type": "function_call", **own, "call_id": call.id, **body}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in this API's flat shape."""
    plain: dict[str, Any] = thaw(tool)
    if "input_schema" in plain and "type" not in plain:
        schema = plain.pop("input_schema")
        plain = {"type": "function", **plain, "parameters": schema}
    if isinstance(plain.get("function"), dict):
        plain = {"type": "function", **plain["function"]}
    if plain.get("type") == "function":
        plain.setdefault("parameters", None)
        plain.setdefault("strict", False)
    return plain


class ResponsesReader(Reader):
    """Reads events until the one that holds the whole response."""

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Mapping[str, Any]] = []

    def event(self, event: Event) -> str:
        """See `Reader.event`."""
        if event.data.strip() == "[DONE]":
            return ""
        data = parse(event)
        kind = data.get("type") or event.name
        if kind == "response.output_text.delta":
            return self.say(data.get("delta"))
        if kind == "response.refusal.delta":
            self.refused.append(str(data.get("delta") or ""))
        elif kind == "response.output_item.done":
            self._items.append(mapping(data.get("item")))
        elif kind in ("error", "response.error") or (not kind and data.get("error")):
            raise StreamError(data)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._end(mapping(data.get("response")))
            self.over = True
        return ""

    def whole(self, data: Mapping[str, Any]) -> str:
        """See `Reader.whole`."""
        if data.get("error"):
            raise StreamError(data)
        if not isinstance(data.get("output"), list):
            raise NoReply(f"no output in it: {str(dict(data))[:200]}")
        self._items = [mapping(item) for item in data["output"]]
        for item in self._items:
            for part in item.get("content") or () if item.get("type") == "message" else ():
                self.say(mapping(part).get("text"))
        self._end(data)
        return self.partial

    def _end(self, response: Mapping[str, Any]) -> None:
        usage = mapping(response.get("usage"))
        self.usage = usage_of(usage) or self.usage
        if response.get("error"):
            raise StreamError(response)
        status = str(response.get("status") or "completed")
        if status in ("failed", "cancelled", "queued", "in_progress"):
            raise StreamError({"error": {"message": f"the response is {status}", "type": status}})
        reason = mapping(response.get("incomplete_details")).get("reason")
        self.finish = str(reason) if status == "incomplete" and reason else status
        output = response.get("output")
        if not self._items and isinstance(output, list):
            self._items = [mapping(item) for item in output]
        self.complete = True

    def refuse(self) -> None:
        """See `Reader.refuse`."""
        for item in self._items:
            for part in item.get("content") or () if item.get("type") == "message" else ():
                if mapping(part).get("type") == "refusal" and not self.refused:
                    self.refused.append(str(part.get("refusal") or ""))
        if self.finish == "content_filter":
            raise Refusal(self.finish, "".join(self.refused), filtered=True)
        super().refuse()

    def message(self) -> Message | None:
        """See `Reader.message`."""
        calls = _calls(self._items)
        text = self.partial
        if not text and not calls:
            return None
        parts = list(_kept(self._items))
        if not any(part["type"] in _OWN or "phase" in part for part in parts):
            return Message.assistant(text or None, tool_calls=calls)
        if "".join(part.get("text", "") for part in parts if part["type"] == "output_text") != text:
            parts = [part for part in parts if part["type"] in _OWN]
            parts += [{"type": "output_text", "text": text}] if text else []
            return Message.assistant(parts, tool_calls=calls)
        return Message.assistant(parts, tool_calls=_calls(self._items, len(parts)))


def _kept(items: list[Mapping[str, Any]]) -> Iterator[Any]:
    """Yield the parts of a message that goes back whole: reasoning, and texts with their ids."""
    for item in items:
        if item.get("type") in _OWN:
            # What is not in the schema of the request is not sent back.
            names = ("type", "id", "summary", "content", "encrypted_content")
            yield {k: item[k] for k in names if item.get(k) is not None}
        elif item.get("type") == "message":
            texts = [mapping(part).get("text") for part in item.get("content") or ()]
            text = clean("".join(text for text in texts if isinstance(text, str)))
            if text:
                ours = {"id": _OURS, "phase": "phase"}
                own = {ours[k]: item[k] for k in ours if isinstance(item.get(k), str)}
                yield {"type": "output_text", "text": text, **own}


def _calls(items: list[Mapping[str, Any]], parts: int = 0) -> tuple[ToolCall, ...]:
    """Return the calls; those that stand before the last of the kept `parts` know where."""
    found: list[ToolCall] = []
    before = 0
    for item in items:
        call = _called(item, {_AFTER: before} if before < parts else {})
        if call is not None:
            found.append(call)
        else:
            before += len(list(_kept([item])))
    return tuple(found)


def _called(item: Mapping[str, Any], place: Mapping[str, int]) -> ToolCall | None:
    kinds = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
    if item.get("type") not in kinds:
        return None
    kind, body = kinds[str(item["type"])]
    if not isinstance(item.get("name"), str) or not item["name"]:
        raise NoReply("a tool call without a name")
    id = item.get("call_id") or item.get("id") or item["name"]
    own = {_OURS: item["id"]} if isinstance(item.get("id"), str) else {}
    arguments = clean(item.get(body) or "{}")
    return ToolCall(str(id), clean(item["name"]), arguments, kind, {**own, **place})


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Return the numbers; None where they are missing."""
    total, reply = (whole_number(usage.get(n)) for n in ("input_tokens", "output_tokens"))
    if total is None:
        return None
    details = mapping(usage.get("input_tokens_details"))
    cached = whole_number(details.get("cached_tokens"))
    return Usage(
        total,
        reply or 0,
        None if cached is None else min(cached, total),
        whole_number(details.get("cache_write_tokens")),
        whole_number(mapping(usage.get("output_tokens_details")).get("reasoning_tokens")),
    )
