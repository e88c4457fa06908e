"""Token ids to text, piece by piece: what a reader takes for one character is never split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from finite_memory_core.text.graphemes import floor_boundary

_UNFINISHED = "\ufffd"
_CONTEXT = 8
"""Ids, at least, that are decoded again: some tokenizers glue words by their neighbours."""


class TextStream:
    """Decodes the ids of one reply as they come.

    Only what no later id can change is given out: the last grapheme is held back (a mark may
    follow that belongs to it), and so is what may be the beginning of a stop string.

    Args:
        tokenizer: decodes.
        stops: texts that end a reply and are no part of it.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._groups: list[list[int]] = []  # ids that settled together: whole characters
        self._fresh: list[int] = []
        self._waiting = ""
        self.stopped = False
        self.text = ""

    def feed(self, token: int) -> str:
        """Take in an id and return the text that is certain by now; often ""."""
        if self.stopped:
            return ""
        self._fresh.append(token)
        self._waiting += self._decoded(final=False)
        return self._give(final=False)

    def end(self) -> str:
        """Return the rest."""
        if not self.stopped:
            self._waiting += self._decoded(final=True)
        return self._give(final=True)

    def _decoded(self, final: bool) -> str:
        """Return the text that the fresh ids add, "" while a character is incomplete."""
        if not self._fresh:
            return ""
        settled = list(chain.from_iterable(self._groups))
        before = self._decode(settled)
        text = self._decode(settled + self._fresh)
        if not final and text.endswith(_UNFINISHED):
            return ""
        self._groups.append(self._fresh)
        while sum(map(len, self._groups[1:])) >= _CONTEXT:  # never cut inside a character
            del self._groups[0]
        self._fresh = []
        return text[len(before) :].replace("\0", _UNFINISHED)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _give(self, final: bool) -> str:
        end = len(self._waiting) if final else self._certain()
        if found := [at for stop in self._stops if (at := self._waiting.find(stop)) >= 0]:
            self.stopped, end = True, min(found)  # what was held back for other stops is text
        given, self._waiting = self._waiting[:end], self._waiting[end:]
        if self.stopped:
            self._waiting = ""
        self.text += given
        return given

    def _certain(self) -> int:
        """Return how much of the waiting text no later id can change."""
        end = floor_boundary(self._waiting, len(self._waiting) - 1)
        for stop in self._stops:
            for length in range(min(len(stop), len(self._waiting)), 0, -1):
                if self._waiting.endswith(stop[:length]):
                    end = min(end, len(self._waiting) - length)
                    break
        return max(end, 0)
