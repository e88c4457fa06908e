"""What the page is told of a conversation, against the memory itself."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_api.page._serving import noted
from finite_memory_api.page.live import Live
from finite_memory_api.page.replaying import replay
from finite_memory_api.page.stored import Stored
from finite_memory_api.page.views import Vanished, exported
from finite_memory_api.server.cursors import Cursor
from finite_memory_core import Chat, Memory, Message, Recall, SQLiteStore, StoreError
from finite_memory_core.backends.reader import ReaderBackend
from finite_memory_core.events import MemoryEvent
from finite_memory_core.stores.base import Event, Version
from finite_memory_core.stores.memory import InMemoryStore

from ..pages import harbour

PLACES = {"P", "W"}


class Told:
    """Does with changes what the page does with them."""

    def __init__(self, view: Live | Stored) -> None:
        self.view = view
        view.refresh()
        self.begin()

    def begin(self) -> None:
        self.state = self.view.snapshot()

    def follow(self) -> None:
        change = self.view.refresh()
        if change is None:
            return
        kind, data = change
        if kind == "reset":
            self.begin()
            return
        state = self.state
        assert data["start"] == len(state["places"])
        places = list(state["places"])
        for index, place in data["moved"]:
            places[index] = place
        state["places"] = "".join(places) + data["places"]
        state["roles"] += data["roles"]
        for name in ("tokens", "sizes"):
            state[name] = [*state[name], *data[name]]
        for name, values in data["turns"].items():
            state["turns"][name] = [*state["turns"][name], *values]
        state["state"] = data["state"]


def live(policy: str = "sliding", budget: int = 260, **more: Any) -> tuple[Chat, Live]:
    heard: list[Any] = []

    def hear(event: MemoryEvent) -> None:
        for one in heard:
            one(event)

    memory = Memory(budget, policy, observers=[hear], **more)
    view = Live(memory, lambda: None)
    heard.append(view.hear)
    return Chat(ReaderBackend(), memory), view


steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 12)),
        st.tuples(st.just("pin"), st.integers(0, 60)),
        st.tuples(st.just("unpin"), st.integers(0, 60)),
        st.tuples(st.just("forget"), st.integers(0, 60)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=25,
)


@given(steps, st.sampled_from(["sliding", "hybrid", "rolling_summary"]))
@settings(max_examples=40, deadline=None)
def test_changes_come_to_what_a_snapshot_says(done: list[tuple[str, int]], policy: str) -> None:
    """Whoever follows from the beginning sees what whoever comes now sees, and it is true."""
    chat, view = live(policy, recall=Recall(), oversize="clip")
    told = Told(view)
    for what, number in done:
        count = chat.memory.stats.messages
        if what == "say":
            chat.send(f"Boat {number} " * number)
        elif what == "look":
            told.follow()
        elif count:
            try:
                if what == "forget":
                    view.forget(number % count)
                else:
                    view.pin(number % count, pinned=what == "pin")
            except ValueError:
                continue  # it does not fit, or stands nowhere: nothing has changed
    told.follow()
    told.follow()
    assert view.snapshot() == {**told.state, "texts": view.snapshot()["texts"]}
    standing = {i for block in chat.memory.blocks for i in range(block.index, block.end)}
    places = told.state["places"]
    assert standing == {i for i, place in enumerate(places) if place in PLACES}
    assert len(places) == chat.memory.stats.messages
    turns = told.state["turns"]
    assert all(sent <= 260 for sent in turns["tokens"])
    for text in view.texts(0, len(places)):
        assert text["why"]


def test_a_turn_that_fails_shows_nothing() -> None:
    """What was staged is nowhere."""
    chat, view = live()
    chat.send("Hello.")
    told = Told(view)
    before = json.dumps(told.state)
    chat.backend = BrokenBackend()
    with pytest.raises(Exception, match="broken"):
        chat.send("And now?")
    told.follow()
    assert before == json.dumps(told.state)


class BrokenBackend(ReaderBackend):
    """Fails."""

    def stream(self, context: Any) -> Any:
        """Fail."""
        raise RuntimeError("broken")


def test_the_reason_is_cores_own() -> None:
    """For what left and what stayed at an eviction."""
    chat, view = live()
    for boat in range(30):
        chat.send(f"Boat {boat} lies here.")
    view.refresh()
    eviction = chat.memory.context().explain()
    assert eviction is not None
    places = view.snapshot()["places"]
    seen = 0
    for decision in eviction.decisions:
        if (places[decision.index] in "PW") == decision.kept and places[decision.index] != "R":
            assert decision.reason in view.why(decision.index)
            seen += 1
    assert seen


def test_a_replay_is_the_memory_that_was(tmp_path: Path) -> None:
    """With the same settings a replay comes to the same places."""
    chat, view = live("hybrid")
    for message in harbour(40):
        chat.memory.append(message)
    view.refresh()
    result = replay(view.asked(None, None), view.said(), lambda _: None)
    assert view.snapshot()["places"] == result["places"]
    view.take_history(json.loads(json.dumps(result)))
    told = view.refresh()
    assert told is not None
    assert "reset" == told[0]
    view.refresh()
    assert 40 == len(view.snapshot()["turns"]["tokens"])
    assert all(
        sent <= full
        for sent, full in zip(
            view.snapshot()["turns"]["tokens"], view.snapshot()["turns"]["full"], strict=True
        )
    )


def test_what_is_exported_is_what_was_said() -> None:
    """Every message, whole."""
    chat, view = live()
    for message in harbour(20):
        chat.memory.append(message)
    view.refresh()
    written = json.loads(b"".join(exported(view)))["messages"]
    read = [Message.from_dict(one) for one in written]
    assert [m.text for m in chat.memory.transcript] == [m.text for m in read]


def test_a_stored_session_is_only_read(tmp_path: Path) -> None:
    """Looking on, searching and previewing leave the file as it is, while another writes to it."""
    with SQLiteStore(tmp_path / "a.db") as store:
        memory = Memory(300, store=store, session_id="one")
        memory.append(*harbour(20))
        view = Stored(store, "one", lambda: None)
        told = Told(view)
        version = store.session("one")
        assert view.search("boat 35", 5)
        assert view.dry_run(200, "importance")["left"]
        assert version == store.session("one")
        memory.append(*harbour(5)[1:])
        told.follow()
        assert 51 == len(told.state["places"])
        standing = {i for block in memory.blocks for i in range(block.index, block.end)}
        seen = {i for i, place in enumerate(told.state["places"]) if place in PLACES}
        assert standing == seen
        memory.forget(1)
        told.follow()
        told.follow()
        store.delete("one")
        with pytest.raises(Vanished, match="gone"):
            view.refresh()
        Memory(300, store=store, session_id="one").append(Message.user("Anew."))
        view.refresh()
        told.begin()
        assert "W" == told.state["places"]


def test_what_a_server_noted_tells_what_stands() -> None:
    """Its cursor, in the store, and all that came since; what is no cursor is told as such."""
    store = InMemoryStore()
    store.create("one", "{}")
    assert noted(store, "one") is None
    packed = b64encode(Cursor(5, 90, bytes(16), (0, 3, 4)).pack()).decode()
    event = Event("cursor", 5, json.dumps({"cursor": packed}))
    store.append("one", Version(0, 0), [], [event])
    standing = noted(store, "one")
    assert standing is not None
    assert "PAAWWW" == standing.letters("suauau")
    store.append("one", Version(0, 1), [], [Event("cursor", 5, '{"cursor": "AAAA"}')])
    with pytest.raises(StoreError, match="cannot be read"):
        noted(store, "one")
