"""What the server's threads share: requests with a long history are bounded beside the others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from threading import Lock
from types import FrameType
from typing import Any

import pytest

from finite_memory_api.server import usage
from finite_memory_api.server.cursors import Cursor, Cursors
from finite_memory_api.server.usage import Learnt

CURSOR = Cursor(1, 1, b"x" * 16, (0,))

pytestmark = pytest.mark.uncovered


def interleaved(lock: Lock, work: Callable[[], Any], other: Callable[[], Any]) -> None:
    """Do `work`, and `other` between any two lines of it where another thread could."""

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and not lock.locked():
            sys.settrace(None)
            other()
            sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)


def test_a_cursor_may_go_while_it_is_read() -> None:
    """Another session's may take its place at any moment."""
    cursors = Cursors(1)
    other = partial(cursors.put, b"b", CURSOR)
    for work in (lambda: cursors.get(b"a"), lambda: cursors.put(b"a", CURSOR)):
        cursors.put(b"a", CURSOR)
        interleaved(cursors._lock, work, other)
    assert 1 == len(cursors)


def test_what_was_learnt_may_go_while_more_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model's may take its place at any moment, and nothing of the first one stays."""
    monkeypatch.setattr(usage, "MODELS", 1)
    learnt = Learnt()
    other = partial(learnt.observe, "b", 100, 150)
    for work in (lambda: learnt.observe("a", 100, 200), lambda: learnt.adopt("a", 2.0)):
        interleaved(learnt._lock, work, other)
        other()
        assert 1.5 == learnt.factor("b")
        assert 1.0 == learnt.factor("a")
