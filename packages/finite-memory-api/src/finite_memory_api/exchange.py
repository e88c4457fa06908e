"""One reply, from the first attempt to the last piece, as effects. No I/O, no clock of its own.

`converse` says what is to be done (`Send`, `Read`, `Wait`, `Close`), is told what came of it, and
yields the pieces of the reply in between. The drivers in `finite_memory_api.transports` perform
the effects, one with blocking calls, one without; all that is decided is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from finite_memory_core import BackendError, Delta, Interrupted, Usage

from . import errors
from .codecs.base import NoReply, Overfull, Reader, Refusal, StreamError
from .failures import failure, told_by
from .keys import redact
from .prices import cost
from .sse import Event, EventDecoder, EventTooLarge

MOST_ERROR_BYTES = 1_000_000
MOST_REPLY_BYTES = 256_000_000
POLITE_SECONDS = 0.2
"""How long the end of a body is waited for behind the last event, to use the connection again."""
WORTH_A_LOOK = 1_000
"""Tokens below which no server's window is, so that nothing was cut off."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; `headers` hold the key, so a repr shows none of them."""

    url: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    codec: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the answer is a `Head`. Times in seconds; `within` is for all of it."""

    request: Request
    connect: float
    idle: float
    within: float


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer; header names in lower case.

    `punctual` says whether what reads it keeps the time that a `Read` names.
    """

    status: int
    headers: Mapping[str, str]
    punctual: bool = True


@dataclass(frozen=True, slots=True)
class Read:
    """Read some bytes, within so many seconds; None is the end."""

    within: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Close:
    """Close the answer."""


Effect: TypeAlias = "Send | Read | Wait | Close"
Steps: TypeAlias = Generator["Effect | Delta", Any, None]


class TransportFailed(Exception):
    """What a driver throws in where an effect failed; `kind` is connect, timeout, late or broken.

    A timeout is one between two bytes; late is what has not come within the time for all of it.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often.

    Attributes:
        timeout: seconds that all attempts together may take.
        idle: seconds that may pass between two events.
        connect: seconds that making a connection may take.
        retries: how often a temporary failure is tried again.
        first_wait: seconds before the first retry; each further one waits twice as long.
        longest_wait: the most of that, where the provider does not ask for more.
    """

    timeout: float = 600.0
    idle: float = 120.0
    connect: float = 10.0
    retries: int = 4
    first_wait: float = 0.5
    longest_wait: float = 8.0


@dataclass(frozen=True, slots=True)
class Call:
    """All that one reply needs.

    Attributes:
        backend: its name, for errors.
        request: makes the request, and the key in it, for each attempt.
        reader: makes what reads a reply.
        limits: see `Limits`.
        clock: seconds that only grow.
        chance: a number from 0 to 1, for jitter.
        priced: makes the usage complete (cost); also told how much was written for an hour.
        counted: tokens of what is sent, by the memory's own count.
        holds: whether pieces are held back until the usage shows that nothing was cut off.
        truncates: whether the provider cuts off silently.
    """

    backend: str
    request: Callable[[], tuple[Request, str | None]]
    reader: Callable[[], Reader]
    limits: Limits
    clock: Callable[[], float]
    chance: Callable[[], float]
    priced: Callable[[Usage, int], Usage]
    counted: int = 0
    truncates: bool = False
    holds: bool = False


def converse(call: Call) -> Steps:
    """Yield effects and pieces until the reply is complete.

    Raises:
        BackendError: whatever went wrong; `Interrupted` once a piece has been yielded.
    """
    deadline = call.clock() + call.limits.timeout
    tries = 0
    while True:
        attempt = _Attempt(call, deadline)
        try:
            yield from attempt.steps()
            return
        except errors.TemporaryError as error:
            wait = None if attempt.said else _wait(call, error, tries, deadline)
            if wait is None:
                raise attempt.told(error) from None
        except BackendError as error:
            raise attempt.told(error) from None
        yield Close()
        yield Wait(wait)
        tries += 1


def _wait(call: Call, error: errors.TemporaryError, tries: int, deadline: float) -> float | None:
    """Return the seconds until the next attempt; None where there is none."""
    limits = call.limits
    if tries >= limits.retries or getattr(error, "final", False):
        return None
    longest = min(limits.longest_wait, limits.first_wait * 2**tries)
    wait = longest * (0.5 + call.chance() / 2)
    if error.retry_after is not None:
        wait = max(error.retry_after, 0.0)
    return wait if call.clock() + wait < deadline else None


