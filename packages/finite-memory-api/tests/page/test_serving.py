"""``serve --ui``: what the server bounds, in the page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from finite_memory_api.server import ServeSettings
from finite_memory_core import ConfigError
from finite_memory_core.cli import main

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
