"""A model that was trained to remember, however small: what eviction does to its answers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from finite_memory_core import Message
from finite_memory_local import HuggingFaceBackend

from .families import context

MODEL = Path(__file__).resolve().parents[3] / "benchmarks" / "kv" / "model"

pytestmark = pytest.mark.skipif(
    not MODEL.is_dir(), reason="the trained model is in the repository only (benchmarks/kv/model)"
)


def told(kv: str, seed: int) -> tuple[list[str], list[str]]:
    """Return the answers about ten facts after the small talk between them left, and the truth."""
    rng = random.Random(seed)
    backend = HuggingFaceBackend(MODEL, kv=kv, do_sample=False, max_new_tokens=4)
    vocabulary = backend.tokenizer.get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    names, things, small_talk = words[9:105], words[105:201], words[201:]
    facts = [f"{name} {rng.choice(things)}" for name in rng.sample(names, 10)]
    held: list[Message] = []
    for fact in facts:
        held.append(Message.user(" ".join(rng.choice(small_talk) for _ in range(8))))
        held.append(Message.user(f"note {fact}"))
    list(backend.stream(context(*held)))
    held = [message for message in held if message.text.startswith("note")]
    answers = []
    for fact in facts:
        asked = Message.user(f"recall {fact.split()[0]}")
        pieces = backend.stream(context(*held, asked))
        answers.append("".join(piece.text for piece in pieces))
    assert (kv == "shift") == (backend.cache_stats.shifted > 0)
    return answers, facts


@pytest.mark.parametrize("kv", ["exact", "shift"])
def test_what_stays_is_remembered(kv: str) -> None:
    """After an eviction the facts that stayed are told as they were planted, in either mode."""
    answers, facts = told(kv, seed=1)
    right = sum(a == b for a, b in zip(answers, facts, strict=True))
    assert right >= 9
