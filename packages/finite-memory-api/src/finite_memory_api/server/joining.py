"""Messages of one role that an eviction left side by side, as one message.

Several chat templates, those of Mistral and Gemma among them, refuse a conversation in which user
and assistant do not take turns. So a message whose neighbour has left joins the one before it, and
what is recalled stands inside the question. What comes of it depends on the messages alone: while
the same ones stay, so do its bytes. Runs that the client sent itself stay as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .wires import Wire

_BETWEEN = "\n\n"
_TURNS = frozenset(["user", "assistant"])


def joined(
    before: Mapping[str, Any], after: Mapping[str, Any], wire: Wire
) -> dict[str, Any] | None:
    """Return two messages as one; None where they are of two roles, or say more than can join."""
    if before.get("role") != after.get("role") or after.get("role") not in _TURNS:
        return None
    if any(value and after.get(n) != value for n, value in before.items() if n != "content"):
        return None
    return _with(after, before.get("content"), wire)


def quoting(quoted: str, question: Mapping[str, Any], wire: Wire) -> dict[str, Any] | None:
    """Return `question` with `quoted` before its own text; None where it has no text."""
    return None if question.get("content") is None else _with(question, quoted, wire)


def _with(item: Mapping[str, Any], first: object, wire: Wire) -> dict[str, Any] | None:
    """Return `item` with `first` at the head of its content."""
    content = item.get("content")
    if not isinstance(first, str | list) or not isinstance(content, str | list | None):
        return None
    if isinstance(first, str) and isinstance(content, str):
        return {**item, "content": f"{first}{_BETWEEN}{content}"}
    if content is None:
        return {**item, "content": first}
    user = item.get("role") == "user"
    if wire.runs and not user and not (isinstance(first, list) and isinstance(content, list)):
        return None  # a part that the model said has more to it than its text
    return {**item, "content": [*_parts(first, wire), *_parts(content, wire)]}


def _parts(content: str | list[Any], wire: Wire) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "input_text" if wire.runs else "text", "text": content}]
