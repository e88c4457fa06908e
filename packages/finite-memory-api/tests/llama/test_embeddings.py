"""Vectors from llama.cpp's own server: one a text, in order, of what it has room for."""

from __future__ import annotations

from math import hypot
from typing import Any

import httpx2
import pytest

from finite_memory_api import HTTPEmbedder, errors
from finite_memory_core import Memory, Message, Recall
from finite_memory_core.recall.vectors import cosine, pack
from finite_memory_core.testing.streams import plain_chat

from .conftest import LONGEST
from .model import WIDTH

TEXTS = ["My sister Ada lives in Turin.", "We adopted a dog. 我们养了一只狗。", "Rain again."]
LONG = "Turin garden window river. " * 60


def embedder(url: str, **settings: Any) -> HTTPEmbedder:
    """An embedder that asks the server once."""
    return HTTPEmbedder("tiny", "llamacpp", base_url=url, **{"retries": 0, **settings})


def tokens(url: str, text: str) -> int:
    """How many the server makes of a text."""
    asked = httpx2.post(f"{url.removesuffix('/v1')}/tokenize", json={"content": text}, timeout=60)
    return len(asked.json()["tokens"])


def test_vectors(embedding_llama: str) -> None:
    """In the order of the texts, whatever stands beside them; the usage is the server's count."""
    made = embedder(embedding_llama)
    together = made.embed(TEXTS)
    assert made.usage.input_tokens == sum(tokens(embedding_llama, text) for text in TEXTS)
    assert [WIDTH] * 3 == [len(vector) for vector in together]
    alone = [embedder(embedding_llama, batch=1).embed([text])[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert hypot(*one) == pytest.approx(1.0, abs=1e-3)
        assert cosine(pack(one), pack(other)) > 0.999
    assert cosine(pack(together[0]), pack(together[1])) < 0.999


def test_a_text_beyond_the_servers_batch_is_cut(embedding_llama: str) -> None:
    """It says how long it was and may be; the beginning is embedded, and the others whole."""
    assert tokens(embedding_llama, LONG) > 2 * LONGEST
    made = embedder(embedding_llama)
    found = made.embed([TEXTS[0], LONG, TEXTS[2]])
    (first,) = embedder(embedding_llama).embed(TEXTS[:1])
    assert cosine(pack(first), pack(found[0])) > 0.999
    assert cosine(pack(found[1]), pack(made.embed([LONG[:100]])[0])) > 0.9


def test_dimensions_that_it_ignores_are_noticed(embedding_llama: str) -> None:
    """The model has one dimension, and the server no choice of it."""
    with pytest.raises(errors.ProviderError):
        embedder(embedding_llama, dimensions=WIDTH // 2).embed(TEXTS)


def test_a_server_without_embeddings_says_so(llama: str) -> None:
    """One that was started to chat: with what it answered, and not as an empty answer."""
    with pytest.raises(errors.ProviderError, match="backend 'llamacpp:tiny@"):
        embedder(llama).embed(TEXTS)


def test_a_memory_searches_with_it(embedding_llama: str) -> None:
    """Every message gets its vector, of the long ones too, and nothing is done without."""
    memory = Memory(1_500, recall=Recall(0.3, embedder=embedder(embedding_llama)))
    memory.append(Message.user("My sister Ada lives in Turin."), Message.assistant(LONG))
    for step in plain_chat(3, 40, 1_500):
        memory.append(*step.messages)
    assert memory.index() == len(memory.transcript)
    (hit, *_) = memory.search("My sister Ada lives in Turin", 3)
    assert "Turin" in hit.message.text
    assert hit.parts["similar"] > 0
    assert memory.stats.fallbacks == {}
