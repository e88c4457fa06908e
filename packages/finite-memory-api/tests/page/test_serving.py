"""``serve --ui``: what the server bounds, in the page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from finite_memory_api.page import _serving
from finite_memory_api.page._serving import MOST_HEARD, MOST_WATCHED, ServeSource
from finite_memory_api.server import ServeSettings
from finite_memory_api.server._app import Answered, Proxy
from finite_memory_api.server.archive import Archives
from finite_memory_api.server.bounding import Bounded
from finite_memory_api.server.cursors import Cursor
from finite_memory_core import ConfigError
from finite_memory_core.cli import main
from finite_memory_core.stores.base import Event, Store, Version
from finite_memory_core.stores.memory import InMemoryStore

from ..pages import free_port
from ..servers import JSON, Answer, Server
from ..serving import PLAIN, Running, Starter

USAGE = {
    "prompt_tokens": 300,
    "completion_tokens": 1,
    "prompt_tokens_details": {"cached_tokens": 240},
}
REPLY = json.dumps({"id": "1", "choices": [], "usage": USAGE}).encode()
SHOWN = {"authorization": "Bearer page"}
Serve = Callable[..., Server]


def history(turns: int) -> dict[str, Any]:
    """A request in which so many turns were taken before."""
    said: list[dict[str, str]] = [{"role": "system", "content": "Keep the books."}]
    for turn in range(turns):
        said.append({"role": "user", "content": f"Boat {turn} came to berth {turn % 9}."})
        said.append({"role": "assistant", "content": f"Noted: boat {turn}, {3 * turn} euros."})
    said.append({"role": "user", "content": f"Boat {turns} came to berth {turns % 9}."})
    return {"model": "m", "messages": said}


def started(serve: Serve, proxy: Starter, **settings: Any) -> Running:
    upstream = serve(Answer([REPLY], kind=JSON))
    return proxy(upstream.url, ui=True, page_token="page", **settings)


def talk(server: Running, turns: range) -> None:
    for turn in turns:
        answer = server.post("/v1/chat/completions", history(turn))
        assert 200 == answer.status_code


def look(server: Running, path: str, **query: Any) -> Any:
    answer = server.client.get(f"/_memory/api/{path}", params=query, headers=SHOWN)
    assert 200 == answer.status_code, answer.text
    return answer.json()


def test_with_a_store_texts_and_turns_are_shown(
    serve: Serve, proxy: Starter, tmp_path: Path
) -> None:
    """Every message, where it is, why, and what the upstream reported."""
    server = started(serve, proxy, store=f"sqlite:{tmp_path / 'a.db'}", recall=0.2)
    talk(server, range(40))
    [session] = look(server, "state")["sessions"]
    assert "Boat 0 came to berth 0." == session["title"]
    shown = look(server, "session", id=session["id"])
    assert 79 == len(shown["places"])
    assert 40 == len(shown["turns"]["tokens"])
    assert all(sent <= 400 for sent in shown["turns"]["tokens"])
    assert [240] * 40 == shown["turns"]["cached"]
    assert sum(shown["turns"]["left"]) > 0
    assert shown["turns"]["full"][-1] > 400
    assert 0 < shown["turns"]["stable"][-1] < 400
    texts = look(server, "texts", id=session["id"], start=0, stop=2)["texts"]
    assert "Boat 0 came to berth 0." == texts[0]["text"]
    if shown["places"][0] == "A":
        assert "left at message" in texts[0]["why"]
    place = f"/_memory/api/search?id={session['id']}"
    [hit, *_] = server.post(place, {"query": "boat 3"}, headers=SHOWN).json()["hits"]
    assert hit["parts"]
    for what in ("pin", "forget"):
        place = f"/_memory/api/{what}?id={session['id']}"
        refused = server.post(place, {"index": 0, "pinned": True}, headers=SHOWN)
        assert 409 == refused.status_code
        assert "program" in refused.json()["error"]


def test_without_a_store_only_numbers_are_shown(serve: Serve, proxy: Starter) -> None:
    """No word of what was said is there to be shown."""
    server = started(serve, proxy)
    assert [] == look(server, "state")["sessions"]
    talk(server, range(20, 40))
    [session] = look(server, "state")["sessions"]
    shown = look(server, "session", id=session["id"])
    assert {"W", "A"} == set(shown["places"])
    assert 20 == len(shown["turns"]["tokens"])
    assert [] == list(shown["can"])
    assert "berth" not in json.dumps(shown)
    for path in ("texts?start=0&stop=9&", "message?index=0&", "export?"):
        place = f"/_memory/api/{path}id={session['id']}"
        answer = server.client.get(place, headers=SHOWN)
        assert 409 == answer.status_code
        assert "--store" in answer.json()["error"]


def test_the_clients_token_does_not_open_the_page(serve: Serve, proxy: Starter) -> None:
    """Each client knows it, and the page shows what all of them say."""
    server = started(serve, proxy, token="clients")
    answer = server.client.get("/_memory/api/state", headers={"authorization": "Bearer clients"})
    assert 401 == answer.status_code
    assert 200 == server.client.get("/_memory/").status_code
    assert "/_memory/" == server.client.get("/_memory").headers["location"]
    assert 401 == server.post("/v1/chat/completions", history(1)).status_code


def test_without_ui_there_is_no_page(serve: Serve, proxy: Starter) -> None:
    """Its path is the upstream's, like any other."""
    upstream = serve(Answer([b"{}"], kind=JSON))
    server = proxy(upstream.url)
    server.client.get("/_memory/api/state")
    assert "GET /_memory/api/state" in upstream.asked[0].line


