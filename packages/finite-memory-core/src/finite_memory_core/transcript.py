"""The transcript: all that was said, read from the store when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import overload

from .messages import Message
from .stores.base import Store


class Transcript(Sequence[Message]):
    """A live, read-only view of a session's messages. Iterating it takes bounded memory."""

    def __init__(self, store: Store, session_id: str) -> None:
        self._store = store
        self._session_id = session_id

    def __len__(self) -> int:
        session = self._store.session(self._session_id)
        return 0 if session is None else session.version.messages

    def __iter__(self) -> Iterator[Message]:
        return (counted.message for counted in self._store.messages(self._session_id))

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        length = len(self)
        if isinstance(index, slice):
            start, stop, step = index.indices(length)
            if step == 1:
                return tuple(self._range(start, max(start, stop)))
            return tuple(self[i] for i in range(start, stop, step))
        at = index + length if index < 0 else index
        if not 0 <= at < length:
            raise IndexError(f"message {index} of a transcript of {length} messages")
        return next(self._range(at, at + 1))

    def _range(self, start: int, stop: int) -> Iterator[Message]:
        return (c.message for c in self._store.messages(self._session_id, start, stop))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        nothing = object()
        return all(a == b for a, b in zip_longest(self, other, fillvalue=nothing))

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"<Transcript of session {self._session_id!r}: {len(self)} messages>"
