"""Only replies wait for replies: what looks at a session does not wait for another one's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import pytest
import torch

from finite_memory_core import Block, Chat, Importance, Memory, Message
from finite_memory_local import HuggingFaceBackend, worker
from finite_memory_local.layers import KeptLayer

from .families import context
from .test_backend import backend
from .test_exact import said
from .test_shift import shifting

HELLO = Message.user("Hello.")
LONG = 30.0
"""Seconds after which something waits for what it should not wait for."""


@contextmanager
def replying(
    made: HuggingFaceBackend, *messages: Message, session_id: str = "b"
) -> Iterator[list[bool]]:
    """Let that session's reply stand still in the block; then tells whether the block waited."""
    inside, on, waited = Event(), Event(), []

    def hook(module: Any, args: Any) -> None:
        if not inside.is_set():
            inside.set()
            waited.append(not on.wait(LONG))

    handle = made.model.register_forward_pre_hook(hook)
    asked = messages or (Message.user("I am two."),)
    more = {"session_id": session_id}
    thread = Thread(target=said, args=(made, *asked), kwargs=more)
    thread.start()
    assert inside.wait(LONG)
    try:
        yield waited
    finally:
        on.set()
        thread.join()
        handle.remove()


def test_what_looks_at_a_session_does_not_wait_for_another_reply(tmp_path: Any) -> None:
    """Neither the scorer, nor the stats, the ledger, a file or a drop."""
    made = shifting()
    scorer = made.scorer()
    said(made, HELLO)
    expected = scorer([Block(0, (HELLO,), 3)])
    with replying(made) as waited:
        assert expected == scorer([Block(0, (HELLO,), 3)])
        assert made.cache_stats.turns == 2
        assert made.ledger("s")
        made.save_cache("s", tmp_path / "cache")
        made.drop("s")
        made.load_cache("s", tmp_path / "cache")
    assert [False] == waited
    assert {"s", "b"} == set(made._sessions)
    assert made.ledger("b")


