"""The published rules of three kinds of prompt cache, applied to what is sent.

A request is a list of pieces in the order in which a provider reads them: what it says, how many
tokens that is, and whether a cache breakpoint stands behind it. Entries never expire here, and
nothing is dropped: turns are taken to follow each other within the time that entries live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """One part of a request."""

    text: str
    tokens: int
    marked: bool = False


class Charged(NamedTuple):
    """How a prompt is charged, in tokens."""

    cached: int
    written: int
    plain: int


class Provider(Protocol):
    """Takes requests in turn, and says how each is charged."""

    def ask(self, pieces: Sequence[Piece]) -> Charged:
        """Charge one request."""
        ...


def prefixes(pieces: Sequence[Piece]) -> list[bytes]:
    """Return what stands for the request up to each piece."""
    running, found = sha256(), []
    for piece in pieces:
        running.update(piece.text.encode() + b"\0")
        found.append(running.digest())
    return found


@dataclass
class Breakpoints:
    """A cache that is written at breakpoints, and reads a prefix that was written before.

    Attributes:
        minimum: the shortest prefix that is cached.
        lookback: how many pieces before a breakpoint are looked at: 20 at Anthropic, 1 (the
            breakpoint itself) at OpenAI.
        marks_end: whether the end is a breakpoint of its own accord (OpenAI).
    """

    minimum: int
    lookback: int = 20
    marks_end: bool = False
    held: set[bytes] = field(default_factory=set)

    def ask(self, pieces: Sequence[Piece]) -> Charged:
        """See `Provider.ask`."""
        keys, upto = prefixes(pieces), list(accumulate(piece.tokens for piece in pieces))
        marks = [i for i, piece in enumerate(pieces) if piece.marked]
        if self.marks_end and len(pieces) - 1 not in marks:
            marks.append(len(pieces) - 1)
        marks = [i for i in marks if upto[i] >= self.minimum]
        seen = (
            upto[j]
            for i in marks
            for j in range(i, max(-1, i - self.lookback), -1)
            if keys[j] in self.held
        )
        read = max(seen, default=0)
        written = max((upto[i] for i in marks), default=0) - read
        self.held.update(keys[i] for i in marks)
        return Charged(read, max(0, written), upto[-1] - read - max(0, written))


@dataclass
class Automatic:
    """A cache that finds the longest beginning shared with an earlier request by itself.

    Attributes:
        minimum: the shortest prefix that is served.
        step: the prefix is rounded down to a multiple of this.
    """

    minimum: int
    step: int
    held: set[bytes] = field(default_factory=set)

    def ask(self, pieces: Sequence[Piece]) -> Charged:
        """See `Provider.ask`."""
        keys, upto = prefixes(pieces), list(accumulate(piece.tokens for piece in pieces))
        read = max((n for key, n in zip(keys, upto, strict=True) if key in self.held), default=0)
        read -= read % self.step
        self.held.update(keys)
        read = read if read >= self.minimum else 0
        return Charged(read, 0, upto[-1] - read)
