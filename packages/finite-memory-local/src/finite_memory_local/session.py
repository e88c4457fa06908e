"""A session: one conversation's cache with its ledger, always saying the same.

Every change goes through here, so that the ids of the ledger stand behind the states of the cache,
position by position. This module knows the cache and its positions; it knows no text and no model,
which is handed in as a function that reads ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from finite_memory_core import Message

from .attention import Recorder
from .layers import KeptLayer, Lifted
from .ledger import (
    Fresh,
    Kept,
    Piece,
    Segment,
    Span,
    cut,
    ids_of,
    pieces_from_list,
    pieces_to_list,
    prefix_plan,
    shift_plan,
    spans_of,
)
from .probe import Capability, LayerKind
from .rotation import Turns

Read = Callable[[Sequence[int]], None]
"""Lets the model read ids into the cache."""


_NONE = torch.empty(0, dtype=torch.long, device="cpu")


class Moved(NamedTuple):
    """What following a plan did, in tokens."""

    reused: int
    evicted: int
    shifted: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The ledger that is wanted, and the way to it.

    Attributes:
        pieces: what is to stand behind the cache.
        segments: what is kept and what is read, in order; the last is `Fresh`.
        sink: which of `pieces` stands for first tokens that are not in the context, if one does.
    """

    pieces: list[Piece]
    segments: list[Segment]
    sink: int | None = None


