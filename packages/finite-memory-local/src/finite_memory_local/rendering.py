"""A context to token ids, message by message, by the model's own chat template.

The template is rendered once with marks in place of the contents, which shows what it puts around
each message, and once as it is. Each message is tokenised by itself, with its own header and end,
and the ids are kept: nothing is tokenised twice, and a reply keeps the ids that the model chose.
What looks like a special token in names, calls and schemas is marked, and so tokenised as text.
This module knows nothing of caches; it notices where a template does not keep a message's text.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finite_memory_core import BackendError, Message, Role

from .ledger import Piece
from .specials import Specials

PLAIN = (
    "{{ bos_token or '' }}{% for m in messages %}{{ m['role'] | capitalize }}: {{ m['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The template of a base model, which has none."""

PLAIN_STOPS = ("\nUser:", "\nSystem:", "\nTool:")
"""Where a reply of a base model ends."""

_KNOWN = 4_096
"""How many tokenised texts are remembered."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A context as ids.

    Attributes:
        pieces: one a message, or more than one message where the template mixes them.
        opening: the ids that open the reply.
        whole: whether each message could be told apart; if not, `pieces` has one for all.
    """

    pieces: tuple[Piece, ...]
    opening: Piece
    whole: bool = True


@dataclass(frozen=True, slots=True)
class _Part:
    """A message as the template puts it: its header, what stands for its content, its end."""

    header: str
    content: str
    end: str
    message: Message

    @property
    def text(self) -> str:
        return self.header + self.content + self.end


Replies = Mapping[str, tuple[int, ...]]
"""The ids of replies, by their text."""