class _Interrupted:
    """A queue whose reader is interrupted while it waits."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()
        self.put = self._items.put

    def get(self) -> Any:
        raise KeyboardInterrupt


def test_whoever_leaves_the_line_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that has not begun is not waited for, and never begins."""
    made = backend()
    with replying(made) as waited:
        monkeypatch.setattr(worker, "SimpleQueue", _Interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(made.stream(context(HELLO)))
        monkeypatch.undo()
    assert [False] == waited
    said(made, Message.user("Go on."), session_id="b")  # the line has been served
    assert () == made.ledger("s")


class _Standing:
    """A model whose forward stands still once, until it may go on; counts all of them."""

    def __init__(self, model: Any, number: int = 1) -> None:
        self.inside, self.on, self.left = Event(), Event(), Event()
        self.forwards = 0
        self.waited_in_vain = False
        self._number = number
        model.register_forward_pre_hook(self._hook)

    def _hook(self, module: Any, args: Any) -> None:
        self.forwards += 1
        if self.forwards == self._number:
            self.inside.set()
            self.waited_in_vain = not self.on.wait(LONG)

    def watch_leaving(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set `left` as soon as somebody wants no more."""
        leave = worker.Wanted.leave

        def leaves(wanted: worker.Wanted) -> bool:
            found = leave(wanted)
            self.left.set()
            return found

        monkeypatch.setattr(worker.Wanted, "leave", leaves)

    async def is_inside(self) -> bool:
        return await asyncio.to_thread(self.inside.wait, LONG)

    async def is_left(self) -> bool:
        return await asyncio.to_thread(self.left.wait, LONG)


def is_free(lock: Any) -> bool:
    """Whether no other thread holds the lock."""
    if not lock.acquire(blocking=False):
        return False
    lock.release()
    return True


def test_an_interrupt_at_the_very_start_ends_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes where the thread runs already, and nobody reads yet."""
    made = backend(max_new_tokens=400, min_new_tokens=400)
    standing = _Standing(made.model)
    standing.watch_leaving(monkeypatch)
    standing.on = standing.left

    class Interrupted(Thread):
        def start(self) -> None:
            super().start()
            assert standing.inside.wait(LONG)
            raise KeyboardInterrupt

    monkeypatch.setattr(worker, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(made.stream(context(HELLO)))
    was_free = is_free(made._lock)
    standing.on.set()
    assert was_free
    assert 1 == standing.forwards
    assert () == made.ledger("s")


def test_a_loop_goes_on_while_a_reply_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces; when the closing has ended, so has the reply."""
    made = backend(max_new_tokens=400, min_new_tokens=400)
    standing = _Standing(made.model, 9)
    standing.watch_leaving(monkeypatch)

    async def leave() -> None:
        stream: Any = made.astream(context(HELLO))
        await anext(stream)
        assert await standing.is_inside()
        closing = asyncio.create_task(stream.aclose())
        assert await standing.is_left()
        assert not closing.done()
        standing.on.set()
        await closing
        assert is_free(made._lock)

    asyncio.run(leave())
    assert not standing.waited_in_vain
    assert 9 == standing.forwards
    assert () == made.ledger("s")


def test_a_cancelled_reply_ends_between_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece comes while a context is read, and none is waited for."""
    made = backend(chunk=8)
    standing = _Standing(made.model)
    standing.watch_leaving(monkeypatch)
    chat = Chat(made, Memory(budget=2_000))

    async def cancel() -> None:
        turn = asyncio.create_task(chat.asend("Hello. " * 40))
        assert await standing.is_inside()
        turn.cancel()
        assert await standing.is_left()
        standing.on.set()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert is_free(made._lock)

    asyncio.run(cancel())
    assert 1 == standing.forwards
    assert [] == list(chat.memory.transcript)
    assert chat.send("Hello.").text


def test_whoever_is_cancelled_twice_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply ends by itself, and the session is as it was."""
    made = backend(max_new_tokens=400, min_new_tokens=400)
    standing = _Standing(made.model)
    standing.watch_leaving(monkeypatch)

    async def cancel() -> None:
        stream: Any = made.astream(context(HELLO))
        turn = asyncio.create_task(anext(stream))
        assert await standing.is_inside()
        turn.cancel()
        assert await standing.is_left()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert not is_free(made._lock)
        standing.on.set()

    asyncio.run(cancel())
    assert not standing.waited_in_vain
    with made._lock:  # when the reply has ended
        assert 1 == standing.forwards
    assert () == made.ledger("s")
    assert is_free(made._sessions["s"].lock)
    assert said(made, HELLO).text


def test_a_cancelled_reply_that_has_not_begun_is_not_waited_for() -> None:
    """It never begins."""
    made = backend()

    async def leave() -> None:
        stream: Any = made.astream(context(HELLO))
        turn = asyncio.create_task(anext(stream))
        while not any(thread.name == "finite-memory-local" for thread in threading.enumerate()):
            await asyncio.sleep(0)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn

    with made._lock:
        asyncio.run(leave())
    said(made, Message.user("Go on."), session_id="b")  # the line has been served
    assert () == made.ledger("s")


def test_a_loop_that_is_closed_ends_its_replies() -> None:
    """Nobody is there to hear the rest, and the thread has nothing to complain of."""
    made = backend(max_new_tokens=400, min_new_tokens=400)
    standing = _Standing(made.model, 9)
    loop = asyncio.new_event_loop()
    stream: Any = made.astream(context(HELLO))
    others = set(threading.enumerate())
    loop.run_until_complete(anext(stream))
    assert standing.inside.wait(LONG)
    threads = set(threading.enumerate()) - others
    loop.close()
    standing.on.set()
    for thread in threads:
        thread.join()  # where it failed, pytest says so
    assert 1 == len(threads)
    assert standing.forwards < 20
    assert is_free(made._lock)


def test_an_asynchronous_reply_sees_the_context_variables_of_its_reader() -> None:
    """As a synchronous one does."""
    made = backend(max_new_tokens=1, min_new_tokens=1)
    asked: ContextVar[str] = ContextVar("asked", default="nobody")
    seen: list[str] = []
    made.model.register_forward_pre_hook(lambda module, args: seen.append(asked.get()))

    async def ask() -> None:
        asked.set("Ada")
        async for _ in made.astream(context(HELLO)):
            pass

    asyncio.run(ask())
    assert {"Ada"} == set(seen)


LINGERING = """
import sys, threading
from families import context, model, tokenizer
from finite_memory_core import Message
from finite_memory_local import HuggingFaceBackend

forwards = 0

def hook(module, args):
    global forwards
    forwards += 1
    if forwards == 9:
        threading.main_thread().join()
    print("forward", file=sys.stderr)

backend = HuggingFaceBackend(
    model(), tokenizer=tokenizer(), max_new_tokens=100, min_new_tokens=100
)
backend.model.register_forward_pre_hook(hook)

def read():
    for piece in backend.stream(context(Message.user("Hello."))):
        if piece.finish:
            print("whole", file=sys.stderr)
"""
INTERRUPTED = """
stream = backend.stream(context(Message.user("Hello.")))
for piece in stream:
    raise KeyboardInterrupt
"""
SERVING = """
threading.Thread(target=read).start()
"""


def ended(code: str) -> list[str]:
    """Run it in a process of its own, and return what it said."""
    beside = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", LINGERING + code],
        cwd=beside,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.splitlines()


def test_a_process_that_was_interrupted_does_not_go_on_replying() -> None:
    """Whoever could read the reply has ended, and its iterator is still in a variable."""
    said = ended(INTERRUPTED)
    assert "KeyboardInterrupt" in said
    assert said.count("forward") <= 9


def test_a_thread_that_outlives_the_main_thread_gets_its_reply() -> None:
    """Such as that of a server."""
    said = ended(SERVING)
    assert "whole" in said, said
    assert 100 == said.count("forward")


def test_a_scorer_does_not_wait_for_the_reply_of_its_session() -> None:
    """It may be asked on an event loop; the memory does without it, and says why."""
    made = shifting(max_new_tokens=4, min_new_tokens=4)
    memory = Memory(budget=220, policy=Importance(made.scorer()), reserve=8, session_id="s")
    chat = Chat(made, memory)
    while not memory.stats.evictions:
        chat.send("The plum of Ada is red, and her town has a number.")
    assert {} == memory.stats.fallbacks
    with replying(made, *memory.context().messages, HELLO, session_id="s") as waited:
        memory.append(Message.user("And what is the number of her town? " * 4))
        memory.context()
    assert [False] == waited
    assert {"policy": 1} == memory.stats.fallbacks


def test_what_waits_in_cpu_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as where the model is: above it the session that was not used the longest goes."""
    made = backend(max_new_tokens=1, min_new_tokens=1)
    accelerator = torch.device("meta")  # a device that every machine has

    def to(layer: KeptLayer, device: torch.device | str) -> None:
        layer.device = torch.device(device)

    for number in range(4):
        said(made, HELLO, session_id=str(number))
        for layer in made._sessions[str(number)].layers:
            layer.home = layer.device = accelerator
    monkeypatch.setattr(KeptLayer, "to", to)
    one = made.cache_stats.bytes // 4
    made.cache_bytes = one
    made._make_room("3")
    assert ["0", "1", "2", "3"] == list(made._sessions)
    assert [0, 0, one, one] == [session.nbytes for session in made._sessions.values()]
    assert [False, False, True, False] == [s.is_away for s in made._sessions.values()]
    assert (3, 2) == (made.cache_stats.offloaded, made.cache_stats.dropped)
    made._ready(made._sessions["2"])
    assert not made._sessions["2"].is_away


class _Locked(dict[str, Any]):
    """Is only changed while a lock is held."""

    def __init__(self, lock: Any) -> None:
        super().__init__()
        self._lock = lock

    def setdefault(self, key: str, default: Any = None) -> Any:
        assert self._lock.locked()
        return super().setdefault(key, default)


def test_a_fallback_is_noted_while_nobody_reads_the_stats() -> None:
    """And told when they may be read again: an observer may want to."""
    made = shifting("GPT-2")
    seen: list[int] = []
    made._observers = (lambda event: seen.append(len(made.cache_stats.fallbacks)),)
    made._tally.fallbacks = _Locked(made._tally.lock)
    made._fall_back("s", "what", "why")
    assert [1] == seen
