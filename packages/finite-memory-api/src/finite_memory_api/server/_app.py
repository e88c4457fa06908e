"""The application: health and metrics, and everything else through the proxy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from finite_memory_core import BudgetError, FiniteMemoryError
from finite_memory_core.stores.base import Store

from ._exchange import Cut, HungUp, Receive, Send, Upstream, answer, read_body, unless_hung_up
from .archive import Archives, open_store
from .bounding import Bounded, Bounder, history_of
from .guarding import OURS, Headers, check_host, check_path, check_token, for_upstream
from .identity import session_key
from .metrics import KIND, Metrics
from .refusals import Refusal, told
from .scanning import objects, scan
from .settings import ServeSettings
from .usage import Reader, Reported
from .wires import Wire, wire_of

_LOG = logging.getLogger("finite_memory_api.server")
_JSON = ("content-type", "application/json")
_LONG = 500
"""Histories with more messages are folded in a thread, so that others need not wait."""


@dataclass(frozen=True, slots=True)
class PassedThrough:
    """A request could not be bounded and went upstream as it came.

    Attributes:
        session: the session's key as in the response's header; "" where it was not found out.
        what: the error's name.
        why: what it says.
    """

    session: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A request was bounded, and got its answer.

    Attributes:
        session: the session's key, 16 bytes.
        bounded: what was sent upstream.
        reported: what the upstream said of the prompt; None where it said nothing.
    """

    session: bytes
    bounded: Bounded
    reported: Reported | None


Observer = Callable[[PassedThrough | Answered], object]


@dataclass(slots=True)
class _Asked:
    """A request, and what is told about it in the response's headers."""

    method: str
    path: str
    query: bytes
    lines: Headers
    headers: dict[str, str]
    wire: Wire | None
    anthropic: bool
    ours: Headers
    key: bytes = b""
    bounded: Bounded | None = None
    reader: Reader | None = None

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> _Asked:
        lines = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        headers = dict(lines)
        method, path = scope["method"], scope["path"]
        wire = wire_of(path) if method == "POST" else None
        anthropic = path.startswith("/v1/messages") or "anthropic-version" in headers
        anthropic = anthropic or (wire is not None and wire.anthropic)
        return cls(method, path, scope["query_string"], lines, headers, wire, anthropic, [])


