"""A model that was trained to remember, however small: what eviction does to its answers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

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


LEANING = MODEL.with_name("model-sinks")
BEHIND_A_BEGINNING = (
    "{% for m in messages %}{{ '<s>' if m['role'] == 'system' else '<user>' }} {{ m['content'] }} "
    "<end>{% endfor %}"
)


def legal_share(sinks: int) -> float:
    """Return how often the likeliest next word may follow, once the first token has left.

    In the world of the model each word of small talk has four that may follow it.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(LEANING)
    tokenizer.chat_template = BEHIND_A_BEGINNING
    backend = HuggingFaceBackend(
        LEANING, tokenizer=tokenizer, kv="shift", sinks=sinks, do_sample=False, max_new_tokens=1
    )
    talk = range(201, 201 + 64)
    follow = [random.Random(i).sample(range(64), 4) for i in range(64)]
    rng = random.Random(0)

    def said() -> list[int]:
        ids = [rng.choice(talk)]
        while len(ids) < 8:
            ids.append(talk[rng.choice(follow[ids[-1] - talk[0]])])
        return ids

    held = [Message.user(tokenizer.decode(said())) for _ in range(20)]
    list(backend.stream(context(Message.system("ok"), *held)))
    list(backend.stream(context(*held[5:])))
    assert backend.cache_stats.shifted > 0
    assert (backend.ledger("s")[0].ids[0] == tokenizer.bos_token_id) == (sinks > 0)
    cache = backend._sessions["s"].cache
    right = []
    for _ in range(10):
        words = said()
        ids = torch.tensor([[tokenizer.convert_tokens_to_ids("<user>"), *words]])
        likeliest = backend.model(input_ids=ids, cache=cache).logits[0, 1:-1].argmax(-1).tolist()
        right += [
            following - talk[0] in follow[word - talk[0]]
            for word, following in zip(words[:-1], likeliest, strict=True)
        ]
    return sum(right) / len(right)


@torch.no_grad()
def test_a_model_that_leans_on_its_first_token_needs_it() -> None:
    """With sinks it stays in the cache, though it left the context; without, words go astray."""
    assert legal_share(sinks=4) > 0.95
    assert legal_share(sinks=0) < 0.7
