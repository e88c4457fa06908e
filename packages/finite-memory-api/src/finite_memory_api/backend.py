"""A backend over HTTP: a profile, a codec and a transport, put together."""

from __future__ import annotations

import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import urlencode

from finite_memory_core import Backend, ConfigError, Context, Delta, MessageError, Prices
from finite_memory_core.messages import freeze, thaw

from .caching import session_key
from .codecs.base import Codec, Reader, Settings
from .exchange import WORTH_A_LOOK, Call, Limits, Request, Steps, converse, priced
from .keys import Fields, Key, KeySource
from .prices import prices_of
from .profiles import PROFILES, Profile
from .urls import checked_base

_CODECS = {
    "openai-chat": ("openai_chat", "OpenAIChat"),
    "openai-responses": ("openai_responses", "OpenAIResponses"),
    "anthropic-messages": ("anthropic_messages", "AnthropicMessages"),
    "gemini": ("gemini", "Gemini"),
}
_TTLS = (None, "5m", "30m", "1h", "12h")


class HTTPBackend(Backend):
    """Asks a model over HTTP.

    Args:
        model: the provider's name of the model.
        profile: the provider, by name, or a `Profile` of your own.
        api_key: the key, or a function that returns it; None reads the profile's environment
            variable.
        base_url: where, if not at the profile's address.
        api: the wire format: ``"openai-chat"``, ``"openai-responses"``, ``"anthropic-messages"``,
            ``"gemini"``; None for the profile's.
        max_tokens: the most tokens of a reply; None leaves it to the provider.
        options: further fields of the request, as the provider names them.
        headers: further headers.
        query: what is appended to every URL, such as Azure's ``api-version``.
        client: a client of httpx2, httpx, openai or anthropic to send with; an SDK's brings its
            own address and key.
        async_client: the same for `astream`. With `client` alone, `astream` runs in threads.
        timeout: seconds that one reply may take, all attempts together. With a blocking client of
            yours it is looked at whenever bytes arrive, so that a silent server can overrun it by
            `idle_timeout`; our own clients, and all asynchronous ones, keep it to the second.
        idle_timeout: seconds that may pass between two events.
        connect_timeout: seconds that making a connection may take.
        retries: how often a temporary failure is tried again before the first piece.
        streaming: whether the provider is asked for the reply piece by piece.
        cache: False asks for no prompt cache: no breakpoints, no session key.
        cache_ttl: how long breakpoints ask to live: ``"5m"`` or ``"1h"`` at Anthropic, ``"30m"``
            or ``"12h"`` at OpenAI, nothing else elsewhere; None for the provider's default.
        instructions_ttl: the same for tools and instructions; not shorter than `cache_ttl`.
        prices: what the model costs; ``"table"`` looks it up in `finite_memory_api.prices`.
        truncates: whether the server silently cuts off what its window does not hold; None for
            what the profile says. Replies are then held back until the usage shows that the
            prompt was read whole.
        name: what it is called in errors.

    Raises:
        ConfigError: a setting that cannot work.
    """

    profile: str = "compatible"

    def __init__(
        self,
        model: str,
        profile: str | Profile | None = None,
        *,
        api_key: KeySource = None,
        base_url: str | None = None,
        api: str | None = None,
        max_tokens: int | None = None,
        options: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        client: Any = None,
        async_client: Any = None,
        timeout: float = 600.0,
        idle_timeout: float = 120.0,
        connect_timeout: float = 10.0,
        retries: int = 4,
        streaming: bool = True,
        cache: bool = True,
        cache_ttl: str | None = None,
        instructions_ttl: str | None = None,
        prices: Prices | Literal["table"] | None = "table",
        truncates: bool | None = None,
        name: str | None = None,
    ) -> None:
        row = _row(self.profile if profile is None else profile)
        self.model = _checked_model(model, row)
        codec = api or row.codec
        if codec not in _CODECS:
            raise ConfigError(f"there is no wire format {codec!r:.80}; use one of {list(_CODECS)}")
        _check_ttls(cache_ttl, instructions_ttl, _ttls(row, codec, model))
        self.name = name or f"{row.name}:{model}"
        self.prices = prices_of(row.name, model, cache_ttl) if prices == "table" else prices
        self._row = row
        self._base = _base(base_url, row, client or async_client)
        self._headers = Fields("headers=", _checked_headers(headers))
        self._query = Fields("query=", query or {})
        self._limits = _limits(timeout, idle_timeout, connect_timeout, retries)
        self._truncates = row.truncates if truncates is None else bool(truncates)
        self._clients = Clients(client, async_client, codec)
        needs = row.needs_key and not self._clients.has_sdk
        self._key = Key(api_key, row.variable, required=needs)
        self._codec = _codec(
            codec,
            Settings(
                backend=self.name,
                model=model,
                max_tokens=_checked_count(max_tokens, "max_tokens"),
                streaming=bool(streaming),
                options=_checked_options(options),
                marks=self._marks(row, codec, model) if cache else "",
                ttl=cache_ttl,
                head_ttl=instructions_ttl,
                cache_key=row.cache_key if cache else None,
                quirks=row.quirks,
                kept=row.kept,
            ),
        )
        self._affinity = row.affinity if cache else None

    def _marks(self, row: Profile, codec: str, model: str) -> str:
        """Return how breakpoints are written here: only where they are taken and pay."""
        if codec == "anthropic-messages":
            return row.marks and "anthropic"
        if row.name == "openrouter":  # in its Responses API they have no place
            return "anthropic" if _takes_marks(codec, model) else ""
        if row.marks != "openai" or not codec.startswith("openai"):
            return ""
        charges = self.prices is not None and self.prices.written > self.prices.input
        return "openai" if charges else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, base_url={self._base!r})"

    # -- replying -------------------------------------------------------------------------------

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        from .transports.driving import drive

        yield from drive(self._steps(context), self._clients.transport())

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        """See `Backend.astream`."""
        from contextlib import aclosing

        from .transports.driving import adrive

        transport = await self._clients.atransport()
        if transport is None:
            async with aclosing(super().astream(context)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield piece
            return
        async with aclosing(adrive(self._steps(context), transport)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    def _steps(self, context: Context) -> Steps:
        body = self._codec.body(context)
        return converse(self._call(context, self._codec.path(), body, self._codec.reader))

    def _call(self, context: Context, path: str, body: bytes, reader: Callable[[], Reader]) -> Call:
        return Call(
            backend=self.name,
            context=context,
            request=partial(self._request, path, body, context.session_id),
            reader=reader,
            limits=self._limits,
            clock=time.monotonic,
            chance=random.random,
            priced=partial(priced, self.prices),
            truncates=self._truncates,
            holds=self._truncates and context.counted_tokens >= WORTH_A_LOOK,
        )

    def _request(
        self, path: str, body: bytes, session_id: str | None = None
    ) -> tuple[Request, str | None]:
        key = self._key.read(self.name)
        headers = self._headers.read(self.name)
        if not self._clients.has_sdk:
            headers = {"content-type": "application/json", "accept": "*/*", **headers}
            if self._codec.name == "anthropic-messages":
                headers.setdefault("anthropic-version", "2023-06-01")
            if key is not None:
                bearer = self._row.auth == "authorization"
                headers[self._row.auth] = f"Bearer {key}" if bearer else key
        if self._affinity is not None and session_id is not None:
            headers.setdefault(self._affinity, session_key(session_id))
        return Request(self._url(path), path, headers, body, self._codec.name), key

    def _url(self, path: str) -> str:
        base = self._base
        if path.startswith("/../"):  # beside the API, not below it
            base, path = base.removesuffix("/v1"), path[3:]
        query = urlencode(self._query.read(self.name))
        return f"{base}{path}{'&' if '?' in path else '?'}{query}" if query else f"{base}{path}"

    # -- counting -------------------------------------------------------------------------------

    def count_tokens(self, context: Context) -> int:
        """Return the exact tokens of `context`, as the provider counts them: one request.

        Raises:
            BackendError: the provider has no such service, or it failed.
        """
        from .counting import counted

        return counted(self, context)

    async def acount_tokens(self, context: Context) -> int:
        """Do the same without blocking the event loop."""
        from .counting import acounted

        return await acounted(self, context)

    # -- giving back ----------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections that were made here; the next request makes new ones."""
        self._clients.own.close()

    async def aclose(self) -> None:
        """Close those of the running event loop too."""
        await self._clients.own.aclose()

    def __enter__(self) -> HTTPBackend:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    async def __aenter__(self) -> HTTPBackend:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.aclose()


@dataclass(frozen=True)
class Clients:
    """What sends: the clients that were handed over, and our own where there is none."""

    given: Any
    given_async: Any
    codec: str

    def __post_init__(self) -> None:
        from .transports.own import OwnClients

        object.__setattr__(self, "own", OwnClients())
        for client, wants_async in ((self.given, False), (self.given_async, True)):
            if client is not None:
                self._check(client, wants_async)

    def _check(self, client: Any, wants_async: bool) -> None:
        from .transports.http import is_async, library_of
        from .transports.sdk import require_sdk, sdk_of

        if library_of(client) is None and sdk_of(client) is None:
            raise ConfigError(
                f"client must be one of httpx2, httpx, openai or anthropic, got {client!r:.80}"
            )
        if is_async(client) != wants_async:
            name = "async_client" if is_async(client) else "client"
            raise ConfigError(f"{type(client).__name__} goes into {name}=")
        if sdk_of(client) is not None:
            require_sdk(client, self.codec)

    @property
    def has_sdk(self) -> bool:
        """Whether an SDK brings address and key."""
        from .transports.sdk import sdk_of

        return any(
            client is not None and sdk_of(client) is not None
            for client in (self.given, self.given_async)
        )

    def transport(self) -> Any:
        """Return what sends with blocking calls."""
        if self.given is None and self.has_sdk:
            raise ConfigError("only async_client was given: use astream or asend, or give client=")
        return self.own.transport() if self.given is None else _transport(self.given)

    async def atransport(self) -> Any:
        """Return what sends without blocking; None where only a blocking client was given."""
        if self.given_async is not None:
            return _transport(self.given_async)
        return None if self.given is not None else await self.own.atransport()

    def __deepcopy__(self, memo: object) -> Clients:
        return Clients(self.given, self.given_async, self.codec)  # theirs stay theirs, and open

    def __getstate__(self) -> dict[str, Any]:
        if self.given is not None or self.given_async is not None:
            raise ConfigError("a backend with a client of yours cannot be pickled: clients cannot")
        return dict(vars(self))

    own: Any = None


def _transport(client: Any) -> Any:
    from .transports import http, sdk

    is_async = http.is_async(client)
    if sdk.sdk_of(client) is not None:
        return (sdk.AsyncSDKTransport if is_async else sdk.SDKTransport)(client)
    return (http.AsyncHTTPTransport if is_async else http.HTTPTransport)(client)


def _row(profile: str | Profile) -> Profile:
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ConfigError(f"there is no profile {profile!r:.80}; known are {', '.join(PROFILES)}")
    return PROFILES[profile]


def _base(base_url: str | None, row: Profile, client: Any) -> str:
    if base_url is None and row.base_url is None:
        from .transports.sdk import sdk_of

        if client is not None and sdk_of(client) is not None:
            return "https://sdk.invalid"  # the SDK knows the address
        raise ConfigError(f"{row.name} has no common address; pass base_url")
    return checked_base(base_url if base_url is not None else row.base_url)


def _checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    found = {}
    for name, value in (headers or {}).items():
        if not _is_header(name, value):
            raise ConfigError(f"header {name!r:.80} must be text without line ends")
        found[name.lower()] = value
    return found


def _checked_options(options: Mapping[str, Any] | None) -> Any:
    try:
        return thaw(freeze(options or {}, "options"))
    except MessageError as error:
        raise ConfigError(str(error)) from None


def _is_header(name: object, value: object) -> bool:
    texts = isinstance(name, str) and isinstance(value, str)
    return texts and not re.search(r"[\r\n\0]", f"{name}{value}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked_model(model: object, row: Profile) -> str:
    if not isinstance(model, str) or not model.strip():
        raise ConfigError(f"model must name a model of {row.name}, got {model!r:.80}")
    return model


def _checked_count(value: object, name: str) -> Any:
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError(f"{name} must be a whole number above 0, or None, got {value!r:.80}")
    return value


def _takes_marks(codec: str, model: str) -> bool:
    """Return whether OpenRouter hands breakpoints on to the provider of a model."""
    return codec == "openai-chat" and model.startswith("anthropic/")


def _ttls(row: Profile, codec: str, model: str) -> tuple[str, ...]:
    """Return the lifetimes that breakpoints can ask for there."""
    if codec == "anthropic-messages":
        return ("5m", "1h") if row.marks else ()
    if row.name == "openrouter":
        return ("5m", "1h") if _takes_marks(codec, model) else ()
    return ("30m", "12h") if row.marks == "openai" and codec.startswith("openai") else ()


def _check_ttls(ttl: str | None, head: str | None, takes: tuple[str, ...]) -> None:
    for name, value in (("cache_ttl", ttl), ("instructions_ttl", head)):
        if value not in _TTLS:
            raise ConfigError(f"{name} must be one of {_TTLS[1:]}, or None, got {value!r:.80}")
    if head is not None and _TTLS.index(head) < _TTLS.index(ttl or "5m"):
        raise ConfigError(
            f"instructions_ttl ({head}) is shorter than cache_ttl ({ttl}): longer ones must come "
            "first"
        )
    for name, value in (("cache_ttl", ttl), ("instructions_ttl", head)):
        if value is not None and value not in takes:
            told = f"takes {' or '.join(takes)}" if takes else "takes no lifetime of a cache"
            raise ConfigError(f"this provider {told}, got {name}={value!r}")


def _limits(timeout: float, idle: float, connect: float, retries: int) -> Limits:
    named = (("timeout", timeout), ("idle_timeout", idle), ("connect_timeout", connect))
    for name, value in named:
        if not _is_number(value) or not value > 0:
            raise ConfigError(f"{name} must be seconds above 0, got {value!r:.80}")
    if type(retries) is not int or retries < 0:
        raise ConfigError(f"retries must be a whole number, 0 or more, got {retries!r:.80}")
    return Limits(float(timeout), float(idle), float(connect), retries)


def _codec(name: str, settings: Settings) -> Codec:
    from importlib import import_module

    module, kind = _CODECS[name]
    made: Codec = getattr(import_module(f".codecs.{module}", __package__), kind)(settings)
    return made
