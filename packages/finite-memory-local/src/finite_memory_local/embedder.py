"""Embeddings by a sentence-transformers model, for core's `Semantic` and for recall."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from finite_memory_core import ConfigError, MissingExtraError


class SentenceTransformerEmbedder:
    """An `Embedder` (see core) on top of sentence-transformers (extra ``embedder``).

    Args:
        model: a name on the hub, a path, or a loaded ``SentenceTransformer``.
        device: where a named model goes; None for sentence-transformers' own choice.
        batch_size: texts that are embedded at once.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        ConfigError: there is no such model, or something that cannot embed.
    """

    def __init__(self, model: Any, *, device: str | None = None, batch_size: int = 32) -> None:
        if isinstance(model, str | PathLike):
            model = _loaded(fspath(model), device)
        if not callable(getattr(model, "encode", None)):
            raise ConfigError(
                f"model must be a name, a path or a SentenceTransformer, got {model!r:.80}"
            )
        self.model = model
        self.batch_size = batch_size

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, in their order."""
        if not texts:
            return []
        vectors = self.model.encode(
            list(texts), batch_size=self.batch_size, show_progress_bar=False
        )
        listed: list[list[float]] = vectors.tolist()
        return listed


def _loaded(name: str, device: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError(
            "SentenceTransformerEmbedder needs sentence-transformers, which is not installed; "
            'run: pip install "finite-memory-local[embedder]"'
        ) from error
    try:
        return SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"embedding model {name!r} cannot be loaded: {str(error).splitlines()[0]}; give the "
            "path of a folder that has it, or download it where there is a network"
        ) from error
