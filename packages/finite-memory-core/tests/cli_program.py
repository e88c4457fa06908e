"""The command as a user runs it: its own process, piped or in a pseudo-terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "finite_memory_core.cli")

Done = subprocess.CompletedProcess[str]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with a dull terminal and UTF-8, and `more`."""
    dull = {"TERM": "dumb", "COLUMNS": "100", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": ""}
    return {**os.environ, **dull, **more}


def run(
    *arguments: str | Path, said: str | bytes = "", cwd: Path | None = None, **more: str
) -> Done:
    """Run the command through pipes; `said` is its standard input, `more` its environment."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        input=said if isinstance(said, bytes) else said.encode(),
        capture_output=True,
        cwd=cwd,
        env=environment(more),
        timeout=120,
        check=False,
    )
    return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def as_json(*arguments: str | Path) -> Any:
    """Run the command with ``--json`` and return what it prints."""
    done = run(*arguments, "--json")
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


def talk(turns: int, words: int = 12) -> list[dict[str, str]]:
    """Return a conversation of `turns` turns in the OpenAI chat shape, no two messages alike."""
    messages = [{"role": "system", "content": "Answer in one sentence."}]
    for turn in range(turns):
        facts = " ".join(f"word{turn}x{i}" for i in range(words))
        messages.append({"role": "user", "content": f"Shelf {turn} holds {facts}."})
        messages.append({"role": "assistant", "content": f"Shelf {turn} is noted, with {facts}."})
    return messages


def write_lines(path: Path, messages: Sequence[Mapping[str, object]]) -> Path:
    """Write messages one a line."""
    lines = (json.dumps(message, ensure_ascii=False) for message in messages)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
