"""Google's Gemini API, ``generateContent``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finite_memory_core import Context, Message, Role, Usage
from finite_memory_core.messages import thaw

from ..jsonbytes import Raw, encode, object_or_text
from ..parts import Media, Own, Text, read_part
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
    parse,
    speaks,
    whole_number,
)
from .layout import Group, Rules

_SIGNATURE = "thought_signature"
_FILTERS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    }
)
_ENDS = frozenset({"STOP", "MAX_TOKENS"})
"""Why a reply ends that is one; with any other reason (there are ever more) it failed midway."""


class Gemini(Codec):
    """Messages to ``/models/…:generateContent`` and back, thought signatures included."""

    name = "gemini"

    def path(self) -> str:
        """See `Codec.path`."""
        what = "streamGenerateContent?alt=sse" if self.settings.streaming else "generateContent"
        return f"/models/{self.settings.model.removeprefix('models/')}:{what}"

    def body(self, context: Context) -> bytes:
        """See `Codec.body`."""
        settings = self.settings
        fields: dict[str, Any] = {}
        options = thaw(settings.options)
        config = dict(options.pop("generationConfig", {}))
        if settings.max_tokens is not None:
            config.setdefault("maxOutputTokens", settings.max_tokens)
        if config:
            fields["generationConfig"] = config
        return self._body(context, {**fields, **options})

    def _body(self, context: Context, fields: dict[str, Any]) -> bytes:
        laid = self.layouts.of(context)
        if laid.head:
            parts = [part for message in laid.head for part in self._parts(message)]
            fields = {"systemInstruction": {"parts": parts}, **fields}
        if context.tools:
            fields = {"tools": _tools(context.tools), **fields}
        return assemble(fields, "contents", laid.fragments)

    def rules(self) -> Rules:
        """See `Codec.rules`."""
        return Rules(hoist=True, merge=True, results_are=Role.USER)

    def fragment(self, group: Group, before: Group) -> bytes:
        """See `Codec.fragment`; a result names its function, which stands in the group before."""
        role = "model" if group[0].role is Role.ASSISTANT else "user"
        names = {call.id: call.name for message in before for call in message.tool_calls}
        parts: list[dict[str, Any]] = []
        for message in group:
            if message.role is Role.TOOL:
                parts.append(self._result(message, names))
            else:
                parts += self._parts(message)
                parts += [_call(call) for call in message.tool_calls]
        return encode({"role": role, "parts": parts or [{"text": " "}]})

    def _parts(self, message: Message) -> Iterator[dict[str, Any]]:
        content = message.content
        prefix = speaks(message)
        raw = ({"type": "text", "text": content},) if isinstance(content, str) else content or ()
        for part in raw:
            found = read_part(part)
            own = {}
            if isinstance(part.get(_SIGNATURE), str):
                own["thoughtSignature"] = part[_SIGNATURE]
            if isinstance(found, Text) and (found.text or own):
                yield {"text": prefix + found.text, **own}
                prefix = ""
            elif isinstance(found, Media):
                yield self._media(found, message)
            elif not isinstance(found, Text | Own):
                raise self.cannot(f"a part {part['type']!r}", message)

    def _media(self, media: Media, message: Message) -> dict[str, Any]:
        defaults = {"image": "image/png", "audio": "audio/wav", "file": "application/pdf"}
        media_type = media.media_type or defaults[media.kind]
        if media.data is not None:
            return {"inlineData": {"mimeType": media_type, "data": media.data}}
        if media.url is None:
            raise self.cannot("a file by another provider's id", message)
        return {"fileData": {"mimeType": media_type, "fileUri": media.url}}

    def _result(self, message: Message, names: Mapping[str, str]) -> dict[str, Any]:
        name = names.get(message.tool_call_id or "", message.tool_call_id)
        response = object_or_text(message.text, "result")
        if not isinstance(response, Raw) and message.extra.get("is_error") is True:
            response = {"error": response["result"]}
        return {"functionResponse": {"name": name, "response": response}}

    def reader(self) -> Reader:
        """See `Codec.reader`."""
        return GeminiReader()

    def counting(self, context: Context) -> tuple[str, bytes] | None:
        """See `Codec.counting`."""
        model = self.settings.model.removeprefix("models/")
        inner = self._body(context, {"model": f"models/{model}"})
        body = b'{"generateContentRequest":' + inner + b"}"
        return f"/models/{model}:countTokens", body


def _call(call: Any) -> dict[str, Any]:
    part: dict[str, Any] = {
        "functionCall": {"name": call.name, "args": object_or_text(call.arguments, "input")}
    }
    if isinstance(call.extra.get(_SIGNATURE), str):
        part["thoughtSignature"] = call.extra[_SIGNATURE]
    return part


def _tools(tools: tuple[Mapping[str, Any], ...]) -> list[dict[str, Any]]:
    """Return tools in this API's shape: all functions in one entry, then its own as they are."""
    functions, others = [], []
    for tool in tools:
        plain: dict[str, Any] = thaw(tool)
        held = plain.get("function", plain if "name" in plain else None)
        if not isinstance(held, dict):
            others.append(plain)
            continue
        schema = held.get("parameters") or held.get("input_schema")
        made = {k: held[k] for k in ("name", "description") if held.get(k) is not None}
        functions.append({**made, **({"parametersJsonSchema": schema} if schema else {})})
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


