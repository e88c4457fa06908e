"""Recall: what left the context comes back when it is asked for.

Every message that leaves stays in the archive, verbatim. Before a turn the archive is searched
with the question, and what fits a share of the budget stands next to the question, marked as
recalled: behind the stable prefix, so that no cache breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..embedding import Embedder, as_embedder, embedder_name
from ..errors import ConfigError, MessageError
from ..messages import Message, check_text


@dataclass(frozen=True, slots=True)
class Recall:
    """How much is brought back, and when.

    Attributes:
        share: the share of the budget that is kept for what is recalled, above 0 and below 1. The
            window has the rest.
        gate: nothing is recalled unless one message of the archive holds at least this share of
            the question's information, 0 to 1; where one holds just as much, a bit more than half
            of the room is filled, and all of it from 1.75 times the gate on. 0 recalls at every
            turn that matches anything; the higher, the less small talk costs.
        embedder: finds what was said in other words, beside the words themselves: an `Embedder`,
            or a function from texts to a vector each; None for the memory's own, if it has one.
        scope: what this session has in common with others of its store, such as ``"user:ada"``:
            all sessions of the same scope are searched, and none beyond it. None for this session
            alone.

    Raises:
        ConfigError: numbers that cannot work, or something that is no embedder.
    """

    share: float = 0.25
    gate: float = 0.2
    embedder: Embedder | None = None
    scope: str | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.share) or not 0 < self.share < 1:
            raise ConfigError(
                f"Recall's share must lie between 0 and 1, a share of the budget; got "
                f"{self.share!r}"
            )
        if not _is_number(self.gate) or not 0 <= self.gate <= 1:
            raise ConfigError(f"Recall's gate must lie from 0 to 1, got {self.gate!r}")
        object.__setattr__(self, "embedder", as_embedder(self.embedder))
        if self.scope is not None:
            check_scope(self.scope)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; of an embedder only its name."""
        values: dict[str, Any] = {"share": self.share, "gate": self.gate}
        if self.embedder is not None:
            values["embedder"] = embedder_name(self.embedder)
        if self.scope is not None:
            values["scope"] = self.scope
        return values


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found in the archive.

    Attributes:
        index: its place in the transcript of its session.
        message: what was said.
        score: how well it answers; the parts add up to it.
        parts: words, neighbours, session, related, similar, speaker, when, date, question,
            length: those that are not 0. ``docs/recall.md`` says what they are.
        session_id: the session that it was said in.
    """

    index: int
    message: Message
    score: float
    parts: Mapping[str, float] = field(hash=False)
    session_id: str = ""


def check_scope(scope: object) -> None:
    """Raise `ConfigError` unless `scope` is text that every store can hold."""
    try:
        if isinstance(scope, str) and check_text(scope, "a scope"):
            return
    except MessageError as error:
        raise ConfigError(str(error)) from error
    raise ConfigError(f"a scope is a text such as 'user:ada', got {scope!r:.80}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
