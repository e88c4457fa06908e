"""A running server in front of an upstream, both on ports of their own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx2
import pytest
import uvicorn

from finite_memory_api.server import ServeSettings, create_app
from finite_memory_api.server._app import PassedThrough, Proxy
from finite_memory_api.server._running import config_of


@dataclass
class Running:
    """A server that runs in a thread until it is closed; no fault of ours may pass unnoticed."""

    url: str
    proxy: Proxy
    events: list[PassedThrough]
    server: Any
    thread: Thread
    client: httpx2.Client
    injected: bool = False

    def post(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        """Post `body` as JSON, or bytes as they are."""
        kind = "content" if isinstance(body, bytes) else "json"
        return self.client.post(path, **{kind: body}, **more)

    def close(self) -> None:
        """Stop it as a signal would."""
        self.client.close()
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.injected or {event.what for event in self.events} <= KNOWN


PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the certificates of all authorities takes long, and nothing here speaks TLS."""

KNOWN = {"BudgetError", "StoreError", "Unreachable"}
"""What a server passes requests through for; anything else is a fault, unless it was injected."""
Starter = Callable[..., Running]


@pytest.fixture
def proxy() -> Iterator[Starter]:
    """Start servers; the first argument is the upstream's URL, the rest are settings."""
    running: list[Running] = []

    def start(upstream: str, budget: int = 400, **settings: Any) -> Running:
        made = ServeSettings(budget, upstream=upstream, grace_seconds=2, **settings)
        events: list[PassedThrough] = []

        def hear(event: object) -> None:
            if isinstance(event, PassedThrough):
                events.append(event)

        app = create_app(made, [hear])
        config = config_of(made, level="critical")
        config.app = app
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = httpx2.Client(base_url=url, timeout=60, verify=PLAIN)
        running.append(Running(url, app.state.proxy, events, server, thread, client))
        return running[-1]

    yield start
    for one in running:
        one.close()
