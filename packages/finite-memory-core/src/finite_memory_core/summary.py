"""Summaries: what stands in for blocks that left.

A summarizer gets the summary so far and the blocks that leave, and gives back the new summary. The
memory enforces the size, and keeps the old summary where the summarizer fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from .accounting import Accountant
from .blocks import Block
from .counting import TokenCounter
from .errors import CounterError
from .messages import Message, check_text
from .text.sentences import sentences
from .window import MARK

_OPENING = "[Summary of the earlier conversation]\n"


@runtime_checkable
class Summarizer(Protocol):
    """Folds blocks into a running summary."""

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """Return the new summary.

        Args:
            previous: the summary so far, "" at first; what it says must be carried on.
            blocks: what leaves now, oldest first.
            max_tokens: the most that the new summary may cost.
            count: the counter to measure it with.
        """
        ...


class Folded(NamedTuple):
    """A new summary, and what went wrong on the way; None if nothing did."""

    text: str
    problem: str | None


def summary_message(text: str) -> Message:
    """Return the message that carries a summary in a context.

    It speaks as the user: what users and tools said must not gain the authority of instructions
    by being summarized.
    """
    return Message.user(_OPENING + text, metadata={MARK: "summary"})


def fold_summary(
    summarizer: Summarizer,
    previous: str,
    blocks: Sequence[Block],
    room: int,
    accountant: Accountant,
) -> Folded:
    """Return the summary with `blocks` folded in, its whole message within `room` tokens.

    A summarizer that raises, or forgets everything, leaves the previous summary; one that says
    too much is cut at a sentence. Both are told in `problem`.

    Raises:
        CounterError: the counter that the summarizer measures with broke its contract.
    """
    max_tokens = room - accountant.message(summary_message("."))
    if max_tokens <= 0:
        return Folded(previous, f"a room of {room} tokens holds no summary; raise summary_share")
    try:
        text = summarizer.summarize(previous, blocks, max_tokens, accountant.text)
        summary_message(check_text(text, "the summary") or ".")
    except CounterError:
        raise
    except Exception as error:  # noqa: BLE001  # a summarizer is anybody's; told in `problem`
        problem = f"{type(error).__name__}: {error}; the previous summary stands"
        return Folded(previous, problem)
    if previous and not text.strip():
        return Folded(previous, "it returned an empty summary; the previous summary stands")
    cut = _cut(text, max_tokens, accountant)
    if text and not cut:
        problem = f"no sentence of it fits {max_tokens} tokens; the previous summary stands"
        return Folded(previous, problem)
    if len(cut) < len(text):
        return Folded(cut, f"a summary of more than {max_tokens} tokens was cut to them")
    return Folded(cut, None)


def _cut(text: str, max_tokens: int, accountant: Accountant) -> str:
    """Return the longest run of leading sentences within `max_tokens`."""
    if accountant.text(text) <= max_tokens:
        return text
    ends = [end for _, end in sentences(text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        fits = accountant.text(text[: ends[middle - 1]]) <= max_tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[: ends[low - 1]] if low else ""
