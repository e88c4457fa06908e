"""Hypothesis strategies: messages of every kind, agents' traffic, memories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from finite_memory_core import Memory, Message, Store, ToolCall
from finite_memory_core.policies import POLICIES
from finite_memory_core.recall import Recall

from . import profiles

CORE = profiles.CORE

PHRASES = (
    "Ada moved to Turin in March 1998 and pays 1,250 euros.",
    "Где живёт моя сестра? Она живёт в Риге.",
    "我的妹妹住在都灵。她什么时候搬家的？",
    "トリノに引っ越したのは三月です。",
    "أختي تعيش في تورينو منذ عام 1998.",
    "मेरी बहन ट्यूरिन में रहती है।",
    "언니는 토리노에 살아요.",
    "def f(x):\n    return {'x': x}  # 👩‍👩‍👧‍👦🇮🇹 é",
    "ok",
)


def quarter(text: str) -> int:
    """Count a token for every four characters."""
    return len(text) // 4


def quarter_bytes(text: str) -> int:
    """Count a token for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode()) // 4)


def characters(text: str) -> int:
    """Count a token for every character."""
    return len(text)


COUNTERS: tuple[Callable[[str], int] | None, ...] = (quarter, quarter_bytes, characters, None)


def prose(number: int, size: int) -> str:
    """Return about `size` characters in the script that `number` chooses, unlike any other."""
    phrase = PHRASES[number % len(PHRASES)]
    head = f"{number}. "
    return head + ((phrase + " ") * (size // len(phrase) + 1))[: max(0, size - len(head))]


# -- single messages ------------------------------------------------------------------------------

characters_of_text = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
texts = st.one_of(st.sampled_from(PHRASES), st.text(characters_of_text, min_size=1, max_size=40))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters_of_text, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(characters_of_text, max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
MODELLED = {
    *("role", "content", "name", "timestamp", "tool_calls", "tool_call_id", "pinned", "metadata")
}
extras = st.dictionaries(
    st.sampled_from(["refusal", "reasoning_content", "annotations", "audio"]),
    json_values,
    max_size=2,
)
metadata = st.dictionaries(st.text(characters_of_text, max_size=6), json_values, max_size=2)
timestamps = st.none() | st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]) | st.none()
)
data = st.text(st.sampled_from("ABCDEFabcdef0123+/"), min_size=4, max_size=64)
parts: st.SearchStrategy[Mapping[str, Any]] = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, texts),
    st.builds(lambda t: {"type": "text", "text": t, "cache_control": {"type": "ephemeral"}}, texts),
    st.builds(
        lambda d, url: {"type": "image_url", "image_url": {"url": url, "detail": d}},
        st.sampled_from(["low", "high", "auto"]),
        data,
    ),
    st.builds(lambda d: {"type": "input_audio", "input_audio": {"data": d, "format": "wav"}}, data),
    st.builds(lambda d: {"type": "file", "file": {"file_data": d}}, data),
    st.builds(lambda i: {"type": "file", "file": {"file_id": i}}, data),
    st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": "x"}, texts),
    st.builds(lambda v: {"type": "anything", "value": v}, json_values),
)
contents = texts | st.lists(parts, min_size=1, max_size=3)
tool_calls = st.builds(
    ToolCall,
    id=st.text(characters_of_text, min_size=1, max_size=6),
    name=st.sampled_from(["search", "get_weather"]),
    arguments=st.one_of(
        st.text(characters_of_text, max_size=20),
        st.dictionaries(st.text(characters_of_text, max_size=4), json_values, max_size=2),
    ),
    type=st.sampled_from(["function", "custom"]),
    extra=st.dictionaries(st.sampled_from(["index", "extra_content"]), json_values, max_size=1),
)
common = {
    "name": st.none() | st.sampled_from(["Ada", "søren", "美咲"]),
    "timestamp": timestamps,
    "pinned": st.booleans(),
    "metadata": metadata,
    "extra": extras,
}
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Message, st.sampled_from(["system", "developer", "user", "assistant"]), contents, **common
    ),
    st.builds(
        Message.assistant,
        st.none() | contents,
        tool_calls=st.lists(tool_calls, min_size=1, max_size=3, unique_by=lambda call: call.id),
        **common,
    ),
    st.builds(
        Message.tool,
        st.just("") | contents,
        tool_call_id=st.text(characters_of_text, min_size=1, max_size=6),
        **common,
    ),
)


# -- traffic --------------------------------------------------------------------------------------

INSTRUCTING = st.sampled_from(["system", "developer"])
SIZES = st.sampled_from([2, 12, 40, 120, 400])
IMAGE = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}


