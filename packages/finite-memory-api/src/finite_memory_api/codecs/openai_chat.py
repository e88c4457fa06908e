"""OpenAI's Chat Completions, which most servers speak, each with quirks of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from finite_memory_core import Context, Message, Role, Usage
from finite_memory_core.messages import thaw

from ..caching import places, session_key
from ..jsonbytes import encode
from ..parts import Media, Own, Text, data_url, read_parts
from ..sse import Event
from .base import (
    Calls,
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
from .layout import Group, Layout, Rules

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_NO_NAME = re.compile(r"[\s<|\\/>]+")
_REASONING = ("reasoning_content", "reasoning")
_FAILURES = frozenset({"abort", "error", "insufficient_system_resource", "network_error"})
"""Ends of a reply that is none: of SGLang and vLLM, OpenRouter, DeepSeek, GLM."""


class OpenAIChat(Codec):
    """Messages to ``/chat/completions`` and back."""

    name = "openai-chat"

    def path(self) -> str:
        """See `Codec.path`."""
        return "/chat/completions"

    def body(self, context: Context) -> bytes:
        """See `Codec.body`."""
        laid = self.layouts.of(context)
        instructions, fragments = self._instructions(laid), list(laid.fragments)
        self._mark(context, laid, instructions, fragments)
        fields = {**self._fields(context), **thaw(self.settings.options)}
        return assemble(fields, "messages", [*instructions, *fragments])

    def rules(self) -> Rules:
        """See `Codec.rules`."""
        quirks = self.settings.quirks
        return Rules(hoist="hoist" in quirks, merge="merge" in quirks)

    def _instructions(self, laid: Layout) -> list[bytes]:
        if "merge" in self.settings.quirks:
            return [self.fragment(laid.head, ())] if laid.head else []
        return [self.fragment((message,), ()) for message in laid.head]

    def _mark(
        self,
        context: Context,
        laid: Layout,
        instructions: list[bytes],
        fragments: list[bytes],
    ) -> None:
        """Mark where breakpoints pay. OpenAI itself marks the end, which takes one of the four.

        An assistant's content is plain text in this format, which has no place for a mark.
        """
        marks = self.settings.marks
        if not marks:
            return
        mark = _breakpoint(marks, self.settings.ttl)
        found = places(
            context,
            laid.groups,
            laid.ends,
            has_head=bool(instructions),
            most=3 if marks == "openai" else 4,
            input_only=True,
        )
        if instructions:
            head = _breakpoint(marks, self.settings.head_ttl or self.settings.ttl)
            instructions[-1] = marked(instructions[-1], head)
        mark_groups(fragments, found, mark)

    def _fields(self, context: Context) -> dict[str, Any]:
        settings = self.settings
        fields: dict[str, Any] = {"model": settings.model, "stream": settings.streaming}
        if settings.streaming and "no_stream_options" not in settings.quirks:
            fields["stream_options"] = {"include_usage": True}
        if settings.max_tokens is not None:
            name = "max_completion_tokens" if "openai" in settings.quirks else "max_tokens"
            fields[name] = settings.max_tokens
        if context.tools:
            fields["tools"] = [_tool(tool) for tool in context.tools]
        if settings.cache_key == "prompt_cache_key":
            fields["prompt_cache_key"] = session_key(context.session_id)
        return fields

    def fragment(self, group: Group, before: Group) -> bytes:  # noqa: ARG002
        """See `Codec.fragment`."""
        first = group[0]
        if first.role is Role.TOOL:
            return encode(self._result(first))
        wire: dict[str, Any] = {"role": self._role(first)}
        if first.name and len(group) == 1 and self._takes_names():
            wire["name"] = _NO_NAME.sub("_", first.name)[:64]
        if first.role is Role.ASSISTANT:
            wire.update(self._said(group))
            return encode(wire)
        wire["content"] = self._content(group)
        return encode(wire)

    def _takes_names(self) -> bool:
        return "openai" in self.settings.quirks

    def _role(self, message: Message) -> str:
        if message.role is Role.DEVELOPER and "openai" not in self.settings.quirks:
            return "system"
        return message.role.value

    def _content(self, group: tuple[Message, ...]) -> Any:
        parts = [part for message in group for part in self._parts(message, len(group) > 1)]
        texts_only = all(part["type"] == "text" for part in parts)
        if texts_only and not self.settings.marks:
            return "\n\n".join(part["text"] for part in parts)
        return parts or [{"type": "text", "text": ""}]

    def _parts(self, message: Message, merged: bool) -> Iterator[dict[str, Any]]:
        names = not self._takes_names() or merged
        prefix = speaks(message) if names else ""
        for part in read_parts(message):
            if isinstance(part, Text):
                yield {"type": "text", "text": prefix + part.text}
                prefix = ""
            elif isinstance(part, Media) and message.role is Role.USER:
                yield self._media(part, message)
            elif not isinstance(part, Own):
                raise self.cannot(f"a part {_kind(part)!r}", message)

    def _media(self, media: Media, message: Message) -> dict[str, Any]:
        if media.kind == "image" and (url := data_url(media, "image/png")) is not None:
            detail = {"detail": media.detail} if media.detail is not None else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        if media.kind == "audio" and media.data is not None:
            format = media.media_type.partition("/")[2] or "wav"
            return {"type": "input_audio", "input_audio": {"data": media.data, "format": format}}
        if media.kind == "file" and media.id is not None:
            return {"type": "file", "file": {"file_id": media.id}}
        if media.kind == "file" and media.data is not None:
            url = data_url(media, "application/pdf")
            return {
                "type": "file",
                "file": {"filename": media.name or "file.pdf", "file_data": url},
            }
        raise self.cannot(f"an {media.kind} by this kind of reference", message)

    def _said(self, group: tuple[Message, ...]) -> dict[str, Any]:
        """Return what an assistant said: text, calls, and what must travel with them."""
        texts, calls, kept = [], [], {}
        for message in group:
            texts += [part["text"] for part in self._parts(message, True)]
            calls += [self._call(call) for call in message.tool_calls]
            kept.update({k: v for k, v in message.extra.items() if k in self.settings.kept})
        text = "\n\n".join(texts)
        if not calls and "reasoning_with_calls" in self.settings.quirks:
            kept = {}
        nothing = None if "openai" in self.settings.quirks and calls else ""
        said: dict[str, Any] = {**kept, "content": text or nothing}
        if calls:
            said["tool_calls"] = calls
        return said

    def _call(self, call: Any) -> dict[str, Any]:
        wire: dict[str, Any] = {**call.to_dict(), "id": self._id(call.id)}
        key = "custom" if call.type == "custom" else "function"
        if "call_extra" in self.settings.quirks:
            return wire
        body = {k: v for k, v in wire[key].items() if k in ("name", "arguments", "input")}
        return {"id": wire["id"], "type": call.type, key: body}

    def _id(self, id: str) -> str:
        """Return a call's id; for Mistral one of nine letters and digits, always the same one."""
        if "ids9" not in self.settings.quirks or _NINE.fullmatch(id):
            return id
        return sha256(id.encode()).hexdigest()[:9]

    def _result(self, message: Message) -> dict[str, Any]:
        parts = []
        for part in read_parts(message):
            if not isinstance(part, Text):
                raise self.cannot(f"a part {_kind(part)!r}", message)
            parts.append({"type": "text", "text": part.text})
        content: Any = parts
        if not self.settings.marks or not parts:
            content = "\n\n".join(part["text"] for part in parts)
        return {
            "role": "tool",
            "tool_call_id": self._id(message.tool_call_id or ""),
            "content": content,
        }

    def reader(self) -> Reader:
        """See `Codec.reader`."""
        return ChatReader()

    def counting(self, context: Context) -> tuple[str, bytes] | None:
        """See `Codec.counting`: vLLM has a path beside the API, llama.cpp one below it."""
        quirks = self.settings.quirks
        if "count_tokenize" in quirks:
            laid = self.layouts.of(context)
            fields: dict[str, Any] = {"model": self.settings.model}
            if context.tools:
                fields["tools"] = [_tool(tool) for tool in context.tools]
            messages = [*self._instructions(laid), *laid.fragments]
            return "/../tokenize", assemble(fields, "messages", messages)
        if "count_input_tokens" in quirks:
            return "/chat/completions/input_tokens", self.body(context)
        return None


