"""OpenAI's embeddings, which most servers speak: texts to a request, and the vectors back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from finite_memory_core import Delta

from ..jsonbytes import encode
from ..sse import Event
from .base import NoReply, Reader, StreamError
from .openai_chat import usage_of

NAME = "openai-embeddings"
"""What this wire format is called."""


def body(texts: Sequence[str], fields: Mapping[str, Any]) -> bytes:
    """Return the request for the vectors of `texts`; `fields` win over ours.

    Numbers are asked for, not base64, which not every server has.
    """
    return encode({"input": list(texts), "encoding_format": "float", **fields})


class VectorsReader(Reader):
    """Reads the answer to a request for vectors.

    Args:
        count: how many texts were sent.
        dimension: how many numbers each vector must have; None for any number.

    Attributes:
        vectors: one a text, in their order.
    """

    def __init__(self, count: int, dimension: int | None = None) -> None:
        super().__init__()
        self._count = count
        self._dimension = dimension
        self.vectors: list[list[float]] = []

    def event(self, event: Event) -> str:
        """Read an answer that came as an event, which none should."""
        raise NoReply(f"a stream ({event.name!r}) where vectors were asked for")

    def whole(self, data: Mapping[str, Any]) -> str:
        """See `Reader.whole`."""
        if data.get("error"):
            raise StreamError(data)
        rows = data.get("data")
        if not isinstance(rows, list):
            raise NoReply(f"no list of vectors in it: {str(dict(data))[:200]}")
        if len(rows) != self._count:
            raise NoReply(f"{len(rows)} vectors for {self._count} texts")
        self.vectors = [_vector(row, self._dimension) for row in _in_order(rows)]
        usage = data.get("usage")
        self.usage = usage_of(usage) if isinstance(usage, Mapping) else None
        return ""

    def message(self) -> None:
        """Return nothing: vectors are no reply."""

    def end(self) -> Delta:
        """See `Reader.end`."""
        return Delta(finish="embedded", usage=self.usage)


def _in_order(rows: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return the rows in the order of their texts, which need not be that of the answer.

    Raises:
        NoReply: it cannot be told.
    """
    if not all(isinstance(row, Mapping) for row in rows):
        raise NoReply("a vector that is no object with the field 'embedding'")
    places = [row.get("index", 0) for row in rows]  # Gemini leaves out what is 0
    if not any("index" in row for row in rows):
        places = [*range(len(rows))]
    by_place = {place: row for place, row in zip(places, rows, strict=True) if type(place) is int}
    if by_place.keys() != {*range(len(rows))}:
        raise NoReply(f"vectors of the texts {str(places)[:120]} instead of one a text")
    return [by_place[place] for place in range(len(rows))]


def _vector(row: Mapping[str, Any], dimension: int | None) -> list[float]:
    """Return the numbers of a vector.

    Raises:
        NoReply: they are none, or not as many as were asked for.
    """
    vector = row.get("embedding")
    if not isinstance(vector, list) or not vector:
        raise NoReply(f"a vector that is no list of numbers: {str(vector)[:80]}")
    try:
        finite = all(map(isfinite, vector))
    except (TypeError, OverflowError):
        raise NoReply(f"a vector that is no list of numbers: {str(vector)[:80]}") from None
    if not finite:
        raise NoReply("a vector with NaN or infinity")
    if dimension is not None and len(vector) != dimension:
        raise NoReply(
            f"a vector of dimension {len(vector)} where {dimension} was asked for; if the model "
            "has no choice, leave dimensions out"
        )
    return [float(number) for number in vector]
