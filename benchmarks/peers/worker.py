"""Runs in a peer's environment: answers JSON lines with an adapter. Standard library only."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from time import process_time_ns
from typing import Any, TextIO


class Worker:
    """One adapter, and the memory that it holds at the moment."""

    def __init__(self, adapter: Any) -> None:
        self._make = adapter
        self._held: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what `request` says; a failure is an answer too."""
        operation = getattr(self, f"do_{request.pop('op')}")
        try:
            answer: dict[str, Any] = operation(**request)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
            refused = type(error).__name__ in getattr(self._make, "REFUSALS", ())
            text = f"{type(error).__name__}: {error}"[:500]
            return {"refused" if refused else "error": text}
        return answer

    def do_new(self, budget: int, options: dict[str, Any]) -> dict[str, Any]:
        self._held = self._make(budget, **options)
        return {}

    def do_append(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        self._held.append(*map(self._held.take, messages))
        return {}

    def do_context(self) -> dict[str, Any]:
        return {"messages": self._held.show(self._held.context())}

    def do_load(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        self._held.load([self._held.take(message) for message in messages])
        return {}

    def do_turns(self, messages: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
        held = self._held
        natives = [held.take(message) for message in messages]
        spent: list[int] = []
        evicted: list[bool] = []
        left = seconds * 1e9
        held.context()  # the first call of a process imports and compiles things
        before = held.evictions()
        for native in natives:
            start = process_time_ns()
            held.append(native)
            held.context()
            ns = process_time_ns() - start
            now = held.evictions()
            spent.append(ns)
            evicted.append(now != before)
            before = now
            left -= ns
            if left < 0:
                break
        return {"ns": spent, "evicted": evicted}


def own_output() -> TextIO:
    """Return the pipe to the caller; whatever else prints goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def main() -> None:
    """Answer requests until the caller closes the pipe."""
    output = own_output()
    sys.path.insert(0, str(Path(__file__).with_name("adapters")))
    worker = Worker(import_module(sys.argv[1]).Adapter)
    for line in sys.stdin:
        output.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        output.flush()


if __name__ == "__main__":
    main()
