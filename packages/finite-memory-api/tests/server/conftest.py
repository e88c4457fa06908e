"""All tests here run the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from ..serving import proxy
from .postgres import NoServer, new_database, running

__all__ = ["proxy"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """Lend a PostgreSQL server; one for each process that runs tests."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(running())
        except NoServer as reason:
            pytest.skip(str(reason))
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store, as ``--store`` names it."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'a.db'}"
    return new_database(request.getfixturevalue("postgres"))
