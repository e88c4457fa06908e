"""What observers hear. Events tell what happened after it has happened; they change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .chat import Reply
    from .context import Context
    from .eviction import Eviction
    from .messages import Message
    from .recall import Hit
    from .tracing import TurnTrace


@dataclass(frozen=True, slots=True)
class MemoryEvent:
    """Base of all events.

    Attributes:
        session_id: the session that it happened in.
    """

    session_id: str


@dataclass(frozen=True, slots=True)
class Appended(MemoryEvent):
    """Messages were recorded; `start` is the transcript index of the first, `tokens` their cost."""

    start: int
    messages: tuple[Message, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Evicted(MemoryEvent):
    """Blocks left the context."""

    eviction: Eviction


@dataclass(frozen=True, slots=True)
class Summarized(MemoryEvent):
    """Blocks that left were folded into the summary, which now reads `summary`.

    Attributes:
        summary: its text.
        blocks: how many blocks were folded in.
        tokens: what they cost.
        ledger: the facts that the text does not hold, word for word, which stand beside it.
    """

    summary: str
    blocks: int
    tokens: int
    ledger: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FactsDropped(MemoryEvent):
    """Neither the summary nor its ledger had room for `facts`; they are in the archive only."""

    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clipped(MemoryEvent):
    """The message at `index` was too large; `left_out` of its `tokens` are not in the context."""

    index: int
    tokens: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Unanswered(MemoryEvent):
    """The tool calls at `index` never got all their results; their block is out of the context."""

    index: int
    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FellBack(MemoryEvent):
    """Something stood in for what was asked for: `what` failed, `why`, and what was done."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Overflowed(MemoryEvent):
    """A provider found a context too long: `actual` tokens where it takes `limit`, if it says so.

    From now on no context counts more than `ceiling`.
    """

    limit: int | None
    actual: int | None
    ceiling: int


@dataclass(frozen=True, slots=True)
class CacheCollapsed(MemoryEvent):
    """A cache served `cached` tokens of a prompt of which `expected` had not changed, and `why`."""

    expected: int
    cached: int
    why: str


@dataclass(frozen=True, slots=True)
class Recalled(MemoryEvent):
    """Messages were brought back from the archive for a context; `hits` are the best first."""

    hits: tuple[Hit, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Forgotten(MemoryEvent):
    """Messages were truly removed; `indices` are their places in the transcript."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ContextBuilt(MemoryEvent):
    """A context was built."""

    context: Context


@dataclass(frozen=True, slots=True)
class TurnEnded(MemoryEvent):
    """A chat's turn was recorded.

    Attributes:
        reply: what it came to.
        trace: how it went; None for a partial reply that is kept, whose `TurnFailed` follows.
    """

    reply: Reply
    trace: TurnTrace | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TurnFailed(MemoryEvent):
    """A chat's turn ended in `error`; it was undone, or `kept` as interrupted.

    Attributes:
        error: why.
        kept: whether the question and the partial reply were recorded.
        trace: how it went.
    """

    error: BaseException
    kept: bool
    trace: TurnTrace | None = field(default=None, compare=False, repr=False)


class Observer(Protocol):
    """Anything that can be called with an event. It must return quickly; it is not awaited."""

    def __call__(self, event: MemoryEvent, /) -> object:
        """Hear of `event`."""
        ...