class Session:
    """A cache and its ledger.

    Args:
        capability: what the model's cache allows.
        new_cache: makes an empty one.
        exact: whether a state that was moved is precise enough to be moved again (float32).
        sinks: how many first tokens stay whatever leaves, where tokens in the middle can leave.

    Attributes:
        cache: the states; None before the first turn and after a drop.
        pieces: the ledger.
        pure: how many leading positions are what a fresh prefill would give; None for all.
        replies: the ids of the replies that the model gave, by their text.
        erasures: how many deletions its states know of.
        recorder: sees queries, where somebody asked for importance.
        lock: held by whoever changes it, and whoever reads more than one of its parts.
    """

    def __init__(
        self, capability: Capability, new_cache: Callable[[], Cache], exact: bool, sinks: int
    ) -> None:
        self.capability = capability
        self._new_cache = new_cache
        self._exact = exact
        self._sinks = sinks
        self._sink: int | None = None
        self._phases = _NONE  # where moved states were computed; beyond: where they stand
        self.cache: Cache | None = None
        self.pieces: list[Piece] = []
        self.pure: int | None = None
        self.replies: dict[str, tuple[int, ...]] = {}
        self.erasures = 0
        self.recorder: Recorder | None = None
        self.lock = RLock()

    # -- what it holds ---------------------------------------------------------------------------

    @property
    def ids(self) -> list[int]:
        """The ids behind the positions of the cache."""
        return ids_of(self.pieces)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The ledger: which ids stand where."""
        return spans_of(self.pieces)

    @property
    def length(self) -> int:
        """How many tokens are in the cache."""
        return sum(len(piece.ids) for piece in self.pieces)

    @property
    def nbytes(self) -> int:
        """Bytes of its states."""
        cache = self.cache
        return 0 if cache is None else sum(map(_nbytes, cache.layers))

    @property
    def layers(self) -> list[KeptLayer]:
        """Its layers, where they are ours."""
        cache = self.cache
        layers: list[Any] = cache.layers if cache is not None else []
        return [layer for layer in layers if isinstance(layer, KeptLayer)]

    @property
    def is_away(self) -> bool:
        """Whether states wait somewhere else than where the model computes them."""
        return any(layer.is_away for layer in self.layers)

    @property
    def can_leave(self) -> bool:
        """Whether CPU memory is somewhere else than where they are."""
        return any(layer.home is not None and layer.home.type != "cpu" for layer in self.layers)

    def leave(self) -> None:
        """Move the states to CPU memory; `KeptLayer.bring_home` brings them back."""
        for layer in self.layers:
            layer.to("cpu")

    # -- planning --------------------------------------------------------------------------------

    def plan(self, pieces: Sequence[Piece], shift: bool, erasures: int) -> Plan:
        """Return the ledger that is wanted and the way to it. Changes nothing.

        Args:
            pieces: what the model is to see.
            shift: whether tokens in the middle may leave.
            erasures: the context's; more than is known forgets all that may hold traces.
        """
        if self.cache is None:
            return Plan(list(pieces), prefix_plan((), pieces, 0))
        erased = erasures != self.erasures
        if erased or not (shift and self.capability.shift):
            most = self.length if self.pure is None else self.pure  # moved states are not exact
            segments = prefix_plan(self.pieces, pieces, most)
            if not self.capability.cut and _kept(segments) != self.length:
                segments = prefix_plan((), pieces, 0)
            return Plan(list(pieces), segments)
        if self._sink is not None and not self._goes_on(pieces):
            return Plan(list(pieces), prefix_plan((), pieces, 0))
        wanted, sink = self._behind_sink(pieces)
        segments = shift_plan(self.pieces, wanted)
        head = segments[0]
        stays = head.end if isinstance(head, Kept) and head.start == 0 else 0
        rest = segments[1:] if stays else segments
        end = min(self._sinks, *(s.start for s in rest if isinstance(s, Kept)), stays + self._sinks)
        if end <= stays or not _kept(rest):  # they stay; or nothing else does: another conversation
            return Plan(wanted, segments, sink)
        at = _index(wanted, stays)
        if at is None or (sink is not None and at != sink + 1):
            return Plan(wanted, segments, sink)
        if sink is not None:  # what leaves behind it makes it longer
            at = sink
            stays -= len(wanted.pop(sink).ids)
        wanted.insert(at, Piece(tuple(self.ids[stays:end])))
        return Plan(wanted, [Kept(0, end), *rest], at)

    def _goes_on(self, pieces: Sequence[Piece]) -> bool:
        """Whether a piece behind the sink stays; else it is another conversation."""
        start = 0 if self._sink is None else self._sink + 1
        held = [piece.ids for piece in self.pieces[start:]]
        return any(piece.ids[: len(ids)] == ids for ids in held for piece in pieces)

    def _behind_sink(self, pieces: Sequence[Piece]) -> tuple[list[Piece], int | None]:
        """Return the pieces with the sink at its place, and its place; None where there is none.

        It stands first, or behind what stays in front of it: the token that begins every text.
        """
        at = self._sink
        before = [] if at is None else self.pieces[:at]
        if at is None or [p.ids for p in before] != [p.ids for p in pieces[:at]]:
            return list(pieces), None
        return [*pieces[:at], self.pieces[at], *pieces[at:]], at

    # -- changing --------------------------------------------------------------------------------

    @torch.no_grad()
    def follow(self, plan: Plan, read: Read) -> Moved:
        """Bring cache and ledger to what is wanted, the last `Fresh` aside: it is left to a reply.

        On any failure the cache is dropped, so that it never says something else than the ledger.
        """
        try:
            moved = self._follow(plan.segments, read)
        except BaseException:
            self.drop()
            raise
        self._sink = plan.sink
        ready = sum(len(piece.ids) for piece in plan.pieces) - _length(plan.segments[-1])
        self.pieces = cut(plan.pieces, ready)
        if self.held != ready:
            self.drop()
            raise RuntimeError(f"{ready} tokens were to be in the cache")
        return moved

    def _follow(self, segments: Sequence[Segment], read: Read) -> Moved:
        before, head = self.length, segments[0]
        prefix = head.end if isinstance(head, Kept) and head.start == 0 else 0
        rest = segments[1 if prefix else 0 : -1]
        kept = _kept(rest)
        if self.cache is None:
            self.cache = self._new_cache()
        if kept:
            self._rebuild(prefix, rest, read)
        else:
            self.cut(prefix)
            for segment in rest:
                read(segment.ids if isinstance(segment, Fresh) else ())
        return Moved(prefix + kept, before - prefix - kept, kept)

    def _rebuild(self, prefix: int, rest: Sequence[Segment], read: Read) -> None:
        """Put the kept and the fresh segments behind the prefix."""
        old, new = _positions(prefix, rest)
        phases = self._phases_at(old)
        turns = Turns(phases, new)
        if all(isinstance(segment, Kept) for segment in rest):  # layer by layer: no peak
            for layer, kind in self._kinds():
                lifted = layer.lift(old.to(layer.device), kind.slot, self._exact)
                layer.cut(prefix)
                self._place(layer, kind, lifted, turns)
            self.cut_ledger(prefix)
        else:
            taken = [
                layer.lift(old.to(layer.device), kind.slot, self._exact)
                for layer, kind in self._kinds()
            ]
            for layer in self.layers:
                layer.cut(prefix)  # to nothing as well: what was lifted goes back into them
            self.cut_ledger(prefix)
            self._weave(rest, taken, turns, read)
        if not self._exact:
            known = self._phases_at(_range(0, prefix))
            self._phases = torch.cat([known, _range(prefix, prefix + _total(rest))])
            self._phases[new] = phases
        self.pure = prefix if self.pure is None else min(prefix, self.pure)
        if self.recorder is not None:
            self.recorder.queries.clear()  # what was read in between is not what stands last

    def _weave(
        self, rest: Sequence[Segment], taken: Sequence[Lifted], turns: Turns, read: Read
    ) -> None:
        """Read the fresh segments and put the kept ones between them."""
        start = 0
        for segment in rest:
            if isinstance(segment, Fresh):
                read(segment.ids)
                continue
            end = start + _length(segment)
            for (layer, kind), lifted in zip(self._kinds(), taken, strict=True):
                part = Lifted(lifted.keys[:, :, start:end], lifted.values[:, :, start:end])
                self._place(layer, kind, part, turns, slice(start, end))
            start = end

    def _place(
        self,
        layer: KeptLayer,
        kind: LayerKind,
        lifted: Lifted,
        turns: Turns,
        part: slice = slice(None),
    ) -> None:
        def turn(states: Tensor, out: Tensor) -> None:
            if kind.rotation is None:
                out.copy_(states)
                return
            cos, sin = turns.angles(kind.rotation, layer.device)
            kind.rotation.turn(states, cos[part], sin[part], out)

        layer.place(lifted, kind.slot, self._exact, turn)

    def _kinds(self) -> list[tuple[KeptLayer, LayerKind]]:
        return list(zip(self.layers, self.capability.layers, strict=True))

    def _phases_at(self, positions: Tensor) -> Tensor:
        """Return where the states at ascending `positions` were computed."""
        known = int((positions < len(self._phases)).sum())
        return torch.cat([self._phases[positions[:known]], positions[known:]])

    def cut_ledger(self, length: int) -> None:
        """Cut what is said of the states; the layers have been seen to."""
        if self._sink is not None and length < len(ids_of(self.pieces[: self._sink + 1])):
            self._sink = None
        self.pieces = cut(self.pieces, length)
        self._phases = self._phases[:length]
        if self.pure is not None and self.pure >= length:
            self.pure = None
        if self.recorder is not None:
            self.recorder.queries.clear()  # they were asked from positions that may be no more

    def cut(self, length: int) -> None:
        """Drop what lies behind the first `length` tokens; all of it where the tail cannot be."""
        if self.cache is None or length >= self.held:
            return
        if length <= 0 or not self.layers:
            self.drop()
            self.cache = self._new_cache()
            return
        for layer in self.layers:
            layer.cut(length)
        self.cut_ledger(length)

    @property
    def held(self) -> int:
        """How many tokens the cache itself says that it holds."""
        return int(self.cache.get_seq_length()) if self.cache is not None else 0

    def drop(self) -> None:
        """Drop all states. The ids of replies stay: they are what was said."""
        self.cache, self.pieces, self.pure = None, [], None
        self._sink, self._phases = None, _NONE
        if self.recorder is not None:
            self.recorder.queries.clear()

    def commit(self, pieces: list[Piece], erasures: int) -> None:
        """Take `pieces` for what the cache holds now; drop the cache if it holds something else.

        The last sampled token is not in the cache: nobody has read it yet.
        """
        self.pieces = cut(pieces, self.held)
        self.erasures = erasures
        if self.length != self.held:
            self.drop()

    def to_dict(self) -> dict[str, Any]:
        """Return all but the states and the ids, as JSON values."""
        return {
            "pieces": pieces_to_list(self.pieces),
            "phases": self._phases.tolist(),
            "pure": self.pure,
            "sink": self._sink,
            "erasures": self.erasures,
            "replies": {text: list(ids) for text, ids in self.replies.items()},
        }

    def restore(self, told: Mapping[str, Any], ids: list[int]) -> None:
        """Take over what `to_dict` told, for states that are in the cache already."""
        self.pieces = pieces_from_list(told["pieces"], ids)
        self._phases = torch.tensor(told["phases"], dtype=torch.long, device="cpu")
        self.pure, self.erasures = told["pure"], told["erasures"]
        self._sink = told["sink"]
        self.replies = {text: tuple(chosen) for text, chosen in told["replies"].items()}

    def forget_replies(self, messages: Sequence[Message]) -> None:
        """Keep the ids of replies that are still in the context."""
        said = {message.text for message in messages}
        for text in [
            text for text in self.replies if text not in said and text.strip() not in said
        ]:
            del self.replies[text]


def _length(segment: Segment) -> int:
    return len(segment.ids) if isinstance(segment, Fresh) else segment.end - segment.start


def _range(start: int, end: int) -> Tensor:
    """Return positions; on the CPU, also in a thread that has another default device."""
    return torch.arange(start, end, device="cpu")


def _total(segments: Sequence[Segment]) -> int:
    return sum(map(_length, segments))


def _kept(segments: Sequence[Segment]) -> int:
    return sum(_length(segment) for segment in segments if isinstance(segment, Kept))


def _index(pieces: Sequence[Piece], length: int) -> int | None:
    """Return how many pieces come to exactly so many ids; None where none do."""
    for i in range(len(pieces) + 1):
        if length <= 0:
            return i if length == 0 else None
        length -= len(pieces[i].ids) if i < len(pieces) else 0
    return None


def _positions(prefix: int, segments: Sequence[Segment]) -> tuple[Tensor, Tensor]:
    """Return where the kept tokens stand now, and where they will."""
    old, new, at = [_NONE], [_NONE], prefix
    for segment in segments:
        end = at + _length(segment)
        if isinstance(segment, Kept):
            old.append(_range(segment.start, segment.end))
            new.append(_range(at, end))
        at = end
    return torch.cat(old), torch.cat(new)


def _nbytes(layer: Any) -> int:
    if isinstance(layer, KeptLayer):
        return layer.nbytes()
    held = [getattr(layer, name, None) for name in ("keys", "values")]
    for name in ("conv_states", "recurrent_states"):
        states = getattr(layer, name, None)
        held += list(states.values()) if isinstance(states, dict) else [states]
    tensors = [t for t in held if isinstance(t, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)
