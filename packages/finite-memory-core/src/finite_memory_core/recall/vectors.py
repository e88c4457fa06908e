"""Vectors of messages, as bytes: where they are kept, and how alike two of them are.

A vector is kept as one signed byte a dimension behind its length: a quarter of what floats take,
and so close that no ranking notices. ``b""`` stands for none: a message without text, one that was
forgotten, or an embedder that gave zeros.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from operator import mul
from threading import Lock
from typing import NamedTuple

from ..errors import ConflictError

_LENGTH = struct.Struct("<f")
_MOST = 127
_RAISE = 128
_RAISED = bytes(byte ^ _RAISE for byte in range(256))
"""Of each signed byte the unsigned one that is larger by `_RAISE`: bytes multiply fastest."""


def pack(vector: Sequence[float]) -> bytes:
    """Return a vector of any length as bytes; its direction is what is kept."""
    largest = max(map(abs, vector), default=0.0)
    if not largest:
        return b""
    codes = array("b", [round(_MOST * (x / largest)) for x in vector])
    return _LENGTH.pack(sqrt(sum(map(mul, codes, codes)))) + codes.tobytes()


def codes_of(packed: bytes) -> memoryview:
    """Return the signed numbers, one a dimension, of what `pack` made."""
    return memoryview(packed)[_LENGTH.size :].cast("b")


def cosine(one: bytes, other: bytes) -> float:
    """Return the cosine of two packed vectors; 0 where one is none, or their dimensions differ."""
    return cosines(one, [other])[0]


def cosines(one: bytes, others: Iterable[bytes]) -> list[float]:
    """Return the `cosine` of a packed vector and each of others."""
    if not one:
        return [0.0 for _ in others]
    codes, (length,) = codes_of(one).tolist(), _LENGTH.unpack_from(one)
    raised = _RAISE * sum(codes)
    found = []
    for other in others:
        if len(one) == len(other):
            product = sum(map(mul, codes, other[_LENGTH.size :].translate(_RAISED))) - raised
            found.append(float(product / (length * _LENGTH.unpack_from(other)[0])))
        else:
            found.append(0.0)
    return found


class Head(NamedTuple):
    """What a session has of vectors.

    Attributes:
        embedder: which embedder they are of; "" before there was one.
        size: how many messages have theirs: those from 0 up to it.
        erased: how often something was forgotten; whoever computed vectors of what was read before
            is refused.
    """

    embedder: str
    size: int
    erased: int = 0


class Vectors(ABC):
    """The packed vectors of one session, all of the same embedder.

    They are derived from the transcript and can be computed again from it at any time.
    """

    @abstractmethod
    def head(self) -> Head:
        """Return whose they are, and how many."""

    @abstractmethod
    def restart(self, embedder: str) -> None:
        """Drop all, and begin those of another embedder; the head's `erased` stays."""

    @abstractmethod
    def add(self, head: Head, packed: Sequence[bytes]) -> None:
        """Append the vectors of the next messages, all or none.

        Raises:
            ConflictError: the head is no longer `head`: another writer was here.
        """

    @abstractmethod
    def read(self, places: Iterable[int]) -> dict[int, bytes]:
        """Return the vectors of the messages at `places`; those without are left out."""

    @abstractmethod
    def run(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the vectors of the messages in [start, stop), which all have theirs, in order."""

    @abstractmethod
    def forget(self, places: Iterable[int]) -> None:
        """Remove the vectors of some messages for good; they keep ``b""``.

        The head is another one then, also where they had none: they may be being computed.
        """


class InMemoryVectors(Vectors):
    """Vectors in this process's memory: about 40 bytes a message, and one a dimension."""

    def __init__(self) -> None:
        self._embedder = ""
        self._erased = 0
        self._packed: list[bytes] = []
        self._lock = Lock()

    def head(self) -> Head:
        """See `Vectors.head`."""
        with self._lock:
            return self._head()

    def _head(self) -> Head:
        return Head(self._embedder, len(self._packed), self._erased)

    def restart(self, embedder: str) -> None:
        """See `Vectors.restart`."""
        with self._lock:
            self._embedder, self._packed = embedder, []

    def add(self, head: Head, packed: Sequence[bytes]) -> None:
        """See `Vectors.add`."""
        with self._lock:
            if head != self._head():
                raise ConflictError(changed(head, self._head()))
            self._packed += packed

    def read(self, places: Iterable[int]) -> dict[int, bytes]:
        """See `Vectors.read`."""
        packed = self._packed
        return {i: packed[i] for i in places if 0 <= i < len(packed)}

    def run(self, start: int, stop: int) -> Iterator[bytes]:
        """See `Vectors.run`."""
        return iter(self._packed[start:stop])

    def forget(self, places: Iterable[int]) -> None:
        """See `Vectors.forget`."""
        with self._lock:
            self._erased += 1
            for place in places:
                if 0 <= place < len(self._packed):
                    self._packed[place] = b""


def changed(seen: Head, found: Head) -> str:
    """Return the text of a `ConflictError`, the same for all."""
    if seen.erased != found.erased:
        return (
            "something of this session was forgotten while its vectors were computed; ours may be "
            "of it and were not kept"
        )
    return (
        f"another writer computed vectors of this session: we last saw {seen.size}, there are "
        f"{found.size} now, {'of the same' if seen.embedder == found.embedder else 'of another'} "
        "embedder; ours were not kept"
    )
