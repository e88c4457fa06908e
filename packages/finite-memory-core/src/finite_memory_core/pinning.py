"""Pinning: keeping messages in the context for good, and letting them go again."""

from __future__ import annotations

from collections.abc import Iterable

from .blocks import Block
from .errors import ConfigError
from .fold import Fold
from .forgetting import Reader, block_of
from .messages import Message


def keep(fold: Fold, reader: Reader, targets: Iterable[int | Message], pinned: bool) -> None:
    """Pin or unpin the blocks of these messages; see `Memory.pin` and `Memory.unpin`.

    Raises:
        BudgetError: they do not fit beside what must stay.
        ConfigError: no such message, or one to be unpinned stands in no context.
        MessageError: it belongs to tool calls that lack results.
    """
    for target in targets:
        index = reader.index_of(target)
        block = block_of(fold, reader, index)
        if not pinned and block not in fold.window.blocks:
            raise ConfigError(f"message {index} stands in no context, so there is nothing to unpin")
        pinned_or_instructing = pinned or block.role.instructs
        fold.replace(Block(block.index, block.messages, block.tokens, pinned_or_instructing))
