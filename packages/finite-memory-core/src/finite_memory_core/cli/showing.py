"""Contexts, evictions and figures of a memory, for people and as JSON; shared by the commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..context import Context
from ..eviction import Eviction
from ..memory import Memory
from ..messages import Message
from ..settings import Settings
from ..stats import MemoryStats
from ..window import MARK
from .terminal import clean, counted, number, one_line, percent, print_pairs, terminal_width


def said(message: Message) -> str:
    """Return what a message says, tool calls written as calls and other parts by their type."""
    parts = [message.text] if message.text else []
    parts += [f"→ {call.name}({call.arguments})" for call in message.tool_calls]
    if not parts and not isinstance(message.content, str):
        parts = [f"[{part['type']}]" for part in message.content or ()]
    return "\n".join(parts)


def speaker(message: Message) -> str:
    """Return who speaks: the role, and the name where there is one."""
    return clean(f"{message.role} {message.name}" if message.name else message.role)


def message_line(place: str, message: Message, width: int) -> str:
    """Return a message in one line: where it stands, who speaks, how it begins."""
    start = f"{place:<7} {speaker(message):<10} "
    return start + one_line(said(message), max(20, width - len(start)))


def print_context(memory: Memory, context: Context) -> None:
    """Print what stands in a context: a message a line, with its place in the transcript."""
    print(
        f"{counted(len(context), 'message')}, {number(context.token_count)} of "
        f"{number(context.budget)} tokens"
    )
    width = terminal_width()
    for place, message in _placed(memory, context):
        print(message_line(place, message, width))


def _placed(memory: Memory, context: Context) -> Iterator[tuple[str, Message]]:
    places = {
        id(message): f"#{block.index + i}"
        for block in memory.blocks
        for i, message in enumerate(block.messages)
    }
    for message in context.messages:
        yield places.get(id(message)) or str(message.metadata.get(MARK, "")), message


def print_eviction(memory: Memory, eviction: Eviction | None, opening: str) -> None:
    """Print who stayed, who left and why, each with how it begins."""
    if eviction is None:
        print(f"{opening}: everything fitted so far, nothing had to leave")
        return
    left = sum(not decision.kept for decision in eviction.decisions)
    print(
        f"{opening}, at message {number(eviction.at)}, by {clean(eviction.policy)}: {left} of "
        f"{len(eviction.decisions)} blocks left, {number(eviction.before)} -> "
        f"{number(eviction.after)} tokens"
    )
    if eviction.stood_in is not None:
        print(f"the sliding window decided, because of {clean(eviction.policy)}: "
              f"{clean(eviction.stood_in)}")  # fmt: skip
    width, transcript = terminal_width(), memory.transcript
    for decision in eviction.decisions:
        print(clean(str(decision)))
        print(" " * 8 + one_line(said(transcript[decision.index]), max(20, width - 8)))


def eviction_as_dict(eviction: Eviction | None) -> dict[str, Any] | None:
    """Return an eviction as JSON values; None where there was none."""
    if eviction is None:
        return None
    own = {name: getattr(eviction, name) for name in Eviction.__slots__}
    decisions = [
        {name: _finite(getattr(decision, name)) for name in type(decision).__slots__}
        for decision in eviction.decisions
    ]
    return {**own, "decisions": decisions}


def _finite(value: Any) -> Any:
    """Return None for an infinite worth, which JSON has no word for."""
    return None if value in (float("inf"), float("-inf")) else value


def low_water_of(settings: Settings) -> str:
    """Return where eviction stops, in a word."""
    low = settings.low_water
    return low if isinstance(low, str) else percent(low)


def described(settings: Settings) -> str:
    """Return a memory's settings in a line."""
    line = (
        f"{clean(settings.policy)}, budget {number(settings.budget)} tokens, low water "
        f"{low_water_of(settings)}"
    )
    return f"{line}, reserve {number(settings.reserve)}" if settings.reserve else line


def print_stats(
    settings: Settings, stats: MemoryStats, more: Iterable[tuple[str, str]] = ()
) -> None:
    """Print what a memory has seen, holds and did, and `more` pairs of a name and its value."""
    print_pairs(
        [
            ("policy", described(settings)),
            (
                "transcript",
                f"{counted(stats.messages, 'message')}, {counted(stats.tokens_seen, 'token')}",
            ),
            (
                "context",
                (
                    f"{counted(stats.blocks_held, 'block')}, {number(stats.tokens_held)} tokens, "
                    f"{percent(stats.tokens_held / stats.budget)} of the budget"
                ),
            ),
            *_happened(stats),
            *more,
        ]
    )


def _happened(stats: MemoryStats) -> Iterable[tuple[str, str]]:
    yield (
        "evictions",
        (
            f"{number(stats.evictions)}; {number(stats.blocks_evicted)} blocks with "
            f"{number(stats.tokens_evicted)} tokens left"
        ),
    )
    if stats.contexts:
        yield "stable prefix", f"{percent(stats.stable_share)} of all context tokens"
    counts = {
        "recalled": stats.recalled,
        "summaries": stats.summaries,
        "clipped": stats.clipped,
        "unanswered": stats.unanswered,
        **{f"{clean(what)} failed": count for what, count in stats.fallbacks.items()},
    }
    yield from ((name, number(count)) for name, count in counts.items() if count)
    if stats.policy_ms:
        yield (
            "policy time",
            f"{stats.policy_ms:.1f} ms, {stats.policy_ms_max:.1f} ms the longest",
        )