class Renderer:
    """Turns contexts into ids.

    Args:
        tokenizer: a tokenizer of transformers, with or without a chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.is_plain = not getattr(tokenizer, "chat_template", None)
        self._texts: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._specials = Specials(tokenizer)
        self._line = self._encode("\n")
        self._leads = self._encode("\nab") != self._line + self._encode("ab")

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], replies: Replies
    ) -> Rendered:
        """Return the ids of `messages` and of the opening of a reply.

        Args:
            messages: what the model is to see.
            tools: schemas of the tools that it may call.
            replies: ids that the model chose for replies, by their text; used in place of what
                the tokenizer would make of them.

        Raises:
            BackendError: the template refuses the messages, or one of them is not text, or it
                changes text that looks like a special token, so that it cannot stay text.
        """
        try:
            return self._rendered(_as_they_are(messages), tools, replies)
        except _Refused:
            pass  # some templates know no system role and insist on turns
        try:
            return self._rendered(_merged(messages), tools, replies)
        except _Refused as error:
            raise BackendError(
                f"the chat template refuses these {len(messages)} messages: {error}; change their "
                "roles or order, or give the tokenizer another chat_template"
            ) from error

    def _rendered(
        self, told: list[_Shape], tools: Sequence[Mapping[str, Any]], replies: Replies
    ) -> Rendered:
        shape = [replace(s, more=self._specials.mark(s.more)) for s in told]
        schemas = self._specials.mark(tools)
        text = self._apply([s.plain() for s in shape], schemas, opening=True)
        marked = [s.marked(i) for i, s in enumerate(shape)]
        frame = self._apply(marked, schemas, opening=True)
        ended = self._apply(marked, schemas, opening=False)
        parts = _parts(text, frame, ended, shape, self._specials)
        if parts is None:  # contents are not told apart, and so marked as all else
            shape = [replace(s, content=self._specials.mark(s.content)) for s in shape]
            text = self._apply([s.plain() for s in shape], schemas, opening=True)
        if shape != told or schemas != list(tools):
            self._check(text, told, tools)
        if parts is None:
            return Rendered((Piece(self._ids(text)),), Piece((), is_open=True), whole=False)
        opening = text[sum(len(part.text) for part in parts) :]
        start, parts = self._without_start(parts)
        pieces = [Piece(self._part_ids(part, replies), part.message) for part in parts]
        if start:
            pieces.insert(0, Piece(self._ids(start)))
        return Rendered(tuple(pieces), Piece(self._ids(opening), is_open=True))

    def _check(self, text: str, told: list[_Shape], tools: Sequence[Mapping[str, Any]]) -> None:
        """Refuse marked text that the template did not leave as it was.

        Raises:
            BackendError: a special token that somebody wrote could become one.
        """
        said = [s.plain() for s in told]
        if self._specials.unmark(text) == self._apply(said, tools, opening=True):
            return
        written = self._specials.first([[s.more for s in told], tools, said])
        raise BackendError(
            f"{written!r} has what looks like a special token, and the chat template changes it "
            "so that it cannot stay text; take it out of the name, the tool call, the schema of "
            "the tool or the message, or give the tokenizer another chat_template"
        )

    def _without_start(self, parts: list[_Part]) -> tuple[str, list[_Part]]:
        """Return what stands before all messages, whichever is the first, and the parts without."""
        if not parts:
            return "", parts
        first, header = parts[0], parts[0].header
        others = (part.header for part in parts[1:] if part.message.role is first.message.role)
        usual = next(others, "")
        start = header[: len(header) - len(usual)] if usual and header.endswith(usual) else ""
        bos = self.tokenizer.bos_token
        if not start and bos and header.startswith(bos):
            start = bos
        if not start:
            return "", parts
        return start, [replace(first, header=header[len(start) :]), *parts[1:]]

    def _apply(
        self, said: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], opening: bool
    ) -> str:
        from jinja2 import TemplateError

        template = {"chat_template": PLAIN} if self.is_plain else {}
        try:
            made: str = self.tokenizer.apply_chat_template(
                said,
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=opening,
                tokenize=False,
                **template,
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise _Refused(str(error)) from error
        return made

    def _part_ids(self, part: _Part, replies: Replies) -> tuple[int, ...]:
        chosen = replies.get(part.content) if part.message.role is Role.ASSISTANT else None
        if chosen is not None:
            return self._ids(part.header) + chosen + self._ids(part.end)
        if self._specials.are_in(part.content):
            # Written by somebody: it must not become a token that ends or begins a message.
            said = self._encode_inside(part.content, split_special_tokens=True)
            return self._ids(part.header) + said + self._ids(part.end)
        return self._ids(part.text)

    def _ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text`, tokenised when it is first seen."""
        ids = self._texts.pop(text, None)
        if ids is None:
            ids = ()
            for i, some in enumerate(self._specials.split(text)):
                as_text = {"split_special_tokens": True} if i % 2 else {}  # these were marked
                ids += self._encode_inside(some, **as_text)
        self._texts[text] = ids
        if len(self._texts) > _KNOWN:
            self._texts.popitem(last=False)
        return ids

    def _encode_inside(self, text: str, **options: Any) -> tuple[int, ...]:
        """Return the ids of a text that does not stand first, where some tokenizers add a space."""
        if self._leads and text:
            ids = self._encode("\n" + text, **options)
            if ids[: len(self._line)] == self._line:
                return ids[len(self._line) :]
        return self._encode(text, **options)

    def _encode(self, text: str, **options: Any) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False, **options).input_ids)


class _Refused(Exception):
    """The template raised."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the template is told of one or more messages."""

    role: str
    content: str | None
    first: Message
    more: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content, **self.more}

    def marked(self, number: int) -> dict[str, Any]:
        """Return the same with a mark for the content, where there is one."""
        return {**self.plain(), "content": _mark(number) if self.content else self.content}


def _mark(number: int) -> str:
    return f"\ue000{number}\ue001"


def _as_they_are(messages: Sequence[Message]) -> list[_Shape]:
    return [_Shape(_role(m), _content(m), m, _more(m)) for m in messages]