class GeminiReader(Reader):
    """Reads chunks until a candidate says why it finished; the usage comes with the last one."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[dict[str, Any]] = []
        self._calls = Calls()
        self._count = 0
        self._blocked = ""

    def event(self, event: Event) -> str:
        """See `Reader.event`."""
        return self._chunk(parse(event))

    def whole(self, data: Mapping[str, Any]) -> str:
        """See `Reader.whole`."""
        if not any(name in data for name in ("candidates", "promptFeedback", "error")):
            raise NoReply(f"no candidates in it: {str(dict(data))[:200]}")
        return self._chunk(data)

    def _chunk(self, data: Mapping[str, Any]) -> str:
        if data.get("error"):
            raise StreamError(data)
        self.usage = usage_of(mapping(data.get("usageMetadata"))) or self.usage
        blocked = mapping(data.get("promptFeedback")).get("blockReason")
        if blocked:
            self._blocked, self.finish, self.complete = str(blocked), str(blocked), True
        candidates = data.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            return ""
        candidate = mapping(candidates[0])
        parts = mapping(candidate.get("content")).get("parts") or ()
        said = "".join([self._part(mapping(part)) for part in parts])
        if candidate.get("finishReason"):
            self.finish = str(candidate["finishReason"])
            self.complete = True
        return said

    def _part(self, part: Mapping[str, Any]) -> str:
        signature = part.get("thoughtSignature")
        own = {_SIGNATURE: signature} if isinstance(signature, str) else {}
        if "functionCall" in part:
            call = mapping(part["functionCall"])
            self._calls.add(
                self._count,
                id=call.get("id") or f"call_{self._count}",
                name=call.get("name"),
                arguments=mapping(call.get("args")),
                extra=own,
            )
            self._count += 1
            return ""
        if part.get("thought"):
            self._keep("thought", clean(str(part.get("text") or "")), own)
            return ""
        said = self.say(part.get("text"))
        if said or own:
            self._keep("text", said, own)
        return said

    def _keep(self, kind: str, text: str, own: dict[str, Any]) -> None:
        """Add to the last part if that is of one kind with it and not closed by a signature."""
        last = self._parts[-1] if self._parts else None
        if last is not None and last["type"] == kind and _SIGNATURE not in last:
            last["text"] += text
            last.update(own)
        else:
            self._parts.append({"type": kind, "text": text, **own})

    def refuse(self) -> None:
        """See `Reader.refuse`."""
        if self._blocked or self.finish in _FILTERS:
            raise Refusal(self.finish or "", self.partial, filtered=True)
        if self.finish is not None and self.finish not in _ENDS:
            raise StreamError({"error": {"message": f"finished with {self.finish}", "code": 500}})
        super().refuse()

    def message(self) -> Message | None:
        """See `Reader.message`."""
        calls, text = self._calls.made(), self.partial
        if not text and not calls:
            return None
        signed = any(_SIGNATURE in part for part in self._parts)
        if not signed:
            return Message.assistant(text or None, tool_calls=calls)
        parts = [part for part in self._parts if part["type"] == "text"]
        return Message.assistant(parts or text or None, tool_calls=calls)


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Return the numbers; thoughts are paid as output and reported apart."""
    total = whole_number(usage.get("promptTokenCount"))
    if total is None:
        return None
    total += whole_number(usage.get("toolUsePromptTokenCount")) or 0
    thoughts = whole_number(usage.get("thoughtsTokenCount"))
    reply = (whole_number(usage.get("candidatesTokenCount")) or 0) + (thoughts or 0)
    cached = whole_number(usage.get("cachedContentTokenCount")) or 0
    return Usage(total, reply, min(cached, total), None, thoughts)
