"""``finite-memory chat --ui``: the page is another distribution's, and found by its entry point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finite_memory_core import Chat
from finite_memory_core.cli import main
from finite_memory_core.events import MemoryEvent


class Talks:
    """A page on which somebody says something and goes."""

    seen: list[Any]

    def __init__(self) -> None:
        Talks.seen = []

    def __call__(self, event: MemoryEvent) -> None:
        """Hear of an event."""
        Talks.seen.append(type(event).__name__)

    def run(self, chat: Chat, *, port: int, title: str, told: Callable[[str], object]) -> None:
        """Say something."""
        told(f"http://127.0.0.1:{port}/ for {title}")
        Talks.seen.append(chat.send("My sister Ada lives in Turin.").stats.messages)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Talks` is installed."""
    point = SimpleNamespace(load=lambda: Talks)

    def found(group: str, **_: object) -> list[SimpleNamespace]:
        return [point] if group == "finite_memory.pages" else []

    monkeypatch.setattr("importlib.metadata.entry_points", found)


def test_the_page_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The error says what to install, and no store was made."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    store = tmp_path / "a.db"
    assert 1 == main(["chat", "--ui", "--store", str(store)])
    assert "pip install 'finite-memory-api[server]'" in capsys.readouterr().err
    assert not store.exists()


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("kept", [False, True])
def test_the_page_has_the_chat_and_hears_its_events(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kept: bool
) -> None:
    """From a new memory and from one that is resumed; the address is printed."""
    more = ["--store", str(tmp_path / "a.db"), "--session", "one"] if kept else []
    for messages in (3, 5 if kept else 3):
        assert 0 == main(["chat", "--ui", "--port", "8123", "--system", "Be brief.", *more])
        assert "http://127.0.0.1:8123/" in capsys.readouterr().out
        assert messages == Talks.seen[-1]
        assert {"Appended", "ContextBuilt", "TurnEnded"} <= set(map(str, Talks.seen))


@pytest.mark.usefixtures("registered")
def test_a_saved_session_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With ``--load``."""
    from finite_memory_core import Memory, Message

    memory = Memory(1_000)
    memory.append(Message.user("Hello."))
    memory.save(tmp_path / "saved.json")
    assert 0 == main(["chat", "--ui", "--load", str(tmp_path / "saved.json")])
    assert 3 == Talks.seen[-1]
