"""The ledger: which token ids stand behind which position of a cache, and how to get to others.

Pure bookkeeping: no tensor, no model. The ids of a piece are settled once, when it is first seen;
everything here compares ids and never text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from finite_memory_core import Message


@dataclass(frozen=True, slots=True)
class Piece:
    """Ids that belong together: a message with what the template puts around it.

    Attributes:
        ids: its token ids.
        message: the message; None for what has none: sinks, the opening of a reply.
        is_open: whether more may belong to it: a reply whose end is not in the cache.
    """

    ids: tuple[int, ...]
    message: Message | None = None
    is_open: bool = False


class Span(NamedTuple):
    """A piece at its place in the cache: positions `start` up to `end`."""

    start: int
    end: int
    ids: tuple[int, ...]
    message: Message | None


class Kept(NamedTuple):
    """Positions of the cache, `start` up to `end`, whose states stay."""

    start: int
    end: int


class Fresh(NamedTuple):
    """Ids that the model must read."""

    ids: tuple[int, ...]


Segment: TypeAlias = Kept | Fresh


def ids_of(pieces: Iterable[Piece]) -> list[int]:
    """Return all ids in order."""
    return list(chain.from_iterable(piece.ids for piece in pieces))


def spans_of(pieces: Iterable[Piece]) -> tuple[Span, ...]:
    """Return each piece at its place."""
    spans, start = [], 0
    for piece in pieces:
        end = start + len(piece.ids)
        spans.append(Span(start, end, piece.ids, piece.message))
        start = end
    return tuple(spans)


def common(old: Sequence[object], new: Sequence[object]) -> int:
    """Return the length of the longest common prefix."""
    low, high = 0, min(len(old), len(new))
    if old[:high] == new[:high]:
        return high
    while high - low > 1:  # they differ before `high`, and not before `low`
        middle = (low + high) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle
    return low


def cut(pieces: Iterable[Piece], length: int) -> list[Piece]:
    """Return the pieces of the first `length` ids; the last may be a part."""
    kept, left = [], length
    for piece in pieces:
        if left <= 0:
            break
        ids = piece.ids[:left]
        kept.append(piece if ids == piece.ids else Piece(ids, piece.message, is_open=True))
        left -= len(ids)
    return kept


def prefix_plan(old: Sequence[Piece], new: Sequence[Piece], most: int) -> list[Segment]:
    """Return how to get from `old` to `new` with an exact prefix: at most `most` ids are kept."""
    wanted = ids_of(new)
    kept = min(common(ids_of(old), wanted), most, len(wanted) - 1)
    return _tidy([Kept(0, kept), Fresh(tuple(wanted[kept:]))])


def shift_plan(old: Sequence[Piece], new: Sequence[Piece]) -> list[Segment]:
    """Return how to get from `old` to `new` keeping every piece that stays, in order.

    The model always gets the last id to read, since a reply starts from its outcome.
    """
    wanted, held = ids_of(new), ids_of(old)
    shared = common(held, wanted)
    if shared == len(held):
        return prefix_plan(old, new, shared)
    segments: list[Segment] = []
    spans = _sealed(old, new)
    same, ends = _same([ids for _, ids in spans], [p.ids for p in new]), (len(spans), len(new))
    for (i, j), (i_end, j_end) in zip([(-1, -1), *same], [*same, ends], strict=True):
        i, j = i + 1, j + 1  # behind the last that are the same
        if j < j_end:
            segments += _replaced(ids_of(new[j:j_end]), spans[i][0].start if i < i_end else None,
                                  held, segments)  # fmt: skip
        if j_end < len(new):
            span = spans[i_end][0]
            segments += [span, Fresh(new[j_end].ids[span.end - span.start :])]
    return _with_last_fresh(_tidy(segments), wanted)


_Ids = tuple[int, ...]


def _same(old: Sequence[_Ids], new: Sequence[_Ids]) -> list[tuple[int, int]]:
    """Return a longest common subsequence: pairs of places, ascending in both.

    After Hunt and Szymanski (A Fast Algorithm for Computing Longest Common Subsequences, 1977):
    what is said once costs a logarithm, where a comparison by longest blocks is quadratic.
    """
    head = common(old, new)
    places: dict[_Ids, list[int]] = {}
    for i in range(len(old) - 1, head - 1, -1):
        places.setdefault(old[i], []).append(i)
    ends: list[int] = []  # the smallest place in `old` where a subsequence of each length ends
    paths: list[Any] = []  # that subsequence: its last pair, and the path before it
    for j in range(head, len(new)):
        for i in places.get(new[j], ()):
            at = bisect_left(ends, i)
            ends[at : at + 1] = [i]
            paths[at : at + 1] = [((i, j), paths[at - 1] if at else None)]
    pairs, path = [], paths[-1] if paths else None
    while path is not None:
        pair, path = path
        pairs.append(pair)
    return [(i, i) for i in range(head)] + pairs[::-1]


def _sealed(old: Sequence[Piece], new: Sequence[Piece]) -> list[tuple[Kept, tuple[int, ...]]]:
    """Return the places of the old pieces, and the ids that they are to be matched with.

    An open piece is matched with the first new one that it is the beginning of.
    """
    places = []
    for span, piece in zip(spans_of(old), old, strict=True):
        ids = piece.ids
        if piece.is_open:
            longer = (p.ids for p in new if len(p.ids) > len(ids) and p.ids[: len(ids)] == ids)
            ids = next(longer, ids)
        places.append((Kept(span.start, span.end), ids))
    return places


def _replaced(
    ids: list[int], at: int | None, held: Sequence[int], before: Sequence[Segment]
) -> list[Segment]:
    """Return segments for new ids; what they share with the same place in the cache is kept.

    That is exact only where everything before is an exact prefix too.
    """
    position = sum(_length(segment) for segment in before)
    is_prefix = all(not isinstance(s, Fresh) or not s.ids for s in before)
    if at is None or at != position or not is_prefix:
        return [Fresh(tuple(ids))]
    shared = common(held[at:], ids)
    return [Kept(at, at + shared), Fresh(tuple(ids[shared:]))]


def _length(segment: Segment) -> int:
    return len(segment.ids) if isinstance(segment, Fresh) else segment.end - segment.start


def _tidy(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments without empty ones, neighbours joined."""
    tidy: list[Segment] = []
    for segment in segments:
        last = tidy[-1] if tidy else None
        if not _length(segment):
            continue
        if isinstance(segment, Fresh) and isinstance(last, Fresh):
            tidy[-1] = Fresh(last.ids + segment.ids)
        elif isinstance(segment, Kept) and isinstance(last, Kept) and last.end == segment.start:
            tidy[-1] = Kept(last.start, segment.end)
        else:
            tidy.append(segment)
    return tidy


def _with_last_fresh(segments: list[Segment], wanted: Sequence[int]) -> list[Segment]:
    last = segments[-1]
    if isinstance(last, Fresh):
        return segments
    return _tidy([*segments[:-1], Kept(last.start, last.end - 1), Fresh((wanted[-1],))])


def pieces_to_list(pieces: Sequence[Piece]) -> list[list[Any]]:
    """Return each piece as its length, its message and whether it is open."""
    return [
        [len(p.ids), None if p.message is None else p.message.to_dict(), p.is_open] for p in pieces
    ]


def pieces_from_list(listed: list[list[Any]], ids: list[int]) -> list[Piece]:
    """Return the pieces that `pieces_to_list` told of."""
    pieces, start = [], 0
    for length, message, is_open in listed:
        said = None if message is None else Message.from_dict(message)
        pieces.append(Piece(tuple(ids[start : start + length]), said, is_open))
        start += length
    return pieces