class _Attempt:
    """One request and its answer."""

    def __init__(self, call: Call, deadline: float) -> None:
        self._call = call
        self._deadline = deadline
        self._reader = call.reader()
        self._key: str | None = None
        self._began = False
        self._held: list[str] = []
        self.said = False

    def steps(self) -> Steps:
        """Yield the effects and pieces of this attempt."""
        call = self._call
        request, self._key = call.request()
        left = self._left()
        idle = min(call.limits.idle, left)
        try:
            head: Head = yield Send(request, min(call.limits.connect, left), idle, left)
        except TransportFailed as error:
            raise self._lost(error) from None
        if not 200 <= head.status < 300:
            yield from self._refused(head)
            return
        self._began = True
        yield from self._answer(head)
        yield Close()
        yield self._end()

    def _left(self) -> float:
        left = self._deadline - self._call.clock()
        if left <= 0:
            raise self._late()
        return left

    # -- the answer -----------------------------------------------------------------------------

    def _answer(self, head: Head) -> Steps:
        kind = head.headers.get("content-type", "")
        first = yield from self._read()
        looks_whole = (first or b"").lstrip()[:1] in (b"{", b"[", b"<", b"")
        if "event-stream" not in kind and ("json" in kind or "html" in kind or looks_whole):
            yield from self._whole(first, head)
        else:
            yield from self._events(first, head.punctual)

    def _whole(self, first: bytes | None, head: Head) -> Steps:
        body = yield from self._all(first, MOST_REPLY_BYTES)
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, Mapping):
            shown = redact(told_by(body).message, self._key)
            raise errors.UnreadableReplyError(
                f"backend {self._call.backend!r} answered with {shown[:200] or 'nothing'!r} "
                "instead of a reply; check base_url",
                status=head.status,
                provider_message=shown,
            )
        yield from self._said(self._taken(self._reader.whole, data))

    def _events(self, first: bytes | None, punctual: bool) -> Steps:
        decoder, reader = EventDecoder(), self._reader
        alive, chunk = self._call.clock(), first
        while chunk is not None:
            comments = decoder.comments
            events = self._fed(decoder, chunk)
            for event in events:
                yield from self._said(self._taken(reader.event, event))
            if reader.over:
                break
            if events or comments != decoder.comments:
                alive = self._call.clock()
            elif self._call.clock() - alive > self._call.limits.idle and not reader.complete:
                raise self._stalled()
            try:
                chunk = yield from self._read()
            except errors.TemporaryError:
                if not reader.complete:
                    raise
                return  # what follows the end is only politeness
        if reader.over and punctual:
            yield from self._rest()
        elif not reader.complete:
            raise errors.ConnectionLostError(
                f"the stream of backend {self._call.backend!r} ended before the reply did"
            )

    def _fed(self, decoder: EventDecoder, chunk: bytes) -> list[Event]:
        try:
            return decoder.feed(chunk)
        except EventTooLarge as error:
            raise self._unreadable(str(error)) from None

    def _rest(self) -> Generator[Any, Any, None]:
        """Read what stands behind the end, if it is there already."""
        end = min(self._call.clock() + POLITE_SECONDS, self._deadline)
        while (left := end - self._call.clock()) > 0:
            try:
                if (yield Read(left)) is None:
                    return
            except TransportFailed:
                return

    def _read(self) -> Generator[Any, Any, bytes | None]:
        try:
            chunk: bytes | None = yield Read(self._left())
        except TransportFailed as error:
            raise self._lost(error) from None
        self._left()
        return chunk

    def _all(self, chunk: bytes | None, most: int) -> Generator[Any, Any, bytes]:
        pieces, size = [], 0
        while chunk is not None and size <= most:
            pieces.append(chunk)
            size += len(chunk)
            chunk = yield from self._read()
        return b"".join(pieces)[:most]

    def _taken(self, take: Callable[[Any], str], what: Any) -> str:
        try:
            return take(what)
        except StreamError as error:
            raise failure(self._call.backend, None, {}, error.body, key=self._key) from None
        except NoReply as error:
            raise self._unreadable(str(error)) from None

    def _said(self, text: str) -> Steps:
        if not text:
            return
        if self._call.holds:
            self._held.append(text)
            return
        self.said = True
        yield Delta(text)

    # -- the end --------------------------------------------------------------------------------

    def _end(self) -> Delta:
        call = self._call
        try:
            last = self._reader.end()
        except Refusal as refusal:
            raise self._declined(refusal) from None
        except Overfull:
            raise errors.PromptTooLongError(
                f"backend {call.backend!r}: the prompt fills the model's whole context window; "
                "lower the memory's budget",
            ) from None
        except StreamError as error:
            raise failure(call.backend, None, {}, error.body, key=self._key) from None
        except NoReply as error:
            raise self._unreadable(str(error)) from None
        if call.truncates:
            self._require_whole(last.usage)
        hour = self._reader.written_for_an_hour
        usage = None if last.usage is None else call.priced(last.usage, hour)
        return replace(last, text="".join(self._held), usage=usage)

    def _require_whole(self, usage: Usage | None) -> None:
        """Raise where the provider counted far less than it was sent: it cut the rest off."""
        sent = self._call.counted
        if usage is None or sent < WORTH_A_LOOK or usage.input_tokens * 5 >= sent * 3:
            return
        raise errors.PromptTooLongError(
            f"backend {self._call.backend!r} read {usage.input_tokens:,} tokens of about {sent:,} "
            "and silently left out the rest; give the server a larger context window, or lower the "
            "memory's budget",
            limit=usage.input_tokens,
            actual=sent,
        )

    def _declined(self, refusal: Refusal) -> errors.RefusedError:
        kind = errors.ContentFilterError if refusal.filtered else errors.RefusedError
        said = redact(refusal.said, self._key)
        told = f"{said!r:.300}" if said else "no reason was given"
        who = "filtered the reply" if refusal.filtered else "refused to answer"
        return kind(
            f"backend {self._call.backend!r} {who} ({refusal.reason}): {told}; nothing was "
            "recorded; say it differently",
            partial=self._reader.partial,
            code=refusal.reason,
            provider_message=said or None,
        )

    # -- failing --------------------------------------------------------------------------------

    def _refused(self, head: Head) -> Steps:
        call = self._call
        if 300 <= head.status < 400:
            where = urlsplit(head.headers.get("location", "")).netloc or "another address"
            raise errors.RedirectedError(
                f"backend {call.backend!r} answered with a redirect ({head.status}) to {where}; it "
                "is not followed, and no key was sent there; set base_url to the right address",
                status=head.status,
            )
        try:
            body = yield from self._all((yield from self._read()), MOST_ERROR_BYTES)
        except errors.TemporaryError:
            body = b""
        error = failure(call.backend, head.status, head.headers, body, key=self._key)
        if head.headers.get("x-should-retry") == "false":
            vars(error)["final"] = True
        raise error

    def told(self, error: BackendError) -> BackendError:
        """Return what the caller gets: `Interrupted` where the reply had begun."""
        if isinstance(error, Interrupted):
            return error
        lost = isinstance(error, errors.ConnectionLostError | errors.DeadlineError)
        if self.said or (lost and self._began):
            return Interrupted(str(error), partial=self._reader.partial)
        return error

    def _lost(self, error: TransportFailed) -> errors.TemporaryError:
        backend = self._call.backend
        if error.kind == "late" or self._call.clock() >= self._deadline:
            return self._late()
        if error.kind == "timeout":
            return self._stalled()
        what = "cannot be reached" if error.kind == "connect" else "broke the connection"
        return errors.ConnectionLostError(
            f"backend {backend!r} {what}: {redact(str(error), self._key) or 'no reason given'}; "
            "check base_url and the network"
        )

    def _stalled(self) -> errors.DeadlineError:
        return errors.DeadlineError(
            f"backend {self._call.backend!r} sent nothing for {self._call.limits.idle:g} s; raise "
            "idle_timeout if the model thinks that long"
        )

    def _late(self) -> errors.DeadlineError:
        return errors.DeadlineError(
            f"backend {self._call.backend!r} did not finish within "
            f"{self._call.limits.timeout:g} s; raise timeout if it needs that long"
        )

    def _unreadable(self, text: str) -> errors.UnreadableReplyError:
        return errors.UnreadableReplyError(
            f"backend {self._call.backend!r} sent what is no reply: {redact(text, self._key)}"
        )


def priced(prices: Any, usage: Usage, hour: int = 0) -> Usage:
    """Return `usage` with its cost, unless the provider said it or no price is known.

    `hour` of the written tokens were written for an hour, which costs twice the input.
    """
    if prices is None or usage.cost is not None:
        return usage
    known = (usage.cached_tokens or 0, usage.cache_write_tokens or 0)
    paid = cost(prices, usage.input_tokens, *known, usage.output_tokens)
    more = hour * (2 * prices.input - prices.written) / 1_000_000
    return replace(usage, cost=paid + more)
