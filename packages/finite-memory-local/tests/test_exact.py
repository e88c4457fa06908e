"""The outcome with a kept cache is that of a fresh model."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from finite_memory_core import Message
from finite_memory_local import HuggingFaceBackend

from .families import DEVICE, FAMILIES, context, conversation, model, tokenizer

SYSTEM = Message.system("You are brief.")


def said(backend: HuggingFaceBackend, *messages: Message, **more: Any) -> Message:
    """Return the reply."""
    pieces = list(backend.stream(context(*messages, **more)))
    return Message.assistant("".join(piece.text for piece in pieces) or "(nothing)")


@torch.no_grad()
def fresh(backend: HuggingFaceBackend, ids: list[int], count: int) -> list[int]:
    """Return the greedy reply, each token by a whole forward without a cache."""
    reply: list[int] = []
    while len(reply) < count and not (reply and reply[-1] in backend._ends):
        whole = torch.tensor([[*ids, *reply]], device=DEVICE)
        logits = backend.model(input_ids=whole, use_cache=False).logits
        reply.append(int(logits[0, -1].argmax()))
    return reply


def prompt(backend: HuggingFaceBackend, held: list[Message]) -> list[int]:
    """Return the ids that the model is to read."""
    session = backend._sessions.get("s")
    rendered = backend._renderer.render(held, (), session.replies if session else {})
    return [i for piece in (*rendered.pieces, rendered.opening) for i in piece.ids]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_replies_are_those_of_fresh_forwards(family: str) -> None:
    """Over a random conversation with evictions, token for token, in float32."""
    backend = HuggingFaceBackend(model(family), tokenizer=tokenizer(), max_new_tokens=6)
    rng, held = random.Random(1), [SYSTEM]
    for question in conversation(seed=2, turns=6):
        held.append(question)
        if rng.random() < 0.4 and len(held) > 4:
            del held[rng.randint(1, 2) : rng.randint(3, 4)]
        ids = prompt(backend, held)
        expected = fresh(backend, ids, 6)
        reply = said(backend, *held)
        kept = [i for span in backend.ledger("s") for i in span.ids][len(ids) :]
        assert not backend.ledger("s") or expected[: len(kept)] == kept
        text = backend.tokenizer.decode(expected, skip_special_tokens=True)
        assert (text.replace("\0", "\ufffd") or "(nothing)") == reply.text
        held.append(reply)
