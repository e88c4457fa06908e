"""Where cache breakpoints pay. Pure; knows groups of messages and no wire format.

A provider that takes breakpoints writes the prompt to its cache up to each one, and reads from
the longest prefix that it wrote before. Most take four. They go, the most useful first:

1. behind tools and instructions: what is left of the prefix after an eviction;
2. behind the last message that the next request will repeat: the last one, or the last before
   the recalled text, which changes with each question;
3. behind what the previous request ended with, so that it is found however many parts the turn
   in between had (Anthropic looks back 20);
4. behind a summary and pinned messages at the beginning, which outlive most evictions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from finite_memory_core import Context, Message, Role

MOST = 4
_MARK = "finite_memory"


def session_key(session_id: str) -> str:
    """Return a session's id as a header or a key may carry it: at most 64 plain characters."""
    if len(session_id) <= 64 and session_id.isascii() and session_id.isprintable():
        return session_id.replace(" ", "_")
    return sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Places:
    """Where to mark: behind the head (tools and instructions), and behind which groups."""

    head: bool
    groups: tuple[int, ...]


def places(
    context: Context,
    groups: Sequence[tuple[Message, ...]],
    ends: Sequence[int],
    *,
    has_head: bool,
    most: int = MOST,
    input_only: bool = False,
) -> Places:
    """Return where breakpoints pay.

    Args:
        context: what is sent.
        groups: its messages without the instructions, as they make wire messages.
        ends: for each group, how many of the context's messages there are up to its end.
        has_head: whether there are tools or instructions.
        most: how many breakpoints there may be.
        input_only: whether an assistant's message cannot be marked; the one before it is then.
    """
    wanted = [_repeated(context, groups), _upto(ends, context.stable_messages), _outlives(groups)]
    if context.recalled and (context.tools or context.messages[-1] is not context.question):
        wanted.insert(1, len(groups) - 1)  # the question will be repeated with its tool calls
    chosen: list[int] = []
    for index in wanted:
        while input_only and index >= 0 and groups[index][-1].role is Role.ASSISTANT:
            index -= 1
        if index >= 0 and index not in chosen:
            chosen.append(index)
    return Places(has_head, tuple(sorted(chosen[: most - has_head])))


def _upto(ends: Sequence[int], count: int) -> int:
    """Return the last group that lies wholly in the first `count` messages; -1 if none does."""
    return bisect_right(ends, count) - 1


def _repeated(context: Context, groups: Sequence[tuple[Message, ...]]) -> int:
    """Return the last group that the next request repeats."""
    if context.recalled:
        for index, group in enumerate(groups):
            if any(message.metadata.get(_MARK) == "recalled" for message in group):
                return index - 1
    return len(groups) - 1


def _outlives(groups: Sequence[tuple[Message, ...]]) -> int:
    """Return the last group of those at the beginning that evictions spare."""
    count = 0
    for group in groups:
        if not all(message.pinned or message.metadata.get(_MARK) == "summary" for message in group):
            break
        count += 1
    return count - 1
