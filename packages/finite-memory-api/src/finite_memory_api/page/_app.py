"""The routes of the page: its files, what it asks for, and what it is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message as Sent, Receive, Scope, Send

from finite_memory_core import BusyError, Chat, ConfigError, FiniteMemoryError
from finite_memory_core.policies import POLICIES

from ..server.refusals import Refusal
from .feed import Feed, framed
from .guarding import HEADERS, check_asker
from .journal import told_hit
from .replays import Replays
from .rows import beginning, text_of
from .threads import apart
from .views import Refused, Vanished, View, exported

_LOG = logging.getLogger("finite_memory_api.page")
FILES = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        ("main.js", "api.js", "list.js", "strip.js", "plots.js", "panel.js"),
        "text/javascript; charset=utf-8",
    ),
}
_OPEN = frozenset(["/", *(f"/{name}" for name in FILES if name != "page.html")])
"""The paths that need no token; whatever else is asked for does."""
MOST_BODY = 4 << 20
MOST_HITS = 50
MOST_BUDGET = 1 << 53
_TALKING = "a turn is under way; wait for its reply, or stop it"


class Watched:
    """A view, its feed, and the task that tells the feed what changed in the view."""

    def __init__(self, view: View, poll: float | None) -> None:
        self.view = view
        self.feed = Feed()
        self.gone = ""
        self._poll = poll
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._telling = asyncio.Lock()
        self._task = asyncio.create_task(self._run())

    def changed(self) -> None:
        """Have what changed told soon; from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._changed.set)

    async def snapshot(self) -> dict[str, Any]:
        """Return all of it, and the event that it is up to."""
        await self._tell()
        if self.gone:
            raise Vanished(self.gone)
        async with self._telling:
            told = await apart(self.view.snapshot)
            return {**told, "event": self.feed.last}

    async def _tell(self) -> None:
        async with self._telling:
            try:
                view = self.view
                change = view.refresh() if view.quick else await apart(view.refresh)
            except FiniteMemoryError as error:
                self._tell_gone(str(error))
                return
            except Exception as error:  # noqa: BLE001  (or the page would stand still, and not say so)
                _LOG.exception("session %s cannot be shown", self.view.id)
                self._tell_gone(f"session {self.view.id!r} cannot be shown: {error!r:.200}")
                return
            self.gone = ""
            if change is None:
                return
            if change[0] == "reset":
                self.feed.reset()
            else:
                self.feed.publish(*change)

    def _tell_gone(self, why: str) -> None:
        if self.gone != why:
            self.gone = why
            self.feed.publish("gone", {"why": why})

    async def known(self) -> Watched:
        """Look at the view if nobody has since it was made, or began anew; return this.

        Raises:
            Vanished: it cannot be looked at.
        """
        if self.view.anew:
            await self._tell()
            if self.gone:
                raise Vanished(self.gone)
        return self

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._poll)
            self._changed.clear()
            if self.feed.followers or self._poll is None:
                await self._tell()

    def close(self) -> None:
        """Stop telling."""
        self._task.cancel()
        self.feed.close()


class Source:
    """What conversations there are. A subclass says; this one has none."""

    mode = "none"
    title = ""
    chat: Chat | None = None

    def listed(self) -> list[dict[str, Any]]:
        """Return the conversations, the newest first; in a thread."""
        return []

    async def watched(self, session_id: str) -> Watched:
        """Return one of them.

        Raises:
            Vanished: there is none of that name.
        """
        raise Vanished(f"there is no session {session_id!r:.120}")

    async def aclose(self) -> None:
        """Stop telling anyone."""


