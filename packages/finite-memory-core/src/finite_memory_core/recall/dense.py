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

from ..embedding import Embedder, embed, embedder_name
from ..errors import EmbedderError
from ..messages import Message
from ..policies.base import Deadline
from .analysis import searchable
from .vectors import Head, Vectors, codes_of, cosine, pack

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

_PROBE = "My sister moved to another town last spring, and we adopted a dog."
"""An embedder is known by its vector of this text: a changed model has another one."""
_SAME = 0.999
"""From this cosine on it is the same: the last digits differ between machines."""
_BITS = bytes(ord("01"[byte & 1]) for byte in range(256))

Read = Callable[[int, int], Iterator[Message]]
"""Reads the messages in [start, stop)."""


class Dense:
    """Vectors of one session's messages, and the search in them.

    Args:
        embedder: computes them.
        vectors: where they are kept.
        read: reads messages.
    """

    def __init__(self, embedder: Embedder, vectors: Vectors, read: Read) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._read = read
        self._identity: str | None = None
        self._dimension = 0
        self._forget_bits()

    def _forget_bits(self) -> None:
        self._centre: list[float] | None = None
        self._bits: list[int] = []
        self._first = 0

    # -- computing vectors ----------------------------------------------------------------------

    def catch_up(self, stop: int, most: int | None, deadline: Deadline) -> int:
        """Compute the vectors that the messages before `stop` lack; return how many.

        What is computed before something fails stays.

        Args:
            stop: messages from here on are left for later.
            most: if more are lacking, none is computed; None for any number.
            deadline: checked before each batch.

        Raises:
            EmbedderError: the embedder failed, or `most` are not enough.
            StoreError: the vectors cannot be read or written.
            DeadlineExceeded: it took too long.
        """
        head = self._head()
        lacking = max(0, stop - head.size)
        if most is not None and lacking > most:
            raise EmbedderError(
                f"{lacking:,} messages have no vector yet, and a search computes at most {most:,}; "
                "call memory.index() once to compute them all"
            )
        for start in range(head.size, stop, BATCH):
            deadline.check()
            packed = self._packed([*self._read(start, min(start + BATCH, stop))])
            self._vectors.add(head, packed)
            head = Head(head.embedder, start + len(packed))
        return lacking

    def _head(self) -> Head:
        """Return what is there of this embedder's; of another's nothing stays."""
        head = self._vectors.head()
        if self._identity is None:
            self._identity = self._identify()
        if _same(self._identity, head.embedder):
            return head
        self._vectors.restart(self._identity)
        self._forget_bits()
        return Head(self._identity, 0)

    def _identify(self) -> str:
        (probe,) = embed(self._embedder, [_PROBE])
        self._dimension = len(probe)
        return json.dumps([embedder_name(self._embedder), len(probe), pack(probe).hex()])

    def _packed(self, messages: Sequence[Message]) -> list[bytes]:
        texts = [_text(message) for message in messages]
        vectors = iter(self._embed([text for text in texts if text]))
        return [pack(next(vectors)) if text else b"" for text in texts]

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        vectors = embed(self._embedder, texts) if texts else []
        if vectors and len(vectors[0]) != self._dimension:
            self._identity = None  # perhaps it is another one now: the next search will know
            raise EmbedderError(
                f"embedder {self._embedder!r} returned vectors of dimension {len(vectors[0])}, "
                f"before of {self._dimension}; they cannot be compared"
            )
        return vectors

    def forget(self, places: Iterable[int]) -> None:
        """Remove the vectors of some messages for good."""
        self._vectors.forget(places)
        self._forget_bits()

    def drop(self) -> None:
        """Remove all vectors: they are computed again when they are needed."""
        self._vectors.restart("")
        self._forget_bits()

    # -- searching ------------------------------------------------------------------------------

    def compare(self, text: str, stop: int, deadline: Deadline) -> Comparison:
        """Return how alike `text` and the messages before `stop` are.

        Raises:
            EmbedderError, StoreError, DeadlineExceeded: see `catch_up`.
        """
        self.catch_up(stop, MOST_MISSING, deadline)
        deadline.check()
        asked_text = text.strip()[:MOST_CHARACTERS].encode("utf-8", "replace").decode()
        (vector,) = self._embed([asked_text])
        asked = pack(vector)
        deadline.check()
        return Comparison(asked, self._nearest(asked, stop), stop, self._vectors)

    def _nearest(self, asked: bytes, stop: int) -> list[int]:
        """Return the places whose bits differ least from the question's."""
        if stop <= MOST_COMPARED:
            return [*range(stop)]
        first = max(0, stop - MOST_SCANNED)
        bits = self._bits_from(first, stop)
        mine = self._bits_of(asked)
        alike = _correlations(mine, bits, self._dimension)
        least = sorted(alike)[-MOST_COMPARED]
        near = [place for place, value in enumerate(alike, first) if value > least]
        last = [place for place, value in enumerate(alike, first) if value == least]
        return near + last[len(near) - MOST_COMPARED :]  # of equals the newest

    def _bits_from(self, first: int, stop: int) -> list[int]:
        """Return the bits of the vectors in [first, stop), most of which are remembered."""
        if not self._first <= first <= self._first + len(self._bits):
            self._bits, self._first = [], first
        known = self._first + len(self._bits)
        self._bits += [self._bits_of(packed) for packed in self._vectors.run(known, stop)]
        bits = self._bits[first - self._first : stop - self._first]
        if (spare := len(self._bits) - MOST_SCANNED) > MOST_SCANNED:
            del self._bits[:spare]
            self._first += spare
        return bits

    def _bits_of(self, packed: bytes) -> int:
        if not packed:
            return 0
        if self._centre is None:
            rows = [codes_of(p) for p in self._vectors.run(0, MOST_COMPARED) if p]
            sums = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
            self._centre = sums or [0.0] * self._dimension
        return int(bytes(map(gt, codes_of(packed), self._centre)).translate(_BITS), 2)


class Comparison:
    """A question compared with messages. Has `best`, which ranking asks for."""

    def __init__(self, asked: bytes, near: Sequence[int], stop: int, vectors: Vectors) -> None:
        self._asked = asked
        self._near = near
        self._stop = stop
        self._vectors = vectors

    def best(self, places: Collection[int]) -> Mapping[int, float]:
        """Return the messages most like the question, and how like: 1 the best, 0 the last.

        Embedders differ in how alike they find any two texts, so what counts is how much the best
        stand out from the others.

        Args:
            places: what is compared in any case.
        """
        candidates = sorted({*self._near, *places})
        packed = self._vectors.read(candidates)
        cosines = {i: cosine(self._asked, packed.get(i, b"")) for i in candidates}
        ranked = sorted([*cosines.values(), 0.0], reverse=True)
        last = ranked[min(MOST_COMPARED, max(2, self._stop // 2), len(ranked)) - 1]
        spread = ranked[0] - last
        return {i: (value - last) / spread for i, value in cosines.items() if value > last}


def _text(message: Message) -> str:
    """Return what is embedded of a message: who says what; "" where nothing can be found."""
    text = "" if message.role.instructs else searchable(message)[:MOST_CHARACTERS].strip()
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


def _correlations(mine: int, others: Sequence[int], dimension: int) -> list[float]:
    """Return how `mine` and the others correlate, bit by bit, times a constant; 0 for no bits."""
    own = mine.bit_count()
    spreads = [sqrt(n * (dimension - n)) or inf for n in range(dimension + 1)]
    return [
        ((mine & bits).bit_count() * dimension - own * (n := bits.bit_count())) / spreads[n]
        for bits in others
    ]
