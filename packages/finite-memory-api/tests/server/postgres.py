"""A PostgreSQL server for the tests: the one that core's own tests start, of this repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parents[3] / "finite-memory-core" / "tests" / "postgres_cluster.py"


class NoServer(Exception):
    """There is none to be had; says why."""


@contextmanager
def running() -> Iterator[Any]:
    """Start a server, and remove it with all that it holds."""
    if not PLACE.is_file():
        raise NoServer("what starts a PostgreSQL server is in the repository, not in an sdist")
    spec = spec_from_file_location("postgres_cluster", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        with module.running() as cluster:
            yield cluster
    except module.NoServer as reason:
        raise NoServer(str(reason)) from None


def new_database(cluster: Any) -> str:
    """Return where an empty database is."""
    name: str = cluster.schema()
    cluster.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    place: str = cluster.dsn(database=name)
    return place
