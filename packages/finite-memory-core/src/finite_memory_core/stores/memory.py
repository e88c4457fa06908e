"""A store in this process's memory: what a `Memory` uses when no store is given.

Recent messages are kept as objects. Older ones are packed, so that an archive takes little more
than its text does. Every change takes effect by one assignment, so that an interrupt (Ctrl-C) at
any moment leaves a turn whole or not there.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ConflictError
from ..messages import Message, Role
from .base import Counted, Event, Session, Store, Version, check_session_id, conflict

if TYPE_CHECKING:
    from ..recall.vectors import Vectors

_SEGMENT = 256  # messages that are packed at once
_RECENT = 1_024  # messages kept as objects, before some are packed

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# The first byte tells a plain message's role; JSON begins with a brace.
_PLAIN = {role: role.value[0].encode() for role in (Role.SYSTEM, Role.USER, Role.ASSISTANT)}
_ROLE_OF = {first[0]: role for role, first in _PLAIN.items()}


def _pack(message: Message) -> bytes:
    """Return a message that is only role and text as just that, any other as JSON."""
    first, content = _PLAIN.get(message.role), message.content
    if first is not None and isinstance(content, str) and message == Message(message.role, content):
        return first + content.encode()
    return _encode(message.to_dict()).encode()


def _unpack(packed: bytes) -> Message:
    role = _ROLE_OF.get(packed[0])
    return (
        Message.from_dict(json.loads(packed))
        if role is None
        else Message(role, packed[1:].decode())
    )


class _Segment:
    """`_SEGMENT` packed messages, one after another."""

    __slots__ = ("_bytes", "_ends", "_tokens")

    def __init__(self, messages: Sequence[Counted]) -> None:
        packed = [_pack(message) for message, _ in messages]
        self._bytes = b"".join(packed)
        self._ends = array("Q", accumulate(map(len, packed), initial=0))
        self._tokens = array("Q", [tokens for _, tokens in messages])

    def __getitem__(self, index: int) -> Counted:
        packed = self._bytes[self._ends[index] : self._ends[index + 1]]
        return Counted(_unpack(packed), self._tokens[index])


class PackedLog:
    """Messages in order; all but the newest about 1,000 are packed.

    A `Message` is an object of some 400 bytes beside its text, a packed one about 20. One thread
    may append while others read.
    """

    def __init__(self) -> None:
        self._segments: list[_Segment] = []
        self._recent: tuple[int, list[Counted]] = (0, [])  # index of the first, and from it on

    def __len__(self) -> int:
        first, recent = self._recent
        return first + len(recent)

    def __getitem__(self, index: int) -> Counted:
        first, recent = self._recent
        if index >= first:
            return recent[index - first]
        number, place = divmod(index, _SEGMENT)
        return self._segments[number][place]

    def extend(self, length: int, messages: Sequence[Counted]) -> None:
        """Append `messages` after the first `length`; what stood behind those is dropped."""
        first, recent = self._recent
        if length - first >= _RECENT:
            self._pack(length)
            first, recent = self._recent
        recent[length - first :] = messages

    def replaced(self, length: int, changes: Mapping[int, Counted]) -> PackedLog:
        """Return the first `length` messages with others in some places."""
        other = PackedLog()
        other._segments = [*self._segments]
        for number in {index // _SEGMENT for index in changes}:
            if number < len(self._segments):
                places = range(number * _SEGMENT, (number + 1) * _SEGMENT)
                other._segments[number] = _Segment([changes.get(i, self[i]) for i in places])
        first, recent = self._recent
        kept = enumerate(recent[: length - first], first)
        other._recent = (first, [changes.get(i, counted) for i, counted in kept])
        return other

    def _pack(self, length: int) -> None:
        first, recent = self._recent
        packed = len(self._segments) * _SEGMENT
        while length - packed >= _RECENT:
            start = packed - first
            self._segments.append(_Segment(recent[start : start + _SEGMENT]))
            packed += _SEGMENT
        self._recent = (packed, recent[packed - first :])


_Head: TypeAlias = tuple[Version, dict[str, int]]
"""How far a session has come, and the index of the newest event of each kind. A plain tuple: each
append makes one."""


class _Log:
    """One session. What its logs hold beyond the head's version is not there."""

    def __init__(self, settings: str) -> None:
        self.settings = settings
        self.scope: str | None = None
        self.head: _Head = (Version(0, 0), {})
        self.messages = PackedLog()
        self.vectors: Vectors | None = None
        self.events: list[Event] = []

    def append(self, messages: Sequence[Counted], events: Sequence[Event]) -> None:
        """Append to both logs."""
        (said, happened), last = self.head
        self.messages.extend(said, messages)
        if events:
            self.events[happened:] = events
            last = last | {event.kind: i for i, event in enumerate(events, happened)}
        self.head = (Version(said + len(messages), happened + len(events)), last)

    def erased(
        self,
        messages: Mapping[int, Counted],
        events: Mapping[int, Event],
        appended: Sequence[Event],
    ) -> _Log:
        """Return a log with others in the place of messages and events; this one stays as it is."""
        other, (version, _) = _Log(self.settings), self.head
        other.scope, other.vectors = self.scope, self.vectors
        other.messages = self.messages.replaced(version.messages, messages)
        kept = enumerate(self.events[: version.events])
        other.events = [*(events.get(i, event) for i, event in kept), *appended]
        other.head = (
            Version(version.messages, len(other.events)),
            {event.kind: i for i, event in enumerate(other.events)},
        )
        return other


