"""The parts of a message's content, read from any provider's shape into one of four.

Messages keep their parts as they came, so a conversation may begin at one provider and go on at
another: each codec writes what it reads here in its own shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from finite_memory_core import Message

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=-]+)*;base64,(.*)", re.DOTALL)
REASONING = frozenset({"thinking", "redacted_thinking", "reasoning", "thought"})
"""Parts that only the provider that made them can read."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound or a file: as base64 `data`, by `url`, or by the provider's `id`.

    Attributes:
        kind: ``"image"``, ``"audio"`` or ``"file"``.
        media_type: such as ``"image/png"``; "" where it is not said.
        detail: OpenAI's hint for images; None where it is not said.
    """

    kind: str
    media_type: str = ""
    data: str | None = None
    url: str | None = None
    id: str | None = None
    name: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """Reasoning, as its provider wrote it: goes back whole to that provider, or nowhere."""

    part: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unknown:
    part: Mapping[str, Any]


Read: TypeAlias = "Text | Media | Own | Unknown"


def read_parts(message: Message) -> Iterator[Read]:
    """Yield the parts of a message's content; text that is empty is left out."""
    content = message.content
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for part in content or ():
        found = read_part(part)
        if found != Text(""):
            yield found


def read_part(part: Mapping[str, Any]) -> Read:
    """Return one part in one of our shapes."""
    kind = part["type"]
    if kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
        return Text(part["text"])
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return Text(part["refusal"])
    if kind in REASONING:
        return Own(part)
    reader = _READERS.get(kind)
    found = reader(part) if reader is not None else None
    return Unknown(part) if found is None else found


def _image_url(part: Mapping[str, Any]) -> Media | None:
    """Read OpenAI's: an object with a url in chat, a plain url in responses."""
    held = part.get("image_url")
    detail = part.get("detail")
    if isinstance(held, Mapping):
        detail, held = held.get("detail"), held.get("url")
    if isinstance(held, str):
        return _from_url("image", held, detail=detail if isinstance(detail, str) else None)
    return Media("image", id=str(part["file_id"])) if "file_id" in part else None


def _sourced(part: Mapping[str, Any]) -> Media | None:
    """Read Anthropic's: an image or document with a source."""
    source = part.get("source")
    if not isinstance(source, Mapping):
        return None
    kind = "image" if part["type"] == "image" else "file"
    media_type, name = str(source.get("media_type", "")), part.get("title")
    if isinstance(source.get("url"), str):
        return Media(kind, url=source["url"], name=name)
    if isinstance(source.get("file_id"), str):
        return Media(kind, id=source["file_id"], name=name)
    if source.get("type") == "base64" and isinstance(source.get("data"), str):
        return Media(kind, media_type, data=source["data"], name=name)
    return None


def _audio(part: Mapping[str, Any]) -> Media | None:
    held = part.get("input_audio")
    if not isinstance(held, Mapping) or not isinstance(held.get("data"), str):
        return None
    return Media("audio", f"audio/{held.get('format', 'wav')}", data=held["data"])


def _file(part: Mapping[str, Any]) -> Media | None:
    held = part.get("file", part)
    if not isinstance(held, Mapping):
        return None
    name = held.get("filename")
    if isinstance(held.get("file_data"), str):
        found = _from_url("file", held["file_data"], name=name)
        return found if found.data else Media("file", data=held["file_data"], name=name)
    if isinstance(held.get("file_id"), str):
        return Media("file", id=held["file_id"], name=name)
    if isinstance(held.get("file_url"), str):
        return Media("file", url=held["file_url"], name=name)
    return None


def _from_url(kind: str, url: str, **more: Any) -> Media:
    match = _DATA_URL.fullmatch(url)
    if match is None:
        return Media(kind, url=url, **more)
    return Media(kind, match[1] or "", data=match[2], **more)


_READERS = {
    "image_url": _image_url,
    "input_image": _image_url,
    "image": _sourced,
    "document": _sourced,
    "input_audio": _audio,
    "file": _file,
    "input_file": _file,
}


def data_url(media: Media, default: str) -> str | None:
    """Return `media` as a URL, its own or one that holds its data; None where there is neither."""
    if media.url is not None:
        return media.url
    if media.data is None:
        return None
    return f"data:{media.media_type or default};base64,{media.data}"
