"""Hugging Face models whose KV cache lives as long as the conversation.

The public names of `finite-memory-local`. Each is imported when it is first used, and torch with
it: importing this package imports neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import HuggingFaceBackend as HuggingFaceBackend
    from .embedder import SentenceTransformerEmbedder as SentenceTransformerEmbedder
    from .importance import AttentionScorer as AttentionScorer
    from .ledger import Span as Span
    from .probe import Capability as Capability
    from .stats import CacheStats as CacheStats, FallBack as FallBack

_HOME = {
    "AttentionScorer": "importance",
    "CacheStats": "stats",
    "Capability": "probe",
    "FallBack": "stats",
    "HuggingFaceBackend": "backend",
    "SentenceTransformerEmbedder": "embedder",
    "Span": "ledger",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # the list has one home


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
