"""Bounding a request: core's fold over the history that the client sent, and what stays of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from finite_memory_core import BudgetError, EstimatingCounter, Message
from finite_memory_core.accounting import CONTEXT_OVERHEAD, Accountant
from finite_memory_core.blocks import Block
from finite_memory_core.counting import Calibration
from finite_memory_core.events import Evicted
from finite_memory_core.eviction import Eviction
from finite_memory_core.fold import Fold, Limits
from finite_memory_core.policies import build_policy
from finite_memory_core.recall import Hit

from . import units as grouping
from .cursors import Cursor, Cursors
from .joining import joined, quoting
from .scanning import Scanned, encode
from .settings import ServeSettings
from .units import Unit
from .usage import Learnt
from .wires import BRIDGE, Kind, Wire

if TYPE_CHECKING:
    from .archive import Archives, Kept


@dataclass(frozen=True, slots=True)
class History:
    """A request's messages, as units."""

    scanned: Scanned
    wire: Wire
    head: int
    units: list[Unit]
    chain: Sequence[bytes]

    @property
    def model(self) -> str:
        """The model that is asked."""
        return str(self.scanned.fields.get("model", ""))[:200]

    @property
    def question(self) -> int:
        """The place of the last unit in which a user speaks; -1 where there is none."""
        places = range(len(self.units) - 1, -1, -1)
        return next((i for i in places if self.units[i].role == "user"), -1)

    def message(self, place: int) -> Message:
        """Return a unit as the fold and the archive see it: who speaks, and what can be read."""
        unit = self.units[place]
        items = self.scanned.items or []
        text = "\n".join(grouping.text_of(item) for item in items[unit.start : unit.stop])
        return Message(unit.role, text or "-", pinned=unit.pinned)


@dataclass(frozen=True, slots=True)
class Bounded:
    """What is sent upstream, and what came of it.

    Attributes:
        body: the request's body; None where it is sent as it came.
        tokens: what it costs, by our count, corrected by what the model reported so far.
        counted: the same, uncorrected.
        model: which model is asked.
        messages: how many messages came.
        dropped: how many of them are not sent.
        recalled: how many were brought back, quoted.
        evictions: those that this request caused.
        units: how many units the history had, instructions at its head aside.
        standing: which of them are sent.
        stable: tokens of those that were sent before, up to the first that was not.
        stored: the session of the store that holds them; "" without a store.
        hits: what was brought back, the best first.
    """

    body: bytes | None
    tokens: int
    counted: int
    model: str
    messages: int
    dropped: int = 0
    recalled: int = 0
    evictions: tuple[Eviction, ...] = field(default=(), repr=False)
    units: int = 0
    standing: tuple[int, ...] = field(default=(), repr=False)
    stable: int = 0
    stored: str = ""
    hits: tuple[Hit, ...] = field(default=(), repr=False)


def history_of(scanned: Scanned, wire: Wire) -> History:
    """Return the units of a request, and their digests."""
    items = scanned.items or []
    plain = grouping.plainness(items)
    head, units = grouping.group(items, wire, plain)
    return History(scanned, wire, head, units, grouping.Chain(scanned, units, plain))


