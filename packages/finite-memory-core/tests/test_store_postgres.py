"""The PostgreSQL store, on a server of its own: the contract, its schema, and what goes wrong."""

from __future__ import annotations

import pytest

from finite_memory_core.stores import PostgresStore, Store
from finite_memory_core.testing.stores import DurableStoreContract

from .postgres_cluster import Cluster


class TestPostgres(DurableStoreContract):
    """A store in a database keeps the contract."""

    @pytest.fixture(autouse=True)
    def _place(self, postgres: Cluster) -> None:
        self.dsn, self.schema = postgres.dsn(), postgres.schema()

    def open(self) -> Store:
        return PostgresStore(self.dsn, schema=self.schema)
