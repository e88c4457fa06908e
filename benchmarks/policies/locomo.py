"""LoCoMo conversations with the turns that answer their questions.

The data set (Maharana et al., ACL 2024) is not ours to ship; a folder with its conversations, one
JSON file each, is read where it is found. Evidence that was found wrong by others is replaced from
``corrections.json`` beside them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finite_memory_core import Message
from finite_memory_core.cli import locomo

ADVERSARIAL = 5
"""The category whose questions have no answer in the conversation."""

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes:
        text: what is asked.
        category: see `CATEGORIES`.
        evidence: transcript indices of the turns that answer it.
    """

    text: str
    category: int
    evidence: frozenset[int]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation.

    Attributes:
        name: the file's name.
        messages: its turns.
        sessions: the number of each turn's session.
        questions: what is asked about it.
    """

    name: str
    messages: Sequence[Message]
    sessions: Sequence[str]
    questions: Sequence[Question]


def load(folder: Path) -> list[Conversation]:
    """Return the conversations of a folder, by name."""
    corrections: dict[str, Sequence[str]] = {}
    if (folder / "corrections.json").is_file():
        for entry in json.loads((folder / "corrections.json").read_text(encoding="utf-8")):
            corrections[entry["question"]] = entry["correct_evidence"]
    return [_read(path, corrections) for path in sorted(folder.glob("[0-9]*.json"))]


def _read(path: Path, corrections: Mapping[str, Sequence[str]]) -> Conversation:
    content = json.loads(path.read_text(encoding="utf-8"))
    places, messages = zip(*locomo.messages(content), strict=True)
    index = {str(m.metadata["dia_id"]): i for i, m in enumerate(messages)}
    questions = [_question(entry, corrections, index) for entry in content["qa"]]
    return Conversation(
        path.stem,
        messages,
        [place.partition("[")[0] for place in places],
        [q for q in questions if q.evidence and q.category != ADVERSARIAL],
    )


def _question(
    entry: Mapping[str, Any], corrections: Mapping[str, Sequence[str]], index: Mapping[str, int]
) -> Question:
    named = corrections.get(entry["question"]) or entry.get("evidence", ())
    ids = {f"D{int(s)}:{int(t)}" for text in named for s, t in re.findall(r"D(\d+):(\d+)", text)}
    return Question(
        entry["question"],
        entry["category"],
        frozenset(index[i] for i in ids if i in index),
    )
