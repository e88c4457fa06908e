"""A transcript in columns, so that ten thousand messages are told in a few hundred kilobytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from finite_memory_core import Message
from finite_memory_core.accounting import CONTEXT_OVERHEAD
from finite_memory_core.stores.base import Counted
from finite_memory_core.tombstone import is_tombstone

PINNED, WINDOW, RECALLED, SUMMARY, ARCHIVED, FORGOTTEN, UNKNOWN = "PWRSAF?"
"""Where a message is now, in a letter: `SUMMARY` has left, and the summary stands for it."""
ROLES = {"system": "s", "developer": "d", "user": "u", "assistant": "a", "tool": "t"}
MOST_SHOWN, MOST_LINES = 1_200, 24
"""Of a longer message the list shows the beginning; the whole is a click away."""


def text_of(message: Message) -> str:
    """Return what a message says, tool calls and parts that are no text included."""
    content = message.content
    if content is None or isinstance(content, str):
        said = [message.text] if message.text else []
    else:
        said = [str(part["text"]) if "text" in part else f"[{part['type']}]" for part in content]
    said += [f"→ {call.name}({call.arguments})" for call in message.tool_calls]
    return "\n".join(said)


def beginning(text: str) -> str:
    """Return as much of a text as the list shows."""
    return "\n".join(text[:MOST_SHOWN].split("\n")[:MOST_LINES])


class Rows:
    """Columns over the messages of a transcript, in its order.

    Attributes:
        roles: a letter a message, see `ROLES`.
        tokens: what each costs.
        sizes: the characters of each.
        gone: which were forgotten.
        sums: what the messages before each place cost, together; one longer than the others.
    """

    def __init__(self) -> None:
        self.roles: list[str] = []
        self.tokens: list[int] = []
        self.sizes: list[int] = []
        self.gone: set[int] = set()
        self.sums = [0]

    def __len__(self) -> int:
        return len(self.roles)

    def extend(self, said: Iterable[Counted]) -> None:
        """Take in the messages that follow."""
        for message, tokens in said:
            size = len(text_of(message))
            if is_tombstone(message):
                self.gone.add(len(self))
            self.roles.append(ROLES[message.role.value])
            self.tokens.append(tokens)
            self.sizes.append(size)
            self.sums.append(self.sums[-1] + tokens)

    def full(self, messages: int) -> int:
        """Return what a context with all of the first `messages` messages would cost."""
        return CONTEXT_OVERHEAD + self.sums[min(messages, len(self))]

    def to_dict(self, start: int = 0) -> dict[str, Any]:
        """Return the columns from `start` on, as JSON values."""
        return {
            "start": start,
            "roles": "".join(self.roles[start:]),
            "tokens": self.tokens[start:],
            "sizes": self.sizes[start:],
        }
