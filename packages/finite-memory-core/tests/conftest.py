"""What all tests need."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from . import profiles  # noqa: F401  before any test takes its settings
from .examples import use_share
from .postgres_cluster import Cluster, NoServer, running

pytest.register_assert_rewrite("finite_memory_core.testing")
use_share()


def pytest_configure() -> None:
    """Let Ctrl-C interrupt the tests and what they start.

    A shell starts its background jobs with SIGINT ignored; Python leaves that so, and children
    inherit it. The tests of interrupts would then wait for one that never comes.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """Lend a PostgreSQL server; one for each process that runs tests."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(running())
        except NoServer as reason:
            pytest.skip(str(reason))
        yield cluster
