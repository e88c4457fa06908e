"""What all tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .servers import Answering, Server

pytest.register_assert_rewrite("finite_memory_core.testing")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that give the answers they are handed, the last one again and again."""
    running: list[Server] = []

    def start(*answers: Answering) -> Server:
        running.append(Server(answers))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads a key of whoever runs it, nor talks to a real provider through a proxy."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
