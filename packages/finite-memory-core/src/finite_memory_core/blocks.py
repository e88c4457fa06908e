"""Blocks: the smallest things that may leave a context.

A block is a message, or an assistant's message with its tool calls and all their results.
"""

from __future__ import annotations

from .messages import Message, Role
from .text.stopwords import STOP_WORDS
from .text.words import words


class Block:
    """Messages that stay or go together.

    Attributes:
        index: the transcript index of its first message.
        messages: what stands in the context for them: the messages themselves, or, where one was
            clipped, its clipped form.
        tokens: what `messages` cost, in tokens.
        pinned: whether it may never leave: pinned by the caller, or standing instructions.
    """

    __slots__ = ("__weakref__", "_terms", "_text", "index", "messages", "pinned", "tokens")

    def __init__(
        self, index: int, messages: tuple[Message, ...], tokens: int, pinned: bool = False
    ) -> None:
        self.index = index
        self.messages = messages
        self.tokens = tokens
        self.pinned = pinned
        self._text: str | None = None
        self._terms: frozenset[str] | None = None

    @property
    def end(self) -> int:
        """The transcript index after its last message."""
        return self.index + len(self.messages)

    @property
    def role(self) -> Role:
        """The role of its first message."""
        return self.messages[0].role

    @property
    def text(self) -> str:
        """Its searchable text: contents, tool names and arguments, one to a line."""
        if self._text is None:
            self._text = "\n".join(_lines(self.messages))
        return self._text

    @property
    def terms(self) -> frozenset[str]:
        """Its lexical terms: case-folded words and character bigrams, stop words left out."""
        if self._terms is None:
            self._terms = frozenset(words(self.text)) - STOP_WORDS
        return self._terms

    def __repr__(self) -> str:
        return (
            f"Block({self.index}:{self.end}, {self.role.value}, {self.tokens} tokens"
            f"{', pinned' if self.pinned else ''}, {self.text[:40]!r})"
        )


def _lines(messages: tuple[Message, ...]) -> list[str]:
    lines = []
    for message in messages:
        if text := message.text:
            lines.append(text)
        lines += [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return lines
