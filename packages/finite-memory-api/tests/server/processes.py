"""``finite-memory serve`` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from ..serving import PLAIN


@dataclass
class Process:
    """A running server, and a client that waits for it to be there."""

    url: str
    client: httpx2.Client
    status: int | None = None

    def post(self, path: str, body: Any, **more: Any) -> httpx2.Response:
        """Post `body` as JSON."""
        return self.client.post(path, json=body, **more)


@contextmanager
def serving(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Start a server, and stop it by a signal; its exit status is known afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("finite-memory")), "serve", *options]
    process = subprocess.Popen(
        [*command, "--port", str(port)], env={**os.environ, **(environment or {})}
    )
    url = f"http://127.0.0.1:{port}"
    transport = httpx2.HTTPTransport(retries=10, verify=PLAIN)  # each waits twice as long
    try:
        with httpx2.Client(transport=transport, timeout=120, base_url=url) as client:
            made = Process(url, client)
            yield made
    finally:
        process.send_signal(signal.SIGTERM)
        made.status = process.wait(60)