class Bounder:
    """Bounds requests.

    Args:
        settings: the budget and what else a fold needs.
        archives: keeps and searches what was said; None for a server that keeps nothing.
    """

    def __init__(self, settings: ServeSettings, archives: Archives | None = None) -> None:
        self._settings = settings
        self._policy = build_policy(settings.policy)
        self._reads = settings.policy != "sliding"  # that one does not look at what was said
        self._accountant = Accountant(EstimatingCounter())
        self._archives = archives
        self.cursors = Cursors(settings.sessions)
        self.learnt = Learnt()

    def bound(self, history: History, key: bytes, most: int | None = None) -> Bounded:
        """Return what goes upstream of `history`, and remember in a cursor what does not.

        Args:
            history: the request's.
            key: the session's.
            most: the most tokens, as we count them, of a context that the upstream will take; None
                where it is not known to take less than the budget.

        Raises:
            BudgetError: what must stay does not fit.
            StoreError: the archive could not be written or searched.
            PolicyError: the policy failed.
        """
        if self._archives is None:
            return self._bound(history, key, most, None)
        work = partial(self._bound, history, key, most)
        return self._archives.keep(history, key.hex(), self._cost, work)

    def _bound(
        self, history: History, key: bytes, most: int | None, archive: Kept | None
    ) -> Bounded:
        cursor, newest = self._cursor(history, key, archive)
        beside, factor = self._beside(history), self.learnt.factor(history.model)
        fold, count = self._begun(beside, factor, most), len(history.units)
        evictions: tuple[Eviction, ...] = ()
        grown = None if cursor is None else self._grown(fold.limit, history, cursor)
        if grown is None:
            evictions = self._follow(fold, history, cursor)
            grown = self._closed(history, fold)
        standing, recalled = grown.standing, None
        if archive is not None and self._settings.recall and history.question >= 0:
            room, left = fold.recall_room, fold.most - grown.tokens
            recalled = archive.recall(history, standing, self._accountant, room, left)
        if archive is None:
            self.cursors.put(key, grown)
        elif newest and evictions:  # between two evictions it only grows, which anybody can tell
            archive.note(grown, history.model, factor)
        gone = [history.units[i] for i in _others(standing, count)]
        dropped = sum(unit.stop - unit.start for unit in gone)
        quoted = None if recalled is None or recalled.message is None else recalled
        body = None
        if dropped or quoted is not None:
            text = None if quoted is None or quoted.message is None else quoted.message.text
            body = _assembled(history, standing, text)
        counted = (
            beside + CONTEXT_OVERHEAD + grown.tokens + (0 if quoted is None else quoted.tokens)
        )
        return Bounded(
            body,
            ceil(counted * factor),
            counted,
            history.model,
            len(history.scanned.items or ()),
            dropped,
            0 if quoted is None else len(quoted.hits),
            evictions,
            count,
            standing,
            0 if cursor is None else beside + CONTEXT_OVERHEAD + _stable(fold, cursor, standing),
            "" if archive is None else archive.session_id,
            () if quoted is None else tuple(quoted.hits),
        )

    def _cursor(
        self, history: History, key: bytes, archive: Kept | None
    ) -> tuple[Cursor | None, bool]:
        """Return the cursor to go on from, and whether a newer one may take its place."""
        if archive is None:
            cursor = self.cursors.get(key)
            fits = cursor is not None and cursor.fits(history.chain)
            return (cursor if fits else None), True  # if not: another branch, or an earlier turn
        noted = archive.cursor()
        if noted is None:
            return None, True
        self.learnt.adopt(noted.model, noted.factor)
        if noted.cursor.fits(history.chain):
            return noted.cursor, True
        return None, False  # an earlier turn, asked again: the session has gone on since

    def _grown(self, limit: int, history: History, cursor: Cursor) -> Cursor | None:
        """Return the cursor with what is new behind it; None where something has to leave.

        It is what the fold would come to, without putting together a window that only grows.
        """
        units, count = history.units, len(history.units)
        if all(units[place].role == "system" for place in cursor.standing):
            return None  # nobody has spoken yet, which may need a bridge
        new = range(cursor.count, count)
        tokens = cursor.tokens + sum(self._cost(history, place) for place in new)
        if tokens > limit:
            return None
        return Cursor(count, tokens, history.chain[-1], (*cursor.standing, *new))

    def _follow(self, fold: Fold, history: History, cursor: Cursor | None) -> tuple[Eviction, ...]:
        """Fold over `history`, from where the session's cursor stands."""
        if cursor is not None:
            blocks = [self._block(history, place) for place in cursor.standing]
            fold.restore((), blocks, None, summary_stands=False)
            fold.count = cursor.count
            fold.settle()
        question, last = history.question, len(history.units) - 1
        for place in range(fold.count, last + 1):
            try:
                fold.push(self._message(history, place), self._cost(history, place))
            except BudgetError:
                if place in (question, last):
                    raise
                fold.count += 1  # it never fits, and it is not what is asked: the rest goes on
        if fold.window.blocks[-1:] == [] or fold.window.blocks[-1].index != last:
            raise BudgetError(
                f"the last message does not fit beside the last user message in the budget of "
                f"{self._settings.budget}; raise the budget or shorten it",
                needed=self._cost(history, last),
                available=fold.most - fold.window.tokens,
            )
        return tuple(n.eviction for n in fold.notices if isinstance(n, Evicted))

    def _closed(self, history: History, fold: Fold) -> Cursor:
        """Return where the fold stands, without results that would stand before a question.

        A policy that reads may keep a tool call and drop the answer that it led to. Where results
        are messages of their own, several providers want the assistant to speak behind them.
        """
        units, tokens = history.units, fold.window.tokens
        kept: list[int] = []  # from the last to the first
        for block in reversed(fold.window.blocks):
            place = block.index
            parted = bool(kept) and kept[-1] > place + 1 and units[kept[-1]].role == "user"
            if parted and self._awaits(history, place) and not units[place].pinned:
                tokens -= block.tokens
            else:
                kept.append(place)
        return Cursor(len(units), tokens, history.chain[-1], tuple(reversed(kept)))

    @staticmethod
    def _awaits(history: History, place: int) -> bool:
        """Return whether a unit ends with a result that no message of a user can join."""
        items, wire = history.scanned.items or [], history.wire
        last = items[history.units[place].stop - 1]
        return wire.kind(last) is Kind.RESULT and last.get("role") not in ("user", "system")

    def _beside(self, history: History) -> int:
        """Return the tokens of what stands beside the conversation: instructions and tools."""
        fields, count = history.scanned.fields, self._accountant
        beside = sum(grouping.cost_of(fields[n], count) for n in history.wire.beside if n in fields)
        items = history.scanned.items or []
        return beside + sum(grouping.cost_of(item, count) for item in items[: history.head])

    def _begun(self, beside: int, factor: float, most: int | None) -> Fold:
        """Return the empty fold; what stands beside the messages is part of its reserve."""
        settings = self._settings
        reserve, budget = settings.reserve + ceil(beside * factor), settings.budget
        if most is not None:
            budget = min(budget, settings.reserve + int(most * factor))
        if reserve + CONTEXT_OVERHEAD * factor >= budget:
            raise BudgetError(
                f"instructions and tools cost {beside} tokens, which with the reserve of "
                f"{settings.reserve} leaves nothing of the budget of {budget}; raise it",
                needed=beside,
                available=budget - settings.reserve,
            )
        limits = Limits(budget, settings.low_water, reserve, False, None, 0.0, settings.recall)
        known = Calibration.from_dict({"ratios": [factor], "samples": 1})
        return Fold("", self._policy, self._accountant, limits, calibration=known)

    def _cost(self, history: History, place: int) -> int:
        unit, items = history.units[place], history.scanned.items or []
        return sum(
            grouping.cost_of(item, self._accountant) for item in items[unit.start : unit.stop]
        )

    def _block(self, history: History, place: int) -> Block:
        message = self._message(history, place)
        return Block(place, (message,), self._cost(history, place), message.pinned)

    def _message(self, history: History, place: int) -> Message:
        if self._reads:
            return history.message(place)
        unit = history.units[place]
        return _UNREAD[unit.role, unit.pinned]


