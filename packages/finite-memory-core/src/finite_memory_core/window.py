"""The window: the blocks that are in the context now, with running sums.

It grows at its end. Whatever else changes (an eviction, a pin, a new summary) makes a new window
and leaves the old one as it was, which is what makes a failed turn undoable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from .blocks import Block
from .messages import Message, Role
from .rounds import OpenRound

MARK = "finite_memory"
"""The metadata key that marks a message as ours: summary, bridge, clipped or recalled."""

BRIDGE = Message.user("[The conversation so far:]", metadata={MARK: "bridge"})
"""Stands before an assistant that would speak first, which several providers refuse."""


_USER = Role.USER  # to look a member up takes as long as a call

Mark: TypeAlias = tuple[int, int, int, int, Block | None, OpenRound | None, bool]
"""A window's length, to which it can be cut back, and what else a push changes."""


class Window:
    """Blocks in order, and the messages that stand for them in the context.

    Args:
        bridge_tokens: what `BRIDGE` costs.
        summary: stands behind the leading instructions; None for none.

    Attributes:
        blocks: oldest first.
        flat: the context's messages, recalled ones aside.
        tokens: what `flat` costs.
        fixed: what of it can never leave: instructions and pinned blocks.
        question: the block of the last user message, None before there is one.
        cuts: how often it was cut back; while it is not, `flat` only grows at its end.
        open: tool calls that wait for results, None if there are none.
    """

    __slots__ = (
        "_bridge_tokens",
        "_led",
        "blocks",
        "cuts",
        "fixed",
        "flat",
        "open",
        "question",
        "summary",
        "tokens",
    )

    def __init__(self, bridge_tokens: int, summary: Block | None = None) -> None:
        self._bridge_tokens = bridge_tokens
        self.summary = summary
        self.blocks: list[Block] = []
        self.flat: list[Message] = []
        self.tokens = 0
        self.fixed = 0
        self.question: Block | None = None
        self.open: OpenRound | None = None
        self.cuts = 0
        self._led = False  # whether a message that is no instruction stands in `flat`

    def push(self, block: Block) -> None:
        """Append a block; the caller has seen to it that it fits."""
        role = block.messages[0].role
        if not self._led and not role.instructs:
            self._lead(role)
        self.blocks.append(block)
        self.flat.extend(block.messages)
        self.tokens += block.tokens
        if block.pinned:
            self.fixed += block.tokens
        if role is _USER:
            self.question = block

    def _lead(self, role: Role) -> None:
        """Put what must stand before the first spoken message: the summary, or the bridge."""
        self._led = True
        if self.summary is not None:
            self.flat.extend(self.summary.messages)
            self.tokens += self.summary.tokens
        elif role is not Role.USER:
            self.flat.append(BRIDGE)
            self.tokens += self._bridge_tokens

    def lead_cost(self, role: Role) -> int:
        """Return what a block of `role` costs beside itself if it is pushed now."""
        if self._led or role.instructs:
            return 0
        if self.summary is not None:
            return self.summary.tokens
        return 0 if role is Role.USER else self._bridge_tokens

    def required(self, role: Role | None = None) -> int:
        """Return the tokens of what must stay, the bridge among them where it needs one.

        Args:
            role: of a message that is to stand beside it; a user's takes the question's place.
                None where nothing new comes.
        """
        question = None if role is Role.USER else self.question
        if role is None and self.open is not None:
            role = Role.ASSISTANT
        stays = (b for b in self.blocks if b is question or (b.pinned and not b.role.instructs))
        first = next((b.role for b in stays), role)
        needed = self.fixed
        if first in (Role.ASSISTANT, Role.TOOL):
            needed += self._bridge_tokens
        if question is not None and not question.pinned:
            needed += question.tokens
        return needed

    def rebuilt(self, blocks: Iterable[Block], summary: Block | None) -> Window:
        """Return a window of `blocks` (oldest first) behind `summary`, with the same open round."""
        window = Window(self._bridge_tokens, summary)
        for block in blocks:
            window.push(block)
        window.question = window.question or self.question
        window.open = self.open
        return window

    def mark(self) -> Mark:
        """Return what `cut` needs to undo all pushes from here on."""
        return (
            len(self.blocks),
            len(self.flat),
            self.tokens,
            self.fixed,
            self.question,
            self.open,
            self._led,
        )

    def cut(self, mark: Mark) -> None:
        """Undo all that was pushed since `mark`."""
        self.cuts += 1
        blocks, flat, self.tokens, self.fixed, self.question, self.open, self._led = mark
        del self.blocks[blocks:]
        del self.flat[flat:]
