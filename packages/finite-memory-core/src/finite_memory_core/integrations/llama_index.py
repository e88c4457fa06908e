"""The memory as a memory of LlamaIndex (extra ``llama-index``).

::

    memory = FiniteMemory(Memory(budget=8_000))
    response = await agent.run("Where does Ada live?", memory=memory)

LlamaIndex puts a run's own tool calls into the memory when the run ends. Until then they stand
beside the context: give the memory a `reserve` for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..memory import Memory
from ..messages import Message, Part, Role, ToolCall
from .history import (
    IMAGE,
    Atom,
    History,
    Read,
    atom,
    call,
    content_of,
    data_part,
    missing,
    other_part,
    plain,
    stored,
    text_part,
)

try:
    from llama_index.core.base.llms.types import ChatMessage, MessageRole
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.memory.types import BaseMemory
except ImportError as error:
    raise missing("llama-index", error) from error

__all__ = ["FiniteMemory"]


class FiniteMemory(BaseMemory):
    """Holds one conversation of an agent or a chat engine; a `BaseMemory`.

    Args:
        memory: the conversation's memory.
    """

    _history: Any = PrivateAttr()

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._history = History(memory, _Codec())

    @property
    def history(self) -> History[ChatMessage]:
        """The memory in LlamaIndex's messages."""
        return self._history  # type: ignore[no-any-return]

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex knows it."""
        return "FiniteMemory"

    @classmethod
    def from_defaults(cls, budget: int = 8_000, **settings: Any) -> FiniteMemory:
        """Return one with a new memory; `settings` are those of `Memory`."""
        return cls(Memory(budget, **settings))

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: ARG002
        """Return what the model should see; `input` is what recall searches for."""
        return self.history.standing(input or None)

    def get_all(self) -> list[ChatMessage]:
        """Return all that was said; nothing is left out."""
        return self.history.everything()

    def put(self, message: ChatMessage) -> None:
        """Record what was said; see `History.append` for errors."""
        self.history.append([message])

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Record what was said: all of `messages` or none."""
        self.history.append(messages)

    def set(self, messages: list[ChatMessage]) -> None:
        """Begin again with `messages` in the place of all that was said.

        If they are refused, what was said before is recorded again.
        """
        before = self.history.everything()
        self.history.clear()
        try:
            self.history.append(messages)
        except BaseException:
            self.history.append(before)
            raise

    def reset(self) -> None:
        """Forget the whole conversation."""
        self.history.clear()


class _Codec:
    """An atom is a message."""

    name = "llama-index"

    def cut(self, items: Sequence[ChatMessage]) -> list[Atom]:
        return [_atom(item) for item in items]

    def read(self, atoms: Sequence[Atom]) -> list[Read]:
        return [_read(_whole(one)) for one in atoms]

    def load(self, text: str) -> Atom:
        return stored(text)

    def is_ours(self, atom: Atom) -> bool:  # noqa: ARG002
        return False  # nobody sends a context back but who got it from this object

    def shortened(self, atom: Atom, text: str) -> Atom:
        message = _whole(atom)
        return _atom(message.model_copy(update={"blocks": ChatMessage(content=text).blocks}))

    def say(self, message: Message) -> Atom:
        more: dict[str, Any] = {}
        if message.tool_calls:
            more["tool_calls"] = [c.to_dict() for c in message.tool_calls]
        if message.tool_call_id is not None:
            more["tool_call_id"] = message.tool_call_id
        role = MessageRole(message.role.value)
        return _atom(ChatMessage(message.text, role=role, additional_kwargs=more))

    def join(self, atoms: Sequence[Atom]) -> list[ChatMessage]:
        return [_whole(one) for one in atoms]


def _atom(message: ChatMessage) -> Atom:
    lost: list[str] = []

    def other(item: Any) -> str:
        lost.append(type(item).__name__)
        return repr(item)

    # Warnings are for blocks that its own release does not know; those are told in `_part`.
    return atom(message.model_dump(mode="json", warnings=False, fallback=other), message, lost=lost)


def _whole(one: Atom) -> ChatMessage:
    if one.whole is not None:
        return one.whole  # type: ignore[no-any-return]
    return ChatMessage.model_validate(json.loads(one.text))


_ROLES = {
    "user": Role.USER,
    "system": Role.SYSTEM,
    "developer": Role.DEVELOPER,
    "assistant": Role.ASSISTANT,
    "chatbot": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
_UNSENT = ("tool_calls", "tool_call_id", "name")


def _read(message: ChatMessage) -> Read:
    role, more = _ROLES[message.role.value], message.additional_kwargs
    problems: list[str] = []
    parts = [_part(block, problems) for block in message.blocks if not _is_call(block)]
    rest = {k: v for k, v in more.items() if k not in _UNSENT}
    if rest:
        parts.append(other_part("additional_kwargs", rest))
    calls = _calls(message) if role is Role.ASSISTANT else []
    problem = problems[0] if problems else None
    if role is Role.TOOL:
        call_id = more.get("tool_call_id") or more.get("name") or "none"
        said = content_of(parts) if parts else ""
        return Read(Message.tool(said, tool_call_id=plain(str(call_id))), problem=problem)
    content = content_of(parts) if parts or not calls else None
    if role is Role.ASSISTANT:
        return Read(Message.assistant(content, tool_calls=calls), problem=problem)
    return Read(Message(role, content), problem=problem)


def _is_call(block: Any) -> bool:
    return bool(block.block_type == "tool_call")


def _calls(message: ChatMessage) -> list[ToolCall]:
    """Return what an assistant asks for; older integrations put it beside the blocks."""
    blocks: list[Any] = [block for block in message.blocks if _is_call(block)]
    if blocks:
        return [call(b.tool_call_id, b.tool_name, b.tool_kwargs) for b in blocks]
    found = []
    for asked in message.additional_kwargs.get("tool_calls") or ():
        one = asked if isinstance(asked, dict) else asked.model_dump(mode="json")
        function = one.get("function") or one
        arguments = function.get("arguments") or function.get("tool_kwargs") or "{}"
        found.append(call(one.get("id"), function.get("name"), arguments))
    return found


_KNOWN = frozenset(["thinking", "cache", "citable", "citation"])


def _part(block: Any, problems: list[str]) -> Part:
    kind = block.block_type
    if kind == "text":
        return text_part(block.text)
    if kind == "image":
        return IMAGE
    if kind in ("audio", "video", "document"):
        held = getattr(block, kind, None) or getattr(block, "data", None)
        return data_part(held.decode("latin-1") if isinstance(held, bytes) else "")
    if kind not in _KNOWN:
        problems.append(f"a block of type {kind!r} is not known; it is kept, and counted as JSON")
    return other_part(kind, block.model_dump(mode="json"))
