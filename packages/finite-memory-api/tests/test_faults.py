"""What a network does wrong, on every wire and by every way to take a turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from finite_memory_api.errors import (
    ConnectionLostError,
    DeadlineError,
    ProviderError,
    RedirectedError,
    UnreadableReplyError,
)
from finite_memory_core import BackendError, Chat, Interrupted, Message, Reply

from .leaks import seen_of
from .replies import KEY, WIRES, Wire, event
from .servers import JSON, SIP, Answer, Server
from .turns import DRIVES, memory_of, state_of

Serve = Callable[..., Server]
SAID = [Message.system("Be brief."), Message.user("One?"), Message.assistant("Two.")]
EACH_WIRE = pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
EACH_DRIVE = pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))


def cut(wire: Wire, end: str) -> Answer:
    """A reply that goes wrong after two pieces of text."""
    whole = wire.stream(["Half a ", "reply"])
    last = next(i for i in reversed(range(len(whole))) if b"reply" in whole[i][:200])
    if wire.api == "openai-responses":
        last = next(i for i, chunk in enumerate(whole) if b"reply" in chunk)
    return Answer(whole[: last + 1], end=end)


def broken(wire: Wire) -> dict[str, Answer]:
    """Every way to end a reply in its middle."""
    told = event(wire.error("too much to do"), "error")
    clean = cut(wire, "clean")
    return {
        "abort": cut(wire, "abort"),
        "fin inside a chunk": cut(wire, "fin"),
        "a clean early end": clean,
        "an error in the stream": replace(clean, chunks=[*clean.chunks, told]),
        "an event that is no JSON": replace(clean, chunks=[*clean.chunks, b"data: {oops\n\n"]),
        "an event cut in half": replace(clean, chunks=[*clean.chunks, b'data: {"choices":']),
    }


@EACH_DRIVE
@EACH_WIRE
@pytest.mark.parametrize("fault", list(broken(WIRES["openai-chat"])))
def test_a_broken_reply_leaves_no_trace(
    serve: Serve, wire: Wire, drive: Callable[..., Reply], fault: str
) -> None:
    """It is told with the text that had arrived; memory and store are what they were."""
    server = serve(broken(wire)[fault])
    memory = memory_of(*SAID)
    before = state_of(memory)
    with pytest.raises(Interrupted) as caught:
        drive(Chat(wire.backend(server.url, retries=3), memory), "Three?")
    assert caught.value.partial == "Half a reply"
    assert before == state_of(memory)
    assert len(server.asked) == 1  # nothing is tried again after the first piece


@EACH_DRIVE
@EACH_WIRE
def test_a_stall_is_noticed(serve: Serve, wire: Wire, drive: Callable[..., Reply]) -> None:
    """A server that says nothing more for longer than the idle limit is hung up on."""
    server = serve(cut(wire, "stall"))
    memory = memory_of(*SAID)
    before = state_of(memory)
    with pytest.raises(Interrupted, match=r"sent nothing for 0\.2 s") as caught:
        drive(Chat(wire.backend(server.url, idle_timeout=0.2), memory), "Three?")
    assert caught.value.partial == "Half a reply"
    assert before == state_of(memory)
    assert server.hung_up.wait(10)


@EACH_DRIVE
@pytest.mark.parametrize("end", ["drip head", "drip chunk", "silent", "stall"])
def test_the_deadline_holds_in_every_phase(
    serve: Serve, drive: Callable[..., Reply], end: str
) -> None:
    """However busily a server says nothing; each byte starts the idle time anew, but not this."""
    wire = WIRES["openai-chat"]
    server = serve(cut(wire, end))
    memory = memory_of(*SAID)
    before = state_of(memory)
    backend = wire.backend(server.url, timeout=0.5, idle_timeout=250)
    with pytest.raises(BackendError, match=r"did not finish within 0\.5 s") as caught:
        drive(Chat(backend, memory), "Three?")
    assert isinstance(caught.value, Interrupted | DeadlineError)
    assert before == state_of(memory)
    assert server.hung_up.wait(10)


@EACH_DRIVE
def test_the_deadline_holds_while_a_prompt_is_sent(
    serve: Serve, drive: Callable[..., Reply]
) -> None:
    """A server that reads a little now and then is hung up on before it has read all."""
    wire = WIRES["openai-chat"]
    server = serve(replace(wire.answer("Late."), end="sip"))
    long = Message.system("x" * (256 * SIP))
    backend = wire.backend(server.url, timeout=0.5, idle_timeout=250)
    with pytest.raises(DeadlineError, match=r"did not finish within 0\.5 s"):
        drive(Chat(backend, memory_of(long, budget=99_999_999)), "Three?")
    assert server.hung_up.wait(60)
    assert 0 == len(server.asked)


@EACH_DRIVE
@pytest.mark.parametrize("api", [api for api in WIRES if api != "gemini"])
def test_nothing_is_waited_for_behind_the_last_event(
    serve: Serve, api: str, drive: Callable[..., Reply]
) -> None:
    """A server that forgets to end the body holds nobody up."""
    wire = WIRES[api]
    server = serve(Answer(wire.stream(["Four."]), end="stall"))
    backend = wire.backend(server.url, timeout=250, idle_timeout=250)
    assert drive(Chat(backend, memory_of(*SAID)), "Three?").text == "Four."
    assert server.hung_up.wait(10)


@EACH_DRIVE
@EACH_WIRE
def test_any_cut_of_the_bytes_gives_the_same_reply(
    serve: Serve, wire: Wire, drive: Callable[..., Reply]
) -> None:
    """One byte at a time, CRLF, comments and a huge event change nothing."""
    pieces = ["Ça va\u2028 ", "héllo 👩‍🚀 ", "x" * 150_000]
    plain = b"".join(wire.stream(pieces))
    drip = [bytes([byte]) for byte in plain[:900]] + [plain[900:]]
    crlf = [b": PROCESSING\r\n\r\n" + plain.replace(b"\n", b"\r\n")]
    for chunks in (drip, crlf, [b"\xef\xbb\xbf" + plain]):
        server = serve(Answer(chunks))
        memory = memory_of(*SAID, budget=400_000)
        reply = drive(Chat(wire.backend(server.url), memory), "Three?")
        assert "".join(pieces) == reply.text
        assert reply.usage is not None
        assert (30, 5, 10) == (
            reply.usage.input_tokens,
            reply.usage.output_tokens,
            reply.usage.cached_tokens,
        )


@EACH_DRIVE
@EACH_WIRE
def test_a_reply_in_one_piece_is_a_reply(
    serve: Serve, wire: Wire, drive: Callable[..., Reply]
) -> None:
    """Asked for in one piece, or given so by a server that cannot stream."""
    server = serve(wire.whole_answer("Four."))
    for streaming in (False, True):
        memory = memory_of(*SAID)
        reply = drive(Chat(wire.backend(server.url, streaming=streaming), memory), "Three?")
        assert reply.text == "Four."
        if wire.api != "gemini":
            assert server.asked[-1].json["stream"] is streaming


@EACH_WIRE
def test_closing_hangs_up(serve: Serve, wire: Wire) -> None:
    """Leaving a stream closes the connection, so the provider stops working."""
    server = serve(cut(wire, "stall"))
    memory = memory_of(*SAID)
    before = state_of(memory)
    deltas: Any = Chat(wire.backend(server.url), memory).stream("Three?")
    assert next(deltas).text == "Half a "
    deltas.close()
    assert server.hung_up.wait(10)
    assert before == state_of(memory)


@EACH_WIRE
def test_cancelling_hangs_up(serve: Serve, wire: Wire) -> None:
    """A cancelled task does too, wherever it waits."""
    server = serve(cut(wire, "stall"))
    memory = memory_of(*SAID)
    before = state_of(memory)

    async def leave() -> None:
        got = asyncio.Event()

        async def listen() -> None:
            chat = Chat(wire.backend(server.url), memory)
            async with aclosing(chat.astream("Three?")) as deltas:  # type: ignore[type-var]
                async for _ in deltas:
                    got.set()

        task = asyncio.create_task(listen())
        await got.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(leave())
    assert server.hung_up.wait(10)
    assert before == state_of(memory)


NO_REPLIES = {
    "html": Answer([b"<!DOCTYPE html><html>Sign in</html>"], kind="text/html"),
    "no json": Answer([b"Service is fine"], kind="text/plain"),
    "json of nothing": Answer([b'{"status": "ok"}'], kind=JSON),
    "a list": Answer([b"[1, 2]"], kind=JSON),
    "nothing": Answer([], kind=JSON),
    "json nested without end": Answer([b'{"a":' * 100_000], kind=JSON),
}


@EACH_WIRE
@pytest.mark.parametrize("what", list(NO_REPLIES))
def test_what_is_no_reply_is_said_so(serve: Serve, wire: Wire, what: str) -> None:
    """HTML, plain text, other JSON, nothing at all: each is told, with what to check."""
    server = serve(NO_REPLIES[what])
    memory = memory_of(*SAID)
    before = state_of(memory)
    with pytest.raises(BackendError, match=r"backend '.*some-model'") as caught:
        Chat(wire.backend(server.url), memory).send("Three?")
    assert isinstance(caught.value, UnreadableReplyError | Interrupted)
    assert before == state_of(memory)


@EACH_WIRE
def test_an_error_may_come_with_status_200(serve: Serve, wire: Wire) -> None:
    """Some servers answer 200 and an error body; it is an error."""
    body = json.dumps({"error": {"message": "no room", "type": "server_error"}}).encode()
    server = serve(Answer([body], kind=JSON))
    with pytest.raises(ProviderError, match="no room"):
        Chat(wire.backend(server.url), memory_of(*SAID)).send("Three?")


@EACH_WIRE
def test_an_empty_reply_is_no_reply(serve: Serve, wire: Wire) -> None:
    """A reply without text and calls is told, not recorded."""
    memory = memory_of(*SAID)
    before = state_of(memory)
    with pytest.raises(UnreadableReplyError, match="empty"):
        Chat(wire.backend(serve(wire.answer("")).url), memory).send("Three?")
    assert before == state_of(memory)


@EACH_WIRE
def test_a_redirect_is_not_followed(serve: Serve, wire: Wire) -> None:
    """The key goes to no other host, whatever the first one says."""
    elsewhere = serve(wire.answer("Gotcha"))
    target = f"{elsewhere.url}/chat/completions?key=leak"
    server = serve(Answer(status=307, headers={"location": target}))
    with pytest.raises(RedirectedError, match="set base_url") as caught:
        Chat(wire.backend(server.url), memory_of(*SAID)).send("Three?")
    assert [] == elsewhere.asked
    assert "leak" not in str(caught.value)


@EACH_DRIVE
def test_nobody_listens(serve: Serve, drive: Callable[..., Reply]) -> None:
    """A server that is not there is a lost connection, with advice."""
    server = serve(Answer())
    server.close()
    backend = WIRES["openai-chat"].backend(server.url)
    with pytest.raises(ConnectionLostError, match=r"cannot be reached.*check base_url"):
        drive(Chat(backend, memory_of(*SAID)), "Three?")


@EACH_DRIVE
def test_silence_is_noticed(serve: Serve, drive: Callable[..., Reply]) -> None:
    """A server that takes the request and never answers runs into the idle limit."""
    server = serve(Answer(end="silent"))
    backend = WIRES["openai-chat"].backend(server.url, idle_timeout=0.2)
    with pytest.raises(DeadlineError, match="sent nothing"):
        drive(Chat(backend, memory_of(*SAID)), "Three?")
    assert server.hung_up.wait(10)


def test_the_deadline_counts_everything(serve: Serve) -> None:
    """A reply that takes longer than `timeout` is ended, however busy the server looks."""
    server = serve(replace(cut(WIRES["openai-chat"], "stall")))
    backend = WIRES["openai-chat"].backend(server.url, timeout=0.3)
    with pytest.raises(Interrupted, match=r"did not finish within 0\.3 s"):
        Chat(backend, memory_of(*SAID)).send("Three?")


def test_a_failing_end_after_the_terminal_event_is_no_failure(serve: Serve) -> None:
    """When the reply is complete, what the connection does then does not matter."""
    wire = WIRES["openai-chat"]
    for end in ("abort", "fin"):
        server = serve(wire.answer("Four.", end=end))
        assert Chat(wire.backend(server.url), memory_of(*SAID)).send("Three?").text == "Four."


@EACH_WIRE
def test_no_key_is_seen_in_a_failure(serve: Serve, wire: Wire) -> None:
    """A provider that echoes the key, and all that hangs on the error: no key."""
    body = json.dumps({"error": {"message": f"bad key {KEY} given"}}).encode()
    for answer in (Answer([body], 401, JSON), cut(wire, "abort"), Answer(end="silent")):
        server = serve(answer)
        with pytest.raises(BackendError) as caught:
            Chat(wire.backend(server.url, idle_timeout=0.2), memory_of(*SAID)).send("Three?")
        assert KEY in str(server.asked[0].headers)
        assert KEY not in seen_of(caught.value)
        error: BaseException | None = caught.value
        while error is not None:
            assert not hasattr(error, "request")
            error = error.__cause__ or error.__context__
