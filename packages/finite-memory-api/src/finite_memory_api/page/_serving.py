"""What ``serve --ui`` shows: the conversations that the server bounds."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from finite_memory_core import StoreError
from finite_memory_core.settings import Settings
from finite_memory_core.stores.base import Store

from ..server.cursors import Cursor
from ..server.guarding import check_host
from ._app import Page, Source, Watched
from .counted import Counted
from .journal import Journal, Turn, told_hit
from .rows import beginning
from .stored import Stored
from .threads import apart
from .views import Standing, Vanished, View

if TYPE_CHECKING:
    from ..server._app import Answered, PassedThrough, Proxy

MOST_LISTED, MOST_TITLED = 200, 50
MOST_HEARD = 100
MOST_NOTED = 200_000
"""So many turns and reasons are held of all sessions together; one takes some 300 bytes."""
MOST_WATCHED = 8
POLL_SECONDS = 1.0
"""So often a store is asked whether others wrote to it, while somebody looks."""
CURSOR = "cursor"
"""The kind of the events in which the server keeps a session's cursor."""


class Heard:
    """What was heard of one session."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.units = 0
        self.tokens = 0
        self.standing: Standing | None = None

    @property
    def size(self) -> int:
        """How many turns and reasons it holds."""
        return len(self.journal.turns) + len(self.journal.reasons)

    def take(self, event: Answered) -> None:
        """Take note of a request."""
        bounded, journal = event.bounded, self.journal
        recalled = {hit.index: told_hit(hit.parts) for hit in bounded.hits}
        with journal.lock:
            for eviction in bounded.evictions:
                journal.evicted(eviction)
            journal.recalled = recalled
            reported = event.reported
            journal.add(
                Turn(
                    bounded.units,
                    bounded.tokens,
                    bounded.stable,
                    None if reported is None else reported.prompt,
                    None if reported is None else reported.cached,
                    recalled=bounded.recalled,
                )
            )
        self.units, self.tokens = bounded.units, bounded.tokens
        self.standing = Standing(frozenset(bounded.standing), frozenset(recalled), bounded.units)


class ServeSource(Source):
    """The conversations of a server: those of its store, or those that it heard of."""

    mode = "serve"

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._watched: OrderedDict[str, Watched] = OrderedDict()
        self._poll = POLL_SECONDS if proxy.settings.store else None
        kept = "" if proxy.settings.store else "; texts need --store"
        self.title = f"serve: {proxy.settings.budget:,} tokens, {proxy.settings.policy}{kept}"
        proxy.watch(self.hear)

    def hear(self, event: Answered | PassedThrough) -> None:
        """Take note of a request."""
        bounded = getattr(event, "bounded", None)
        if bounded is None:
            return
        answered: Answered = event  # type: ignore[assignment]
        name = bounded.stored or answered.session.hex()
        heard = self._of(name)
        heard.take(answered)
        self._let_go()
        watched = self._watched.get(name)
        if watched is not None:
            if isinstance(watched.view, Counted):
                watched.view.count, watched.view.held = heard.units, heard.tokens
            watched.changed()

    def _of(self, name: str) -> Heard:
        """Return what was heard of a session."""
        heard = self._heard.get(name)
        if heard is None:
            watched = self._watched.get(name)  # who looks on has what was heard of it so far
            made = Heard(Journal() if watched is None else watched.view.journal)
            heard = self._heard.setdefault(name, made)
        self._heard.move_to_end(name)
        return heard

    def _let_go(self) -> None:
        """Drop what was heard of those that spoke before the others, where it has become much."""
        noted = sum(heard.size for heard in [*self._heard.values()])
        while len(self._heard) > 1 and (len(self._heard) > MOST_HEARD or noted > MOST_NOTED):
            noted -= self._heard.popitem(last=False)[1].size

    def listed(self) -> list[dict[str, Any]]:
        """Return the conversations, those that spoke last first."""
        store = self._proxy.store
        if store is None:
            return [
                {"id": name, "messages": heard.units, "title": f"session {name[:16]}"}
                for name, heard in reversed([*self._heard.items()])
            ]
        order = {name: at for at, name in enumerate([*self._heard])}
        sessions = store.sessions()[-MOST_LISTED:]
        sessions.reverse()
        sessions.sort(key=lambda session: -order.get(session.id, -1))
        return [
            {
                "id": session.id,
                "messages": session.version.messages,
                "title": _title(store, session.id) if at < MOST_TITLED else "",
            }
            for at, session in enumerate(sessions)
        ]

    async def watched(self, session_id: str) -> Watched:
        """Return one of them."""
        known = self._watched.get(session_id)
        if known is not None:
            self._watched.move_to_end(session_id)
            return known
        made = await apart(self._view, session_id)
        if session_id not in self._watched:
            self._make_room()
            self._watched[session_id] = Watched(made, self._poll)
        return self._watched[session_id]

    def _make_room(self) -> None:
        """Let go of those that nobody follows; who follows one would only ask for it again."""
        alone = [name for name, one in self._watched.items() if not one.feed.followers]
        for name in alone[: max(0, len(self._watched) - MOST_WATCHED + 1)]:
            self._watched.pop(name).close()

    def _view(self, session_id: str) -> View:
        store = self._proxy.store
        if store is None:
            heard = self._heard.get(session_id)
            if heard is None:
                raise Vanished(f"nothing was heard of session {session_id!r:.80}")
            return self._counted(session_id, heard)
        if store.session(session_id) is None:
            raise Vanished(f"there is no session {session_id!r:.80} in the store")
        view = Stored(store, session_id, self._standing(store, session_id))
        view.journal = self._of(session_id).journal
        return view

    def _counted(self, session_id: str, heard: Heard) -> Counted:
        settings = self._proxy.settings
        view = Counted(
            session_id,
            Settings(settings.budget, settings.low_water, settings.reserve, "raise", None,
                     settings.policy, {}, None, None, None),
            lambda: heard.standing,
        )  # fmt: skip
        view.journal = heard.journal
        view.count, view.held = heard.units, heard.tokens
        return view

    def _standing(self, store: Store, session_id: str) -> Callable[[], Standing | None]:
        def standing() -> Standing | None:
            heard, found = self._heard.get(session_id), noted(store, session_id)
            if heard is None or heard.standing is None:
                return found
            if found is not None and found.count > heard.standing.count:
                return found  # another process went on with it
            return heard.standing

        return standing

    async def aclose(self) -> None:
        """Stop telling anyone."""
        for watched in self._watched.values():
            watched.close()
        self._watched.clear()


def noted(store: Store, session_id: str) -> Standing | None:
    """Return what stood at the last eviction, and all since; None where no cursor was noted."""
    found = store.last_event(session_id, CURSOR)
    if found is None:
        return None
    try:
        cursor = Cursor.unpack(b64decode(json.loads(found[1].body)["cursor"]))
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise StoreError(f"the cursor of session {session_id!r} cannot be read: {error}") from error
    return Standing(frozenset(cursor.standing), frozenset(), cursor.count)


def _title(store: Store, session_id: str) -> str:
    with suppress(StoreError):
        for counted in store.messages(session_id, 0, 3):
            if counted.message.role == "user":
                return " ".join(beginning(counted.message.text)[:200].split())[:80]
    return ""


def page_of(proxy: Proxy) -> Page:
    """Return the page of a server."""

    def check(headers: Headers) -> None:
        check_host(proxy.settings, headers)

    return Page(ServeSource(proxy), proxy.settings.page_token, check)
