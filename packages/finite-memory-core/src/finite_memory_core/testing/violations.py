"""What is wrong with a context, given the transcript that it was made from.

Works on anything that is a list of messages in the OpenAI chat shape, as `Message` or as dicts,
whoever made it. This module knows nothing of `Memory`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..messages import Message, thaw
from ..window import MARK

AnyMessage: TypeAlias = "Message | Mapping[str, Any]"
Count: TypeAlias = Callable[[Sequence[AnyMessage]], int]

OVER_BUDGET = "over budget"
EMPTY = "empty"
QUESTION_LOST = "question lost"
NEWEST_LOST = "newest lost"
SYSTEM_LOST = "system lost"
PINNED_LOST = "pinned lost"
ORPHAN_RESULT = "orphan result"
DANGLING_CALL = "dangling call"
SPLIT_GROUP = "split group"
STARTS_WRONG = "starts without user"
ALTERED = "altered"
OUT_OF_ORDER = "out of order"

_INSTRUCTING = ("system", "developer")


def violations(
    messages: Sequence[AnyMessage],
    *,
    transcript: Sequence[AnyMessage],
    budget: int,
    count: Count,
    clip: bool = False,
) -> list[str]:
    """Return what is wrong with a context, one line each, empty if nothing is.

    Args:
        messages: the context, as it would be sent.
        transcript: all that was said up to now. The newest message must be in the context, and so
            must the last user's; what else stays is for the memory to decide.
        budget: the most tokens that the context may hold.
        count: counts a context, everything included.
        clip: whether a message that could never fit may stand there visibly clipped: its text
            shortened and `metadata["finite_memory"] == "clipped"`.

    Returns:
        Lines such as ``"over budget: 4,310 tokens of 4,096"``; the kind stands before the colon
        (see `kind_of`) and is one of the constants of this module.
    """
    checker = Checker(budget=budget, count=count, clip=clip)
    for message in transcript:
        checker.append(message)
    return checker.check(messages)


def kind_of(violation: str) -> str:
    """Return the kind of a line from `violations`."""
    return violation.partition(":")[0]


class Checker:
    """Finds violations against a transcript that grows; `violations` for one that does not."""

    def __init__(self, *, budget: int, count: Count, clip: bool = False) -> None:
        self._budget = budget
        self._count = count
        self._clip = clip
        self._said: list[_Seen] = []
        self._where: dict[_Key, list[int]] = {}
        self._required: list[tuple[str, _Seen]] = []
        self._question: _Seen | None = None

    def append(self, message: AnyMessage) -> None:
        """Add a message to the transcript; where one was forgotten, nothing may be shown."""
        seen = _see(message)
        if seen.mark == "forgotten":
            return
        self._where.setdefault(seen.key, []).append(len(self._said))
        self._said.append(seen)
        if seen.role in _INSTRUCTING:
            self._required.append((SYSTEM_LOST, seen))
        elif _is_pinned(message):
            self._required.append((PINNED_LOST, seen))
        if seen.role == "user":
            self._question = seen

    def check(self, messages: Sequence[AnyMessage]) -> list[str]:
        """Return what is wrong with `messages` as the context for the transcript so far."""
        shown = [_see(message) for message in messages]
        return [
            *self._size(messages, shown),
            *self._lost(shown),
            *_structure(shown),
            *self._order(shown),
        ]

    def _size(self, messages: Sequence[AnyMessage], shown: list[_Seen]) -> Iterator[str]:
        if all(seen.role in _INSTRUCTING for seen in shown):
            yield f"{EMPTY}: {len(shown)} messages, and nothing that was said"
        if (tokens := self._count(messages)) > self._budget:
            yield f"{OVER_BUDGET}: {tokens:,} tokens of {self._budget:,}"

    def _lost(self, shown: list[_Seen]) -> Iterator[str]:
        have = Counter(seen.key for seen in shown)
        need = Counter((kind, seen.key) for kind, seen in self._required)
        for (kind, key), times in need.items():
            if have[key] < times and not self._stands_clipped(key, shown):
                yield f"{kind}: {_quote(key)}"
        said = [seen for seen in shown if seen.mark in ("", "clipped")]
        users = [seen for seen in said if seen.role == "user"]
        if self._question and not self._is(self._question, users[-1:]):
            yield f"{QUESTION_LOST}: {_quote(self._question.key)}"
        newest = self._said[-1] if self._said else None
        if newest and newest is not self._question and not self._is(newest, said[-1:]):
            yield f"{NEWEST_LOST}: {_quote(newest.key)}"

    def _is(self, seen: _Seen, shown: list[_Seen]) -> bool:
        """Return whether `shown`, one message or none, is `seen`, whole or clipped."""
        return any(s.key == seen.key or (self._clip and _clips(s, seen)) for s in shown)

    def _stands_clipped(self, key: _Key, shown: list[_Seen]) -> bool:
        seen = self._said[self._where[key][0]]
        return self._clip and any(_clips(s, seen) for s in shown)

    def _order(self, shown: list[_Seen]) -> Iterator[str]:
        at = -1
        for seen in shown:
            if seen.mark not in ("", "clipped"):
                continue
            positions = self._originals(seen, at)
            if not positions:
                yield f"{ALTERED}: {_quote(seen.key)} was never said"
            elif positions[-1] <= at:
                yield f"{OUT_OF_ORDER}: {_quote(seen.key)} after message {at}"
            else:
                at = positions[bisect_right(positions, at)]

    def _originals(self, seen: _Seen, after: int) -> list[int]:
        """Return where in the transcript `seen` was said."""
        if not seen.mark:
            return self._where.get(seen.key, [])
        if not self._clip:
            return []
        later = range(after + 1, len(self._said))
        return [i for i in later if _clips(seen, self._said[i])][:1]


class _Key(NamedTuple):
    """All of a message that a model can see."""

    role: str
    content: str
    name: str | None
    calls: tuple[tuple[str, str, str], ...]
    answers: str | None


class _Seen(NamedTuple):
    role: str
    key: _Key
    mark: str


def _see(message: AnyMessage) -> _Seen:
    key = _key_of(message) if isinstance(message, Message) else _key_of_dict(message)
    metadata = message.metadata if isinstance(message, Message) else message.get("metadata")
    return _Seen(key.role, key, str((metadata or {}).get(MARK, "")))


def _key_of(message: Message) -> _Key:
    calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
    content = _text(message.content)
    return _Key(message.role.value, content, message.name, calls, message.tool_call_id)


def _key_of_dict(message: Mapping[str, Any]) -> _Key:
    calls = tuple(
        (str(call["id"]), str(call["function"]["name"]), str(call["function"]["arguments"]))
        for call in message.get("tool_calls") or ()
    )
    content = _text(message.get("content"))
    answers = message.get("tool_call_id")
    return _Key(str(message["role"]), content, message.get("name"), calls, answers)


def _text(content: Any) -> str:
    if isinstance(content, str) or not content:
        return content or ""
    return json.dumps(thaw(content), sort_keys=True)


def _is_pinned(message: AnyMessage) -> bool:
    return message.pinned if isinstance(message, Message) else bool(message.get("pinned"))


def _clips(shown: _Seen, seen: _Seen) -> bool:
    """Return whether `shown` can be `seen` with text left out, and says so."""
    a, b = shown.key, seen.key
    same = a._replace(content="") == b._replace(content="")
    return shown.mark == "clipped" and same and len(a.content) < len(b.content)


def _structure(shown: list[_Seen]) -> Iterator[str]:
    """Yield what a provider would refuse: calls and results that do not belong together."""
    spoken = [seen for seen in shown if seen.role not in _INSTRUCTING]
    if spoken and spoken[0].role != "user":
        yield f"{STARTS_WRONG}: the first message is of role {spoken[0].role!r}"
    asked: set[str] = set()
    waiting: set[str] = set()
    for seen in shown:
        if seen.role == "tool":
            if seen.key.answers not in waiting:
                yield f"{ORPHAN_RESULT}: no open call {seen.key.answers!r} before it"
            waiting.discard(seen.key.answers or "")
            continue
        yield from _unanswered(asked, waiting)
        asked = {call_id for call_id, _, _ in seen.key.calls}
        waiting = set(asked)
    yield from _unanswered(asked, waiting)


def _unanswered(asked: set[str], waiting: set[str]) -> Iterator[str]:
    if waiting:
        kind = DANGLING_CALL if waiting == asked else SPLIT_GROUP
        yield f"{kind}: no result for {', '.join(sorted(waiting))}"


def _quote(key: _Key) -> str:
    calls = f" calling {', '.join(call[0] for call in key.calls)}" if key.calls else ""
    return f"{key.role} {key.content[:60]!r}{calls}"
