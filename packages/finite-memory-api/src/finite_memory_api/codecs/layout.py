"""How a context is laid out as wire messages, and the bytes of those, kept from turn to turn.

Between two evictions a context only grows at its end. So the layout of a session's last request is
remembered, and the next one lays out and encodes only what is new; the rest are copies of lists.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

from finite_memory_core import Context, Message, Role

_OBJECTS = 400
"""Bytes of the objects that a message is: itself, its part of lists and tuples, its fragment's."""

Group: TypeAlias = tuple[Message, ...]
Encode: TypeAlias = Callable[[Group, Group], bytes]
"""Makes the bytes of a group, given the group before it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a wire format lays messages out.

    Attributes:
        hoist: all instructions go to the head, not only those at the beginning.
        merge: neighbours of one role make one wire message.
        results_are: the wire's role of tool results.
    """

    hoist: bool
    merge: bool
    results_are: Role = Role.TOOL

    def join(self, group: Group, message: Message) -> bool:
        """Return whether `message` belongs to the wire message of `group`."""
        role = self._role(message)
        return self.merge and role is not Role.TOOL and role is self._role(group[-1])

    def _role(self, message: Message) -> Role:
        return self.results_are if message.role is Role.TOOL else message.role


@dataclass(frozen=True, slots=True)
class Layout:
    """A context, laid out.

    Attributes:
        messages: what was laid out.
        head: the instructions.
        groups: the other messages, in groups that make one wire message.
        ends: for each group, how many of the messages there are up to its end.
        fragments: for each group, its bytes.
        text: how many bytes those are together.
    """

    messages: tuple[Message, ...] = ()
    head: tuple[Message, ...] = ()
    groups: tuple[Group, ...] = ()
    ends: tuple[int, ...] = ()
    fragments: tuple[bytes, ...] = ()
    text: int = 0

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes: a message holds its text a second time."""
        return 2 * self.text + _OBJECTS * len(self.messages)

    def grown(self, messages: tuple[Message, ...], rules: Rules, encode: Encode) -> Layout:
        """Return the layout of `messages`, which begin with those of this one."""
        head, groups, ends = list(self.head), list(self.groups), list(self.ends)
        fresh = len(groups)
        for index in range(len(self.messages), len(messages)):
            message = messages[index]
            if message.role.instructs and (rules.hoist or not groups):
                head.append(message)
            elif groups and rules.join(groups[-1], message):
                groups[-1], ends[-1] = (*groups[-1], message), index + 1
                fresh = min(fresh, len(groups) - 1)
            else:
                groups.append((message,))
                ends.append(index + 1)
        fragments = list(self.fragments[:fresh])
        text = self.text - sum(map(len, self.fragments[fresh:]))
        for index in range(fresh, len(groups)):
            fragments.append(encode(groups[index], groups[index - 1] if index else ()))
        text += sum(map(len, fragments[fresh:]))
        return Layout(messages, tuple(head), tuple(groups), tuple(ends), tuple(fragments), text)


class Layouts:
    """The last layout of each session.

    Args:
        rules: how messages are laid out.
        encode: makes the bytes of a group.
        most: bytes to remember, the sessions that were used last.
    """

    def __init__(self, rules: Rules, encode: Encode, most: int = 64 * 1024 * 1024) -> None:
        self._rules = rules
        self._encode = encode
        self._most = most
        self._held: OrderedDict[str, tuple[Layout, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def of(self, context: Context) -> Layout:
        """Return the layout of `context`."""
        messages, session = context.messages, context.session_id
        with self._lock:
            known = self._held.get(session, (Layout(), 0))[0]
        if messages[: len(known.messages)] != known.messages:
            known = Layout()
        lasting = _lasting(context)
        if lasting < len(messages):  # what was recalled for this question will not be sent again
            known = known.grown(messages[:lasting], self._rules, self._encode)
            found = known.grown(messages, self._rules, self._encode)
        else:
            found = known = known.grown(messages, self._rules, self._encode)
        self._keep(session, known)
        return found

    def _keep(self, session: str, layout: Layout) -> None:
        size = layout.size
        with self._lock:
            self._bytes -= self._held.pop(session, (layout, 0))[1]
            self._held[session] = (layout, size)
            self._bytes += size
            while self._bytes > self._most and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1][1]


def _lasting(context: Context) -> int:
    """Return how many leading messages the next request may begin with."""
    if context.recalled:
        for index, message in enumerate(context.messages):
            if message.metadata.get("finite_memory") == "recalled":
                return index
    return len(context.messages)
