"""What every codec does: groups of messages to bytes, remembered, and a reply read to its end."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from finite_memory_core import Context, Delta, Message, Role, ToolCall, Usage

from ..caching import Places
from ..errors import BadRequestError
from ..jsonbytes import encode
from ..sse import Event
from .layout import Group, Layouts, Rules


@dataclass(frozen=True, slots=True)
class Settings:
    """What a request says beside its messages.

    Attributes:
        backend: its name, for errors.
        model: the provider's name of the model.
        max_tokens: the most tokens of a reply; None to leave it to the provider.
        streaming: whether the reply comes piece by piece.
        options: further fields of the body, as the provider names them; they win over ours.
        marks: how cache breakpoints are written: "" for none, "openai", "anthropic".
        ttl: how long a marked prefix is to live: "5m", "1h", "30m", "12h"; None for the default.
        head_ttl: the same for tools and instructions; None for `ttl`.
        cache_key: the name of the field that carries the session, or None.
        quirks: what this provider wants otherwise; see `finite_memory_api.profiles.Profile`.
    """

    backend: str
    model: str
    max_tokens: int | None = None
    streaming: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    marks: str = ""
    ttl: str | None = None
    head_ttl: str | None = None
    cache_key: str | None = None
    quirks: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    """Fields of a message's `extra` that this provider takes back."""


class StreamError(Exception):
    """An error that stood in the reply's stream; `body` is the provider's object."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__("an error in the stream")
        self.body = body


class NoReply(Exception):
    """An event or a body that is no reply; the text says what it is instead."""


class Refusal(Exception):
    """The model, or a filter, would not answer."""

    def __init__(self, reason: str, said: str = "", *, filtered: bool = False) -> None:
        super().__init__(said or reason)
        self.reason = reason
        self.said = said
        self.filtered = filtered


class Overfull(Exception):
    """The reply ended before it began because the context window was full."""


class Reader(ABC):
    """Reads one reply.

    Attributes:
        complete: whether the protocol's terminal event was seen.
        over: whether nothing may follow any more.
        usage: the provider's numbers as far as they are known.
        written_for_an_hour: how many of the tokens written to a cache cost an hour's price.
    """

    def __init__(self) -> None:
        self.complete = False
        self.over = False
        self.usage: Usage | None = None
        self.written_for_an_hour = 0
        self.finish: str | None = None
        self.texts: list[str] = []
        self.refused: list[str] = []

    @property
    def partial(self) -> str:
        """The text so far."""
        return "".join(self.texts)

    @abstractmethod
    def event(self, event: Event) -> str:
        """Take in an event; returns the text that it adds.

        Raises:
            StreamError: it is an error.
            NoReply: it is nothing of this protocol.
        """

    @abstractmethod
    def whole(self, data: Mapping[str, Any]) -> str:
        """Take in a reply that came in one piece; returns its text; raises as `event` does."""

    @abstractmethod
    def message(self) -> Message | None:
        """Return the reply; None where it says nothing."""

    def end(self) -> Delta:
        """Return the last piece.

        Raises:
            Refusal: the reply is a refusal.
            Overfull: the window had no room for a reply.
            NoReply: it says nothing.
        """
        self.refuse()
        message = self.message()
        if message is None:
            raise NoReply(
                f"the reply is empty (it finished with {self.finish!r}); a model that thinks may "
                "have used all of max_tokens for it"
            )
        return Delta(finish=self.finish or "unstated", usage=self.usage, message=message)

    def refuse(self) -> None:
        """Raise a `Refusal` where that is what the reply is."""
        if self.refused:
            raise Refusal(self.finish or "refusal", "".join(self.refused))

    def say(self, text: object) -> str:
        """Take in text, which may be None or missing."""
        if not isinstance(text, str) or not text:
            return ""
        text = clean(text)
        self.texts.append(text)
        return text


class Codec(ABC):
    """One wire format.

    Attributes:
        name: what profiles call it.
        settings: what its requests say beside their messages.
    """

    name: str

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layouts = Layouts(self.rules(), self.fragment)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.settings,))

    @abstractmethod
    def path(self) -> str:
        """Return where requests go, below the base URL."""

    @abstractmethod
    def body(self, context: Context) -> bytes:
        """Return the request for `context`.

        Raises:
            BadRequestError: a part of a message that this format cannot carry.
        """

    @abstractmethod
    def rules(self) -> Rules:
        """Return how messages are laid out."""

    @abstractmethod
    def fragment(self, group: Group, before: Group) -> bytes:
        """Return the JSON of messages that stand together, behind those of `before`."""

    @abstractmethod
    def reader(self) -> Reader:
        """Return what reads a reply."""

    def counting(self, context: Context) -> tuple[str, bytes] | None:  # noqa: ARG002
        """Return where and what to ask for the exact tokens of `context`; None: not to be had."""
        return None

    def read_count(self, data: Mapping[str, Any]) -> int:
        """Return the tokens that the answer to `counting` tells."""
        for name in ("input_tokens", "totalTokens", "count"):
            if isinstance(data.get(name), int):
                return int(data[name])
        raise NoReply(f"no count of tokens in {str(dict(data))[:200]}")

    def cannot(self, what: str, message: Message) -> BadRequestError:
        """Return the error for something that this format has no place for."""
        return BadRequestError(
            f"backend {self.settings.backend!r} cannot send {what} in a message of role "
            f"{message.role.value!r}; leave it out, or use a model and an API that take it"
        )


def assemble(fields: Mapping[str, Any], name: str, items: Iterable[bytes]) -> bytes:
    """Return a JSON object of `fields` and, under `name`, the list of `items`, JSON already.

    What is long is copied once.
    """
    pieces = list(items)
    head = encode({**fields, name: []})[:-2]
    if not pieces:
        return head + b"]}"
    pieces[0] = head + pieces[0]
    pieces[-1] += b"]}"
    return b",".join(pieces)


def marked(fragment: bytes, mark: bytes) -> bytes:
    """Return a message's JSON with `mark` in the last part of its content.

    Every fragment that may be marked ends with the list of its parts.
    """
    if not fragment.endswith(b"}]}"):
        return fragment
    return fragment[:-3] + b"," + mark + b"}]}"


def mark_groups(fragments: list[bytes], places: Places, mark: bytes) -> None:
    """Mark those of `fragments` where a breakpoint pays."""
    for index in places.groups:
        fragments[index] = marked(fragments[index], mark)


def parse(event: Event) -> Mapping[str, Any]:
    """Return the JSON object of an event.

    Raises:
        NoReply: it is none.
    """
    try:
        found = json.loads(event.data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping):
        raise NoReply(f"an event that is no JSON object: {event.data[:120]!r}")
    return found


def clean(text: str) -> str:
    """Return a provider's text without what no store can hold: NUL and lone surrogates."""
    text = text.replace("\0", "\ufffd")
    return (
        text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    )


