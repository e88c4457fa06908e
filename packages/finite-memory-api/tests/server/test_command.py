"""``finite-memory serve``: its options, its secrets, and a real process that ends well."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from finite_memory_core.cli import main

from ..servers import JSON, Answer, Server
from ..serving import PLAIN
from .histories import chat

Serve = Callable[..., Server]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_serves_until_it_is_told_to_stop(
    serve: Serve, tmp_path: Path, workers: int
) -> None:
    """With one worker or with several; secrets come from the environment."""
    upstream, port = serve(Answer([b'{"id": "1"}'], kind=JSON)), free_port()
    command = [str(Path(sys.executable).with_name("finite-memory")), "serve"]
    command += ["--port", str(port), "--upstream", upstream.url, "--workers", str(workers)]
    command += ["--budget", "400", "--store", f"sqlite:{tmp_path / 'a.db'}"]
    secrets = {"FINITE_MEMORY_SERVE_TOKEN": "tok", "FINITE_MEMORY_SERVE_UPSTREAM_KEY": "sk-real"}
    process = subprocess.Popen(command, env={**os.environ, **secrets})
    try:
        transport = httpx2.HTTPTransport(retries=8, verify=PLAIN)  # each waits twice as long
        with httpx2.Client(transport=transport, timeout=60) as client:
            answer = client.post(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json=chat(40),
                headers={"authorization": "Bearer tok"},
            )
        assert answer.json() == {"id": "1"}
        assert int(answer.headers["x-finite-memory-dropped"]) > 0
        assert upstream.asked[0].headers["authorization"] == "Bearer sk-real"
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    assert status in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "FINITE_MEMORY_SERVE_TOKEN"),
        (["--upstream", "nowhere"], "http or https URL"),
        (["--workers", "0"], "workers must be 1 or more"),
        (["--budget", "0"], "budget must be a positive number"),
        (["--recall", "0.2"], "recall needs a store"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started."""
    assert main(["serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
