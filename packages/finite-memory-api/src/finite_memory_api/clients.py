"""What sends: a client that somebody handed over, of whatever kind, or one of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finite_memory_core import ConfigError


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

    @property
    def address(self) -> str | None:
        """Where an SDK sends to, without credentials; None where no SDK was handed over."""
        if not self.has_sdk:
            return None
        url = (self.given or self.given_async).base_url
        return f"{url.scheme}://{url.netloc.decode()}{url.path}".rstrip("/")

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