class InMemoryStore(Store):
    """Keeps sessions for as long as the process lives."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Log] = {}
        self._lock = Lock()

    def create(self, session_id: str, settings: str) -> None:
        """See `Store.create`."""
        check_session_id(session_id)
        with self._lock:
            if session_id in self._sessions:
                raise ConflictError(f"session {session_id!r} exists already; resume it instead")
            self._sessions[session_id] = _Log(settings)

    def session(self, session_id: str) -> Session | None:
        """See `Store.session`."""
        log = self._sessions.get(session_id)
        return None if log is None else Session(session_id, log.settings, log.head[0])

    def sessions(self) -> list[Session]:
        """See `Store.sessions`."""
        logs = list(self._sessions.items())
        return [Session(id_, log.settings, log.head[0]) for id_, log in logs]

    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """See `Store.append`."""
        with self._lock:
            log = self._sessions.get(session_id)
            if log is None or log.head[0] != version:
                found = log.head[0] if log else None
                raise ConflictError(conflict(session_id, version, found))
            log.append(messages, events)

    def erase(
        self,
        session_id: str,
        version: Version,
        messages: Mapping[int, Counted],
        events: Mapping[int, Event],
        appended: Sequence[Event],
    ) -> bool:
        """See `Store.erase`."""
        with self._lock:
            log = self._sessions.get(session_id)
            if log is None or log.head[0] != version:
                found = log.head[0] if log else None
                raise ConflictError(conflict(session_id, version, found))
            erased = log.erased(messages, events, appended)
            if log.vectors is not None:
                log.vectors.forget(messages)
            self._sessions[session_id] = erased
            if log.vectors is not None:  # once more: what stood there till now was computed again
                log.vectors.forget(messages)
        return True

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        """See `Store.messages`."""
        log = self._sessions.get(session_id)
        if log is not None:
            end = log.head[0].messages
            for index in range(start, end if stop is None else min(stop, end)):
                yield log.messages[index]

    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """See `Store.events`."""
        log = self._sessions.get(session_id)
        if log is not None:
            yield from islice(log.events, start, log.head[0].events)

    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """See `Store.last_event`."""
        log = self._sessions.get(session_id)
        index = None if log is None else log.head[1].get(kind)
        return None if log is None or index is None else (index, log.events[index])

    def set_scope(self, session_id: str, scope: str | None) -> None:
        """See `Store.set_scope`."""
        with self._lock:
            log = self._sessions.get(session_id)
            if log is None:
                raise ConflictError(conflict(session_id, Version(0, 0), None))
            log.scope = scope

    def scoped(self, scope: str, limit: int) -> list[Session]:
        """See `Store.scoped`."""
        found: list[Session] = []
        for id_, log in reversed(list(self._sessions.items())):
            if log.scope == scope and len(found) < limit:
                found.append(Session(id_, log.settings, log.head[0]))
        return found[::-1]

    def vectors(self, session_id: str) -> Vectors | None:
        """See `Store.vectors`."""
        from ..recall.vectors import InMemoryVectors  # only where there is an embedder

        with self._lock:  # or a log that takes this one's place would have others
            log = self._sessions.get(session_id)
            if log is None:
                return None
            if log.vectors is None:
                log.vectors = InMemoryVectors()
            return log.vectors

    def delete(self, session_id: str) -> None:
        """See `Store.delete`."""
        self._sessions.pop(session_id, None)

    def close(self) -> None:
        """Nothing to release: the sessions stay readable."""