def test_a_session_that_others_delete(serve: Serve, proxy: Starter, tmp_path: Path) -> None:
    """It is told as gone."""
    server = started(serve, proxy, store=f"sqlite:{tmp_path / 'a.db'}")
    talk(server, range(3))
    [session] = look(server, "state")["sessions"]
    look(server, "session", id=session["id"])
    store = server.proxy.store
    assert store is not None
    store.delete(session["id"])
    answer = server.client.get(f"/_memory/api/session?id={session['id']}", headers=SHOWN)
    assert 404 == answer.status_code
    assert "gone" in answer.json()["error"]


def test_a_page_without_a_token_cannot_be() -> None:
    """It shows what everyone says."""
    with pytest.raises(ConfigError, match="page_token"):
        ServeSettings(400, ui=True)


def test_a_page_needs_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    """It hears of what happens in its own alone."""
    assert 2 == main(["serve", "--ui", "--workers", "2"])
    assert "--workers 1" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("command", ["serve", "chat"])
def test_a_process_prints_the_address_and_ends(command: str) -> None:
    """With an open stream of events, too."""
    program = str(Path(sys.executable).with_name("finite-memory"))
    arguments = {
        "serve": ["serve", "--ui", "--port", str(free_port())],
        "chat": ["chat", "--ui", "--system", "Be brief."],
    }[command]
    process = subprocess.Popen(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if "#token=" in line)
        url, token = address.split()[-1].split("#token=")
        headers = {"authorization": f"Bearer {token}"}
        with httpx2.Client(verify=PLAIN, headers=headers, timeout=60) as client:
            for line in process.stdout:
                if "Uvicorn running" in line or "Ctrl-C" in line:
                    break
            told = client.get(f"{url}api/state").json()
            assert command == told["mode"]
            if command == "chat":
                [session] = told["sessions"]
                assert 1 == session["messages"]
                stream = client.stream("GET", f"{url}api/events", params={"id": session["id"]})
                with stream as events:
                    assert 200 == events.status_code
                    process.send_signal(signal.SIGINT)
                    assert "reset" in events.read().decode()
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
    assert status in (0, 130, -signal.SIGINT)


