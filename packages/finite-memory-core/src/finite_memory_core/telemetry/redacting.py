"""Leaving out what was said, and still telling equal from unequal."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Any, Protocol

KNOWN = frozenset(
    """
    content_filter end_turn error function_call interrupted length max_tokens refusal stop
    stop_sequence tool_calls tool_use
    """.split()  # noqa: SIM905  # twelve pairs of quotes are no easier to read
)
"""Why replies end, in the words of providers, which tell nothing of a conversation."""


class Words(Protocol):
    """Writes what may be private."""

    def text(self, text: str) -> Any:
        """Write a text."""
        ...

    def word(self, word: str) -> Any:
        """Write a word that is most often one of a few known ones."""
        ...

    def values(self, value: Any) -> Any:
        """Write JSON values, keys too."""
        ...

    def settings(self, value: Any) -> Any:
        """Write JSON values of which only texts may be private."""
        ...


class Plain:
    """Writes everything as it is."""

    def text(self, text: str) -> Any:
        """Return it."""
        return text

    def word(self, word: str) -> Any:
        """Return it."""
        return word

    def values(self, value: Any) -> Any:
        """Return it."""
        return value

    def settings(self, value: Any) -> Any:
        """Return it."""
        return value


class Redactor:
    """Writes the length of a text, and a hash under a random key that nobody is told."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def text(self, text: str) -> Any:
        """Return its length and hash."""
        data = text.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=8, key=self._key).hexdigest()
        return {"characters": len(text), "hash": digest}

    def word(self, word: str) -> Any:
        """Return a known word as it is, and any other as a text."""
        return word if word in KNOWN else self.text(word)

    def values(self, value: Any) -> Any:
        """Return the same structure, with a list of pairs for an object."""
        if isinstance(value, dict):
            return [[self.text(str(key)), self.values(item)] for key, item in value.items()]
        if isinstance(value, list | tuple):
            return [self.values(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        return value if value is None or isinstance(value, bool) else self.text(str(value))

    def settings(self, value: Any) -> Any:
        """Return the same structure; keys, numbers and switches stay."""
        if isinstance(value, dict):
            return {key: self.settings(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.settings(item) for item in value]
        return self.text(value) if isinstance(value, str) else value
