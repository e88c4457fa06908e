"""Backends: what turns a context into a reply.

Core has two that need nothing: `CallableBackend` for any function, and `ReaderBackend`, which
quotes its context. Other distributions register theirs under ``finite_memory.backends``: a name,
and a loader that is called with what stands behind the name's colon and returns a `Backend`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, ConfigError, FiniteMemoryError, MissingExtraError
from .base import Backend, Delta, Usage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .function import CallableBackend
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
_HOME = {"CallableBackend": "function", "ReaderBackend": "reader"}
_ELSEWHERE = {
    "hf": "finite-memory-local",
    **dict.fromkeys(
        (
            *("ai21", "anthropic", "azure", "cerebras", "cohere", "compatible", "deepseek"),
            *("fireworks", "gemini", "groq", "huggingface", "llamacpp", "lmstudio", "mistral"),
            *("ollama", "openai", "openrouter", "replicate", "sglang", "tgi", "together"),
            *("transformers", "vllm", "xai"),
        ),
        "finite-memory-api",
    ),
}
"""Names that another distribution of ours owns, to say what to install."""


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _registered() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import

    return list(entry_points(group=_GROUP))


def available_backends() -> dict[str, str | None]:
    """Return the known names, each with the distribution to install for it; None if it is here."""
    here: dict[str, str | None] = dict.fromkeys([*_OURS, *(point.name for point in _registered())])
    return dict(sorted({**_ELSEWHERE, **here}.items()))


def load_backend(spec: str, **options: Any) -> Backend:
    """Return the backend that `spec` names.

    Args:
        spec: a name, or a name and what its loader takes behind a colon:
            ``"reader"``, ``"openai:gpt-5.6"``, ``"hf:Qwen/Qwen3-0.6B"``.
        options: passed on to the loader.

    Raises:
        ConfigError: nobody knows that name, two distributions claim it, or its loader refused
            the arguments.
        MissingExtraError: the distribution that knows it is not installed.
        BackendError: its loader failed, or made something that is no backend.
    """
    if not isinstance(spec, str):
        raise ConfigError(f"a backend is named by text such as 'reader', got {spec!r:.80}")
    name, _, rest = spec.partition(":")
    find = _OURS.get(name) or _finder(name, spec)
    try:
        backend = find()(rest, **options)
    except FiniteMemoryError:
        raise
    except Exception as error:
        raise BackendError(
            f"loading backend {spec!r} failed: {type(error).__name__}: {error}"
        ) from error
    if not callable(getattr(backend, "stream", None)):
        raise BackendError(
            f"the loader of {name!r} made {backend!r:.80}, which has no stream(context) and so is "
            "no Backend"
        )
    made: Backend = backend
    return made


def _finder(name: str, spec: str) -> Callable[[], Any]:
    """Return what imports the loader that another distribution registered under `name`."""
    found = {point.value: point for point in _registered() if point.name == name}
    if len(found) > 1:
        claims = ", ".join(f"{value} of {_owner(point)}" for value, point in found.items())
        raise ConfigError(f"backend {name!r} is claimed twice: {claims}; uninstall one of them")
    for point in found.values():
        return point.load
    if name in _ELSEWHERE:
        raise MissingExtraError(
            f"backend {name!r} is part of {_ELSEWHERE[name]}, which is not installed; "
            f"pip install {_ELSEWHERE[name]}"
        )
    known = ", ".join(available_backends())
    raise ConfigError(f"there is no backend {name!r} (from {spec!r}); known are {known}")


def _owner(point: EntryPoint) -> str:
    return "an unnamed distribution" if point.dist is None else point.dist.name


def _reader() -> Any:
    from .reader import load

    return load


_OURS: dict[str, Callable[[], Any]] = {"reader": _reader}
"""Those of core, which are found where no metadata is installed, too."""
