"""What aimock is told to answer, by a word in the user's message."""

from __future__ import annotations

from typing import Any

ANSWER = "Rain in Turin, and a calm harbour."
VECTOR = [0.25, -0.5, 1.0]
TOO_LONG = (
    "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 "
    "tokens. Please reduce the length of the messages."
)
FAILURES: dict[str, tuple[int, str, str | None, str]] = {
    "rejected": (400, "invalid_request_error", None, "temperature is too high"),
    "keyless": (401, "authentication_error", "invalid_api_key", "no such key"),
    "forbidden": (403, "permission_error", None, "not for you"),
    "unknown": (404, "not_found_error", "model_not_found", "no such model"),
    "hurried": (429, "rate_limit_error", "rate_limit_exceeded", "too many requests"),
    "broken": (500, "server_error", None, "oops"),
    "busy": (503, "overloaded_error", None, "come back later"),
    "overloaded": (529, "overloaded_error", None, "come back later"),
    "lengthy": (400, "invalid_request_error", "context_length_exceeded", TOO_LONG),
}
"""Status, type, code and message of each."""


def _failure(word: str, field: str) -> dict[str, Any]:
    status, kind, code, message = FAILURES[word]
    error = {"message": message, "type": kind, **({"code": code} if code else {})}
    return {"match": {field: word}, "response": {"error": error, "status": status}}


FIXTURES: list[dict[str, Any]] = [
    *(_failure(word, field) for word in FAILURES for field in ("userMessage", "inputText")),
    {
        "match": {"userMessage": "garbled"},
        "response": {"content": ANSWER},
        "chaos": {"malformedRate": 1.0},
    },
    {
        "match": {"userMessage": "cut"},
        "response": {"content": ANSWER},
        "chaos": {"disconnectRate": 1.0},
    },
    {"match": {"userMessage": "hello"}, "response": {"content": ANSWER}},
    {"match": {"inputText": "hello"}, "response": {"embedding": VECTOR}},
    {
        "match": {"inputText": "garbled"},
        "response": {"embedding": VECTOR},
        "chaos": {"malformedRate": 1.0},
    },
    {
        "match": {"inputText": "cut"},
        "response": {"embedding": VECTOR},
        "chaos": {"disconnectRate": 1.0},
    },
]
