"""The stores that the commands take: a path is an SQLite file, a URL a PostgreSQL database."""

from __future__ import annotations

from ..stores.base import Store


def is_database(place: str) -> bool:
    """Whether `place` is the URL of a PostgreSQL database."""
    return place.startswith(("postgresql://", "postgres://"))


def open_store(place: str) -> Store:
    """Open the store at `place`. Drivers are imported where they are used: they are slow to."""
    if is_database(place):
        from ..stores.postgres import PostgresStore

        return PostgresStore(place)
    from ..stores.sqlite import SQLiteStore

    return SQLiteStore(place)


def place_of(store: Store, place: str) -> str:
    """Return where a store is, as it may be shown: a URL without its password."""
    return str(getattr(store, "name", place))
