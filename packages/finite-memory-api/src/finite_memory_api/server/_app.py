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

from ._exchange import (
    Answer,
    Cut,
    HungUp,
    Message,
    Receive,
    Send,
    Upstream,
    answer,
    read_body,
    unless_hung_up,
)
from .archive import Archives, open_store
from .bounding import Bounded, Bounder, History, history_of
from .guarding import OURS, Headers, check_host, check_path, check_token, for_upstream
from .identity import session_key
from .metrics import KIND, Metrics
from .refusals import Refusal, told
from .scanning import objects, scan
from .settings import ServeSettings
from .shrinking import MOST_BYTES, TRIES, may_be_too_long, most_after, too_long
from .usage import Reader, Reported
from .wires import Wire, wire_of

_LOG = logging.getLogger("finite_memory_api.server")
_JSON = ("content-type", "application/json")
_LONG = 500
"""Histories with more messages are folded in a thread, so that others need not wait."""


@dataclass(frozen=True, slots=True)
class PassedThrough:
    """Something failed here, and the request went upstream as it came, or its answer to the client.

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
    history: History | None = None
    key: bytes = b""
    bounded: Bounded | None = None
    reported: Reported | None = None

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
        began = False

        async def begin(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        self.metrics.in_flight += 1
        try:
            status = await self._serve(asked, scope, receive, begin)
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
        except Exception as error:
            if began:
                raise
            _LOG.exception("serving a request failed")
            self._count(asked, 500)
            failed = Refusal(500, f"the server failed ({type(error).__name__})")
            await self._refuse(asked, failed, send)
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
            event = Answered(asked.key, asked.bounded, asked.reported)
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
        return await unless_hung_up(receive, self._relay(asked, path, headers, body, send))

    async def _relay(
        self, asked: _Asked, path: str, headers: Headers, body: bytes, send: Send
    ) -> int:
        """Ask the upstream, again with less where that was too much; send on what it answers."""
        assert self._upstream is not None  # noqa: S101
        tries = 0
        while True:
            request = self._upstream.request(
                asked.method, path, asked.query, headers, body, anthropic=asked.anthropic
            )
            came = await self._upstream.ask(request)
            try:
                shorter = await self._shortened(asked, came) if tries < TRIES else None
                if shorter is None:
                    await self._send_on(asked, came, send)
                    return came.status
            finally:
                await came.aclose()
            body, tries = shorter, tries + 1

    async def _send_on(self, asked: _Asked, came: Answer, send: Send) -> None:
        assert self._upstream is not None  # noqa: S101
        reader = Reader()

        def see(chunk: bytes) -> None:
            nonlocal reader
            try:
                reader.see(chunk)
            except Exception as error:  # noqa: BLE001  (the client's answer does not wait for it)
                reader = Reader()
                self._tell_all(asked, error)

        await self._upstream.pump(came, send, asked.ours, see)
        if asked.bounded is None or came.status != 200:
            return
        try:
            asked.reported = reader.reported()
            self._learn(asked.bounded, asked.reported)
        except Exception as error:  # noqa: BLE001  (the client has its answer)
            self._tell_all(asked, error)

    async def _shortened(self, asked: _Asked, came: Answer) -> bytes | None:
        """Return a shorter body to send where the upstream found this one too long.

        None where it did not, or where nothing more can leave.
        """
        bounded, history = asked.bounded, asked.history
        if bounded is None or history is None or not may_be_too_long(came.status):
            return None
        told = await came.look(MOST_BYTES)
        if told is None:
            return None
        try:
            error = too_long(came.status, told)
            if error is None:
                return None
            if error.actual is not None:
                self.bounder.learnt.observe(bounded.model, bounded.counted, error.actual)
            factor = self.bounder.learnt.factor(bounded.model)
            fields, reserve = history.scanned.fields, self.settings.reserve
            most = most_after(error, bounded.counted, factor, fields, reserve)
            made = await self._folded(history, asked.key, most)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets its answer)
            if not isinstance(error, BudgetError):
                self._tell_all(asked, error)
            return None
        if made.body is None or made.counted >= bounded.counted:
            return None
        self.metrics.add("resent_total")
        self.metrics.add("evictions_total", len(made.evictions))
        self.metrics.add("dropped_total", made.dropped - bounded.dropped)
        self.metrics.add("recalled_total", max(0, made.recalled - bounded.recalled))
        self.metrics.add("tokens_total", made.tokens)
        asked.bounded = made
        asked.ours = [(k, v) for k, v in asked.ours if k == f"{OURS}session"]
        asked.ours += self._told(made)
        return made.body

    def _learn(self, bounded: Bounded, reported: Reported | None) -> None:
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
            if made is None:
                return body
            self._add(made)
            asked.ours += self._told(made)
            asked.bounded = made
        except Refusal:
            raise
        except RecursionError:
            raise Refusal(400, "the body is nested too deeply") from None
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets its answer)
            self._failed(asked, error)
            return body
        finally:
            self.metrics.took(perf_counter() - start)
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
        asked.history = history
        asked.key = session_key(asked.headers, scanned.fields, history.chain[0])
        asked.ours.append((f"{OURS}session", asked.key.hex()[:16]))
        return await self._folded(history, asked.key)

    async def _folded(self, history: History, key: bytes, most: int | None = None) -> Bounded:
        if self._archives is not None or len(history.scanned.items or ()) > _LONG:
            return await asyncio.to_thread(self.bounder.bound, history, key, most)
        return self.bounder.bound(history, key, most)

    def _failed(self, asked: _Asked, error: Exception) -> None:
        """Tell everyone that a request could not be bounded.

        Raises:
            Refusal: where the server is strict.
        """
        what = type(error).__name__
        if self.settings.strict:
            if isinstance(error, BudgetError):
                raise Refusal(400, str(error), code="context_length_exceeded") from error
            _LOG.error("bounding a request failed", exc_info=error)
            raise Refusal(500, f"the request could not be bounded ({what})") from error
        self.metrics.add("passed_total", error=what)
        asked.ours = [(k, v) for k, v in asked.ours if k == f"{OURS}session"]
        asked.ours.append((f"{OURS}passed", what))
        self._tell_all(asked, error)

    def _tell_all(self, asked: _Asked, error: Exception) -> None:
        """Log a failure that a request outlives, and tell the observers, who may fail too."""
        if not isinstance(error, FiniteMemoryError):
            _LOG.error("a failure that a request outlives", exc_info=error)
        session = dict(asked.ours).get(f"{OURS}session", "")
        event = PassedThrough(session, type(error).__name__, str(error))
        _LOG.warning("of session %s something passed through as it came: %s", session, event.what)
        for observer in self._observers:
            try:
                observer(event)
            except Exception as failed:  # noqa: BLE001  (an observer's own fault is not the client's)
                _LOG.error("an observer failed", exc_info=failed)

    def _add(self, made: Bounded) -> None:
        self.metrics.add("messages_total", made.messages)
        self.metrics.add("dropped_total", made.dropped)
        self.metrics.add("recalled_total", made.recalled)
        self.metrics.add("evictions_total", len(made.evictions))
        self.metrics.add("tokens_total", made.tokens)

    def _told(self, made: Bounded) -> Headers:
        return [
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
