"""What tests ask of a memory from the outside, by rules written a second time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from finite_memory_core import (
    BudgetError,
    EstimatingCounter,
    Memory,
    Message,
    Role,
    Store,
    ToolCallError,
)

MARK = "finite_memory"


def say(memory: Memory, messages: Iterable[Message]) -> list[Message]:
    """Append one by one; return those that were taken."""
    return [message for message in messages if take(memory, message)]


def take(memory: Memory, message: Message) -> bool:
    """Append `message` and return True; False where it cannot fit, or its call was not taken."""
    try:
        memory.append(message)
    except (BudgetError, ToolCallError):
        return False
    return True


def refusal(memory: Memory, message: Message) -> BudgetError | None:
    """Append `message`; return the error that says that it cannot fit, None where there is none."""
    try:
        memory.append(message)
    except BudgetError as error:
        return error
    except ToolCallError:
        assert message.role == "tool"  # its call was refused
    return None


def wire(messages: Iterable[Message]) -> list[str]:
    """Return the bytes of messages, to be compared byte for byte."""
    return [json.dumps(message.to_dict(), ensure_ascii=False) for message in messages]


def mark_of(message: Message) -> str:
    """Return how the memory marked a message of the context; "" for one that was said."""
    return str(message.metadata.get(MARK, ""))


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


def recount(message: Message, counter: Callable[[str], int] | None) -> int:
    """Count a message by the rules that `accounting` states."""
    count = counter or EstimatingCounter()
    content = message.content
    total = 4
    if isinstance(content, str):
        total += count(content)
    for part in content if isinstance(content, tuple) else ():
        assert part["type"] in ("text", "image_url")
        total += count(part["text"]) if part["type"] == "text" else 85
    total += 0 if message.name is None else 1 + count(message.name)
    for call in message.tool_calls:
        total += 8 + count(call.id) + count(call.name) + count(call.arguments)
    return total + (0 if message.tool_call_id is None else count(message.tool_call_id))


def recount_context(memory: Memory, counter: Callable[[str], int] | None) -> int:
    """Count all that a context of `memory` holds now."""
    count = counter or EstimatingCounter()
    context = memory.context()
    tools = sum(8 + count(as_json(tool)) for tool in context.tools)
    raw = 3 + tools + sum(recount(message, counter) for message in context.messages)
    return ceil(raw * memory.stats.correction)


def state(memory: Memory) -> dict[str, Any]:
    """Return all that a caller can see of a memory and its store, timings aside."""
    stats = memory.stats.to_dict()
    own = ["contexts", "context_tokens", "stable_tokens", "stable_share", "recalled"]
    for name in [*own, "policy_ms", "policy_ms_max", "observer_errors"]:
        del stats[name]
    return {**view(memory), "stats": stats, **stored(memory.store, memory.session_id)}


def view(memory: Memory) -> dict[str, Any]:
    """Return what the model would see, and the blocks behind it."""
    context = memory.context()
    return {
        "messages": wire(context.messages),
        "tokens": context.token_count,
        "tools": as_json(context.tools),
        "question": None if context.question is None else context.question.to_dict(),
        "blocks": [(b.index, b.end, b.tokens, b.pinned) for b in memory.blocks],
        "summary": memory.summary,
    }


def stored(store: Store, session_id: str) -> dict[str, Any]:
    """Return all that a store holds of a session."""
    return {
        "session": store.session(session_id),
        "stored": [(wire([m]), tokens) for m, tokens in store.messages(session_id)],
        "events": list(store.events(session_id)),
    }


def is_instruction(message: Message) -> bool:
    return message.role in (Role.SYSTEM, Role.DEVELOPER)


def find_in_order(shown: Sequence[Message], said: Sequence[Message]) -> list[int]:
    """Return where each of `shown` stands in `said`, each behind the one before.

    A clipped message stands where its head, tail and fields fit.
    """
    places: list[int] = []
    for message in shown:
        start = places[-1] + 1 if places else 0
        fitting = (i for i in range(start, len(said)) if stands_for(message, said[i]))
        place = next(fitting, None)
        assert place is not None, f"{message!r:.200} was not said after message {start - 1}"
        places.append(place)
    return places


def stands_for(shown: Message, said: Message) -> bool:
    """Return whether `shown` is `said`, byte for byte or visibly clipped."""
    if mark_of(shown) != "clipped":
        return wire([shown]) == wire([said])
    head, _, tail = shown.text.partition("[... ")
    tail = tail.partition(" tokens left out ...]")[2].removeprefix("\n")
    whole = said.text.strip("\n")
    fits = whole.startswith(head.removesuffix("\n")) and whole.endswith(tail)
    return fits and len(head) + len(tail) < len(said.text) + 2 and _fields(shown) == _fields(said)


def _fields(message: Message) -> tuple[object, ...]:
    return (message.role, message.name, message.tool_calls, message.tool_call_id, message.timestamp)
