"""The demo: a conversation of eight months in a context of 4,096 tokens, offline, without a model.

It replays ``docs/sample/conversation.jsonl`` through the five policies, draws what stayed, and then
asks a memory that holds the conversation a few questions. An argument names the picture's file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from finite_memory_core import Chat, Context, Memory, Message, ReaderBackend, Recall
from finite_memory_core.cli import main as finite_memory

SAMPLE = Path(__file__).resolve().parent / "sample"
TRANSCRIPT, QUESTIONS = SAMPLE / "conversation.jsonl", SAMPLE / "questions.json"
BUDGET, POLICY = 4096, "hybrid"


def demo(picture: str) -> int:
    """Replay, draw, ask; returns the exit status."""
    heading("One conversation, five policies")
    sample = os.path.relpath(TRANSCRIPT)
    command = ["replay", "--compare", "--budget", str(BUDGET), sample, "--plot", picture]
    print("$ finite-memory", *command, "\n")
    if status := finite_memory(command):
        return status
    heading(f"What does the memory still know? ({POLICY}, {BUDGET:,} tokens)")
    print("The replies come from ReaderBackend, which quotes the sentences of its context that")
    print("match a question best. It is no language model and understands nothing; it shows what")
    print("can be found in what the memory kept.")
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    ask(chosen(questions))
    heading("Evidence in the context, all questions")
    tally(questions)
    heading("The picture")
    print(f"{Path(picture).resolve()}\nOpen it in a browser: what stayed, what left, what it cost.")
    return 0


def heading(text: str) -> None:
    """Print the title of a section."""
    print(f"\n{text}\n{'=' * len(text)}\n")


def chosen(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first question of each kind: nothing is picked for its answer."""
    first: dict[str, dict[str, Any]] = {}
    for question in questions:
        first.setdefault(question["kind"], question)
    return list(first.values())


def stated(question: dict[str, Any]) -> list[int]:
    """Return which messages state the answer; where it was revised, only the last one counts."""
    evidence: list[int] = question["evidence"]
    return evidence[-1:] if question["kind"] == "revised" else evidence


def ask(questions: list[dict[str, Any]]) -> None:
    """Put each question to a chat, and tell where its evidence stood."""
    transcript = conversation()
    memory = Memory(BUDGET, POLICY, recall=Recall())
    memory.append(*transcript)
    chat = Chat(ReaderBackend(quotes=2), memory)
    for question in questions:
        reply = chat.send(question["question"])
        print(f"\nQ: {question['question']}  [{question['kind']}]")
        print("\n".join(f"   {line}" for line in reply.text.splitlines()))
        print(f"   right answer: {question['answer']}")
        print(f"   evidence: {whereabouts(question, transcript, reply.context)}")


def conversation() -> list[Message]:
    """Return the sample's messages."""
    lines = TRANSCRIPT.read_text(encoding="utf-8").splitlines()
    return [Message.from_dict(json.loads(line)) for line in lines]


def whereabouts(question: dict[str, Any], transcript: list[Message], context: Context) -> str:
    """Tell whether a message that states the answer stands in the context, and since when."""
    places = stated(question)
    if any(transcript[place] == message for place in places for message in context):
        return "never left the context"
    recalled = {hit.index for hit in context.recalled}
    if recalled.intersection(places):
        return "had left; recalled from the archive for this question"
    return f"left the context and was not recalled; message {places[-1]} of the archive has it"


def tally(questions: list[dict[str, Any]]) -> None:
    """Count for how many questions the evidence stands in the context, without and with recall."""
    transcript = conversation()
    for name, recall in (("without recall", None), ("with recall", Recall())):
        memory = Memory(BUDGET, POLICY, recall=recall)
        memory.append(*transcript)
        held = sum(
            not whereabouts(q, transcript, memory.context(query=q["question"])).startswith("left")
            for q in questions
        )
        print(f"{name:<15} {held:>3} of {len(questions)} questions")


if __name__ == "__main__":
    sys.exit(demo(sys.argv[1] if len(sys.argv) > 1 else "finite-memory-demo.svg"))
