"""The page of a chat in uvicorn, on this machine alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from finite_memory_core import Chat, ConfigError

from ..server._running import EndingServer
from ._app import Page, Source, Watched
from .guarding import check_local
from .live import Live
from .views import Vanished

if TYPE_CHECKING:
    from .chatting import ChatPage

HOST = "127.0.0.1"


class ChatSource(Source):
    """The one conversation of a chat."""

    mode = "chat"

    def __init__(self, chat: Chat, title: str, page: ChatPage) -> None:
        self.chat = chat
        self.title = title
        self._watched: Watched | None = None
        self._view = Live(chat.memory, self._changed)
        page.listen(self._view.hear)

    def _changed(self) -> None:
        if self._watched is not None:
            self._watched.changed()

    def listed(self) -> list[dict[str, Any]]:
        """Return the one."""
        memory = self._view.memory
        return [{"id": memory.session_id, "messages": memory.stats.messages}]

    async def watched(self, session_id: str) -> Watched:
        """Return it."""
        if session_id != self._view.id:
            raise Vanished(f"there is no session {session_id!r:.120} here")
        if self._watched is None:
            self._watched = Watched(self._view, None)
        return self._watched

    async def aclose(self) -> None:
        """Stop telling."""
        if self._watched is not None:
            self._watched.close()


def chat_app(page: ChatPage, chat: Chat, *, title: str, token: str) -> Starlette:
    """Return the application of a chat's page."""
    made = Page(ChatSource(chat, title, page), token, check_local)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await made.aclose()

    app = Starlette(routes=[Mount("/", made.app)], lifespan=lifespan)
    app.state.page = made
    return app


def run_chat(
    page: ChatPage, chat: Chat, *, port: int, title: str, told: Callable[[str], object]
) -> None:
    """Serve until Ctrl-C.

    Raises:
        ConfigError: the port cannot be had.
    """
    token = token_urlsafe(24)
    try:
        listening = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on port {port} of {HOST}: {error}") from error
    app = chat_app(page, chat, title=title, token=token)
    config = uvicorn.Config(
        app,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    with listening:
        told(f"http://{HOST}:{listening.getsockname()[1]}/#token={token}")
        asyncio.run(EndingServer(config).serve(sockets=[listening]))
