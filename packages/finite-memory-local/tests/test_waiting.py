"""Only replies wait for replies: what looks at a session does not wait for another one's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import pytest
import torch

from finite_memory_core import Block, Message
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
def replying(made: HuggingFaceBackend) -> Iterator[list[bool]]:
    """Let another session's reply stand still in the block; then tells whether the block waited."""
    inside, on, waited = Event(), Event(), []

    def hook(module: Any, args: Any) -> None:
        if not inside.is_set():
            inside.set()
            waited.append(not on.wait(LONG))

    handle = made.model.register_forward_pre_hook(hook)
    thread = Thread(target=said, args=(made, Message.user("I am two.")), kwargs={"session_id": "b"})
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
