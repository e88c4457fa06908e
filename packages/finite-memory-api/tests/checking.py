"""Requests held against the types that the providers' own SDKs publish.

Pydantic reads the SDKs' TypedDicts, with fields that they do not name forbidden. Their lists are
declared as any iterable, which pydantic checks only when it is walked, so it is walked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, with_config

_TYPES = {
    "openai-chat": ("openai.types.chat.completion_create_params", "CompletionCreateParams"),
    "openai-responses": ("openai.types.responses.response_create_params", "ResponseCreateParams"),
    "anthropic-messages": ("anthropic.types.message_create_params", "MessageCreateParams"),
    "openai-embeddings": ("openai.types.embedding_create_params", "EmbeddingCreateParams"),
}


@cache
def _adapter(api: str, kind: str) -> TypeAdapter[Any]:
    module, name = _TYPES[api]
    typed = getattr(import_module(module), name + kind)
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(typed))


def check(api: str, body: bytes) -> Any:
    """Return the JSON of a request that its provider's types accept.

    Raises:
        ValueError: they do not.
    """
    data = json.loads(body)
    if api == "gemini":
        _gemini(data)
        return data
    if api == "openai-embeddings":
        _walk(_adapter(api, "").validate_python(data))
        return data
    kind = "Streaming" if data.get("stream") else "NonStreaming"
    _walk(_adapter(api, kind).validate_python(_as_old(data)))
    return data


def _as_old(data: dict[str, Any]) -> dict[str, Any]:
    """Return a request without what the oldest openai SDK that we allow has no name for yet."""
    if knows_breakpoints() or "input" not in data:
        return data
    items = [{k: v for k, v in item.items() if k != "phase"} for item in data["input"]]
    return {**data, "input": items}


def _walk(value: Any) -> None:
    if isinstance(value, BaseModel):
        # A union fell back to the type of an answer, which takes any field.
        raise ValueError(f"only a type of answers accepts {value!r:.200}")
    if isinstance(value, dict):
        value = list(value.values())
    elif value is None or isinstance(value, str | bytes | int | float):
        return
    for item in value:
        _walk(item)


def _gemini(data: dict[str, Any]) -> None:
    types = import_module("google.genai.types")
    known: dict[str, Callable[[Any], Any]] = {
        "contents": lambda all_: [types.Content.model_validate(one) for one in all_],
        "tools": lambda all_: [types.Tool.model_validate(one) for one in all_],
        "systemInstruction": types.Content.model_validate,
        "generationConfig": types.GenerationConfig.model_validate,
    }
    for name, value in data.items():
        known[name](value)
    roles = [content["role"] for content in data["contents"]]
    assert roles[0] == "user"
    assert all(a != b for a, b in pairwise(roles))


@cache
def knows_breakpoints() -> bool:
    """Return whether the installed openai SDK is new enough to have breakpoints in its types."""
    module = import_module("openai.types.chat.chat_completion_content_part_text_param")
    typed = module.ChatCompletionContentPartTextParam
    return "prompt_cache_breakpoint" in typed.__annotations__
