"""Cursors: what has left of each session's history, in a few dozen bytes and without a word of it.

A cursor is a shortcut. The fold over the whole history comes to the same units without it, as long
as counts are corrected as they were; so one that is lost, to a restart or because the session asked
another worker, costs some milliseconds, and a cached prefix only where that worker has learnt
something else of the model. With a store, workers share them: see `archive`.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

_HEAD = struct.Struct("<II16s")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a session's fold stood after a request.

    Attributes:
        count: how many units the history had, instructions at its head aside.
        tokens: what those that stood cost, by our own count.
        digest: of those units.
        standing: which of them stood in the context, in ascending order.
    """

    count: int
    tokens: int
    digest: bytes
    standing: tuple[int, ...]

    def pack(self) -> bytes:
        """Return the cursor in few bytes: 24, and 8 for each run of units that stand."""
        runs: list[int] = []
        for index in self.standing:
            if runs and index == runs[-1]:
                runs[-1] = index + 1
            else:
                runs += [index, index + 1]
        return _HEAD.pack(self.count, self.tokens, self.digest) + struct.pack(
            f"<{len(runs)}I", *runs
        )

    @classmethod
    def unpack(cls, packed: bytes) -> Cursor:
        """Return what `pack` packed."""
        count, tokens, digest = _HEAD.unpack_from(packed)
        runs = struct.unpack_from(f"<{(len(packed) - _HEAD.size) // 4}I", packed, _HEAD.size)
        ranges = zip(runs[::2], runs[1::2], strict=True)
        return cls(
            count, tokens, digest, tuple(i for start, stop in ranges for i in range(start, stop))
        )

    def fits(self, chain: Sequence[bytes]) -> bool:
        """Return whether a history with these digests goes on from here."""
        return 0 < self.count <= len(chain) and chain[self.count - 1] == self.digest


class Cursors:
    """The cursors of the sessions that asked last, and never more than `most` of them.

    Threads share them: a long history is followed in one of its own.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = Lock()
        self._held: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes) -> Cursor | None:
        """Return a session's cursor, None where it is not known or no longer."""
        with self._lock:
            packed = self._held.get(key)
            if packed is None:
                return None
            self._held.move_to_end(key)
        return Cursor.unpack(packed)

    def put(self, key: bytes, cursor: Cursor) -> None:
        """Keep a session's cursor; the one that was not asked for the longest makes room."""
        packed = cursor.pack()
        with self._lock:
            self._held[key] = packed
            self._held.move_to_end(key)
            while len(self._held) > self.most:
                self._held.popitem(last=False)
