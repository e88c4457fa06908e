"""Forgetting: which messages go together, and what is put in the place of what told of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from .blocks import Block
from .errors import ConfigError, MessageError
from .messages import Message, Role
from .stores.base import Counted, Event, Store
from .tombstone import is_tombstone, tombstone

if TYPE_CHECKING:
    from .fold import Fold
    from .recording import Recorder

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

    def index_of(self, target: int | Message) -> int:
        """Return the place of a message, the newest where several equal it.

        Raises:
            ConfigError: there is no such message.
        """
        count = self._count
        if isinstance(target, Message):
            places = self.places([target])
            if not places:
                raise ConfigError(f"no message of the transcript equals {target!r:.120}")
            return max(places)
        if isinstance(target, bool) or not isinstance(target, int):
            raise ConfigError(f"a message is named by its index or itself, got {target!r:.80}")
        if not -count <= target < count:
            raise ConfigError(f"there is no message {target} in a transcript of {count} messages")
        return target % count

    def named(self, targets: Iterable[int | Message]) -> set[int]:
        """Return the places of all that these name, with their tool calls and results.

        Raises:
            ConfigError: there is no such message.
        """
        named = list(targets)
        places = {self.index_of(target) for target in named}
        equal = [target for target in named if isinstance(target, Message)]
        return self._whole(places | (self.places(equal) if equal else set()))

    def block(self, index: int) -> Block:
        """Return the block that holds a message of the archive.

        Raises:
            ConfigError: it was forgotten.
            MessageError: it belongs to tool calls that lack results.
        """
        start = index
        while self._at(start).role is Role.TOOL:
            start -= 1
        first = self._at(start)
        if is_tombstone(first):
            raise ConfigError(f"message {index} was forgotten; there is nothing to pin")
        counted = list(self._read(start, start + 1 + len(first.tool_calls)))
        results = [c for c in counted[1:] if c.message.role is Role.TOOL]
        if len(results) < len(first.tool_calls):
            raise MessageError(
                f"message {index} belongs to tool calls that never got all their results; no "
                "provider takes such a block, so it cannot be pinned"
            )
        return _block(start, counted)

    def places(self, messages: Collection[Message]) -> set[int]:
        """Return where messages that equal one of these stand."""
        said = enumerate(self._read(0, self._count))
        return {i for i, (message, _) in said if message in messages}

    def _whole(self, places: Iterable[int]) -> set[int]:
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


def block_of(fold: Fold, reader: Reader, index: int) -> Block:
    """Return the block that holds a message, from the window or the archive; see `Reader.block`."""
    for block in fold.window.blocks:
        if block.index <= index < block.end:
            return block
    return reader.block(index)


def forget(
    recorder: Recorder, reader: Reader, gone: set[int], drop_traces: Callable[[], None]
) -> None:
    """Remove the messages at these places for good, and what tells of them.

    Args:
        recorder: of the session.
        reader: of its transcript.
        gone: the places; of tool calls and results all or none.
        drop_traces: lets go of what earlier contexts and searches left behind.

    Raises:
        StoreError: the store could not write; nothing is forgotten then.
    """
    fold, mark = recorder.fold, recorder.fold.mark()
    erasures, question = fold.journal.totals.erasures, fold.window.question
    recorder.undoing(mark, lambda: _let_go(fold, reader, gone, question))
    try:
        if not recorder.commit(mark, reader.erased(gone, now())):
            why = "the store tells it no more, but its files still hold it (docs/stores.md)"
            fold.journal.fall_back("erase", why)
            recorder.publish(recorder.version)
    finally:
        if fold.journal.totals.erasures > erasures:  # also where an interrupt came late
            drop_traces()


def _let_go(fold: Fold, reader: Reader, gone: set[int], question: Block | None) -> None:
    stay = {i for b in fold.window.blocks for i in range(b.index, b.end)}
    fold.forget(gone, reader.tokens(gone), reader.blocks(gone | stay))
    if fold.state.running.shown and fold.count > MOST_FOLDED:
        why = f"it was made again from the newest {MOST_FOLDED} messages of the transcript"
        fold.journal.fall_back("summary", why)
    _bring_back_question(fold, reader, gone, question)
    fold.checkpoint()


def _bring_back_question(
    fold: Fold, reader: Reader, gone: Collection[int], before: Block | None
) -> None:
    """If the last user's message was forgotten, let the one before stand in its place."""
    question = fold.window.question
    if before is None or question is before:
        return
    place = reader.last_user(before.index, gone)
    if place is None or (question is not None and question.index == place):
        return
    block = block_of(fold, reader, place)
    if fold.window.required() + block.tokens <= fold.most:
        fold.replace(block)
    else:
        why = f"message {place}, the last of the user that is left, no longer fits the context"
        fold.journal.fall_back("question", why)


def now() -> datetime:
    """Return the time that a tombstone tells, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)