class _Speaker:
    """Draws what is said, message by message, each with a text of its own."""

    def __init__(self, draw: st.DrawFn, big: int) -> None:
        self.draw = draw
        self.big = big
        self.said: list[Message] = []
        self.number = 0

    def text(self, size: int | None = None) -> str:
        self.number += 1
        return prose(self.number, self.draw(SIZES) if size is None else size)

    def turn(self, kind: str) -> None:
        """Say what a turn of that kind has."""
        if kind == "system":
            self.said.append(Message(self.draw(INSTRUCTING), self.text(12)))
            return
        if kind != "assistant":
            self.said.append(self.question(kind))
        if kind in ("agent", "interrupted"):
            for _ in range(self.draw(st.integers(0, 2))):
                self.round(whole=True)
        if kind == "interrupted":
            self.round(whole=False)
        if kind != "silent":
            self.said.append(Message.assistant(self.text()))

    def question(self, kind: str) -> Message:
        if kind == "big":
            return Message.user(self.text(self.draw(st.sampled_from([300, 700, 1_500, self.big]))))
        if kind == "pinned":
            return Message.user(self.text(25), pinned=True)
        if kind == "named":
            return Message.user(self.text(), name="Ada", timestamp=datetime(2024, 1, 2))
        if kind == "parts":
            return Message.user([{"type": "text", "text": self.text()}, IMAGE])
        return Message.user(self.text())

    def round(self, whole: bool) -> None:
        """Call tools in parallel, and have all their results or only some."""
        count = self.draw(st.integers(1, 3))
        ids = [f"call{self.number}-{i}" for i in range(count)]
        calls = [ToolCall(i, "search", {"q": self.text()}) for i in ids]
        content = self.text(20) if self.draw(st.booleans()) else None
        self.said.append(Message.assistant(content, tool_calls=calls))
        answered = ids if whole else ids[: self.draw(st.integers(0, count - 1))]
        for call_id in self.draw(st.permutations(answered)):
            text = self.draw(st.sampled_from(["", self.text()]))
            self.said.append(Message.tool(text, tool_call_id=call_id))


KINDS = [*3 * ["chat"], *2 * ["agent"], "silent", "named", "parts", "big", "pinned"]
KINDS += ["system", "assistant"]


@st.composite
def conversations(
    draw: st.DrawFn, *, max_turns: int = 12, big: int = 4_000, interrupted: bool = True
) -> list[Message]:
    """Draw what an agent and its users may say, valid in this order.

    Args:
        draw: hypothesis's.
        max_turns: the most turns.
        big: how many characters a big message has.
        interrupted: whether tool calls may lack results.
    """
    speaker = _Speaker(draw, big)
    if draw(st.booleans()):
        speaker.said.append(Message.system(speaker.text(30)))
    kinds = st.sampled_from([*KINDS, *(["interrupted"] if interrupted else [])])
    for kind in draw(st.lists(kinds, min_size=1, max_size=max_turns)):
        speaker.turn(kind)
    return speaker.said


# -- memories -------------------------------------------------------------------------------------

TOOL = {"name": "search", "parameters": {"required": ["q"]}}


@dataclass(frozen=True)
class Setup:
    """How a memory is made; the same setup makes equal memories."""

    budget: int
    policy: str
    low_water: float
    reserve: int
    oversize: str
    counter: Callable[[str], int] | None
    tools: tuple[Mapping[str, Any], ...]
    recall: Recall | None

    def memory(self, store: Store | None = None, session_id: str = "s") -> Memory:
        """Return a new memory."""
        return Memory(
            self.budget,
            self.policy,
            low_water=self.low_water,
            reserve=self.reserve,
            oversize=self.oversize,
            counter=self.counter,
            tools=self.tools,
            recall=self.recall,
            store=store,
            session_id=session_id,
        )

    def resume(self, store: Store, session_id: str = "s") -> Memory:
        """Return the memory of a stored session, with the counter that no store can hold."""
        return Memory.resume(store, session_id, **self.passed())

    def passed(self) -> dict[str, Any]:
        """Return what must be passed again to resume."""
        return {} if self.counter is None else {"counter": self.counter}


setups = st.builds(
    Setup,
    budget=st.sampled_from([120, 200, 333, 600, 1_000]),
    policy=st.sampled_from(POLICIES),
    low_water=st.sampled_from([0.5, 0.75, 0.9, 1.0]),
    reserve=st.sampled_from([0, 0, 20]),
    oversize=st.sampled_from(["raise", "clip"]),
    counter=st.sampled_from(COUNTERS),
    tools=st.sampled_from([(), (), (TOOL,)]),
    recall=st.sampled_from([None, None, Recall()]),
)
