"""Replies in each wire format, as streams of events and in one piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from finite_memory_api import HTTPBackend

from .servers import JSON, Answer


def event(data: Any, name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def chat(pieces: Sequence[str]) -> list[bytes]:
    """Chat Completions."""
    first = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    middle = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    details = {"cached_tokens": 10}
    usage = {"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": details}
    events = [first, *middle, last, {"choices": [], "usage": usage}]
    return [*map(event, events), b"data: [DONE]\n\n"]


def chat_whole(text: str) -> Any:
    """Chat Completions, in one piece."""
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": said}
    return {"choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 5}}


def responses(pieces: Sequence[str]) -> list[bytes]:
    """Responses."""
    deltas = [{"type": "response.output_text.delta", "delta": piece} for piece in pieces]
    whole = responses_whole("".join(pieces))
    done = {"type": "response.output_item.done", "item": whole["output"][0]}
    events: list[Any] = [
        {"type": "response.created", "response": {"status": "in_progress"}},
        *deltas,
        done,
        {"type": "response.completed", "response": whole},
    ]
    return [event(e, e["type"]) for e in events]


def responses_whole(text: str) -> Any:
    """Responses, in one piece."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    details = {"cached_tokens": 10}
    usage = {"input_tokens": 30, "output_tokens": 5, "input_tokens_details": details}
    return {"id": "resp_1", "status": "completed", "output": [item], "usage": usage}


def messages(pieces: Sequence[str]) -> list[bytes]:
    """Anthropic's Messages."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 15}
    events: list[Any] = [
        {"type": "message_start", "message": {"usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": piece},
            }
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return [event(e, str(e["type"])) for e in events]


def messages_whole(text: str) -> Any:
    """Anthropic's Messages, in one piece."""
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 30, "output_tokens": 5},
    }


def gemini(pieces: Sequence[str]) -> list[bytes]:
    """Gemini."""
    middle = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}}]}
        for piece in pieces
    ]
    usage = {
        "promptTokenCount": 30,
        "candidatesTokenCount": 5,
        "cachedContentTokenCount": 10,
    }
    last = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}
    return [*map(event, middle), event(last)]


def gemini_whole(text: str) -> Any:
    """Gemini, in one piece."""
    candidate = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 30, "candidatesTokenCount": 5}
    return {"candidates": [candidate], "usageMetadata": usage}


@dataclass(frozen=True)
class Wire:
    """One wire format: how to make a backend that speaks it, and what a server answers."""

    api: str
    profile: str
    stream: Callable[[Sequence[str]], list[bytes]]
    whole: Callable[[str], Any]
    error: Callable[[str], Any]
    """An error in a stream, with this text."""

    def backend(self, url: str, **settings: Any) -> HTTPBackend:
        """A backend that asks the server at `url`, once unless `settings` say more."""
        settings = {"retries": 0, "api_key": KEY, "idle_timeout": 5.0, **settings}
        return HTTPBackend("some-model", self.profile, base_url=url, api=self.api, **settings)

    def answer(self, *pieces: str, **more: Any) -> Answer:
        """A reply, piece by piece."""
        return Answer(self.stream(pieces), **more)

    def whole_answer(self, text: str) -> Answer:
        """A reply, in one piece."""
        return Answer([json.dumps(self.whole(text)).encode()], kind=JSON)


KEY = "sk-test-1234567890abcdef"


def _openai_error(text: str) -> Any:
    return {"error": {"message": text, "type": "server_error", "code": None}}


def _anthropic_error(text: str) -> Any:
    return {"type": "error", "error": {"type": "overloaded_error", "message": text}}


def _response_error(text: str) -> Any:
    return {"type": "error", "code": "server_error", "message": text}


def _gemini_error(text: str) -> Any:
    return {"error": {"code": 503, "message": text, "status": "UNAVAILABLE"}}


WIRES = {
    wire.api: wire
    for wire in (
        Wire("openai-chat", "openai", chat, chat_whole, _openai_error),
        Wire("openai-responses", "openai", responses, responses_whole, _response_error),
        Wire("anthropic-messages", "anthropic", messages, messages_whole, _anthropic_error),
        Wire("gemini", "gemini", gemini, gemini_whole, _gemini_error),
    )
}
