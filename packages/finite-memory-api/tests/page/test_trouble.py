"""What goes wrong, or goes on for long, while a conversation is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finite_memory_api.page.journal import MOST_TURNS, Journal, Turn
from finite_memory_api.page.stored import Stored
from finite_memory_core import Memory, SQLiteStore, StoreError

from ..pages import harbour
from .test_views import Told, live


def test_a_refresh_that_fails_loses_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who follows is told to begin anew once it can be read again."""
    chat, view = live()
    chat.send("Hello.")
    told = Told(view)
    chat.send("And?")

    def broken(start: int) -> list[dict[str, Any]]:
        raise StoreError(f"no texts from {start}")

    with monkeypatch.context() as patched:
        patched.setattr(view, "_first_texts", broken)
        with pytest.raises(StoreError):
            view.refresh()
    told.follow()
    assert 2 == len(told.state["turns"]["tokens"])
    assert view.snapshot() == told.state


def test_what_is_forgotten_while_it_is_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread forgets between the rows and what stands."""
    chat, view = live()
    chat.send("A secret.")
    view.refresh()
    located = view._located

    def forgetting() -> str:
        monkeypatch.undo()
        chat.memory.forget(0)
        return located()

    monkeypatch.setattr(view, "_located", forgetting)
    view.refresh()
    view.refresh()
    assert "F" == view.snapshot()["places"][0]


def test_what_another_process_forgets_is_shown_as_forgotten(tmp_path: Path) -> None:
    """And its tokens are gone."""
    with SQLiteStore(tmp_path / "a.db") as store, SQLiteStore(tmp_path / "a.db") as other:
        memory = Memory(300, store=other, session_id="one")
        memory.append(*harbour(5))
        told = Told(Stored(store, "one", lambda: None))
        memory.forget(1)
        told.follow()
        assert "F" == told.state["places"][1]
        assert 0 == told.state["tokens"][1]


def test_what_is_kept_of_ten_thousand_turns_is_bounded() -> None:
    """The last ones, for who comes now and for who follows."""
    _, view = live()
    told, journal = Told(view), view.journal
    for number in range(2 * MOST_TURNS + 5):
        with journal.lock:
            journal.add(Turn(number, number, 0))
        if number % 500 == 0:
            told.follow()
    told.follow()
    kept = journal.turns
    assert MOST_TURNS <= len(kept) < 2 * MOST_TURNS
    assert 2 * MOST_TURNS + 4 == kept[-1].tokens
    assert [*range(2 * MOST_TURNS + 5)] == told.state["turns"]["tokens"]
    assert [turn.tokens for turn in kept] == view.snapshot()["turns"]["tokens"]


def test_what_leaves_again_and_again_is_noted_once() -> None:
    """As on a server, where a history that was edited is folded from its start."""
    chat, _ = live()
    for message in harbour(40):
        chat.memory.append(message)
    eviction = chat.memory.context().explain()
    assert eviction is not None
    journal = Journal()
    for _ in range(100):
        journal.evicted(eviction)
    assert len(journal._waiting) <= len(eviction.decisions)
