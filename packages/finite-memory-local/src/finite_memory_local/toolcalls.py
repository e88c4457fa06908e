"""Tool calls in a reply's text, in the convention of Hermes and Qwen.

``<tool_call>`` and ``</tool_call>`` around a JSON object with ``name`` and ``arguments``. What is
not well formed stays text: nothing that the model said is lost.
"""

from __future__ import annotations

import json

from finite_memory_core import MessageError, ToolCall

_BEGIN, _END = "<tool_call>", "</tool_call>"


class ToolCalls:
    """Tells calls from text while a reply arrives.

    Args:
        wanted: whether there are tools; without, all is text.
        mark: part of the calls' ids, to tell them from those of other replies.
    """

    def __init__(self, wanted: bool, mark: str = "") -> None:
        self._wanted = wanted
        self._mark = mark
        self._waiting = ""
        self.found: list[ToolCall] = []

    def feed(self, text: str) -> str:
        """Take in text and return what is certainly no call."""
        if not self._wanted:
            return text
        self._waiting += text
        given = ""
        while True:
            begin = self._waiting.find(_BEGIN)
            if begin < 0:
                keep = _overlap(self._waiting)
                given += self._waiting[: len(self._waiting) - keep]
                self._waiting = self._waiting[len(self._waiting) - keep :]
                return given
            given += self._waiting[:begin]
            self._waiting = self._waiting[begin:]
            end = self._waiting.find(_END)
            if end < 0:
                return given
            block, self._waiting = (
                self._waiting[: end + len(_END)],
                self._waiting[end + len(_END) :],
            )
            name = f"call_{self._mark}_{len(self.found) + 1}"
            call = _call(block[len(_BEGIN) : -len(_END)], name)
            if call is None:
                given += block
            else:
                self.found.append(call)

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """Return the text that is left, and the calls."""
        rest, self._waiting = self._waiting, ""
        return ("" if self.found and not rest.strip() else rest), tuple(self.found)


def _overlap(text: str) -> int:
    """Return how much of the end of `text` may be the beginning of a call."""
    lengths = range(min(len(text), len(_BEGIN) - 1), 0, -1)
    return next((n for n in lengths if text.endswith(_BEGIN[:n])), 0)


def _call(text: str, name: str) -> ToolCall | None:
    """Return the call that the text says; None if it says none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("name"), str) or not said["name"]:
        return None
    arguments = said.get("arguments", said.get("parameters", {}))
    if not isinstance(arguments, dict):
        arguments = {"value": arguments}
    try:
        return ToolCall(name, said["name"], arguments)
    except MessageError:  # Python reads more than JSON can carry: NaN, 1e999, lone surrogates
        return None
