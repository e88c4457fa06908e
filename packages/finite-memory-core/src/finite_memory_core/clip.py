"""Clipping: the head and the tail of a message that is too large, with a mark between them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from .accounting import Accountant
from .messages import Message
from .text.graphemes import floor_boundary
from .window import MARK


class Clip(NamedTuple):
    """A clipped message: what stands in its place, what that costs, how many tokens are missing."""

    message: Message
    tokens: int
    left_out: int


def clip(message: Message, accountant: Accountant, room: int) -> Clip | None:
    """Return `message` with the middle of its text left out, so that it costs at most `room`.

    Two thirds of what stays are the head, one third the tail; no grapheme is split. Only plain
    text can be clipped: None where the content is parts, where other fields are what is too
    large, or where not even the mark fits.
    """
    if not isinstance(message.content, str):
        return None
    text = message.content
    best: Clip | None = None
    low, high = 0, len(text) - 1
    while low <= high:  # the longest that fits, by bisection: a counter need not be linear
        keep = (low + high) // 2
        candidate = _clipped(message, text, keep, accountant)
        if candidate.tokens <= room:
            best, low = candidate, keep + 1
        else:
            high = keep - 1
    return best


def _clipped(message: Message, text: str, keep: int, accountant: Accountant) -> Clip:
    head = floor_boundary(text, keep * 2 // 3)
    tail = floor_boundary(text, len(text) - keep // 3)
    left_out = accountant.text(text[head:tail])
    content = f"{text[:head]}\n[... {left_out} tokens left out ...]\n{text[tail:]}".strip("\n")
    shown = replace(message, content=content, metadata={**message.metadata, MARK: "clipped"})
    return Clip(shown, accountant.message(shown), left_out)
