"""CPU of a request beside the raw transport's, by the length of the history."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from time import process_time_ns

import httpx2

from finite_memory_api import AnthropicBackend, HTTPBackend, OpenAIBackend
from finite_memory_core import Memory, Message

from ..tables import Table

SIZES = (10, 100, 1_000, 4_000)
REPEATS = 60


def tables() -> list[Table]:
    """Measure two wire formats."""
    kinds: dict[str, Callable[..., HTTPBackend]] = {
        "OpenAI Chat Completions": OpenAIBackend,
        "Anthropic Messages": AnthropicBackend,
    }
    rows = [
        _row(f"{title}, {size:,} messages", kind, size)
        for title, kind in kinds.items()
        for size in SIZES
    ]
    note = (
        "A turn adds two messages of 40 words to a history of so many; the reply is one event. "
        f"Medians of {REPEATS} requests over a transport in memory. Raw: the same bytes, sent and "
        "read with httpx2 alone. Target: at most 1 ms more, and more of it only for new bytes."
    )
    heads = ("", "raw, ms", "ours, ms", "more, ms", "request, kB")
    return [Table("CPU of a request", heads, rows, [note])]


def _answer(_: httpx2.Request) -> httpx2.Response:
    chunk = {"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}
    usage = {"input_tokens": 1, "output_tokens": 1}
    block = {"type": "text", "text": "ok"}
    events = [
        {**chunk, "type": "message_start", "message": {"usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=body)


def _row(title: str, kind: Callable[..., HTTPBackend], size: int) -> list[str]:
    client = httpx2.Client(transport=httpx2.MockTransport(_answer))
    backend = kind("some-model", api_key="none", client=client)
    memory = Memory(10_000_000)
    for number in range(size // 2):
        memory.append(Message.user(f"{number} " + "word " * 40))
        memory.append(Message.assistant(f"{number} " + "word " * 40))
    memory.append(Message.user("And?"))
    list(backend.stream(memory.context()))  # what was sent before is encoded
    raw, ours = [], []
    for number in range(REPEATS):
        memory.append(Message.assistant(f"{number} " + "word " * 40))
        memory.append(Message.user(f"{number} " + "word " * 40))
        context = memory.context()
        start = process_time_ns()
        list(backend.stream(context))
        ours.append(process_time_ns() - start)
        body = backend._codec.body(context)
        raw.append(_raw(client, body))
    theirs, our = median(raw) / 1e6, median(ours) / 1e6
    kilobytes = len(backend._codec.body(memory.context())) / 1e3
    return [title, f"{theirs:.2f}", f"{our:.2f}", f"{our - theirs:.2f}", f"{kilobytes:,.0f}"]


def _raw(client: httpx2.Client, body: bytes) -> int:
    start = process_time_ns()
    headers = {"content-type": "application/json", "authorization": "Bearer none"}
    request = client.build_request("POST", "http://host/v1/x", content=body, headers=headers)
    answer = client.send(request, stream=True)
    for _ in answer.iter_bytes():
        pass
    answer.close()
    return process_time_ns() - start
