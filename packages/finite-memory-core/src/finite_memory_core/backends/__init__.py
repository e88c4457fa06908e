"""Backends: what turns a context into a reply.

Core has two that need nothing: `CallableBackend` for any function, and `ReaderBackend`, which
quotes its context. Other distributions register theirs under ``finite_memory.backends``: a name,
and a loader that is called with what stands behind the name's colon and returns a `Backend`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, ConfigError, FiniteMemoryError, MissingExtraError
from .base import Backend, Delta, Usage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .callable import CallableBackend
    from .reader import ReaderBackend

__all__ = [
    "Backend",
    "CallableBackend",
    "Delta",
    "ReaderBackend",
    "Usage",
    "available_backends",
    "load_backend",
]

_GROUP = "finite_memory.backends"
_HOME = {"CallableBackend": "callable", "ReaderBackend": "reader"}
_ELSEWHERE = {
    "hf": "finite-memory-local",
    **dict.fromkeys(
        ("anthropic", "gemini", "ollama", "openai", "vllm"),
        "finite-memory-api",
    ),
}
"""Names that another distribution of ours owns, to say what to install."""


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import

    return {point.name: point for point in entry_points(group=_GROUP)}


def available_backends() -> dict[str, str | None]:
    """Return the known names, each with the distribution to install for it; None if it is here."""
    here: dict[str, str | None] = dict.fromkeys(_registered())
    return dict(sorted({**_ELSEWHERE, "reader": None, **here}.items()))


def load_backend(spec: str, **options: Any) -> Backend:
    """Return the backend that `spec` names.

    Args:
        spec: a name, or a name and what its loader takes behind a colon:
            ``"reader"``, ``"openai:gpt-5.6"``, ``"hf:Qwen/Qwen3-0.6B"``.
        options: passed on to the loader.

    Raises:
        ConfigError: nobody knows that name, or its loader refused the arguments.
        MissingExtraError: the distribution that knows it is not installed.
        BackendError: its loader failed, or made something that is no backend.
    """
    name, _, rest = spec.partition(":")
    registered = _registered()
    if name not in registered and name in _ELSEWHERE:
        raise MissingExtraError(
            f"backend {name!r} is part of {_ELSEWHERE[name]}, which is not installed; "
            f"pip install {_ELSEWHERE[name]}"
        )
    if name not in registered:
        known = ", ".join(available_backends())
        raise ConfigError(f"there is no backend {name!r} (from {spec!r}); known are {known}")
    try:
        backend = registered[name].load()(rest, **options)
    except FiniteMemoryError:
        raise
    except Exception as error:
        raise BackendError(
            f"loading backend {spec!r} failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(backend, Backend):
        raise BackendError(f"the loader of {name!r} made {backend!r:.80}, which is no Backend")
    return backend
