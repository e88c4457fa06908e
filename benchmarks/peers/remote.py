"""Speaking to an adapter in its own process and environment, in JSON lines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from finite_memory_core.errors import FiniteMemoryError
from finite_memory_core.messages import Message

from . import Peer
from .environment import python_of

_WORKER = Path(__file__).with_name("worker.py")


class Refused(FiniteMemoryError):
    """The subject refused a message with an error of its own that says so."""


class Turns(NamedTuple):
    """What turns cost: CPU nanoseconds each, and whether something was evicted in it."""

    ns: list[int]
    evicted: list[bool]


class Remote:
    """A fresh memory in a worker process, as a subject of the fuzz."""

    def __init__(self, process: subprocess.Popen[str], peer: Peer, budget: int) -> None:
        self._process = process
        self._ask(op="new", budget=budget, options=dict(peer.options))

    def append(self, *messages: Message) -> None:
        """Append messages.

        Raises:
            Refused: the subject refused them.
            RuntimeError: it failed in any other way.
        """
        self._ask(op="append", messages=[m.to_dict(wire=True) for m in messages])

    def context(self) -> Sequence[dict[str, Any]]:
        """Return the context as dicts in the OpenAI chat shape."""
        messages: list[dict[str, Any]] = self._ask(op="context")["messages"]
        return messages

    def load(self, messages: Iterable[Message]) -> None:
        """Append many messages, without measuring."""
        source = iter(messages)
        while batch := list(islice(source, 1_000)):
            self._ask(op="load", messages=[m.to_dict(wire=True) for m in batch])

    def turns(self, messages: Iterable[Message], seconds: float) -> Turns:
        """Append each message and ask for a context, for at most `seconds` of CPU time."""
        wire = [m.to_dict(wire=True) for m in messages]
        return Turns(**self._ask(op="turns", messages=wire, seconds=seconds))

    def _ask(self, **request: Any) -> dict[str, Any]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the worker was started without pipes")
        pipe_in.write(json.dumps(request) + "\n")
        pipe_in.flush()
        line = pipe_out.readline()
        if not line:
            raise RuntimeError(f"the worker ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@contextmanager
def worker(peer: Peer) -> Iterator[subprocess.Popen[str]]:
    """Start a worker process for `peer`, and end it."""
    command = [str(python_of(peer)), str(_WORKER), peer.adapter]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
