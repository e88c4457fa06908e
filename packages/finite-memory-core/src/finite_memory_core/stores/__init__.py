"""Stores: where transcripts are kept. Those with a database are loaded when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Counted, Event, Session, Store, Version
from .memory import InMemoryStore

if TYPE_CHECKING:
    from .postgres import PostgresStore
    from .sqlite import SQLiteStore

__all__ = [
    "Counted",
    "Event",
    "InMemoryStore",
    "PostgresStore",
    "SQLiteStore",
    "Session",
    "Store",
    "Version",
]


def __getattr__(name: str) -> Any:
    if name == "SQLiteStore":
        from .sqlite import SQLiteStore

        return SQLiteStore
    if name == "PostgresStore":
        from .postgres import PostgresStore

        return PostgresStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