class Proxy:
    """Bounds what can be bounded, and passes everything through."""

    def __init__(self, settings: ServeSettings, observers: Iterable[Observer] = ()) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.ready = False
        self._observers = tuple(observers)
        self._archives: Archives | None = None
        self._upstream: Upstream | None = None
        self.bounder = Bounder(settings)

    async def open(self) -> None:
        """Open the store and the upstream's connections."""
        if self.settings.store:
            store = await asyncio.to_thread(open_store, self.settings.store)
            self._archives = Archives(store, self.settings)
            self.bounder = Bounder(self.settings, self._archives)
        self._upstream = Upstream(self.settings)
        self.ready = True

    async def close(self) -> None:
        """Close them."""
        self.ready = False
        if self._upstream is not None:
            await self._upstream.aclose()
        if self._archives is not None:
            await asyncio.to_thread(self._archives.close)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        asked = _Asked.of(scope)
        self.metrics.in_flight += 1
        try:
            status = await self._serve(asked, scope, receive, send)
            self._count(asked, status)
            self._answered(asked)
        except Refusal as refusal:
            self.metrics.add("refused_total", status=refusal.status)
            self._count(asked, refusal.status)
            await self._refuse(asked, refusal, send)
        except HungUp:
            self.metrics.add("hang_ups_total")
        except Cut as cut:  # the connection is closed unfinished, for unfinished is what it is
            self.metrics.add("cut_total")
            _LOG.warning("the upstream's answer to %s broke off: %s", asked.path, cut)
        finally:
            self.metrics.in_flight -= 1

    def watch(self, observer: Observer) -> None:
        """Have `observer` told of what happens from now on, too."""
        self._observers = (*self._observers, observer)

    @property
    def store(self) -> Store | None:
        """The store, once it is open; None where there is none."""
        return None if self._archives is None else self._archives.store

    def _answered(self, asked: _Asked) -> None:
        if asked.bounded is not None and self._observers:
            reported = None if asked.reader is None else asked.reader.reported()
            event = Answered(asked.key, asked.bounded, reported)
            for observer in self._observers:
                try:
                    observer(event)
                except Exception:  # noqa: BLE001  (the client has its answer)
                    _LOG.exception("an observer failed")

    def _count(self, asked: _Asked, status: int) -> None:
        endpoint = "other" if asked.wire is None else asked.wire.path
        self.metrics.add("requests_total", endpoint=endpoint, status=status)

    async def _refuse(self, asked: _Asked, refusal: Refusal, send: Send) -> None:
        headers = [_JSON, *asked.ours, (f"{OURS}refused", str(refusal.status))]
        if refusal.retry_after is not None:
            headers.append(("retry-after", str(refusal.retry_after)))
        if refusal.status in (408, 413):
            headers.append(("connection", "close"))  # what is left of the request is not read
        await answer(send, refusal.status, headers, told(refusal, anthropic=asked.anthropic))

    async def _serve(
        self, asked: _Asked, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> int:
        settings = self.settings
        assert self._upstream is not None, "the application was not started"  # noqa: S101
        check_host(settings, asked.headers)
        check_token(settings, asked.headers)
        path = check_path(scope.get("raw_path") or asked.path.encode())
        if self.metrics.in_flight > settings.max_requests:
            raise Refusal(503, "too many requests at one time", retry_after=1)
        self._check_announced(asked)
        body = await read_body(receive, settings.max_body, settings.body_seconds)
        if asked.wire is not None:
            if asked.path == asked.wire.path:
                path = asked.wire.path  # without escapes that it may have come with
            body = await self._bounded(asked, asked.wire, body)
        headers = for_upstream(settings, asked.lines, anthropic=asked.anthropic)
        request = self._upstream.request(
            asked.method, path, asked.query, headers, body, anthropic=asked.anthropic
        )
        asked.reader = reader = Reader()
        pumping = self._upstream.pump(request, send, asked.ours, reader)
        status = await unless_hung_up(receive, pumping)
        if asked.bounded is not None and status == 200:
            self._learn(asked.bounded, reader)
        return status

    def _learn(self, bounded: Bounded, reader: Reader) -> None:
        reported = reader.reported()
        if reported is None:
            return
        self.bounder.learnt.observe(bounded.model, bounded.counted, reported.prompt)
        self.metrics.add("prompt_tokens_total", reported.prompt)
        if reported.cached is not None:
            self.metrics.add("cached_tokens_total", reported.cached)

    def _check_announced(self, asked: _Asked) -> None:
        length = asked.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.settings.max_body:
            raise Refusal(413, f"the request is larger than {self.settings.max_body} bytes")
        encoding = asked.headers.get("content-encoding", "identity")
        if asked.wire is not None and encoding.lower() != "identity":
            raise Refusal(415, f"send the body without content-encoding, not as {encoding!r:.40}")

    async def _bounded(self, asked: _Asked, wire: Wire, body: bytes) -> bytes:
        """Return what goes upstream in the place of `body`, which may be `body` itself.

        Raises:
            Refusal: it is no request of this API, or could not be bounded and has to be.
        """
        start = perf_counter()
        try:
            made = await self._bound(asked, wire, body)
        except Refusal:
            raise
        except RecursionError:
            raise Refusal(400, "the body is nested too deeply") from None
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets its answer)
            self._failed(asked, error)
            return body
        finally:
            self.metrics.took(perf_counter() - start)
        if made is None:
            return body
        asked.bounded = made
        self._tell(asked, made)
        return body if made.body is None else made.body

    async def _bound(self, asked: _Asked, wire: Wire, body: bytes) -> Bounded | None:
        scanned = scan(body, wire.listed)
        value = scanned.fields.get(wire.listed)
        if scanned.items is None:
            if wire.runs and (value is None or isinstance(value, str)):
                return None  # nothing but a question
            raise Refusal(400, f"{wire.listed!r} must be a list of messages")
        if len(scanned.items) > self.settings.max_messages:
            most = self.settings.max_messages
            raise Refusal(413, f"{len(scanned.items)} messages are more than the {most} allowed")
        objects(scanned.items, wire.listed)
        if any(scanned.fields.get(name) is not None for name in wire.held):
            return None  # the upstream holds the history
        history = history_of(scanned, wire)
        if not history.units:
            return None
        key = session_key(asked.headers, scanned.fields, history.chain[0])
        asked.key = key
        asked.ours.append((f"{OURS}session", key.hex()[:16]))
        if self._archives is not None or len(scanned.items) > _LONG:
            return await asyncio.to_thread(self.bounder.bound, history, key)
        return self.bounder.bound(history, key)

    def _failed(self, asked: _Asked, error: Exception) -> None:
        """Tell everyone that a request could not be bounded.

        Raises:
            Refusal: where the server is strict.
        """
        what = type(error).__name__
        if not isinstance(error, FiniteMemoryError):
            _LOG.exception("bounding a request failed")
        if self.settings.strict:
            if isinstance(error, BudgetError):
                raise Refusal(400, str(error), code="context_length_exceeded") from error
            raise Refusal(500, f"the request could not be bounded ({what})") from error
        self.metrics.add("passed_total", error=what)
        session = dict(asked.ours).get(f"{OURS}session", "")
        asked.ours.append((f"{OURS}passed", what))
        event = PassedThrough(session, what, str(error))
        _LOG.warning("a request of session %s passed through unbounded: %s", session, event.what)
        for observer in self._observers:
            observer(event)

    def _tell(self, asked: _Asked, made: Bounded) -> None:
        self.metrics.add("messages_total", made.messages)
        self.metrics.add("dropped_total", made.dropped)
        self.metrics.add("recalled_total", made.recalled)
        self.metrics.add("evictions_total", len(made.evictions))
        self.metrics.add("tokens_total", made.tokens)
        asked.ours += [
            (f"{OURS}budget", str(self.settings.budget)),
            (f"{OURS}tokens", str(made.tokens)),
            (f"{OURS}messages", str(made.messages)),
            (f"{OURS}dropped", str(made.dropped)),
            (f"{OURS}recalled", str(made.recalled)),
        ]


def create_app(settings: ServeSettings, observers: Iterable[Observer] = ()) -> Starlette:
    """Return the server as an ASGI application.

    Args:
        settings: what it is to do.
        observers: called with each `PassedThrough` and each `Answered`.
    """
    proxy = Proxy(settings, observers)
    page = None
    if settings.ui:
        from ..page._serving import page_of

        page = page_of(proxy)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await proxy.open()
        try:
            yield
        finally:
            if page is not None:
                await page.aclose()
            await proxy.close()

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        if proxy.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503)

    async def metrics(request: Request) -> Response:
        try:
            check_host(settings, request.headers)
            check_token(settings, request.headers)
        except Refusal as refusal:
            return Response(told(refusal, anthropic=False), refusal.status, dict([_JSON]))
        return PlainTextResponse(proxy.metrics.text(len(proxy.bounder.cursors)), media_type=KIND)

    routes = [
        Route("/healthz", health),
        Route("/readyz", ready),
        Route("/metrics", metrics),
        *([] if page is None else page.mounted("/_memory")),
        Mount("/", app=proxy),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.proxy, app.state.page = proxy, page
    return app
