"""Running the application in uvicorn, with what it leaves open closed."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from ._app import create_app
from .settings import ServeSettings

SETTINGS = "FINITE_MEMORY_SERVE_SETTINGS"
"""The environment variable in which workers find their settings."""
HEADER_BYTES = 64 << 10
HEADER_SECONDS = 15.0


class PatientProtocol(H11Protocol):
    """uvicorn's own, that does not wait for ever for a request's headers."""

    _headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """A client sends."""
        super().data_received(data)
        if self._idle():
            self._await_headers()
        elif self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has gone."""
        if self._headers_due is not None:
            self._headers_due.cancel()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        if self._headers_due is None:
            self._headers_due = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _give_up(self) -> None:
        self._headers_due = None
        if self._idle() and not self.transport.is_closing():
            self.transport.close()


class EndingServer(uvicorn.Server):
    """uvicorn's own, that first ends what would never end by itself: the page's streams."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        page = getattr(getattr(self.config.app, "state", None), "page", None)
        if page is not None:
            await page.aclose()
        await super().shutdown(sockets)


def config_of(settings: ServeSettings, *, workers: int = 1, level: str = "info") -> uvicorn.Config:
    """Return uvicorn's settings for a server."""
    app: Any = create_app(settings) if workers == 1 else f"{__name__}:from_environment"
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level=level,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=int(settings.grace_seconds) or 1,
    )


def from_environment() -> Starlette:
    """Return the application of a worker."""
    return create_app(ServeSettings.loads(os.environ[SETTINGS]))


def serve(settings: ServeSettings, workers: int = 1) -> None:
    """Serve until told to stop; open streams may end first."""
    if workers > 1:
        os.environ[SETTINGS] = settings.dumps()
        config = config_of(settings, workers=workers)
        listening = config.bind_socket()
        Multiprocess(config, sockets=[listening]).run()
        return
    EndingServer(config_of(settings)).run()
