"""Replays in a process of their own: whatever becomes of it, who waits is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finite_memory_api.page.live import Live
from finite_memory_api.page.replays import Replays
from finite_memory_api.page.views import Vanished
from finite_memory_core import Memory, Message

from ..pages import harbour


def view_of(said: list[Message]) -> Live:
    memory = Memory(300)
    memory.append(*said)
    view = Live(memory, lambda: None)
    view.refresh()
    return view


class Vanishing(Live):
    """A conversation that is gone when it has been read in part."""

    def said(self) -> Iterator[Message]:
        """Yield some of it."""
        yield from (Message.user("Hello.") for _ in range(150))
        raise Vanished("it is gone")


async def told(replays: Replays, view: Live, **asked: Any) -> list[tuple[str, Any]]:
    found = []
    async for piece in replays.events(view, {**view.asked(None, None), **asked}):
        kind, data = (line.split(": ", 1)[1] for line in piece.decode().strip().split("\n"))
        found.append((kind, json.loads(data)))
    return found


def test_a_session_that_vanishes_while_it_is_replayed() -> None:
    """The replay ends, and says why; it does not wait for the rest."""
    view = Vanishing(Memory(300), lambda: None)
    assert [("failed", {"error": "it is gone"})] == asyncio.run(told(Replays(), view))


def test_a_replay_takes_no_module_from_where_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file there that has the name of a module would be run."""
    view = view_of(harbour(3))
    tmp_path.joinpath("json.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    [(kind, result)] = asyncio.run(told(Replays(), view))
    assert "done" == kind
    assert 7 == len(result["places"])


def test_a_process_that_fails_is_told() -> None:
    """It cannot make sense of what it is asked for."""
    [(kind, data)] = asyncio.run(told(Replays(), view_of(harbour(3)), low_water=[]))
    assert "failed" == kind
    assert data["error"]


def test_a_new_replay_takes_the_place_of_the_one_before() -> None:
    """Of several that are asked for at one time a single one comes to an end."""

    async def run() -> list[list[tuple[str, Any]]]:
        replays, view = Replays(), view_of(harbour(20))
        return await asyncio.gather(*(told(replays, view) for _ in range(3)))

    kinds = [[kind for kind, _ in one if kind != "progress"] for one in asyncio.run(run())]
    assert [[], [], ["done"]] == sorted(kinds)
