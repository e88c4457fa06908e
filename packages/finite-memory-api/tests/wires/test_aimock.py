"""Errors in each provider's own shape, from a mock of them that nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from finite_memory_api import PROFILES, HTTPBackend, HTTPEmbedder, errors
from finite_memory_core import BackendError, Chat, ContextOverflowError, Interrupted, Message, Reply

from ..turns import DRIVES, context_of, memory_of, state_of
from .mocking import ANSWER, FAILURES, VECTOR

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


SERVING = [name for name, row in PROFILES.items() if row.base_url is not None and row.vectors]
EACH_SERVING = pytest.mark.parametrize("profile", SERVING)


def embedder(url: str, profile: str) -> HTTPEmbedder:
    """An embedder that asks the mock where it would ask the provider."""
    place = urlsplit(PROFILES[profile].base_url or "").path
    key = "sk-test-key-12345678"
    return HTTPEmbedder("m", profile, base_url=f"{url}{place}", api_key=key, retries=0)


@EACH_SERVING
def test_vectors(aimock: str, profile: str) -> None:
    """One a text, with its tokens."""
    made = embedder(aimock, profile)
    assert made.embed(["hello", "hello again"]) == [VECTOR] * 2


@EACH_SERVING
@pytest.mark.parametrize("word", FAILURES)
def test_each_failure_of_embeddings_is_its_own_error(aimock: str, profile: str, word: str) -> None:
    """As for replies; a text that stays too long however it is cut is told as that."""
    kind = errors.RequestTooLargeError if word == "lengthy" else RAISED[word]
    with pytest.raises(kind) as caught:
        embedder(aimock, profile).embed([f"{word} text of a few words more"])
    error: Any = caught.value
    assert error.status == FAILURES[word][0]
    assert FAILURES[word][3] in str(error)


@EACH_SERVING
@pytest.mark.parametrize("word", ["garbled", "cut"])
def test_broken_vectors_are_told(aimock: str, profile: str, word: str) -> None:
    """What is no JSON, and a connection that breaks."""
    with pytest.raises((errors.UnreadableReplyError, errors.ConnectionLostError)):
        embedder(aimock, profile).embed([f"This is {word}."])
