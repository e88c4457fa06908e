"""Every error that this package raises, in one tree.

::

    FiniteMemoryError
    ├── ConfigError          a setting that cannot work (also a ValueError)
    ├── MessageError         a message that no provider would take (also a ValueError)
    │   └── ToolCallError    a tool call or result out of place
    ├── BudgetError          something must stay whole and does not fit (also a ValueError)
    ├── CounterError         a token counter that did not return a count
    ├── PolicyError          a policy that broke its contract
    ├── EmbedderError        an embedder that broke its contract
    ├── StoreError           a store that cannot be read or written
    │   ├── ConflictError    someone else appended to the session first
    │   ├── CorruptError     stored bytes that are not what was written
    │   └── VersionError     a file written by a newer release
    ├── BackendError         a backend that failed or returned rubbish
    │   ├── ContextOverflowError  a context that is too long for the model
    │   └── Interrupted      a reply that ended early; carries the partial text
    ├── BusyError            a second turn on a chat whose first is still under way
    └── MissingExtraError    an optional dependency is not installed (also an ImportError)

Each message says what was wrong, with which value, and what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .messages import Message


class FiniteMemoryError(Exception):
    """Base of all errors of Finite Memory."""


class ConfigError(FiniteMemoryError, ValueError):
    """A setting cannot work: an unknown policy, a low water above the budget, ..."""


class MessageError(FiniteMemoryError, ValueError):
    """A message is malformed: an unknown role, content of the wrong type, ..."""


class ToolCallError(MessageError):
    """A tool result without its open call, or a tool call id used twice."""


class BudgetError(FiniteMemoryError, ValueError):
    """Something that must stay whole does not fit the budget.

    Attributes:
        needed: tokens that would have been needed.
        available: tokens that the budget leaves for it.
        rejected: the message that did not fit (a `Message`); None where it was no message.
    """

    def __init__(self, message: str, *, needed: int, available: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.available = available
        self.rejected: Message | None = None


class CounterError(FiniteMemoryError):
    """A token counter raised, or returned something that is not a count."""


class PolicyError(FiniteMemoryError):
    """A policy raised, or answered with something that is no score per candidate."""


class EmbedderError(FiniteMemoryError):
    """An embedder raised, or returned something that is not one vector a text."""


class StoreError(FiniteMemoryError):
    """A store cannot be opened, read or written."""


class ConflictError(StoreError):
    """Another writer appended to the session first; nothing of ours was written."""


class CorruptError(StoreError):
    """Stored bytes fail their integrity check."""


class VersionError(StoreError):
    """The file was written by a newer release of this package."""


class BackendError(FiniteMemoryError):
    """A backend failed, or returned something that is no reply."""


class ContextOverflowError(BackendError):
    """A context is too long for the model, whatever was counted here.

    Raised by a backend before the first piece of a reply. A `Chat` then learns from the numbers,
    evicts and asks again.

    Attributes:
        limit: the most tokens that the model takes; None where the provider does not say.
        actual: the tokens that it was sent, by its own count; None likewise.

    Raises:
        ConfigError: one of these is neither a whole number nor None.
    """

    def __init__(
        self, message: str, *, limit: int | None = None, actual: int | None = None
    ) -> None:
        super().__init__(message)
        for name, value in (("limit", limit), ("actual", actual)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ConfigError(
                    f"a ContextOverflowError's {name} must be a whole number of tokens, or None "
                    f"where the provider tells none, got {value!r:.80} (of the error {message!r})"
                )
        self.limit = limit
        self.actual = actual


class Interrupted(BackendError):
    """A reply ended before it was complete.

    Attributes:
        partial: the text that had arrived.
    """

    def __init__(self, message: str, *, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class BusyError(FiniteMemoryError):
    """A chat or memory was used while a turn on it is still under way."""


class MissingExtraError(FiniteMemoryError, ImportError):
    """An optional dependency is not installed; the message names the extra."""