def source_of(store: Store | None = None) -> ServeSource:
    """The conversations of a server that is not started."""
    proxy = Proxy(ServeSettings(400, ui=True, page_token="page"))
    if store is not None:
        proxy._archives = Archives(store, proxy.settings)
    return ServeSource(proxy)


def answered(name: bytes, units: int) -> Answered:
    bounded = Bounded(None, 9, 9, "m", units, units=units, standing=tuple(range(units)))
    return Answered(name.ljust(16), bounded, None)


def test_who_follows_a_session_keeps_it_while_others_are_looked_at() -> None:
    """Or more pages than are held would push out each other for ever."""

    async def run() -> None:
        source = source_of()
        names = [b"%d" % number for number in range(2 * MOST_WATCHED)]
        for spoke in names:
            source.hear(answered(spoke, 3))
        first, *others = [spoken.ljust(16).hex() for spoken in names]
        followed = await source.watched(first)
        stream = followed.feed.follow(followed.feed.last)
        await anext(stream)
        for name in others:
            await source.watched(name)
        assert followed is await source.watched(first)
        assert len(source._watched) <= MOST_WATCHED + 1
        await stream.aclose()  # type: ignore[attr-defined]
        await source.aclose()

    asyncio.run(run())


def test_a_session_that_is_looked_at_is_heard_of_however_many_speak_between() -> None:
    """What was heard of it before is shown with what is heard now."""

    async def run() -> None:
        source = source_of()
        source.hear(answered(b"shown", 3))
        watched = await source.watched(b"shown".ljust(16).hex())
        for number in range(2 * MOST_HEARD):
            source.hear(answered(b"%d" % number, 1))
        source.hear(answered(b"shown", 5))
        told = await watched.snapshot()
        assert [3, 5] == told["turns"]["messages"]
        assert "?????" == told["roles"]
        await source.aclose()

    asyncio.run(run())


def test_what_is_heard_of_all_sessions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their turns too; the one that spoke last stays."""
    monkeypatch.setattr(_serving, "MOST_NOTED", 10)
    source = source_of()
    for number in range(30):
        source.hear(answered(b"%d" % (number // 4), number + 1))
    assert sum(heard.size for heard in source._heard.values()) <= 10
    assert [b"7".ljust(16).hex()] == [*source._heard][-1:]


def test_a_page_with_the_clients_token_cannot_be() -> None:
    """It would show each client what all the others say."""
    with pytest.raises(ConfigError, match="page_token"):
        ServeSettings(400, ui=True, token="same", page_token="same")


def test_what_another_process_let_go_is_not_shown_as_standing() -> None:
    """Two servers with one store: the newer cursor of the two tells what stands."""
    store = InMemoryStore()
    name = b"one".ljust(16).hex()
    store.create(name, "{}")
    source = source_of(store)
    source.hear(answered(b"one", 3))
    standing = source._standing(store, name)
    first = standing()
    assert first is not None
    assert "WWW" == first.letters("uau")
    cursor = b64encode(Cursor(5, 9, bytes(16), (4,)).pack()).decode()
    event = Event("cursor", 0, json.dumps({"cursor": cursor, "model": "m", "factor": 1.0}))
    store.append(name, Version(0, 0), (), (event,))
    then = standing()
    assert then is not None
    assert "AAAAW" == then.letters("uauau")


def test_an_export_right_after_a_start_is_whole(
    serve: Serve, proxy: Starter, tmp_path: Path
) -> None:
    """Of a page that was open before: it asks for nothing else first."""
    server = started(serve, proxy, store=f"sqlite:{tmp_path / 'a.db'}")
    talk(server, range(3))
    name = answer_id(server)
    written = look(server, "export", id=name)["messages"]
    assert 5 == len(written)
    server.close()
    again = started(serve, proxy, store=f"sqlite:{tmp_path / 'a.db'}")
    assert written == look(again, "export", id=name)["messages"]
    assert written[0]["content"] == look(again, "message", id=name, index=0)["text"]


def answer_id(server: Running) -> str:
    [session] = look(server, "state")["sessions"]
    name: str = session["id"]
    return name
