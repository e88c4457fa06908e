"""What is asked for while a turn is under way, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx2
import pytest

from finite_memory_api.page.live import Live
from finite_memory_core import Delta
from finite_memory_core.context import Context

from ..pages import TOKEN, Served, Starter, harbour
from ..serving import PLAIN

SHOWN = {"authorization": f"Bearer {TOKEN}"}
SECONDS = 60.0


def post(served: Served, name: str, body: Any) -> httpx2.Response:
    query = {"id": served.chat.memory.session_id}
    url = f"{served.url}/api/{name}"
    return httpx2.post(url, params=query, headers=SHOWN, json=body, verify=PLAIN, timeout=SECONDS)


class Slowly:
    """A backend that waits until it may go on."""

    name = "slowly"

    def __init__(self) -> None:
        self.began, self.go_on = Event(), Event()

    def stream(self, context: Context) -> Iterator[Delta]:
        """Reply."""
        self.began.set()
        yield Delta("first ")
        assert self.go_on.wait(SECONDS)
        yield Delta("second", finish="stop")


def test_while_a_turn_is_under_way_nothing_else_changes(chat_page: Starter) -> None:
    """Pin, forget, preview and another turn are refused; what was said is not touched."""
    backend = Slowly()
    served = chat_page(harbour(3), backend=backend)
    with ThreadPoolExecutor() as threads:
        turn = threads.submit(post, served, "chat", {"text": "Go on."})
        assert backend.began.wait(SECONDS)
        try:
            for name, body in (
                ("pin", {"index": 1, "pinned": True}),
                ("forget", {"index": 1}),
                ("preview", {"budget": 200}),
                ("chat", {"text": "And?"}),
            ):
                refused = post(served, name, body)
                assert 409 == refused.status_code
                assert "under way" in refused.json()["error"]
        finally:
            backend.go_on.set()
        assert "event: done" in turn.result().text
    assert [m.text for m in harbour(3)] == [m.text for m in served.chat.memory.transcript][:7]
    assert 9 == served.chat.memory.stats.messages
    assert 200 == post(served, "preview", {"budget": 200}).status_code


def test_a_turn_that_begins_during_a_preview_holds_nobody_up(
    chat_page: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the memory, and the page's other requests are answered meanwhile."""
    began, go_on = Event(), Event()
    dry_run = Live.dry_run

    def slowly(view: Live, *tried: Any) -> dict[str, Any]:
        with view.memory._recorder.lock:
            began.set()
            assert go_on.wait(SECONDS)
            return dry_run(view, *tried)

    monkeypatch.setattr(Live, "dry_run", slowly)
    served = chat_page(harbour(3))
    with ThreadPoolExecutor() as threads:
        try:
            preview = threads.submit(post, served, "preview", {"budget": 200})
            assert began.wait(SECONDS)
            stale = threads.submit(post, served, "preview", {"budget": 201})
            turn = threads.submit(post, served, "chat", {"text": "How much does boat 2 owe?"})
            for _ in range(3):
                url = f"{served.url}/api/state"
                answer = httpx2.get(url, headers=SHOWN, verify=PLAIN, timeout=SECONDS)
                assert 200 == answer.status_code
        finally:
            go_on.set()
        assert 200 == preview.result().status_code
        assert stale.result().status_code in (200, 409)
        assert "event: done" in turn.result().text
    assert 9 == served.chat.memory.stats.messages