def mapping(value: object) -> Mapping[str, Any]:
    """Return `value` if it is an object, and an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def whole_number(value: object) -> int | None:
    """Return a count; None for what is none."""
    return value if type(value) is int and value >= 0 else None


class Calls:
    """Tool calls that arrive in pieces, by their index.

    Some servers give every call the same index, or none: another id with a name is another call,
    and what follows at that index belongs to it.
    """

    def __init__(self) -> None:
        self._held: dict[int, dict[str, Any]] = {}
        self._latest: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(
        self,
        index: int,
        *,
        id: object = None,
        name: object = None,
        arguments: object = None,
        extra: Mapping[str, Any] | None = None,
        type: str = "function",
    ) -> None:
        """Take in what a piece says of the call at `index`."""
        place = self._latest.get(index, index)
        if id and name and self._held.get(place, {}).get("id", id) != id:
            place = max(self._held) + 1
        elif place == index and index not in self._latest and index in self._held:
            place = max(self._held) + 1  # taken by a call that had another index
        self._latest[index] = place
        call = self._held.setdefault(place, {"arguments": "", "extra": {}, "type": type})
        if isinstance(id, str) and id:
            call["id"] = id
        if isinstance(name, str) and name:
            call["name"] = name
        if isinstance(arguments, str):
            call["arguments"] += arguments
        elif isinstance(arguments, Mapping):
            call["arguments"] += json.dumps(arguments, ensure_ascii=False)
        call["extra"].update(extra or {})

    def made(self) -> tuple[ToolCall, ...]:
        """Return the calls in order. One without an id gets its place as one.

        Raises:
            NoReply: a call without a name.
        """
        found = []
        for index, call in sorted(self._held.items()):
            if "name" not in call:
                raise NoReply("a tool call without a name")
            found.append(
                ToolCall(
                    clean(call.get("id") or f"call_{index}"),
                    clean(call["name"]),
                    clean(call["arguments"]) or "{}",
                    call["type"],
                    call["extra"],
                )
            )
        return tuple(found)


def speaks(message: Message) -> str:
    """Return what goes before the text where a format has no field for the speaker's name."""
    return f"{message.name}: " if message.name and message.role is Role.USER else ""
