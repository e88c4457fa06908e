"""Units: messages of a history that stay or go together, and what they cost.

A unit is a message, or what the model said together with the results of the tools that it called.
To the fold each is one block, so that no call is ever separated from its results, whatever the API.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, overload

from finite_memory_core.accounting import MESSAGE_OVERHEAD, Accountant

from .scanning import Scanned, encode
from .wires import Kind, Wire

_DIGEST = 16
_MARKS = ("cache_control", "prompt_cache_breakpoint")
"""What clients set on another message in every request; it says nothing of the conversation."""
_UNSAID = frozenset({"role", "type", "status", "signature", *_MARKS})
_COUNTED = frozenset(
    {"image", "image_url", "input_image", "input_audio", "audio", "file", "input_file", "document"}
)


class Unit(NamedTuple):
    """A run of items, [start, stop), that stay or go together; `role` is that of its first."""

    start: int
    stop: int
    role: str
    pinned: bool


def plainness(items: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Return which items are a role and a text and nothing else, as nearly all are."""
    return [
        len(item) == 2 and type(item.get("content")) is str and type(item.get("role")) is str
        for item in items
    ]


def group(
    items: Sequence[Mapping[str, Any]], wire: Wire, plain: Sequence[bool]
) -> tuple[int, list[Unit]]:
    """Return how many leading items are instructions, and the units of the rest."""
    head = 0
    while head < len(items) and wire.instructs(items[head]):
        head += 1
    answered = _answered(items, wire, plain)
    units: list[Unit] = []
    start, role, pinned = head, "", False
    before, until = None, -1
    for index in range(head, len(items)):
        item = items[index]
        kind = _SPEAKERS.get(item["role"]) if plain[index] else None
        if kind is not None and index > until and not (wire.runs and kind is before is Kind.STEP):
            if role:  # nearly always: what is said stands for itself
                units.append(Unit(start, index, role, pinned))
            start, role, pinned, before = index, item["role"], False, kind
            continue
        if kind is None:
            kind = wire.kind(item)
        joins = kind is Kind.RESULT or index <= until or (wire.runs and kind is before is Kind.STEP)
        if not (joins and role):
            if role:
                units.append(Unit(start, index, role, pinned))
            start, role, pinned = index, _ROLES[kind], False
        if not plain[index] or kind is Kind.INSTRUCTION or kind is Kind.RESULT:
            pinned = pinned or wire.instructs(item)
            until = max(until, _last_answer(item, index, wire, answered))
        before = kind
    if role:
        units.append(Unit(start, len(items), role, pinned))
    return head, units


_SPEAKERS = {"user": Kind.USER, "assistant": Kind.STEP}
_ROLES = {
    Kind.USER: "user",
    Kind.STEP: "assistant",
    Kind.RESULT: "assistant",
    Kind.INSTRUCTION: "system",
}


def _answered(
    items: Sequence[Mapping[str, Any]], wire: Wire, plain: Sequence[bool]
) -> dict[str, list[int]]:
    """Return where results of each tool call stand."""
    found: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        if not plain[index]:
            for name in wire.answers(item):
                found.setdefault(name, []).append(index)
    return found


def _last_answer(
    item: Mapping[str, Any], index: int, wire: Wire, answered: Mapping[str, list[int]]
) -> int:
    """Return where the last result of the calls in `item` stands: ids may be used again later."""
    last = -1
    for name in wire.calls(item):
        places = answered.get(name, [])
        after = bisect_right(places, index)
        if after < len(places):
            last = max(last, places[after])
    return last


class Chain(Sequence[bytes]):
    """Digests of a history up to and with each unit, made when they are asked for.

    Messages are JSON objects, which tell their own end, so nothing has to stand between them.
    """

    def __init__(self, scanned: Scanned, units: Sequence[Unit], plain: Sequence[bool]) -> None:
        self._scanned, self._units, self._plain = scanned, units, plain
        self._data = memoryview(scanned.text.encode()) if scanned.text.isascii() else None
        self._known: dict[int, bytes] = {}
        self._running, self._done = blake2b(digest_size=_DIGEST), 0

    def __len__(self) -> int:
        return len(self._units)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(place)
        if place not in self._known:
            if place < self._done:  # out of order: then all of them, once
                self._running, self._done = blake2b(digest_size=_DIGEST), 0
                for each in range(len(self)):
                    self._known[each] = self._digest(each)
            else:
                self._known[place] = self._digest(place)
        return self._known[place]

    def _digest(self, place: int) -> bytes:
        scanned, data, plain = self._scanned, self._data, self._plain
        update, spans = self._running.update, scanned.spans
        first = self._units[self._done].start
        for index in range(first, self._units[place].stop):
            if data is not None and plain[index]:
                start, stop = spans[index]
                update(data[start:stop])
            else:
                update(_fingerprint(scanned, index, plain[index]))
        self._done = place + 1
        return self._running.digest()


def _fingerprint(scanned: Scanned, index: int, plain: bool) -> bytes:
    """Return what tells a message from another, the same with a mark and without one."""
    span, items = scanned.span(index), scanned.items or []
    if not plain:
        item = items[index]
        if isinstance(item.get("content"), list) or any(mark in span for mark in _MARKS):
            span = encode(_unmarked(item))
    return span.encode("utf-8", "surrogatepass")


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _unmarked(v) for k, v in value.items() if k not in _MARKS}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


def text_of(value: Any) -> str:
    """Return what stands to read in a message, a part or a schema, one piece to a line.

    NUL and lone surrogates, which no store can hold, are replaced.
    """
    text = "\n".join(piece for piece in _leaves(value) if isinstance(piece, str))
    text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def cost_of(value: Any, accountant: Accountant) -> int:
    """Return the tokens of a message."""
    if isinstance(value, dict) and plainness([value])[0]:
        return MESSAGE_OVERHEAD + accountant.text(value["content"])
    pieces: list[str] = []
    total = MESSAGE_OVERHEAD
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            pieces.append(leaf)
        else:
            total += accountant.part(leaf)
    return total + accountant.text("\n".join(pieces))


def _leaves(value: Any) -> Iterator[str | dict[str, Any]]:
    """Yield the texts in `value`, and the parts that cost something else than their text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind in _COUNTED and "role" not in value:
            yield value
            return
        for name, inner in value.items():
            if name in ("arguments", "input", "parameters") and isinstance(inner, dict):
                yield json.dumps(inner, ensure_ascii=False)
            elif name not in _UNSAID:
                yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
