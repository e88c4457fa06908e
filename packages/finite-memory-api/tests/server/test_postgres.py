"""Worker processes on one PostgreSQL database, a real one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ..servers import JSON, Answer, Server
from ..serving import Starter
from .histories import chat, chatter
from .postgres import new_database
from .processes import Process, serving
from .test_store import stored

OK = Answer([b'{"id": "1"}'], kind=JSON)
Serve = Callable[..., Server]
TURNS = 30


def fact(body: dict[str, Any], **more: str) -> dict[str, Any]:
    """Return the request with something worth recalling at its head, and `more` at its end."""
    body["messages"][1]["content"] = "My sister Ada keeps a bakery in Ferrara."
    body["messages"] += [{"role": role, "content": text} for role, text in more.items()]
    return body


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_worker_processes_on_one_session(serve: Serve, postgres: Any) -> None:
    """Two machines, one of them with two workers, in any order: no turn is lost and none doubled.

    Whoever is asked then recalls what any of them archived, and sends the same bytes.
    """
    store, upstream = new_database(postgres), serve(OK)
    options = ("--store", store, "--upstream", upstream.url, "--budget", "500", "--recall", "0.3")

    def ask(worker: Process, turn: int) -> Any:
        return worker.post("/v1/chat/completions", fact(chat(turn)))

    with serving(*options) as one, serving(*options, "--workers", "2") as other:
        workers = (one, other)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, workers[i % 2], i // 2) for i in range(2 * TURNS)]
        answers = [future.result() for future in asked]
        question = fact(chat(TURNS - 1), assistant="So?", user="What does my sister Ada keep?")
        told = [worker.post("/v1/chat/completions", question) for worker in (*workers, *workers)]
    assert all(answer.status_code == 200 for answer in answers)
    assert not any("x-finite-memory-passed" in answer.headers for answer in (*answers, *told))
    assert list(stored(store).values()) == [question["messages"][1:]]
    assert all(int(answer.headers["x-finite-memory-recalled"]) >= 1 for answer in told)
    bodies = {request.body for request in upstream.asked[-4:]}
    assert len(bodies) == 1
    assert b"bakery in Ferrara" in bodies.pop()


def test_a_database_that_is_away_for_a_while(serve: Serve, proxy: Starter, postgres: Any) -> None:
    """Requests pass through meanwhile, and are bounded and archived again once it is back."""
    store = new_database(postgres)
    server = proxy(serve(OK).url, store=store)
    server.post("/v1/chat/completions", chat(20))
    postgres.stop()
    try:
        passed = server.post("/v1/chat/completions", chat(21))
    finally:
        postgres.start()
    again = server.post("/v1/chat/completions", chat(22))
    assert passed.status_code == again.status_code == 200
    assert passed.headers["x-finite-memory-passed"] == server.events[0].what == "Unreachable"
    assert int(again.headers["x-finite-memory-dropped"]) > 0
    assert list(stored(store).values()) == [chatter(22)]
