"""The parallel conversations: the same facts, said at the same turns, in each language.

``data/<code>.json`` has the language's name and code, sixty turns of two friends over two months,
and questions, each with the turns that answer it. Each language was written as its speakers would
say it, not translated word by word; questions inflect, reorder and paraphrase what was said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from finite_memory_core import Message

DATA = Path(__file__).parent / "data"
CODES = ("en", "de", "es", "fi", "tr", "ru", "ar", "hi", "ja", "zh")


class Question(NamedTuple):
    """A question, and the turns that answer it: indices into its conversation."""

    text: str
    evidence: tuple[int, ...]
    kind: str


class Conversation(NamedTuple):
    """A conversation and what is asked about it."""

    name: str
    turns: tuple[Message, ...]
    questions: tuple[Question, ...]

    @property
    def size(self) -> int:
        """How many bytes of UTF-8 its turns have."""
        return sum(len(turn.text.encode()) for turn in self.turns)


def load(code: str) -> Conversation:
    """Return the conversation of a language."""
    data = json.loads((DATA / f"{code}.json").read_text(encoding="utf-8"))
    turns = [
        Message(
            turn["role"],
            turn["text"],
            name=turn["name"],
            timestamp=datetime.fromisoformat(turn["timestamp"]),
        )
        for turn in data["turns"]
    ]
    questions = [
        Question(item["question"], tuple(item["evidence"]), item["kind"])
        for item in data["questions"]
    ]
    return Conversation(data["language"], tuple(turns), tuple(questions))


def by_speaker(user: Conversation, assistant: Conversation) -> Conversation:
    """Return a conversation where each speaks another language.

    A question is asked in the language in which what it asks for was said.
    """
    spoken = (user, assistant)
    turns = tuple(spoken[i % 2].turns[i] for i in range(len(user.turns)))
    questions = tuple(
        spoken[user.questions[n].evidence[0] % 2].questions[n] for n in range(len(user.questions))
    )
    return Conversation(f"{user.name} and {assistant.name}", turns, questions)


def by_session(spoken: Sequence[Conversation], first: int, length: int = 6) -> Conversation:
    """Return a conversation whose sessions, of `length` turns, take turns in the languages.

    Questions whose evidence stands in two languages are left out.
    """

    def speaking(turn: int) -> int:
        return (turn // length + first) % len(spoken)

    turns = tuple(spoken[speaking(i)].turns[i] for i in range(len(spoken[0].turns)))
    questions = tuple(
        spoken[speaking(question.evidence[0])].questions[n]
        for n, question in enumerate(spoken[0].questions)
        if len({speaking(i) for i in question.evidence}) == 1
    )
    return Conversation("all, a session each", turns, questions)


def joined(conversations: Sequence[Conversation]) -> list[Conversation]:
    """Return the conversations, each among the turns of all, which stand one after the other."""
    turns = tuple(turn for conversation in conversations for turn in conversation.turns)
    found, start = [], 0
    for conversation in conversations:
        questions = tuple(
            question._replace(evidence=tuple(i + start for i in question.evidence))
            for question in conversation.questions
        )
        found.append(Conversation(conversation.name, turns, questions))
        start += len(conversation.turns)
    return found
