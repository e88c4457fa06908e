"""One server of llama.cpp for all tests of this folder.

Its program is built by the nox session ``llama``, which says where it is. Without it there is
nothing to test here, so nothing is collected.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

PROGRAM = os.environ.get("FINITE_MEMORY_LLAMA_SERVER")
WINDOW = 8_192
LONGEST = 64
"""Tokens of a text that vectors are asked of."""
collect_ignore_glob = [] if PROGRAM else ["test_*.py"]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running server with a tiny model and one slot."""
    with _running(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="session")
def calling_llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another one, whose model begins a tool call as soon as it may, and then another one.

    Where it is made to call, the server's grammar writes the rest of each.
    """
    from .model import SPECIAL

    bias = ("--logit-bias", f"{len(SPECIAL)}+100")  # the token behind those is CALL
    with _running(tmp_path_factory.mktemp("calling"), *bias) as url:
        yield url


@pytest.fixture(scope="session")
def embedding_llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another one, that gives vectors, of texts of at most `LONGEST` tokens."""
    options = ("--embeddings", "--pooling", "mean", "-b", str(LONGEST), "-ub", str(LONGEST))
    with _running(tmp_path_factory.mktemp("embedding"), *options) as url:
        yield url


@contextmanager
def _running(folder: Path, *options: str) -> Iterator[str]:
    from .model import write_model

    write_model(folder / "tiny.gguf")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(PROGRAM), "-m", str(folder / "tiny.gguf"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "-c", str(WINDOW), "-np", "1", "-t", "1", "--jinja", "--slots"]
    with Path(folder / "log.txt").open("wb") as log:
        server = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}", server, folder / "log.txt")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Ask until the server answers; it has a model to read first."""
    transport = httpx2.HTTPTransport(retries=8)  # each waits twice as long as the one before
    with httpx2.Client(transport=transport, timeout=60) as client:
        for _ in range(400):
            assert server.poll() is None, log.read_text(errors="replace")[-2_000:]
            if client.get(f"{url}/health").status_code == 200:
                return
    raise AssertionError(f"no answer: {log.read_text(errors='replace')[-2_000:]}")
