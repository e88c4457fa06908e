"""A PostgreSQL server of the tests' own, in a temporary folder, for as long as they run.

It is reached by a Unix socket in that folder, so there is no port to be taken. Where no server is
installed the tests skip and say so; ``python3 run.py -s postgres`` installs one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

SECRET = "h0rse/b@ttery:staple%"
_HBA = """
local all secretive scram-sha-256
local all all trust
"""
_SETTINGS = """
listen_addresses = ''
max_connections = 60
fsync = off
shared_buffers = 16MB
"""


def programs() -> Path | None:
    """Return the folder with the newest server's programs; None where there is none."""
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    folders.sort(key=lambda folder: int(folder.parent.name.partition(".")[0]))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    return None if found is None else Path(os.path.realpath(found)).parent


class Cluster:
    """A running server. Its superuser is ``owner``, and everybody but ``secretive`` is trusted."""

    def __init__(self, folder: Path, bins: Path, settings: str = _SETTINGS) -> None:
        self.folder = folder
        self._bins = bins
        self._names = (f"place_{number}" for number in itertools.count())
        # A server does not run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", "data", "-U", "owner", "-A", "trust", "-E", "UTF8", "-N",
                  "--locale=C", "--no-instructions")  # fmt: skip
        (folder / "data" / "pg_hba.conf").write_text(_HBA)
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{folder}'\n{settings}")
        self.start()

    def dsn(self, user: str = "owner", database: str = "postgres", password: str = "") -> str:
        """Return where a database is."""
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@/{database}?host={quote(str(self.folder), safe='')}"

    def schema(self) -> str:
        """Return the name of a schema that is not there yet."""
        return next(self._names)

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[Any]:
        """Run a statement as the superuser."""
        import psycopg

        with psycopg.connect(self.dsn(database=database), autocommit=True) as db:
            cursor = db.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def let_read(self, user: str, schema: str) -> None:
        """Have a user who may read a schema and nothing else."""
        if not self.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", user):
            self.execute(f"CREATE ROLE {user} LOGIN")
        self.execute(f"GRANT USAGE ON SCHEMA {schema} TO {user}")
        self.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")

    def cut_connections(self) -> None:
        """End all connections but the one that does it."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; mode ``immediate`` is a crash."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bins / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, user=self._user, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT, text=True, check=False,
            extra_groups=[] if self._user else None,
        )  # fmt: skip
        if done.returncode:
            log = self.folder / "log"
            told = log.read_text() if log.exists() else done.stdout
            raise RuntimeError(f"{program} failed:\n{told}")


class NoServer(Exception):
    """There is no server, or no driver; says what to do about it."""


@contextlib.contextmanager
def running(settings: str = _SETTINGS) -> Iterator[Cluster]:
    """Start a server, and remove it with all that it holds."""
    if importlib.util.find_spec("psycopg") is None:
        raise NoServer("the extra 'postgres' is not installed")
    bins = programs()
    if bins is None:
        raise NoServer("no PostgreSQL server is installed; python3 run.py -s postgres installs one")
    with tempfile.TemporaryDirectory(prefix="fm-pg-", ignore_cleanup_errors=True) as name:
        cluster = Cluster(Path(name), bins, settings)
        try:
            yield cluster
        finally:
            with contextlib.suppress(RuntimeError):  # a test may have left it stopped
                cluster.stop("immediate")
