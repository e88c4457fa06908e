"""Seeded conversations: the same seed gives the same messages on every machine.

A stream is a sequence of steps. Between two steps an application would do something else (run a
tool, wait for the user); a step says whether the model would be called right after it. This
module knows nothing of memories.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal, TypeAlias

from ..messages import Message, ToolCall

Shape: TypeAlias = Literal["chat", "agent", "rough"]

MAX_ROUNDS = 5
MAX_PARALLEL_CALLS = 3


@dataclass(frozen=True, slots=True)
class Step:
    """What is appended before something else happens.

    Attributes:
        messages: one message, or several that come at once.
        calls_model: whether the model is called next, so that a context is needed.
        turn: the turn that it belongs to, from 1; 0 for what stands before the first turn.
    """

    messages: tuple[Message, ...]
    calls_model: bool
    turn: int


def stream(shape: Shape, seed: int, turns: int, budget: int, big: float = 0.02) -> Iterator[Step]:
    """Return the stream called `shape`: see `plain_chat`, `agent_stream` and `rough_stream`."""
    make = {"chat": plain_chat, "agent": agent_stream, "rough": rough_stream}[shape]
    return make(seed, turns, budget, big)


def plain_chat(seed: int, turns: int, budget: int, big: float = 0.0) -> Iterator[Step]:
    """Yield a chat: a system message of about 50 tokens, then questions and answers in turn.

    Args:
        seed: what makes this stream differ from another.
        turns: how many questions.
        budget: the budget in tokens that it will be held against; it sets the size of big messages.
        big: the share of messages that are larger than the whole budget, 0 to 1.
    """
    writer = _Writer(seed, budget, big)
    yield Step((Message.system(writer.words(38)),), calls_model=False, turn=0)
    for turn in range(1, turns + 1):
        yield Step((Message.user(writer.prose()),), calls_model=True, turn=turn)
        yield Step((Message.assistant(writer.prose()),), calls_model=False, turn=turn)


def agent_stream(seed: int, turns: int, budget: int, big: float = 0.02) -> Iterator[Step]:
    """Yield an agent's work: a question, 0 to 5 rounds of 1 to 3 parallel tool calls, an answer.

    The results of a round come one by one, and the model is called after the last of them.
    The arguments are those of `plain_chat`.
    """
    writer = _Writer(seed, budget, big)
    yield Step((Message.system(writer.words(38)),), calls_model=False, turn=0)
    for turn in range(1, turns + 1):
        yield Step((Message.user(writer.prose()),), calls_model=True, turn=turn)
        for number in range(writer.random.randint(0, MAX_ROUNDS)):
            yield from _round(writer, turn, number)
        yield Step((Message.assistant(writer.prose()),), calls_model=False, turn=turn)


def rough_stream(seed: int, turns: int, budget: int, big: float = 0.02) -> Iterator[Step]:
    """Yield an agent's work with all that is allowed and rarely tried.

    Beside what `agent_stream` has: sizes from nothing to most of the budget, the same short words
    again and again, scripts without spaces, images, named speakers, times, pinned questions,
    instructions in the middle, empty results, calls that never get a result, turns that come as
    one batch, answers that never came. The arguments are those of `plain_chat`.
    """
    writer = _RoughWriter(seed, budget, big)
    random = writer.random
    yield Step((Message.system(writer.words(38)),), calls_model=False, turn=0)
    for turn in range(1, turns + 1):
        if random.random() < 0.02:
            yield Step((Message.system(writer.words(8)),), calls_model=False, turn=turn)
        yield Step((writer.question(),), calls_model=True, turn=turn)
        for number in range(random.randint(0, 3)):
            steps = list(_round(writer, turn, number))
            if random.random() < 0.05:  # interrupted: the last results never come
                yield from steps[: random.randint(1, len(steps) - 1)]
                break
            yield from [_merged(steps)] if random.random() < 0.2 else steps
        else:
            if random.random() < 0.95:
                yield Step((Message.assistant(writer.prose()),), calls_model=False, turn=turn)


def _round(writer: _Writer, turn: int, number: int) -> Iterator[Step]:
    calls = tuple(
        writer.call(f"call_{turn}_{number}_{i}")
        for i in range(writer.random.randint(1, MAX_PARALLEL_CALLS))
    )
    yield Step((Message.assistant(tool_calls=calls),), calls_model=False, turn=turn)
    for i, call in enumerate(calls, start=1):
        result = Message.tool(writer.result(), tool_call_id=call.id)
        yield Step((result,), calls_model=i == len(calls), turn=turn)


def _merged(steps: list[Step]) -> Step:
    """Return one step that brings all messages of `steps` at once."""
    messages = tuple(message for step in steps for message in step.messages)
    return Step(messages, steps[-1].calls_model, steps[-1].turn)


class _Writer:
    """Makes texts of about 40 words, and now and then one larger than the budget."""

    def __init__(self, seed: int, budget: int, big: float) -> None:
        self.random = Random(seed)
        self.budget = budget
        self.big = big

    def words(self, count: int) -> str:
        return " ".join(self.random.choices(_WORDS, k=count)).capitalize() + "."

    def prose(self) -> str:
        # More words than tokens in the budget: too large by a count of words, and at over five
        # characters a word also by a quarter of the characters.
        if self.random.random() < self.big:
            return self.words(self.budget + self.budget // 20 + 1)
        return self.words(self.random.randint(25, 55))

    def result(self) -> str:
        return self.prose()

    def call(self, call_id: str) -> ToolCall:
        tool = self.random.choice(("search", "read_file", "weather", "run_query"))
        arguments = {"query": self.words(6), "limit": self.random.randint(1, 50)}
        return ToolCall(call_id, tool, json.dumps(arguments))


class _RoughWriter(_Writer):
    """Makes texts of any size and script."""

    def __init__(self, seed: int, budget: int, big: float) -> None:
        super().__init__(seed, budget, big)
        self._now = datetime(2026, 1, 5, 9, tzinfo=UTC)

    def prose(self) -> str:
        kind = self.random.random()
        if kind < 0.1:
            return self.random.choice(("ok", "yes", "no", "thanks", "go on", "?"))
        if kind < 0.2:
            return self.random.choice(_SCRIPTS) * self.random.randint(1, 8)
        if kind < 0.25:  # a share of the budget, in characters: a quarter as many tokens
            return self.words(max(1, int(self.budget * self.random.uniform(0.05, 0.7))))
        return super().prose()

    def result(self) -> str:
        return "" if self.random.random() < 0.05 else self.prose()

    def question(self) -> Message:
        """Return a user's message with some of the fields that one may have."""
        content: Any = self.prose()
        if self.random.random() < 0.1:
            image = {"type": "image_url", "image_url": {"url": _PIXEL, "detail": "low"}}
            content = [{"type": "text", "text": content}, image]
        self._now += timedelta(minutes=self.random.randint(1, 2_000))
        return Message.user(
            content,
            name=self.random.choice((None, None, "Ada", "Bob")),
            timestamp=self._now if self.random.random() < 0.5 else None,
            pinned=self.random.random() < 0.01,
        )


_PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="

_SCRIPTS = (
    "我们明天下午三点在车站见面。",
    "会議は来週の火曜日に延期されました。",
    "Встреча перенесена на вторник, в три часа. ",
    "الاجتماع يوم الثلاثاء في الساعة الثالثة. ",
    "बैठक मंगलवार को तीन बजे है। ",
    "👩‍👩‍👧‍👦🇮🇹👍🏽 ",
    "การประชุมเลื่อนไปเป็นวันอังคาร",
    "if x[i] >= 10**6: return {'ok': False}\n",
)

_SMALL = """
the a of to and in that is was for on with as it at by from or an be this have not are
"""
_LARGE = """
train ticket garden sister Turin Monday window letter river market bread winter doctor number
street music colour table morning evening project deadline invoice customer server database
release meeting budget travel hotel airport flight weather report question answer reason problem
change family brother mother teacher school student paper book library film kitchen dinner coffee
water glass bottle bicycle engine battery camera phone message contract lawyer price payment
account bank office manager colleague interview holiday beach mountain forest village bridge
church museum painting concert season score player team match result winner silver golden narrow
quiet simple strange useful early late often never always perhaps because although before after
between against without during remember forget promise explain decide arrive leave return follow
carry repair build write read listen suggest compare measure deliver cancel confirm postpone
prefer believe expect eleven twelve thirty forty hundred thousand first second third half double
several enough
"""
# Half of running English are small words, which makes 5.3 characters a word with its space.
_WORDS = 7 * _SMALL.split() + _LARGE.split()
