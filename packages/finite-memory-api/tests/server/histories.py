"""Histories as clients send them."""

from __future__ import annotations

from typing import Any

WORDS = ("lighthouse", "harbour", "brass clock", "tram", "orchard", "attic", "violin")


def chatter(turns: int, first: int = 0) -> list[dict[str, Any]]:
    """So many questions and answers, and a last question."""
    said: list[dict[str, Any]] = []
    for turn in range(first, first + turns + 1):
        word = WORDS[turn % len(WORDS)]
        said.append({"role": "user", "content": f"Question {turn} about {word}, please?"})
        said.append({"role": "assistant", "content": f"Answer {turn}: {word} is as it was."})
    return said[:-1]


def chat(turns: int, **more: Any) -> dict[str, Any]:
    """A request of Chat Completions."""
    system = {"role": "system", "content": "Be brief."}
    return {"model": "tiny", "messages": [system, *chatter(turns)], **more}
