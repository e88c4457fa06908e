"""The command with ``postgresql://...`` for a store."""

from __future__ import annotations

import pytest

from finite_memory_core import PostgresStore

from .cli_program import as_json, run
from .postgres_cluster import SECRET, Cluster


@pytest.fixture
def url(postgres: Cluster) -> str:
    """Return where an empty database is, for a user with a password."""
    if not postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = 'secretive'"):
        postgres.execute(f"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{SECRET}'")
    name = postgres.schema()
    postgres.execute(f"CREATE DATABASE {name}")
    return postgres.dsn("secretive", name, SECRET)


def rows(url: str) -> list[tuple[int, int]]:
    """Return the version of each session."""
    with PostgresStore(url) as store:
        return [tuple(session.version) for session in store.sessions()]  # type: ignore[misc]


def test_a_conversation_is_kept_and_looked_at(url: str) -> None:
    """It is taken up where it stopped; a look changes nothing, and nobody tells the password."""
    kept = ("chat", "--store", url, "--session", "ada")
    said = run(*kept, said="My sister Ada lives in Turin.")
    asked = run(*kept, said="Where does Ada live?")
    assert [(0, "")] * 2 == [(done.returncode, done.stderr) for done in (said, asked)]
    assert "Turin" in asked.stdout
    before = rows(url)
    listed, shown = run("inspect", url), run("inspect", url, "ada", "--transcript")
    assert "ada" in listed.stdout
    assert "My sister Ada lives in Turin." in shown.stdout
    assert 4 == as_json("inspect", url, "ada")["messages"]
    assert before == rows(url)
    assert not any(SECRET in done.stdout + done.stderr for done in (said, asked, listed, shown))


def test_what_goes_wrong_is_told_in_a_line_without_the_password(url: str) -> None:
    """An empty database has nothing to see and gets no tables; a wrong one is told."""
    empty = run("inspect", url)
    assert (1, "") == (empty.returncode, empty.stdout)
    assert "open it once with a PostgresStore" in empty.stderr
    wrong = run("chat", "--store", url.replace("secretive:", "secretive:x"), said="Hi.")
    assert 1 == wrong.returncode
    assert "cannot be reached" in wrong.stderr
    assert SECRET not in empty.stderr + wrong.stderr
    with PostgresStore(url) as store:
        assert [] == store.sessions()
