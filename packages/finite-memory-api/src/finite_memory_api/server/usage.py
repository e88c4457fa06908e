"""What the upstream reports of a prompt, read as it passes by, and what is learnt from it.

The budget is kept by an estimate, and each model has a tokenizer of its own. What it reports
corrects the estimate for all sessions of that model, in steps, so that counts, and with them what
stays in a context, do not change with every report.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from threading import Lock

from finite_memory_core.counting import Calibration

HEAD, TAIL = 8 << 10, 16 << 10
"""Bytes of an answer that are looked at: usage stands in its first events, or its last."""
STEP = 1 / 16
MODELS = 1_000

_COUNT = re.compile(
    rb'"(prompt_tokens|input_tokens|cache_creation_input_tokens|cache_read_input_tokens'
    rb'|cached_tokens)"\s*:\s*(\d{1,12})(?=[\s,}\]])'
)
"""A text that quotes such a field has its quotation marks escaped, and does not match; nor does a
number whose end is not seen."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A prompt's tokens, all of them, and those that a cache served; None if that is unknown."""

    prompt: int
    cached: int | None


class Reader:
    """Sees an answer's bytes, keeps few of them, and finds the usage in those."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._apart = False  # whether bytes between the two were let go of

    def see(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        missing = HEAD - len(self._head)
        if missing > 0:
            self._head += chunk[:missing]
            chunk = chunk[missing:]
        if chunk:
            self._tail += chunk
            if len(self._tail) > 2 * TAIL:
                del self._tail[:-TAIL]
                self._apart = True

    def reported(self) -> Reported | None:
        """Return what was reported last; None where nothing was."""
        both = (self._head, self._tail) if self._apart else (self._head + self._tail,)
        found = {match[1]: int(match[2]) for part in both for match in _COUNT.finditer(part)}
        if b"prompt_tokens" in found:
            return Reported(found[b"prompt_tokens"], found.get(b"cached_tokens"))
        if b"input_tokens" not in found:
            return None
        read, written = b"cache_read_input_tokens", b"cache_creation_input_tokens"
        prompt = found[b"input_tokens"]
        if read in found or written in found:  # Anthropic counts what a cache served apart
            cached = found.get(read, 0)
            return Reported(prompt + cached + found.get(written, 0), cached)
        return Reported(prompt, found.get(b"cached_tokens"))


class Learnt:
    """What to multiply the estimate with, by model. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: OrderedDict[str, Calibration] = OrderedDict()
        self._used: dict[str, float] = {}

    def factor(self, model: str) -> float:
        """Return the factor of a model; 1.0 before it has reported anything."""
        return self._used.get(model, 1.0)

    def adopt(self, model: str, factor: float) -> None:
        """Take over what another worker has learnt, where nothing is known here."""
        with self._lock:
            if model not in self._seen:
                self._seen[model] = Calibration()
                self._used[model] = factor
                self._forget()

    def observe(self, model: str, counted: int, reported: int) -> None:
        """Learn that what was counted as so many tokens was reported as so many."""
        with self._lock:
            calibration = self._seen.setdefault(model, Calibration())
            self._seen.move_to_end(model)
            calibration.observe(counted, reported)
            used = self._used.get(model)
            if used is None or not used - 2 * STEP <= calibration.factor <= used:
                self._used[model] = ceil(calibration.factor / STEP) * STEP
            self._forget()

    def _forget(self) -> None:
        while len(self._seen) > MODELS:
            gone, _ = self._seen.popitem(last=False)
            self._used.pop(gone, None)