def _kind(part: object) -> str:
    held = getattr(part, "part", None)
    return str(held["type"]) if held is not None else str(getattr(part, "kind", part))


def _breakpoint(marks: str, ttl: str | None) -> bytes:
    if marks == "openai":
        kept = {"ttl": ttl} if ttl in ("30m", "12h") else {}
        return encode({"prompt_cache_breakpoint": {"mode": "explicit", **kept}})[1:-1]
    kept = {"ttl": ttl} if ttl == "1h" else {}
    return encode({"cache_control": {"type": "ephemeral", **kept}})[1:-1]


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in this API's shape; one that has Anthropic's is rewritten."""
    plain: dict[str, Any] = thaw(tool)
    if "input_schema" in plain and "type" not in plain:
        function = {k: plain[k] for k in ("name", "description") if k in plain}
        return {"type": "function", "function": {**function, "parameters": plain["input_schema"]}}
    if plain.get("type") == "function" and "function" not in plain:
        return {"type": "function", "function": {k: v for k, v in plain.items() if k != "type"}}
    return plain


class ChatReader(Reader):
    """Reads chunks until a choice says why it finished, and on to the usage behind it."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = Calls()
        self._extra: dict[str, Any] = {}
        self._filter = ""

    def event(self, event: Event) -> str:
        """See `Reader.event`."""
        if event.data.strip() == "[DONE]":
            self.complete = self.over = True
            return ""
        return self._chunk(parse(event), "delta")

    def whole(self, data: Mapping[str, Any]) -> str:
        """See `Reader.whole`."""
        if "choices" not in data and not data.get("error"):
            raise NoReply(f"no choices in it: {str(dict(data))[:200]}")
        said = self._chunk(data, "message")
        self.complete = True
        return said

    def _chunk(self, data: Mapping[str, Any], key: str) -> str:
        if data.get("error"):
            raise StreamError(data)
        usage = data.get("usage") or mapping(data.get("x_groq")).get("usage")
        if isinstance(usage, Mapping):
            self.usage = usage_of(usage) or self.usage
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            return ""
        choice = mapping(choices[0])
        if mapping(choice.get("error")):
            raise StreamError({"error": choice["error"]})
        said = self._delta(mapping(choice.get(key)))
        if choice.get("finish_reason"):
            self.finish = str(choice["finish_reason"])
            self.complete = True
        return said

    def _delta(self, delta: Mapping[str, Any]) -> str:
        for name in _REASONING:
            if isinstance(delta.get(name), str) and delta[name]:
                self._extra[name] = self._extra.get(name, "") + clean(delta[name])
        if isinstance(delta.get("reasoning_details"), list):
            self._extra.setdefault("reasoning_details", []).extend(delta["reasoning_details"])
        if isinstance(delta.get("refusal"), str):
            self.refused.append(delta["refusal"])
        for place, call in enumerate(delta.get("tool_calls") or ()):
            self._call(mapping(call), place)
        content = delta.get("content")
        if isinstance(content, list):
            content = "".join(
                str(mapping(part).get("text") or "")
                for part in content
                if mapping(part).get("type") == "text"
            )
        return self.say(content)

    def _call(self, call: Mapping[str, Any], place: int) -> None:
        index = call.get("index")
        kind = "custom" if call.get("type") == "custom" or "custom" in call else "function"
        body = mapping(call.get(kind))
        self._calls.add(
            index if isinstance(index, int) else place,
            id=call.get("id"),
            name=body.get("name"),
            arguments=body.get("input" if kind == "custom" else "arguments"),
            extra={k: v for k, v in call.items() if k not in ("index", "id", "type", kind)},
            type=kind,
        )

    def refuse(self) -> None:
        """See `Reader.refuse`."""
        if self.finish == "content_filter":
            raise Refusal(self.finish, "".join(self.refused), filtered=True)
        if self.finish in _FAILURES:
            told = f"finished with {self.finish}"
            raise StreamError({"error": {"message": told, "type": "server_error"}})
        super().refuse()

    def message(self) -> Message | None:
        """See `Reader.message`."""
        calls, text = self._calls.made(), self.partial
        if not text and not calls:
            return None
        return Message.assistant(text or None, tool_calls=calls, extra=self._extra)


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Return the numbers, wherever a provider puts them; None where the main ones are missing."""
    total, reply = (whole_number(usage.get(n)) for n in ("prompt_tokens", "completion_tokens"))
    if total is None:
        return None
    prompt = mapping(usage.get("prompt_tokens_details"))
    found = (
        prompt.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),  # DeepSeek
        usage.get("cached_tokens"),  # Cohere, Kimi
        usage.get("num_cached_tokens"),
    )
    cached = next((n for n in map(whole_number, found) if n is not None), None)
    details = mapping(usage.get("completion_tokens_details"))
    cost = usage.get("cost")  # OpenRouter says what it charged
    return Usage(
        total,
        reply or 0,
        None if cached is None else min(cached, total),
        whole_number(prompt.get("cache_write_tokens")),
        whole_number(details.get("reasoning_tokens")),
        float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None,
    )
