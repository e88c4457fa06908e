"""What a message costs in tokens, by stated rules over any token counter.

A counter turns text into a number. What a provider adds around the text is not in that number, so
it is added here, and always rounded up:

====================================  ==========================================================
a context                             3 (the reply's opening)
a message                             4 (role and separators) + its text
a name                                1 + its text
a tool call                           8 + its id, name and arguments
a tool result                         its call id, beside the above
a text part                           its text
an image                              85 at ``detail: low``, otherwise 1,600
audio given as data                   one per 100 ms of 16-bit, 16 kHz sound, at least 10
a file given as data                  a quarter of its decoded bytes, at least 100
a file or audio given by reference    2,000
any other part, field or tool schema  its JSON text
====================================  ==========================================================

The per-message numbers follow OpenAI's published counting recipe (3 a message, 1 a name, 3 for
the reply) with 1 to spare; 1,600 is the most that Anthropic charges for one image (pixels / 750
at its size limit) and lies above OpenAI's 1,105 for six tiles.

A counter that knows a chat template may have a method ``count_message(message) -> int``; it then
replaces these rules for whole messages.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from types import MethodType
from typing import Any

from .counting import TokenCounter
from .errors import CounterError
from .messages import Message, Part, ToolCall, thaw

CONTEXT_OVERHEAD = 3
MESSAGE_OVERHEAD = 4
NAME_OVERHEAD = 1
TOOL_CALL_OVERHEAD = 8
IMAGE_LOW = 85
IMAGE = 1_600
REFERENCE = 2_000

_IMAGES = frozenset({"image", "image_url", "input_image"})
_TEXTS = frozenset({"text", "input_text", "output_text"})


class Accountant:
    """Counts messages and tool schemas with one counter, by the rules of this module."""

    def __init__(self, counter: TokenCounter) -> None:
        if not callable(counter):
            raise CounterError(
                f"a counter must be callable with a text, got {type(counter).__name__}: {counter!r}"
            )
        self.counter = counter
        bound = counter.__call__  # Python looks a method up at each call of its object
        self._count: TokenCounter = bound if isinstance(bound, MethodType) else counter
        self._whole = getattr(counter, "count_message", None)

    def text(self, text: str) -> int:
        """Return the tokens of `text`.

        Raises:
            CounterError: the counter raised, or returned something that is no count.
        """
        try:
            count = self._count(text)
        except Exception as error:
            raise CounterError(
                f"the token counter {self.counter!r} failed on a text of {len(text)} characters: "
                f"{error}"
            ) from error
        if type(count) is int and count >= 0:
            return count
        return self._as_count(count)

    def _as_count(self, count: object) -> int:
        try:
            number = operator.index(count)  # type: ignore[arg-type]  # numpy's integers pass
        except TypeError:
            number = -1
        if number < 0 or isinstance(count, bool):
            raise CounterError(
                f"the token counter {self.counter!r} returned {count!r}; it must return a whole "
                "number of tokens, 0 or more"
            )
        return number

    def message(self, message: Message) -> int:
        """Return the tokens of `message`, everything counted."""
        if self._whole is not None:
            return self._count_whole(message)
        content = message.content
        if isinstance(content, str):
            total = MESSAGE_OVERHEAD + self.text(content)
        else:
            total = MESSAGE_OVERHEAD
            for part in content or ():
                total += self.part(part)
        if message.name is not None:
            total += NAME_OVERHEAD + self.text(message.name)
        if message.tool_calls:
            total += sum(self._call(call) for call in message.tool_calls)
        if message.tool_call_id is not None:
            total += self.text(message.tool_call_id)
        if message.extra:
            total += self.json(message.extra)
        return total

    def _count_whole(self, message: Message) -> int:
        try:
            return self._as_count(self._whole(message))  # type: ignore[misc]
        except CounterError:
            raise
        except Exception as error:
            raise CounterError(f"count_message of {self.counter!r} failed: {error}") from error

    def _call(self, call: ToolCall) -> int:
        total = TOOL_CALL_OVERHEAD + self.text(call.id) + self.text(call.name)
        total += self.text(call.arguments)
        return total + (self.json(call.extra) if call.extra else 0)

    def part(self, part: Part) -> int:
        """Return the tokens of one content part."""
        kind = part["type"]
        if kind in _TEXTS and isinstance(part.get("text"), str):
            rest = {k: v for k, v in part.items() if k not in ("type", "text")}
            return self.text(part["text"]) + (self.json(rest) if rest else 0)
        if kind in _IMAGES:
            return IMAGE_LOW if _detail(part) == "low" else IMAGE
        if kind in ("input_audio", "audio"):
            return _by_size(part, kind, bytes_per_token=3_200, least=10)
        if kind in ("file", "input_file", "document"):
            return _by_size(part, "file", bytes_per_token=4, least=100)
        return self.json(part)

    def json(self, value: Any) -> int:
        """Return the tokens of `value` written as JSON."""
        return self.text(json.dumps(thaw(value), ensure_ascii=False))

    def tools(self, tools: Iterable[Mapping[str, Any]]) -> int:
        """Return the tokens of tool schemas."""
        return sum(TOOL_CALL_OVERHEAD + self.json(tool) for tool in tools)


def _detail(part: Part) -> object:
    image = part.get("image_url")
    return image.get("detail") if isinstance(image, Mapping) else part.get("detail")


def _by_size(part: Part, key: str, *, bytes_per_token: int, least: int) -> int:
    """Count a part that carries base64 `data`, or refers to something of unknown size."""
    body = part.get(key)
    for holder in (body, part.get("source"), part):
        if isinstance(holder, Mapping):
            data = holder.get("data") or holder.get("file_data")
            if isinstance(data, str):
                return max(least, -(-len(data) * 3 // 4) // bytes_per_token + 1)
    return REFERENCE
