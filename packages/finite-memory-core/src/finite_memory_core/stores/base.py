"""What a store is: sessions of messages and events, append-only, one transaction a turn.

A store knows nothing of budgets and policies. To a store a session is two logs, `messages` and
`events`, and a `Version`, the length of both. Every append names the version that it was computed
from; a store whose session has moved on since refuses it with `ConflictError`, so that two writers
can neither lose nor interleave a turn.

To add a store, subclass `Store` and prove it with `finite_memory_core.testing.StoreContract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from ..errors import ConfigError, MessageError, StoreError
from ..messages import Message, check_text

if TYPE_CHECKING:
    from ..recall.index import GrowingIndex
    from ..recall.vectors import Vectors


class Version(NamedTuple):
    """How far a session has come: the number of messages and of events in it."""

    messages: int
    events: int


class Counted(NamedTuple):
    """A message and what it cost in tokens by the counter that was in use when it was appended."""

    message: Message
    tokens: int


class Event(NamedTuple):
    """Something that the memory must know again when it resumes.

    Attributes:
        kind: what happened, such as ``"checkpoint"``, ``"pin"`` or ``"usage"``.
        at: how many messages the transcript had when it happened.
        body: JSON text.
    """

    kind: str
    at: int
    body: str


class Session(NamedTuple):
    """A session's head: its settings as JSON text, and its version."""

    id: str
    settings: str
    version: Version


class Store(ABC):
    """Keeps sessions. Every method may raise `StoreError`; none leaves half a change behind.

    All threads of a process may use a store at the same time. A ``with`` statement closes it.
    """

    @abstractmethod
    def create(self, session_id: str, settings: str) -> None:
        """Begin the empty session `session_id` with `settings` (JSON text).

        Raises:
            ConfigError: `session_id` is empty, or has a NUL or a lone surrogate.
            ConflictError: the session exists already.
        """

    @abstractmethod
    def session(self, session_id: str) -> Session | None:
        """Return the head of a session, None where there is no such session."""

    @abstractmethod
    def sessions(self) -> list[Session]:
        """Return the heads of all sessions, oldest first."""

    @abstractmethod
    def append(
        self,
        session_id: str,
        version: Version,
        messages: Sequence[Counted],
        events: Sequence[Event],
    ) -> None:
        """Append to both logs in one transaction; when this returns, it is durable.

        Args:
            session_id: the session.
            version: the version that the caller last saw.
            messages: what was said, in order.
            events: what happened, in order.

        Raises:
            ConflictError: the session is gone, or no longer at `version`; nothing was written.
        """

    def erase(
        self,
        session_id: str,
        version: Version,  # noqa: ARG002
        messages: Mapping[int, Counted],  # noqa: ARG002
        events: Mapping[int, Event],  # noqa: ARG002
        appended: Sequence[Event],  # noqa: ARG002
    ) -> bool:
        """Put others in the place of messages and events, in one transaction, durably.

        What stood there cannot be read from the store any more, nor from its index.

        Args:
            session_id: the session.
            version: the version that the caller last saw.
            messages: what stands at these places of the transcript from now on.
            events: what stands at these places of the events.
            appended: events to append.

        Returns:
            Whether the old bytes are gone from all files already. If not, nobody is told them by
            this store any more, but its files still hold them: its documentation says how long.

        Raises:
            ConflictError: as for `append`; nothing was changed.
            StoreError: the store cannot do that, as one that does not override this.
        """
        raise StoreError(
            f"{type(self).__name__} cannot erase single messages (of session {session_id!r}); use "
            "a store that can, or delete the session"
        )

    @abstractmethod
    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        """Yield the messages with index in [start, stop), in order, with bounded memory.

        Args:
            session_id: the session.
            start: first index, >= 0.
            stop: the index after the last; None for all there are.
        """

    @abstractmethod
    def events(self, session_id: str, start: int = 0) -> Iterator[Event]:
        """Yield the events with index >= start, in order."""

    @abstractmethod
    def last_event(self, session_id: str, kind: str) -> tuple[int, Event] | None:
        """Return the newest event of `kind` with its index, None where there is none.

        Its cost must not grow with the length of the session.
        """

    def pick(self, session_id: str, indices: Sequence[int]) -> dict[int, Counted]:
        """Return some messages by their index; those that are not there are left out."""
        return {
            index: counted
            for index in indices
            for counted in self.messages(session_id, index, index + 1)
        }

    def set_scope(self, session_id: str, scope: str | None) -> None:  # noqa: ARG002
        """Let a session belong to `scope` from now on; None for to none.

        Raises:
            ConflictError: there is no such session.
            ConfigError: the store keeps no scopes, as one that does not override this.
        """
        if scope is not None:
            raise ConfigError(f"{type(self).__name__} keeps no scopes; got scope {scope!r:.80}")

    def scoped(self, scope: str, limit: int) -> list[Session]:  # noqa: ARG002
        """Return the heads of the newest `limit` sessions of exactly that scope, oldest first.

        Its cost must not grow with the number of sessions beyond it.
        """
        return []

    def index(self, session_id: str) -> GrowingIndex | None:  # noqa: ARG002
        """Return the store's own index of a session, for recall; None if it keeps none.

        Without one the memory builds an index of its own, from the whole transcript.
        """
        return None

    def vectors(self, session_id: str) -> Vectors | None:  # noqa: ARG002
        """Return the place for the vectors of a session's messages; None if it keeps none.

        Without one the memory keeps them itself, and they are computed again when it is resumed.
        """
        return None

    @abstractmethod
    def delete(self, session_id: str) -> None:
        """Remove a session and all that was said in it; no error if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Release what the store holds. Closing twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_session_id(session_id: str) -> None:
    """Raise `ConfigError` unless `session_id` is text that every store can hold."""
    try:
        if check_text(session_id, "a session id"):
            return
    except MessageError as error:
        raise ConfigError(str(error)) from error
    raise ConfigError("a session id is empty; give it a name, such as the user's")


def conflict(session_id: str, seen: Version, found: Version | None) -> str:
    """Return the text of a `ConflictError`, the same for every store."""
    if found is None:
        return f"session {session_id!r} is not in the store (deleted?); begin a new one"
    return (
        f"another writer appended to session {session_id!r}: we last saw {seen.messages} messages "
        f"and {seen.events} events, the store has {found.messages} and {found.events}; nothing of "
        "ours was written. Resume the session from the store and try the turn again"
    )
