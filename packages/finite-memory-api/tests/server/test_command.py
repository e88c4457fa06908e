"""``finite-memory serve``: its options, its secrets, and a real process that ends well."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finite_memory_core.cli import main

from ..servers import JSON, Answer, Server
from .histories import chat
from .processes import serving

Serve = Callable[..., Server]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_serves_until_it_is_told_to_stop(
    serve: Serve, tmp_path: Path, workers: int
) -> None:
    """With one worker or with several; secrets come from the environment."""
    upstream = serve(Answer([b'{"id": "1"}'], kind=JSON))
    options = ["--upstream", upstream.url, "--workers", str(workers), "--budget", "400"]
    options += ["--store", f"sqlite:{tmp_path / 'a.db'}"]
    secrets = {"FINITE_MEMORY_SERVE_TOKEN": "tok", "FINITE_MEMORY_SERVE_UPSTREAM_KEY": "sk-real"}
    with serving(*options, environment=secrets) as process:
        headers = {"authorization": "Bearer tok"}
        answer = process.post("/v1/chat/completions", chat(40), headers=headers)
    assert answer.json() == {"id": "1"}
    assert int(answer.headers["x-finite-memory-dropped"]) > 0
    assert upstream.asked[0].headers["authorization"] == "Bearer sk-real"
    assert process.status in (0, -signal.SIGTERM)


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