class Page:
    """The page's routes.

    Args:
        source: the conversations.
        token: what has to be shown.
        check_host: raises `Refusal` for a request to another name than ours.
    """

    def __init__(self, source: Source, token: str, check_host: Callable[[Headers], object]) -> None:
        self._source = source
        self._token = token
        self._check_host = check_host
        self._replays, self._histories = Replays(), Replays()
        self._talking = False
        self._reading = asyncio.Lock()  # held while something long reads the memory
        self._previews = 0
        self.app = _Guarded(Starlette(routes=[*self._files(), *self._routes()]), self._check)

    def mounted(self, path: str) -> list[BaseRoute]:
        """Return the page's routes under a path."""

        async def with_slash(_: Request) -> Response:
            return RedirectResponse(f"{path}/")

        return [Route(path, with_slash), Mount(path, app=self.app)]

    async def aclose(self) -> None:
        """End streams and replays."""
        await self._replays.aclose()
        await self._histories.aclose()
        await self._source.aclose()

    def _check(self, headers: Headers, path: str) -> None:
        self._check_host(headers)
        if path not in _OPEN:
            check_asker(headers, self._token)

    def _files(self) -> Iterable[Route]:
        folder = files(__package__) / "static"
        for name, kind in FILES.items():
            content = (folder / name).read_bytes()
            mark = f'"{blake2b(content, digest_size=8).hexdigest()}"'
            path = "/" if name == "page.html" else f"/{name}"
            yield Route(path, _file(content, kind, mark))

    def _routes(self) -> Iterable[Route]:
        gets = {
            "state": self._state,
            "session": self._session,
            "texts": self._texts,
            "message": self._message,
            "events": self._events,
            "export": self._export,
        }
        posts = {
            "search": self._search,
            "preview": self._preview,
            "replay": self._replay,
            "history": self._history,
            "pin": self._pin,
            "forget": self._forget,
            "chat": self._chat,
        }
        for names, method in ((gets, "GET"), (posts, "POST")):
            for name, answer in names.items():
                yield Route(f"/api/{name}", _told(answer), methods=[method])

    # -- what is asked for ----------------------------------------------------------------------

    async def _watched(self, request: Request) -> Watched:
        watched = await self._source.watched(request.query_params.get("id", ""))
        return await watched.known()

    async def _state(self, _: Request) -> Response:
        source = self._source
        sessions = await apart(source.listed)
        return JSONResponse(
            {
                "mode": source.mode,
                "title": source.title,
                "chat": source.chat is not None,
                "policies": list(POLICIES),
                "sessions": sessions,
            }
        )

    async def _session(self, request: Request) -> Response:
        wanted = request.query_params.get("id", "")
        if not wanted:
            known = await apart(self._source.listed)
            wanted = known[0]["id"] if known else ""
        watched = await self._source.watched(wanted)
        return JSONResponse(await watched.snapshot())

    async def _texts(self, request: Request) -> Response:
        watched = await self._watched(request)
        start, stop = _number(request, "start"), _number(request, "stop")
        found = await apart(watched.view.texts, start, stop)
        return JSONResponse({"texts": found})

    async def _message(self, request: Request) -> Response:
        watched = await self._watched(request)
        index = _number(request, "index")
        return JSONResponse(await apart(watched.view.message, index))

    async def _events(self, request: Request) -> Response:
        watched = await self._source.watched(request.query_params.get("id", ""))
        last = request.headers.get("last-event-id", "")
        return _stream(watched.feed.follow(last))

    async def _export(self, request: Request) -> Response:
        watched = await self._watched(request)
        pieces = exported(watched.view)
        first = await apart(next, pieces)  # what cannot be is told before it begins

        async def body() -> AsyncIterator[bytes]:
            yield first
            async for piece in iterate_in_threadpool(pieces):
                yield piece

        return StreamingResponse(body(), media_type="application/json")

    # -- what changes something, or is long to tell ---------------------------------------------

    async def _search(self, request: Request) -> Response:
        asked = await _body(request)
        watched = await self._watched(request)
        query = asked.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ConfigError("type what to look for")
        async with self._reading:
            hits = await apart(watched.view.search, query, MOST_HITS)
        found = [
            {
                "index": hit.index,
                "session": hit.session_id,
                "role": hit.message.role.value,
                "text": beginning(text_of(hit.message)),
                "score": hit.score,
                "parts": dict(hit.parts),
                "why": told_hit(hit.parts),
            }
            for hit in hits
        ]
        return JSONResponse({"hits": found})

    async def _preview(self, request: Request) -> Response:
        asked = await _body(request)
        watched = await self._watched(request)
        if self._talking:
            raise BusyError("a turn is under way; preview again when its reply is there")
        self._previews += 1
        own = self._previews
        async with self._reading:
            if own != self._previews:
                raise BusyError("another preview was asked for meanwhile")
            found = await apart(watched.view.dry_run, *_settings(asked))
        return JSONResponse(found)

    async def _replay(self, request: Request) -> Response:
        asked = await _body(request)
        watched = await self._watched(request)
        budget, policy = _settings(asked)
        wanted = await apart(watched.view.asked, budget, policy)
        return _stream(self._replays.events(watched.view, wanted))

    async def _history(self, request: Request) -> Response:
        watched = await self._watched(request)
        view = watched.view
        wanted = await apart(view.asked, None, None)

        async def take(result: dict[str, Any]) -> dict[str, Any]:
            await apart(view.take_history, result)
            watched.changed()
            return {}

        return _stream(self._histories.events(view, wanted, take))

    async def _pin(self, request: Request) -> Response:
        asked = await _body(request)
        watched = await self._watched(request)
        index, pinned = _index(asked), bool(asked.get("pinned"))
        await apart(watched.view.pin, index, pinned=pinned)
        return JSONResponse({})

    async def _forget(self, request: Request) -> Response:
        asked = await _body(request)
        watched = await self._watched(request)
        count = await apart(watched.view.forget, _index(asked))
        return JSONResponse({"forgotten": count})

    async def _chat(self, request: Request) -> Response:
        asked = await _body(request)
        chat, text = self._source.chat, asked.get("text")
        if chat is None:
            raise Refused("there is no chat here; finite-memory chat --ui has one")
        if not isinstance(text, str) or not text.strip():
            raise ConfigError("type something to say")
        if self._talking:
            raise BusyError(_TALKING)
        return _stream(self._reply(chat, text))

    async def _reply(self, chat: Chat, text: str) -> AsyncIterator[bytes]:
        if self._talking:  # two were asked for at one time
            yield framed("failed", {"error": _TALKING})
            return
        self._talking = True
        try:
            async with self._reading:
                pass  # a turn begins on the event loop: it must not wait for the memory's lock
            async with aclosing(chat.astream(text)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if piece.text:
                        yield framed("piece", {"text": piece.text})
            yield framed("done", {})
        except FiniteMemoryError as error:
            yield framed("failed", {"error": str(error)})
        finally:
            self._talking = False


class _Guarded:
    """An application behind the guard, with the headers that every answer has."""

    def __init__(self, app: ASGIApp, check: Callable[[Headers, str], object]) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Sent) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            await send(message)

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        try:
            self._check(Headers(scope=scope), path)
        except Refusal as refusal:
            response = JSONResponse({"error": str(refusal)}, refusal.status)
            await response(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


Answer = Callable[[Request], Awaitable[Response]]


def _told(answer: Answer) -> Answer:
    """Return `answer`, with our errors told in JSON."""

    async def told(request: Request) -> Response:
        try:
            response = await answer(request)
        except Vanished as error:
            return JSONResponse({"error": str(error)}, 404)
        except (BusyError, Refused) as error:
            return JSONResponse({"error": str(error)}, 409)
        except Refusal as refusal:
            return JSONResponse({"error": str(refusal)}, refusal.status)
        except FiniteMemoryError as error:
            fault = isinstance(error, ValueError)
            return JSONResponse({"error": str(error)}, 400 if fault else 500)
        except ClientDisconnect:
            return Response(status_code=499)
        response.headers["cache-control"] = "no-store"
        return response

    return told


def _file(content: bytes, kind: str, mark: str) -> Answer:
    async def answer(request: Request) -> Response:
        headers = {"etag": mark, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return answer


def _stream(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent.

    Raises:
        Refusal: it is none, or too large.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refusal(415, "send JSON")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BODY:
            raise Refusal(413, f"the request is larger than {MOST_BODY} bytes")
    try:
        value = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise Refusal(400, "that is no JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "send a JSON object")
    return value


def _number(request: Request, name: str) -> int:
    value = request.query_params.get(name, "")
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise Refusal(400, f"{name} must be a whole number, got {value!r:.40}")
    return int(value)


def _index(asked: dict[str, Any]) -> int:
    value = asked.get("index")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refusal(400, f"index must be a message's number, got {value!r:.40}")
    return value


def _settings(asked: dict[str, Any]) -> tuple[int | None, str | None]:
    budget, policy = asked.get("budget"), asked.get("policy")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
        raise Refusal(400, f"budget must be a whole number of tokens, got {budget!r:.40}")
    if budget is not None and budget > MOST_BUDGET:
        raise Refusal(400, f"budget must be {MOST_BUDGET} tokens at most")
    if policy is not None and policy not in POLICIES:
        raise Refusal(400, f"there is no policy {policy!r:.40}")
    return budget, policy
