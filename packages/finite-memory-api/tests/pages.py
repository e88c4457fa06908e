"""The page of a chat, served in a thread, and things to talk about."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
import uvicorn

from finite_memory_api.page._running import chat_app
from finite_memory_api.page.chatting import ChatPage
from finite_memory_api.server._running import EndingServer
from finite_memory_core import Chat, Memory, Message
from finite_memory_core.backends.reader import ReaderBackend

TOKEN = "tok"


@dataclass
class Served:
    """A page that is served until it is closed."""

    chat: Chat
    url: str
    server: uvicorn.Server
    thread: Thread

    @property
    def address(self) -> str:
        """What ``chat --ui`` prints."""
        return f"{self.url}/#token={TOKEN}"

    def close(self) -> None:
        """Stop it as a signal would."""
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


Starter = Callable[..., Served]


def serve_chat(said: list[Message] | None = None, backend: Any = None, **settings: Any) -> Served:
    """Serve the page of a chat in which something was said before."""
    page = ChatPage()
    settings = {"budget": 1_000, "policy": "sliding", **settings}
    memory = Memory(observers=[page], **settings)
    memory.append(*(said or []))
    chat = Chat(backend or ReaderBackend(), memory)
    app = chat_app(page, chat, title="reader", token=TOKEN)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, ws="none", log_level="critical", timeout_graceful_shutdown=2)
    server = EndingServer(config)

    def run() -> None:
        asyncio.run(server.serve(sockets=[listening]))

    thread = Thread(target=run, daemon=True)
    thread.start()
    return Served(chat, f"http://127.0.0.1:{listening.getsockname()[1]}", server, thread)


@pytest.fixture
def chat_page() -> Iterator[Starter]:
    """Serve pages of chats; arguments are those of `serve_chat`."""
    running: list[Served] = []

    def start(*arguments: Any, **settings: Any) -> Served:
        running.append(serve_chat(*arguments, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def harbour(turns: int) -> list[Message]:
    """A conversation about boats."""
    said = [Message.system("You keep the harbour's books.")]
    for turn in range(turns):
        boat, berth = turn * 7 % 100, turn % 9
        said.append(Message.user(f"Boat {boat} came to berth {berth} on day {turn}."))
        said.append(Message.assistant(f"Noted: boat {boat} owes {3 * turn} euros."))
    return said
