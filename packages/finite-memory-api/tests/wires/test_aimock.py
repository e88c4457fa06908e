"""Errors in each provider's own shape, from a mock of them that nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from finite_memory_api import PROFILES, HTTPBackend, errors
from finite_memory_core import BackendError, Chat, ContextOverflowError, Interrupted, Message, Reply

from ..turns import DRIVES, context_of, memory_of, state_of
from .mocking import ANSWER, FAILURES

RAISED: dict[str, type[BackendError]] = {
    "rejected": errors.BadRequestError,
    "keyless": errors.AuthenticationError,
    "forbidden": errors.PermissionDeniedError,
    "unknown": errors.NotFoundError,
    "hurried": errors.RateLimitedError,
    "broken": errors.ServerError,
    "busy": errors.ServerError,
    "overloaded": errors.ServerError,
    "lengthy": ContextOverflowError,
}
WAYS = [
    *((name, None) for name, row in PROFILES.items() if row.base_url is not None),
    ("openai", "openai-responses"),
    ("openrouter", "openai-responses"),
]
EACH_WAY = pytest.mark.parametrize(
    ("profile", "api"), WAYS, ids=[f"{name}{'-responses' if api else ''}" for name, api in WAYS]
)
EACH_DRIVE = pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))


def backend(url: str, profile: str, api: str | None, **more: Any) -> HTTPBackend:
    """A backend that asks the mock where it would ask the provider."""
    place = urlsplit(PROFILES[profile].base_url or "").path
    given: dict[str, Any] = {"api_key": "sk-test-key-12345678", "retries": 0, **more}
    return HTTPBackend("some-model", profile, api=api, base_url=f"{url}{place}", **given)


@EACH_WAY
@pytest.mark.parametrize("word", FAILURES)
def test_each_failure_is_its_own_error(
    aimock: str, profile: str, api: str | None, word: str
) -> None:
    """With the provider's status, words and numbers."""
    status, _, _, message = FAILURES[word]
    context = context_of(Message.user(f"This is {word}."))
    with pytest.raises(RAISED[word]) as caught:
        list(backend(aimock, profile, api).stream(context))
    error: Any = caught.value
    assert error.status == status
    assert message in str(error)
    if word == "lengthy":
        assert (error.limit, error.actual) == (4_096, 5_000)
    if word == "hurried":
        assert error.retry_after == 1.0


@EACH_DRIVE
@EACH_WAY
def test_an_answer(aimock: str, profile: str, api: str | None, drive: Callable[..., Reply]) -> None:
    """Streamed and in one piece, in each provider's own shape, with its usage."""
    for streaming in (True, False):
        memory = memory_of()
        reply = drive(Chat(backend(aimock, profile, api, streaming=streaming), memory), "hello")
        assert reply.text == ANSWER
        assert len(memory.transcript) == 2


@EACH_DRIVE
@EACH_WAY
@pytest.mark.parametrize("word", ["garbled", "cut"])
def test_a_broken_answer_leaves_no_trace(
    aimock: str, profile: str, api: str | None, drive: Callable[..., Reply], word: str
) -> None:
    """What is no JSON, and a connection that breaks."""
    memory = memory_of()
    before = state_of(memory)
    expected = (errors.UnreadableReplyError, errors.ConnectionLostError, Interrupted)
    with pytest.raises(expected):
        drive(Chat(backend(aimock, profile, api), memory), f"This is {word}.")
    assert before == state_of(memory)