_UNREAD = {
    (role, pinned): Message(role, "-", pinned=pinned)
    for role in ("user", "assistant", "system")
    for pinned in (False, True)
}
"""What stands for a unit in the fold of a policy that does not read."""


def _stable(fold: Fold, cursor: Cursor, standing: Sequence[int]) -> int:
    """Return what the leading units cost that are sent again as they were sent before."""
    same = 0
    for before, now in zip(cursor.standing, standing, strict=False):
        if before != now:
            break
        same += 1
    if same == len(cursor.standing):
        return cursor.tokens
    return sum(block.tokens for block in fold.window.blocks[:same])


def _others(standing: Sequence[int], count: int) -> list[int]:
    there = set(standing)
    return [place for place in range(count) if place not in there]


def _assembled(history: History, standing: Sequence[int], quoted: str | None) -> bytes:
    """Return the body with the standing units alone, each message's bytes as they came.

    Where a unit between two messages of one role has left, these are joined.
    """
    scanned, wire, units = history.scanned, history.wire, history.units
    items = scanned.items or []
    pieces = [scanned.span(i) for i in range(history.head)]
    opening = next((place for place in standing if units[place].role != "system"), -1)
    asked = -1 if quoted is None else history.question
    last = -1
    before: Mapping[str, Any] | None = None  # what the last piece ends with
    run = (0, 0)  # the items of the last piece, [start, stop)
    for place, stop in _runs(standing, (opening, asked)):
        start, end = units[place].start, units[stop - 1].stop
        item = items[start]
        if place == opening and units[place].role != "user":
            pieces.append(wire.spoken(BRIDGE))
        if quoted is not None and place == asked:
            whole = quoting(quoted, item, wire)
            if whole is None:
                pieces.append(wire.spoken(quoted))
                before = None
            else:
                item = whole
        one = None if before is None or place == last + 1 else joined(before, item, wire)
        if one is not None:
            item = one
            pieces.pop()
            if run[0] < run[1] - 1:
                pieces.append(scanned.run(run[0], run[1] - 1))
        if item is not items[start]:
            pieces.append(encode(item))
            start += 1
        if start < end:
            pieces.append(scanned.run(start, end))
            item = items[end - 1]
        last, before, run = stop - 1, item, (start, end)
    return scanned.with_items(pieces)


def _runs(places: Sequence[int], heads: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of places that stand side by side, [first, stop); each of `heads` begins one."""
    first = stop = -1
    for place in places:
        if place == stop and place not in heads:
            stop += 1
            continue
        if first >= 0:
            yield first, stop
        first, stop = place, place + 1
    if first >= 0:
        yield first, stop
