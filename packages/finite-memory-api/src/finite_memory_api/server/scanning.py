"""Reading a request's JSON object with the place of each message in its text.

What is forwarded is cut from the text that came: a message that stays keeps its bytes, and so
does every field that this server knows nothing of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .refusals import Refusal

_SPACE = re.compile(r"[ \t\n\r]*")
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Scanned:
    """A JSON object, and where the list of messages stands in it.

    Attributes:
        text: what was read.
        fields: its values; the list's items are those of `items`.
        items: the list's items; None where the field is absent or no list.
        spans: where each item stands in `text`: its start and its end.
        bounds: where the list's own brackets open and close.
    """

    text: str
    fields: dict[str, Any]
    items: list[Any] | None
    spans: list[tuple[int, int]]
    bounds: tuple[int, int]

    def span(self, index: int) -> str:
        """Return the text of one item."""
        start, stop = self.spans[index]
        return self.text[start:stop]

    def run(self, start: int, stop: int) -> str:
        """Return the text of items [start, stop), with what stands between them."""
        return self.text[self.spans[start][0] : self.spans[stop - 1][1]]

    def with_items(self, pieces: Iterable[str]) -> bytes:
        """Return the object with `pieces`, each JSON text, as the list's items."""
        start, stop = self.bounds
        return "".join([self.text[: start + 1], ",".join(pieces), self.text[stop - 1 :]]).encode()


def scan(body: bytes, listed: str) -> Scanned:
    """Read a request's body.

    Args:
        body: JSON text in UTF-8.
        listed: the name of the field that holds the messages.

    Raises:
        Refusal: it is no JSON object, names a field twice, or is nested too deeply.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is no UTF-8 text (byte {error.start})") from None
    try:
        return _Scanner(text, listed).object()
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply") from None
    except StopIteration as stopped:
        raise Refusal(400, f"the body is no JSON: nothing readable at {stopped.value}") from None
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER: Any = json.JSONDecoder(parse_constant=_no_constant)
_SCAN: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once


class _Scanner:
    """Goes once through a text; the values themselves are read by the standard library."""

    def __init__(self, text: str, listed: str) -> None:
        self._text, self._listed = text, listed
        self._items: list[Any] | None = None
        self._spans: list[tuple[int, int]] = []
        self._bounds = (0, 0)

    def object(self) -> Scanned:
        fields: dict[str, Any] = {}
        at = self._space(0)
        at = self._expect("{", at)
        if self._peek(at) == "}":
            at += 1
        else:
            at = self._members(fields, at)
        if self._space(at) != len(self._text):
            raise ValueError(f"something stands behind its end, at {at}")
        return Scanned(self._text, fields, self._items, self._spans, self._bounds)

    def _members(self, fields: dict[str, Any], at: int) -> int:
        while True:
            if self._peek(at) != '"':
                raise ValueError(f"a field's name in quotes was expected at {at}")
            name, at = _SCAN(self._text, at)
            if name in fields:
                raise ValueError(f"the field {name!r:.80} stands twice")
            at = self._space(self._expect(":", self._space(at)))
            fields[name], at = self._value(name, at)
            at = self._space(at)
            if self._peek(at) == "}":
                return at + 1
            at = self._space(self._expect(",", at))

    def _value(self, name: str, at: int) -> tuple[Any, int]:
        if name != self._listed or self._peek(at) != "[":
            return _SCAN(self._text, at)
        start = at
        items: list[Any] = []
        at = self._space(at + 1)
        text = self._text
        while self._peek(at) != "]" or items:
            value, end = _SCAN(text, at)
            items.append(value)
            self._spans.append((at, end))
            if text.startswith((",{", ", {"), end):  # as nearly always
                at = text.index("{", end)
                continue
            at = self._space(end)
            if self._peek(at) == "]":
                break
            at = self._space(self._expect(",", at))
        self._items, self._bounds = items, (start, at + 1)
        return items, at + 1

    def _space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return at if found is None else found.end()

    def _peek(self, at: int) -> str:
        return self._text[at : at + 1]

    def _expect(self, mark: str, at: int) -> int:
        if self._peek(at) != mark:
            raise ValueError(f"{mark!r} was expected at {at}, not {self._peek(at)!r}")
        return self._space(at + 1)


def encode(value: Any) -> str:
    """Return `value` as JSON text; half a character, which UTF-8 has no bytes for, is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def objects(items: Sequence[Any], listed: str) -> None:
    """Refuse items that are no objects.

    Raises:
        Refusal: which one it is.
    """
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            kind = type(item).__name__
            raise Refusal(400, f"{listed}[{index}] must be an object, got {kind}")
