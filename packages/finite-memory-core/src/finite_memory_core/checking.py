"""Checking what a memory is given, beside its numbers (see `settings`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import ConfigError, MessageError
from .events import Observer
from .messages import freeze


def schemas(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise MessageError(f"tools[{i}] must be a tool's schema, an object, got {tool!r:.80}")
    return [freeze(tool, f"tools[{i}]") for i, tool in enumerate(tools)]


_NEEDS = {"store": ("create", "append", "messages"), "summarizer": ("summarize",)}


def check(name: str, thing: object) -> None:
    """Raise `ConfigError` where `thing` cannot be what it was passed for."""
    missing = [method for method in _NEEDS[name] if not callable(getattr(thing, method, None))]
    if missing:
        raise ConfigError(
            f"{name} must be an object with {', '.join(_NEEDS[name])}, got "
            f"{type(thing).__name__}: {thing!r:.80}"
        )


def callables(observers: object) -> tuple[Observer, ...]:
    made = tuple(observers) if isinstance(observers, Iterable) else (None,)
    if not all(map(callable, made)):
        raise ConfigError(f"observers must be a list of callables, got {observers!r:.120}")
    return made
