"""What is tried again, how long it is waited for, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from finite_memory_api import errors
from finite_memory_api.codecs.base import Reader
from finite_memory_api.codecs.openai_chat import ChatReader
from finite_memory_api.exchange import (
    POLITE_SECONDS,
    Call,
    Close,
    Head,
    Limits,
    Read,
    Request,
    Send,
    TransportFailed,
    Wait,
    converse,
)
from finite_memory_core import BackendError, Chat, Delta, Usage

from .replies import KEY, WIRES, Wire, event
from .servers import JSON, Answer, Server
from .turns import DRIVES, memory_of, state_of

Serve = Callable[..., Server]
REQUEST = Request("http://host/v1/x", "/x", {}, b"{}", "openai-chat")
RETRIED = (408, 409, 429, 500, 502, 503, 504, 529)
NOT_RETRIED = (400, 401, 402, 403, 404, 405, 413, 422)


def failing(status: int, **headers: str) -> Answer:
    """An error with some headers; underscores stand for hyphens."""
    body = json.dumps({"error": {"message": f"status {status}"}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer([body], status, JSON, named)


@pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))
@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
@pytest.mark.parametrize("status", RETRIED)
def test_what_may_pass_is_tried_again(
    serve: Serve, wire: Wire, status: int, drive: Callable[..., Any]
) -> None:
    """A temporary failure before the first piece is not seen by the caller."""
    server = serve(failing(status, retry_after_ms="1"), wire.answer("Here."))
    reply = drive(Chat(wire.backend(server.url, retries=1), memory_of()), "Hello?")
    assert reply.text == "Here."
    assert len(server.asked) == 2
    assert server.asked[0].body == server.asked[1].body


@pytest.mark.parametrize("status", NOT_RETRIED)
def test_what_will_not_pass_is_told_at_once(serve: Serve, status: int) -> None:
    """Trying again would not help, and is not done."""
    server = serve(failing(status, retry_after="0"))
    with pytest.raises(errors.ProviderError) as caught:
        Chat(WIRES["openai-chat"].backend(server.url, retries=3), memory_of()).send("Hello?")
    assert status == caught.value.status
    assert len(server.asked) == 1


@pytest.mark.parametrize("end", ["abort", "fin", "clean"])
@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
def test_a_stream_that_ends_before_it_begins_is_tried_again(
    serve: Serve, wire: Wire, end: str
) -> None:
    """Nobody has seen anything of it yet."""
    started = wire.stream(["x"])[0] if wire.api != "gemini" else b": hello\n\n"
    server = serve(Answer([started], end=end), wire.answer("Here."))
    backend = wire.backend(server.url, retries=1)
    backend._limits = Limits(retries=1, first_wait=0.0)
    assert Chat(backend, memory_of()).send("Hello?").text == "Here."


def test_an_overload_in_the_stream_is_tried_again_before_the_first_piece(serve: Serve) -> None:
    """Anthropic sends 200 and then says that it has too much to do."""
    wire = WIRES["anthropic-messages"]
    overloaded = Answer([wire.stream([])[0], event(wire.error("too busy"), "error")])
    server = serve(overloaded, wire.answer("Here."))
    backend = wire.backend(server.url)
    backend._limits = Limits(retries=1, first_wait=0.0)
    assert Chat(backend, memory_of()).send("Hello?").text == "Here."


def test_a_wait_beyond_the_deadline_is_not_begun(serve: Serve) -> None:
    """The error says how long the provider asks to wait, and nothing was waited for."""
    server = serve(failing(429, retry_after="3600"))
    memory = memory_of()
    before = state_of(memory)
    with pytest.raises(errors.RateLimitedError) as caught:
        Chat(WIRES["openai-chat"].backend(server.url, retries=9), memory).send("Hello?")
    assert caught.value.retry_after == 3_600
    assert len(server.asked) == 1
    assert before == state_of(memory)


def test_the_provider_may_say_that_it_is_useless(serve: Serve) -> None:
    """``x-should-retry: false`` counts."""
    server = serve(failing(500, x_should_retry="false"))
    with pytest.raises(errors.ServerError):
        Chat(WIRES["openai-chat"].backend(server.url, retries=3), memory_of()).send("Hello?")
    assert len(server.asked) == 1


class Script:
    """Runs an exchange by hand: no network, no clock."""

    def __init__(self, limits: Limits = Limits(), chance: float = 1.0) -> None:  # noqa: B008
        self.now = 0.0
        self.waited: list[float] = []
        self.call = Call(
            backend="test",
            request=lambda: (REQUEST, KEY),
            reader=self.reader,
            limits=limits,
            clock=lambda: self.now,
            chance=lambda: chance,
            priced=lambda usage, hour: usage,
        )

    def reader(self) -> Reader:
        return ChatReader()

    def run(self, *answers: Any) -> list[Delta]:
        """Perform the effects; each answer is a status with headers, chunks, or a failure."""
        left = list(answers)
        chunks: list[bytes] = []
        said: list[Delta] = []
        steps = converse(self.call)
        effect = next(steps)
        while True:
            value: Any = None
            try:
                if isinstance(effect, Delta):
                    said.append(effect)
                elif isinstance(effect, Wait):
                    self.waited.append(effect.seconds)
                    self.now += effect.seconds
                elif isinstance(effect, Read):
                    value = chunks.pop(0) if chunks else None
                elif isinstance(effect, Send):
                    answer = left.pop(0)
                    if isinstance(answer, TransportFailed):
                        effect = steps.throw(answer)
                        continue
                    status, headers, body = answer
                    chunks = list(body)
                    value = Head(status, headers)
                else:
                    assert isinstance(effect, Close)
                effect = steps.send(value)
            except StopIteration:
                return said


GOOD = (200, {"content-type": "text/event-stream"}, WIRES["openai-chat"].stream(["Here."]))
BUSY: Any = (503, {}, [b"{}"])


def test_waits_double_up_to_a_limit() -> None:
    """Half a second, one, two, four, eight, and no more than that."""
    script = Script(Limits(retries=6))
    said = script.run(*[BUSY] * 6, GOOD)
    assert [0.5, 1, 2, 4, 8, 8] == script.waited
    assert said[0].text == "Here."


def test_waits_are_jittered() -> None:
    """By up to a half, so that all who were refused together do not come back together."""
    script = Script(Limits(retries=3), chance=0.0)
    script.run(*[BUSY] * 3, GOOD)
    assert [0.25, 0.5, 1] == script.waited


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, 0.5),
        ({"retry-after": "-4"}, 0.5),
        ({"retry-after": "nan"}, 0.5),
    ],
)
def test_every_form_of_retry_after(headers: dict[str, str], seconds: float) -> None:
    """Seconds, fractions, milliseconds, dates that have passed; nonsense counts as nothing."""
    script = Script()
    script.run((429, headers, [b"{}"]), GOOD)
    assert [seconds] == script.waited


def test_connections_are_tried_again() -> None:
    """No connection, and one that breaks before the answer, are temporary."""
    script = Script()
    failures = [TransportFailed(kind, "gone") for kind in ("connect", "timeout", "broken")]
    script.run(*failures, GOOD)
    assert len(script.waited) == 3


def test_retries_end() -> None:
    """After the last one the failure is told as what it is."""
    script = Script(Limits(retries=2))
    with pytest.raises(errors.ServerError):
        script.run(*[BUSY] * 3)
    assert len(script.waited) == 2


def test_the_key_is_read_for_each_attempt(serve: Serve) -> None:
    """A function that gives keys is asked again, so one that ran out is replaced."""
    keys = iter(["first-key", "second-key"])
    server = serve(failing(503, retry_after="0"), WIRES["openai-chat"].answer("Here."))
    backend = WIRES["openai-chat"].backend(server.url, retries=1, api_key=lambda: next(keys))
    Chat(backend, memory_of()).send("Hello?")
    assert ["Bearer first-key", "Bearer second-key"] == [
        asked.headers["authorization"] for asked in server.asked
    ]


def test_usage_is_of_the_attempt_that_replied(serve: Serve) -> None:
    """What failed before does not count."""
    wire = WIRES["openai-chat"]
    server = serve(failing(503, retry_after="0"), wire.answer("Here."))
    reply = Chat(wire.backend(server.url, retries=1, prices=None), memory_of()).send("Hello?")
    assert Usage(30, 5, 10) == reply.usage


def test_every_error_can_be_caught_as_one() -> None:
    """All that a backend raises is a `BackendError`."""
    raised = [getattr(errors, name) for name in vars(errors) if name.endswith("Error")]
    assert all(issubclass(kind, BackendError) for kind in raised)


def test_the_end_of_the_body_is_waited_for_a_moment() -> None:
    """Behind ``[DONE]``, to use the connection again; not where the wait could last."""
    for punctual in (True, False):
        steps = converse(Script().call)
        assert isinstance(next(steps), Send)
        head = Head(200, {"content-type": "text/event-stream"}, punctual)
        assert isinstance(steps.send(head), Read)
        effect = steps.send(b"".join(WIRES["openai-chat"].stream(["Rain."])))
        assert isinstance(effect, Delta)
        effect = next(steps)
        if punctual:
            assert isinstance(effect, Read)
            assert effect.within <= POLITE_SECONDS
            effect = steps.throw(TransportFailed("late", ""))
        assert isinstance(effect, Close)
        last = next(steps)
        assert isinstance(last, Delta)
        assert last.finish == "stop"
