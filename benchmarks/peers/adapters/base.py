"""What every adapter can do. An adapter turns the OpenAI chat shape into a library's own."""

from __future__ import annotations

from typing import Any


def quarter(text: str) -> int:
    """Count a token for every four characters: the counter that is given to every library."""
    return len(text) // 4


def quarter_bytes(text: str) -> int:
    """Count a token for every four bytes, rounded up."""
    return -(-len(text.encode("utf-8")) // 4)


class Base:
    """Overridden as needed.

    `REFUSALS` are the names of the errors by which the library refuses a message; none unless
    said: any other error counts as a crash.
    """

    REFUSALS: tuple[str, ...] = ()

    def take(self, message: dict[str, Any]) -> Any:
        """Return the library's own object for `message`; not measured."""
        return message

    def append(self, *messages: Any) -> None:
        """Append the library's own objects; measured."""
        raise NotImplementedError

    def load(self, messages: list[Any]) -> None:
        """Append many; not measured."""
        for message in messages:
            self.append(message)

    def context(self) -> Any:
        """Return the context as the library gives it; measured."""
        raise NotImplementedError

    def show(self, context: Any) -> list[dict[str, Any]]:
        """Return a context in the OpenAI chat shape; not measured."""
        return list(context)

    def evictions(self) -> int:
        """Return how often it evicted; 0 where it does not tell."""
        return 0
