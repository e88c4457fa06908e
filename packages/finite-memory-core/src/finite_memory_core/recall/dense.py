"""What is said in other words: how alike a question and the messages are by an embedder.

Each message has one vector, computed once and kept. A search compares the question with the bits
of all vectors (one a dimension: above the average or not), and exactly with the nearest by these:
their correlation is cheap, and hardly ever puts what is nearest by cosine behind many others
(Charikar, "Similarity Estimation Techniques from Rounding Algorithms", 2002). The work of a search
is bounded, however long the archive is.

This module knows nothing of words and ranking.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import inf, sqrt
from operator import gt
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from ..embedding import Embedder, embed, embedder_name
from ..errors import EmbedderError
from ..messages import Message
from ..policies.base import Deadline
from ..tombstone import is_tombstone
from .analysis import searchable
from .largest import largest
from .vectors import Head, InMemoryVectors, Vectors, codes_of, cosine, cosines, pack

if TYPE_CHECKING:
    from ..stores.base import Store

MOST_MISSING = 2_048
"""A search computes no more vectors than this; `Memory.index` computes any number."""
BATCH = 64
"""How many texts an embedder gets at once."""
MOST_CHARACTERS = 2_000
"""Of a longer text only the beginning is embedded, as most models do."""
MOST_SCANNED = 30_000
"""The bits of so many messages are compared, the newest."""
MOST_COMPARED = 256
"""So many messages are compared exactly; among as many the likeness is shared out."""
_LEAST_COMPARED = 16
"""Of each session, where many are searched together."""

_PROBE = "My sister moved to another town last spring, and we adopted a dog."
"""An embedder is known by its vector of this text: a changed model has another one."""
_SAME = 0.999
"""From this cosine on it is the same: the last digits differ between machines."""
_SHIFT = 32
_OTHER = (1 << _SHIFT) - 1
_BITS = bytes(ord("01"[byte & 1]) for byte in range(256))

Read = Callable[[int, int], Iterator[Message]]
"""Reads the messages in [start, stop)."""


class Source:
    """An embedder, and what it is asked once for all sessions: who it is, and the last question.

    Args:
        embedder: computes vectors.

    Attributes:
        dimension: of its vectors; 0 before the first.
        lock: held while it is asked, and while what it said is compared: a thread may compute
            vectors while another one searches.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.lock = RLock()
        self._identity: str | None = None
        self._asked = "", b""
        self.dimension = 0

    @property
    def identity(self) -> str:
        """Who it is: its name, its dimension, and its vector of a text of ours."""
        if self._identity is None:
            (probe,) = embed(self._embedder, [_PROBE])
            self.dimension = len(probe)
            values = [embedder_name(self._embedder), len(probe), pack(probe).hex()]
            self._identity = json.dumps(values)
        return self._identity

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector a text.

        Raises:
            EmbedderError: it failed, or its vectors have another dimension now.
        """
        vectors = embed(self._embedder, texts) if texts else []
        if vectors and len(vectors[0]) != self.dimension:
            # Perhaps it is another one now: the next search will know.
            self._identity, self._asked = None, ("", b"")
            raise EmbedderError(
                f"embedder {self._embedder!r} returned vectors of dimension {len(vectors[0])}, "
                f"before of {self.dimension}; they cannot be compared"
            )
        return vectors

    def question(self, text: str) -> bytes:
        """Return the packed vector of a question."""
        text = text.strip()[:MOST_CHARACTERS].encode("utf-8", "replace").decode()
        with self.lock:
            if self._asked[0] != text or not self._asked[1]:
                (vector,) = self.embed([text])
                self._asked = text, pack(vector)
            return self._asked[1]


class Dense:
    """Vectors of one session's messages, and the search in them.

    Args:
        source: computes them.
        vectors: where they are kept; None to keep them here.
        read: reads messages.
    """

    def __init__(self, source: Source, vectors: Vectors | None, read: Read) -> None:
        self._source = source
        self._keeps = vectors is None
        self.vectors = InMemoryVectors() if vectors is None else vectors
        self._read = read
        self._erased = 0
        self._forget_bits()

    @property
    def lock(self) -> RLock:
        """Held by whoever computes a batch of vectors, or compares."""
        return self._source.lock

    def _forget_bits(self) -> None:
        self._averaged = 0
        self._average: list[float] = []
        self._bits: list[int] = []
        self._first = 0

    def changed(self) -> None:
        """Let go of what is kept here: something of the session was forgotten, or it began anew.

        A store that keeps vectors sees to them itself.
        """
        with self._source.lock:
            self._forget_bits()
            if self._keeps:
                self.vectors.restart("")

    # -- computing vectors ----------------------------------------------------------------------

    def catch_up(self, stop: int, most: int | None, deadline: Deadline) -> int:
        """Compute the vectors that the messages before `stop` lack; return how many it computed.

        What is computed before something fails stays. Other threads may do the same meanwhile, a
        batch each in turn: no vector is computed twice.

        Args:
            stop: messages from here on are left for later.
            most: if more are lacking, none is computed; None for any number.
            deadline: checked before each batch, with the lock held.

        Raises:
            EmbedderError: the embedder failed, or `most` are not enough.
            StoreError: the vectors cannot be read or written.
            DeadlineExceeded: it took too long.
        """
        made = 0
        while True:
            with self._source.lock:
                deadline.check()
                head = self._head()
                lacking = stop - head.size
                if most is not None and made + lacking > most:
                    raise EmbedderError(
                        f"{lacking:,} messages have no vector yet, and a search computes at most "
                        f"{most:,}; call memory.index() once to compute them all"
                    )
                if lacking <= 0:
                    return made
                batch = min(head.size + BATCH, stop)
                packed = self._packed([*self._read(head.size, batch)])
                self.vectors.add(head, packed)
                made += len(packed)

    def _head(self) -> Head:
        """Return what is there of this embedder's; of another's nothing stays."""
        head, identity = self.vectors.head(), self._source.identity
        if head.erased != self._erased:
            self._erased = head.erased
            self._forget_bits()
        if _same(identity, head.embedder):
            return head
        self.vectors.restart(identity)
        self._forget_bits()
        return head._replace(embedder=identity, size=0)

    def _packed(self, messages: Sequence[Message]) -> list[bytes]:
        texts = [_text(message) for message in messages]
        vectors = iter(self._source.embed([text for text in texts if text]))
        return [pack(next(vectors)) if text else b"" for text in texts]

    # -- searching ------------------------------------------------------------------------------

    def compare(self, text: str, stop: int, deadline: Deadline) -> Comparison:
        """Return how alike `text` and the messages before `stop` are.

        Raises:
            EmbedderError, StoreError, DeadlineExceeded: see `catch_up`.
        """
        return compare_all([(0, self, stop)], text, deadline)

    def question(self, text: str) -> bytes:
        """Return the packed vector of a question."""
        return self._source.question(text)

    def nearest(
        self, text: str, stop: int, deadline: Deadline, scanned: int, compared: int
    ) -> list[int]:
        """Return the places whose bits differ least from the question's.

        Args:
            text: the question.
            stop: only messages before it, all of which have their vectors.
            deadline: checked before and after the embedder is asked.
            scanned: so many messages are looked at, the newest.
            compared: so many places are returned.
        """
        deadline.check()
        with self._source.lock:
            asked = self.question(text)
            deadline.check()
            if stop <= compared:
                return [*range(stop)]
            first = max(0, stop - scanned)
            self._take_average(stop)
            bits = self._bits_from(first, stop)
            if len(bits) <= compared:
                return [*range(first, stop)]
            mine = self._bits_of(asked)
            kinds = [(mine & other).bit_count() << _SHIFT | other.bit_count() for other in bits]
        alike = _correlations(mine.bit_count(), set(kinds), self._source.dimension)
        return largest(range(first, stop), kinds, alike, compared)

    def _take_average(self, stop: int) -> None:
        """Have the average of the first vectors before `stop`, by which all bits are told.

        It is of a power of two of them: the same whatever was searched before, and seldom another
        one in a session that grows.
        """
        averaged = min(MOST_COMPARED, 1 << (stop.bit_length() - 1))
        if averaged == self._averaged:
            return
        self._forget_bits()
        rows = [codes_of(packed) for packed in self.vectors.run(0, averaged) if packed]
        sums = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        self._average = sums or [0.0] * self._source.dimension
        self._averaged = averaged

    def _bits_from(self, first: int, stop: int) -> list[int]:
        """Return the bits of the vectors in [first, stop), most of which are remembered."""
        if not self._first <= first <= self._first + len(self._bits):
            self._bits, self._first = [], first
        known = self._first + len(self._bits)
        self._bits += [self._bits_of(packed) for packed in self.vectors.run(known, stop)]
        bits = self._bits[first - self._first : stop - self._first]
        if (spare := len(self._bits) - MOST_SCANNED) > MOST_SCANNED:
            del self._bits[:spare]
            self._first += spare
        return bits

    def _bits_of(self, packed: bytes) -> int:
        if not packed:
            return 0
        return int(bytes(map(gt, codes_of(packed), self._average)).translate(_BITS), 2)


class _Part(NamedTuple):
    """The messages of one session among those that are compared.

    Attributes:
        start: the place of its first message among all.
        stop: how many of its messages there are.
        near: the places in it that are compared in any case.
        vectors: where its vectors are.
    """

    start: int
    stop: int
    near: Sequence[int]
    vectors: Vectors


class Comparison:
    """A question compared with messages. Has `best`, which ranking asks for."""

    def __init__(self, asked: bytes, parts: Sequence[_Part]) -> None:
        self._asked = asked
        self._parts = parts

    def best(self, places: Collection[int]) -> Mapping[int, float]:
        """Return the messages most like the question, and how like: 1 the best, 0 the last.

        Embedders differ in how alike they find any two texts, so what counts is how much the best
        stand out from the others.

        Args:
            places: what is compared in any case.
        """
        alike: dict[int, float] = {}
        for start, stop, near, vectors in self._parts:
            asked_for = (place - start for place in places if start <= place < start + stop)
            candidates = sorted({*near, *asked_for})
            packed = vectors.read(candidates)
            found = cosines(self._asked, [packed.get(i, b"") for i in candidates])
            alike.update(zip([start + i for i in candidates], found, strict=True))
        ranked = sorted([*alike.values(), 0.0], reverse=True)
        half = max(2, sum(part.stop for part in self._parts) // 2)
        last = ranked[min(MOST_COMPARED, half, len(ranked)) - 1]
        spread = ranked[0] - last
        return {i: (value - last) / spread for i, value in alike.items() if value > last}


def compare_all(
    parts: Sequence[tuple[int, Dense, int]], text: str, deadline: Deadline
) -> Comparison:
    """Return how alike `text` and the messages of sessions are, one session behind another.

    All bounds hold for all of them together; the last sessions come first.

    Args:
        parts: for each session the place of its first message among all, its vectors, and how many
            of its messages are compared.
        text: the question.
        deadline: checked before each batch.

    Raises:
        EmbedderError, StoreError, DeadlineExceeded: see `Dense.catch_up`.
    """
    missing, scanned = MOST_MISSING, MOST_SCANNED
    compared = max(_LEAST_COMPARED, MOST_COMPARED // max(1, len(parts)))
    found, asked = [], b""
    for start, dense, stop in reversed(parts):
        missing -= dense.catch_up(stop, missing, deadline)
        near = dense.nearest(text, stop, deadline, scanned, compared) if scanned else []
        found.append(_Part(start, stop, near, dense.vectors))
        scanned = max(0, scanned - stop)
        asked = dense.question(text)
    return Comparison(asked, found)


def dense_of(source: Source, store: Store) -> Callable[[str], Dense]:
    """Return what makes the search by meaning of any session of `store`."""

    def make(session_id: str) -> Dense:
        def read(start: int, stop: int) -> Iterator[Message]:
            return (counted.message for counted in store.messages(session_id, start, stop))

        return Dense(source, store.vectors(session_id), read)

    return make


def _text(message: Message) -> str:
    """Return what is embedded of a message: who says what; "" where nothing can be found."""
    silent = message.role.instructs or is_tombstone(message)
    text = "" if silent else searchable(message)[:MOST_CHARACTERS].strip()
    return f"{message.name or message.role.value}: {text}" if text else ""


def _same(identity: str, stored: str) -> bool:
    """Whether two identities are of the same embedder."""
    if not stored:
        return False
    name, dimension, probe = json.loads(identity)
    name_then, dimension_then, probe_then = json.loads(stored)
    if (name, dimension) != (name_then, dimension_then):
        return False
    if not (probe and probe_then):
        return bool(probe == probe_then)
    return cosine(bytes.fromhex(probe), bytes.fromhex(probe_then)) >= _SAME


def _correlations(own: int, kinds: Iterable[int], dimension: int) -> dict[int, float]:
    """Return how bits correlate, times a constant; 0 for none.

    Args:
        own: how many are set in the one.
        kinds: how many are set in both, shifted by `_SHIFT`, and how many in the other.
        dimension: how many there are.
    """
    found = {}
    for kind in kinds:
        both, other = kind >> _SHIFT, kind & _OTHER
        spread = sqrt(other * (dimension - other)) or inf
        found[kind] = (both * dimension - own * other) / spread
    return found