def _merged(messages: Sequence[Message]) -> list[_Shape]:
    """Return user and assistant in turn: instructions go to the user's next words."""
    shapes: list[_Shape] = []
    for shape in _as_they_are(messages):
        role = "user" if shape.role == "system" else shape.role
        last = shapes[-1] if shapes else None
        if last is not None and last.role == role and not (last.more or shape.more):
            both = "\n\n".join(filter(None, (last.content, shape.content)))
            shapes[-1] = _Shape(role, both, last.first, {})
        else:
            shapes.append(_Shape(role, shape.content, shape.first, shape.more))
    return shapes


def _role(message: Message) -> str:
    return "system" if message.role.instructs else message.role.value


def _content(message: Message) -> str | None:
    if isinstance(message.content, tuple):
        kinds = {str(part["type"]) for part in message.content if "text" not in part}
        if kinds:
            raise BackendError(
                f"a message has parts of type {', '.join(sorted(kinds))}, and this backend reads "
                "text only; leave them out, or describe them in words"
            )
        return message.text
    return message.content if message.content or not message.tool_calls else ""


def _more(message: Message) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if message.name is not None:
        more["name"] = message.name
    if message.tool_call_id is not None:
        more["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        more["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return more


def _arguments(text: str) -> Any:
    """Return the arguments as the templates want them: an object, where they are one."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parts(
    text: str, frame: str, ended: str, shapes: Sequence[_Shape], specials: Specials
) -> list[_Part] | None:
    """Tell the messages apart in `text`; None where the template mixes them.

    Args:
        text: the context as the template puts it.
        frame: the same with marks in place of the contents.
        ended: the same without the opening of a reply.
        shapes: what the template was told.
        specials: what may be marked in the three.
    """
    marked = [(i, shape) for i, shape in enumerate(shapes) if shape.content]
    numbers = [str(i) for i, _ in marked]
    glue, tail = _split(frame, numbers), _split(ended, numbers)
    if glue is None or tail is None:
        return None
    contents = _contents(text, glue, [shape.content or "" for _, shape in marked])
    if contents is None:
        return None
    parts, header = [], glue[0]
    for (_, shape), content, after in zip(marked, contents, glue[1:], strict=True):
        end = after[: specials.before_cut(after, len(_common_prefix(after, tail[-1])))]
        parts.append(_Part(header, content, end, shape.first))
        header = after[len(end) :]
    return parts


_MARK = re.compile("\ue000([0-9]+)\ue001")


def _split(frame: str, numbers: Sequence[str]) -> list[str] | None:
    """Return what stands between the marks; None unless each is there once, in order."""
    glue = _MARK.split(frame)
    found = glue[1::2]
    between = glue[::2]
    if found != list(numbers) or any("\ue000" in text for text in between):
        return None
    return between


def _contents(text: str, glue: Sequence[str], told: Sequence[str]) -> list[str] | None:
    """Return the contents as they stand in `text`, which the template may have trimmed or cut."""
    if not text.startswith(glue[0]):
        return None
    at, found = len(glue[0]), []
    for i, (content, after) in enumerate(zip(told, glue[1:], strict=True)):
        is_last = i == len(told) - 1
        for variant in _variants(text, at, content, after, is_last):
            end = at + len(variant)
            if text.startswith(variant, at) and text.startswith(after, end):
                if is_last and end + len(after) != len(text):
                    continue
                found.append(variant)
                at = end + len(after)
                break
        else:
            return None
    return found


def _variants(text: str, at: int, content: str, after: str, is_last: bool) -> Iterator[str]:
    """Yield what the template may have made of a content, the likeliest first."""
    yield content
    yield content.strip()
    end = len(text) - len(after) if is_last else text.find(after, at) if after else -1
    if end >= at:
        yield text[at:end]


def _common_prefix(a: str, b: str) -> str:
    shorter = min(len(a), len(b))
    return next((a[:i] for i in range(shorter) if a[i] != b[i]), a[:shorter])
