"""Our own memory, measured by the same code as the others."""

from __future__ import annotations

from typing import Any

from base import Base, quarter

from finite_memory_core import Memory, Message


class Adapter(Base):
    """A `Memory`; `counter` is "quarter" or "default", the rest goes to `Memory`."""

    REFUSALS = ("BudgetError", "ToolCallError")

    def __init__(self, budget: int, counter: str = "quarter", **settings: Any) -> None:
        chosen = quarter if counter == "quarter" else None
        self._memory = Memory(budget, counter=chosen, **settings)

    def take(self, message: dict[str, Any]) -> Message:
        """Return a `Message`."""
        return Message.from_dict(message)

    def append(self, *messages: Message) -> None:
        """Append; counted and evicted here."""
        self._memory.append(*messages)

    def context(self) -> tuple[Message, ...]:
        """Return the messages that a backend would get."""
        return self._memory.context().messages

    def show(self, context: tuple[Message, ...]) -> list[dict[str, Any]]:
        """Return dicts."""
        return [message.to_dict() for message in context]

    def evictions(self) -> int:
        """Return how often it evicted."""
        return self._memory.stats.evictions
