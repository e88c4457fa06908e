"""Forgetting: which messages go together, and what is put in the place of what told of them.

It reads the transcript and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from .blocks import Block
from .messages import Message, Role
from .stores.base import Counted, Event, Store
from .tombstone import is_tombstone, tombstone

MOST_FOLDED = 512
"""From no more messages than this, the newest that left, a summary is made again."""
_BATCH = 64
_KEPT = frozenset(["settings", "tools", "usage", "forgotten", "erased"])
"""Kinds of events that never hold what was said; all others are erased."""


class Erased(NamedTuple):
    """What a store puts in the place of what is forgotten; see `Store.erase`."""

    messages: dict[int, Counted]
    events: dict[int, Event]


class Reader:
    """Reads one session of a store.

    Args:
        store: where it is.
        session_id: its name.
        count: how many messages it has.
    """

    def __init__(self, store: Store, session_id: str, count: int) -> None:
        self._store = store
        self._session_id = session_id
        self._count = count

    def places(self, messages: Collection[Message]) -> set[int]:
        """Return where messages that equal one of these stand."""
        said = enumerate(self._read(0, self._count))
        return {i for i, (message, _) in said if message in messages}

    def whole(self, places: Iterable[int]) -> set[int]:
        """Return these places and those of their tool calls and results; no tombstones."""
        found: set[int] = set()
        for place in places:
            if place not in found:
                found.update(self._round(place))
        return found

    def _round(self, place: int) -> Iterator[int]:
        start = place
        while self._at(start).role is Role.TOOL:
            start -= 1
        if not is_tombstone(self._at(start)):
            yield start
            for i, (message, _) in enumerate(self._read(start + 1, self._count), start + 1):
                if message.role is not Role.TOOL:
                    break
                yield i

    def tokens(self, places: Iterable[int]) -> int:
        """Return what the messages at these places cost, all together."""
        found = self._store.pick(self._session_id, sorted(places))
        return sum(counted.tokens for counted in found.values())

    def _at(self, place: int) -> Message:
        return next(self._read(place, place + 1)).message

    def _read(self, start: int, stop: int) -> Iterator[Counted]:
        return self._store.messages(self._session_id, start, stop)

    def erased(self, gone: Iterable[int], at: datetime) -> Erased:
        """Return what stands in the place of messages and of the events that may tell of them."""
        stone = Counted(tombstone(at), 0)
        told = enumerate(self._store.events(self._session_id))
        events = {i: Event("erased", e.at, "null") for i, e in told if e.kind not in _KEPT}
        return Erased(dict.fromkeys(gone, stone), events)

    def blocks(self, left_out: Collection[int]) -> Iterator[list[Block]]:
        """Yield the newest blocks that are not in `left_out`, oldest first, in batches."""
        blocks = self._blocks(max(0, self._count - MOST_FOLDED), left_out)
        while batch := list(islice(blocks, _BATCH)):
            yield batch

    def _blocks(self, start: int, left_out: Collection[int]) -> Iterator[Block]:
        counted: list[Counted] = []
        for i, one in enumerate(self._read(start, self._count), start):
            if one.message.role is Role.TOOL:
                if counted:
                    counted.append(one)
                continue
            if _is_whole(counted):
                yield _block(i - len(counted), counted)
            skipped = i in left_out or is_tombstone(one.message)
            counted = [] if skipped else [one]
        if _is_whole(counted):
            yield _block(self._count - len(counted), counted)

    def last_user(self, before: int, left_out: Collection[int]) -> int | None:
        """Return the place of the last user's message before a place; None if there is none."""
        for stop in range(before, 0, -_BATCH):
            start = max(0, stop - _BATCH)
            said = list(enumerate(self._read(start, stop), start))
            for i, (message, _) in reversed(said):
                if message.role is Role.USER and i not in left_out:
                    return i
        return None


def _is_whole(counted: list[Counted]) -> bool:
    """Whether these are the messages of a block, with all results of its calls."""
    return bool(counted) and len(counted) == 1 + len(counted[0].message.tool_calls)


def _block(start: int, counted: list[Counted]) -> Block:
    return Block(start, tuple(c.message for c in counted), sum(c.tokens for c in counted))


def now() -> datetime:
    """Return the time that a tombstone tells, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)
