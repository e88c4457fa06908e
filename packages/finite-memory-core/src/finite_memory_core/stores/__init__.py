"""Stores: where transcripts are kept. `SQLiteStore` is loaded only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Counted, Event, Session, Store, Version
from .memory import InMemoryStore

if TYPE_CHECKING:
    from .sqlite import SQLiteStore

__all__ = ["Counted", "Event", "InMemoryStore", "SQLiteStore", "Session", "Store", "Version"]


def __getattr__(name: str) -> Any:
    if name == "SQLiteStore":
        from .sqlite import SQLiteStore

        return SQLiteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
