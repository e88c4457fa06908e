"""Where requests go and what goes with them: what every backend and embedder over HTTP shares."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Self
from urllib.parse import urlencode

from finite_memory_core import ConfigError, MessageError, Prices
from finite_memory_core.messages import freeze, thaw

from .clients import Clients
from .codecs.base import Reader
from .exchange import Call, Limits, Request, priced
from .keys import Fields, Key, KeySource
from .prices import prices_of
from .profiles import PROFILES, Profile
from .urls import checked_base


class Endpoint:
    """An address with all that is needed to ask there. It is a context manager; so it is closed.

    Args:
        model: the provider's name of the model.
        row: the provider.
        codec: the wire format.
        limits: how long and how often.
        clients: what sends.
        prices: what the model costs; ``"table"`` looks it up.
        ttl: the lifetime of a cache that the prices are for.
        name: what it is called in errors; None for profile and model.

    Attributes:
        model, name, prices: as given.
    """

    def __init__(
        self,
        model: str,
        row: Profile,
        codec: str,
        *,
        api_key: KeySource,
        base_url: str | None,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        limits: Limits,
        clients: Clients,
        prices: Prices | Literal["table"] | None,
        ttl: str | None = None,
        name: str | None = None,
    ) -> None:
        self.model = _checked_model(model, row)
        self.name = name or f"{row.name}:{model}"
        self.prices = prices_of(row.name, model, ttl) if prices == "table" else prices
        self._row = row
        self._format = codec
        self._base = _base(base_url, row, clients)
        self._headers = Fields("headers=", _checked_headers(headers))
        self._query = Fields("query=", query or {})
        self._limits = limits
        self._clients = clients
        needs = row.needs_key and not clients.has_sdk
        self._key = Key(api_key, row.variable, required=needs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, base_url={self._base!r})"

    # -- asking ---------------------------------------------------------------------------------

    def _call(
        self, request: Callable[[], tuple[Request, str | None]], reader: Callable[[], Reader],
        **more: Any,
    ) -> Call:  # fmt: skip
        return Call(
            backend=self.name,
            request=request,
            reader=reader,
            limits=self._limits,
            clock=time.monotonic,
            chance=random.random,
            priced=partial(priced, self.prices),
            **more,
        )

    def _request(
        self, path: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> tuple[Request, str | None]:
        """Return a request and the key in it; `more` headers give way to those that were passed."""
        key = self._key.read(self.name)
        headers = self._headers.read(self.name)
        if not self._clients.has_sdk:
            headers = {"content-type": "application/json", "accept": "*/*", **headers}
            if self._format == "anthropic-messages":
                headers.setdefault("anthropic-version", "2023-06-01")
            if key is not None:
                bearer = self._row.auth == "authorization"
                headers[self._row.auth] = f"Bearer {key}" if bearer else key
        return Request(self._url(path), path, {**(more or {}), **headers}, body, self._format), key

    def _url(self, path: str) -> str:
        base = self._base
        if path.startswith("/../"):  # beside the API, not below it
            base, path = base.removesuffix("/v1"), path[3:]
        query = urlencode(self._query.read(self.name))
        return f"{base}{path}{'&' if '?' in path else '?'}{query}" if query else f"{base}{path}"

    # -- giving back ----------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections that were made here; the next request makes new ones."""
        self._clients.own.close()

    async def aclose(self) -> None:
        """Close those of the running event loop too."""
        await self._clients.own.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.aclose()


def row_of(profile: str | Profile) -> Profile:
    """Return the row of a provider by its name.

    Raises:
        ConfigError: there is none.
    """
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ConfigError(f"there is no profile {profile!r:.80}; known are {', '.join(PROFILES)}")
    return PROFILES[profile]


def _base(base_url: str | None, row: Profile, clients: Clients) -> str:
    if base_url is None and row.base_url is None:
        if clients.has_sdk:
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


def checked_options(options: Mapping[str, Any] | None) -> Any:
    """Return fields of a request as plain JSON values.

    Raises:
        ConfigError: they are none.
    """
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


def checked_count(value: object, name: str) -> Any:
    """Return a number of things, or None.

    Raises:
        ConfigError: it is neither.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError(f"{name} must be a whole number above 0, or None, got {value!r:.80}")
    return value


def limits_of(timeout: float, idle: float, connect: float, retries: int) -> Limits:
    """Return how long (in seconds) and how often is asked.

    Raises:
        ConfigError: that cannot be.
    """
    named = (("timeout", timeout), ("idle_timeout", idle), ("connect_timeout", connect))
    for name, value in named:
        if not _is_number(value) or not value > 0:
            raise ConfigError(f"{name} must be seconds above 0, got {value!r:.80}")
    if type(retries) is not int or retries < 0:
        raise ConfigError(f"retries must be a whole number, 0 or more, got {retries!r:.80}")
    return Limits(float(timeout), float(idle), float(connect), retries)
