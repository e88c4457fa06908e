"""What llama.cpp's server says that its cache served, at a full budget."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from finite_memory_api import LlamaCppBackend
from finite_memory_core import Memory
from finite_memory_core.testing.streams import plain_chat

from ..tables import Table

ROOT = Path(__file__).resolve().parent.parent.parent
BUDGET = 4_096
TURNS = 260
LENGTH = 70
"""Characters of a message: a chat of short questions and answers, some 45 tokens a turn."""
LOW_WATERS = (1.0, 0.9, 0.75, 0.5)


def tables() -> list[Table]:
    """Measure each low water on one server."""
    with server() as url:
        rows = [_row(url, low_water) for low_water in LOW_WATERS]
    note = (
        f"Plain chat of two messages a turn, {TURNS} turns, a budget of {BUDGET:,} tokens; only "
        "turns after the first eviction count. Cached tokens are those that the server reports. A "
        "low water of 100 % is a window that is cut at every turn. Target: a cached share of at "
        "least 94 % at 85 % mean budget use."
    )
    heads = ("low water", "cached share", "mean budget use", "uncached tokens a turn", "evictions")
    return [Table("Cached share on llama.cpp's server", heads, rows, [note])]


def _row(url: str, low_water: float) -> list[str]:
    memory = Memory(BUDGET, low_water=low_water)
    backend = LlamaCppBackend("tiny", base_url=url, max_tokens=2)
    cached = total = turns = 0
    for step in plain_chat(1, TURNS, BUDGET):
        memory.append(*(replace(m, content=m.text[:LENGTH]) for m in step.messages))
        if not step.calls_model:
            continue
        context = memory.context()
        usage = list(backend.stream(context))[-1].usage
        if usage is None:
            raise RuntimeError("the server reported no usage")
        memory.report_usage(context, usage)  # so that the budget is in the server's tokens
        if not memory.stats.evictions:
            continue
        cached += usage.cached_tokens or 0
        total += usage.input_tokens
        turns += 1
    return [
        f"{low_water:.0%}",
        f"{cached / total:.1%}",
        f"{total / turns / BUDGET:.1%}",
        f"{(total - cached) / turns:,.0f}",
        str(memory.stats.evictions),
    ]


@contextmanager
def server() -> Iterator[str]:
    """Run a server with a tiny model, and yield its base URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        _write_model(path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["-c", "8192", "-np", "1", "-t", "1", "--jinja", "--port", str(port)]
        process = subprocess.Popen(
            [_program(), "-m", str(path), "--host", "127.0.0.1", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _program() -> str:
    if chosen := os.environ.get("FINITE_MEMORY_LLAMA_SERVER"):
        return chosen
    script = str(ROOT / "scripts" / "llama_server.py")
    done = subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def _write_model(path: Path) -> None:
    """Write the model of the tests, which live in no package that can be imported here."""
    source = ROOT / "packages" / "finite-memory-api" / "tests" / "llama" / "model.py"
    spec = importlib.util.spec_from_file_location("tiny_model", source)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{source} cannot be read")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_model(path)


def _wait(url: str) -> None:
    with httpx2.Client(transport=httpx2.HTTPTransport(retries=8), timeout=60) as client:
        for _ in range(400):
            if client.get(url).status_code == 200:
                return
    raise RuntimeError(f"{url} does not answer")
