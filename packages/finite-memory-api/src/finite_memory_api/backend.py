"""A backend over HTTP: a profile, a codec and a transport, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from finite_memory_core import Backend, ConfigError, Context, Delta, Prices

from .caching import session_key
from .clients import Clients
from .codecs.base import Codec, Reader, Settings
from .endpoint import Endpoint, checked_count, checked_options, limits_of, row_of
from .exchange import WORTH_A_LOOK, Call, Steps, converse
from .keys import KeySource
from .profiles import Profile

_CODECS = {
    "openai-chat": ("openai_chat", "OpenAIChat"),
    "openai-responses": ("openai_responses", "OpenAIResponses"),
    "anthropic-messages": ("anthropic_messages", "AnthropicMessages"),
    "gemini": ("gemini", "Gemini"),
}
_TTLS = (None, "5m", "30m", "1h", "12h")


class HTTPBackend(Endpoint, Backend):
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
        row = row_of(self.profile if profile is None else profile)
        codec = api or row.codec
        if codec not in _CODECS:
            raise ConfigError(f"there is no wire format {codec!r:.80}; use one of {list(_CODECS)}")
        super().__init__(
            model,
            row,
            codec,
            api_key=api_key,
            base_url=base_url,
            headers=headers,
            query=query,
            limits=limits_of(timeout, idle_timeout, connect_timeout, retries),
            clients=Clients(client, async_client, codec),
            prices=prices,
            ttl=cache_ttl,
            name=name,
        )
        _check_ttls(cache_ttl, instructions_ttl, _ttls(row, codec, model))
        self._truncates = row.truncates if truncates is None else bool(truncates)
        self._codec = _codec(
            codec,
            Settings(
                backend=self.name,
                model=model,
                max_tokens=checked_count(max_tokens, "max_tokens"),
                streaming=bool(streaming),
                options=checked_options(options),
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
        return converse(
            self._asking(context, self._codec.path(), self._codec.body(context), self._codec.reader)
        )

    def _asking(
        self, context: Context, path: str, body: bytes, reader: Callable[[], Reader]
    ) -> Call:
        affinity = (
            {} if self._affinity is None else {self._affinity: session_key(context.session_id)}
        )
        return self._call(
            partial(self._request, path, body, affinity),
            reader,
            counted=context.counted_tokens,
            truncates=self._truncates,
            holds=self._truncates and context.counted_tokens >= WORTH_A_LOOK,
        )

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


def _codec(name: str, settings: Settings) -> Codec:
    from importlib import import_module

    module, kind = _CODECS[name]
    made: Codec = getattr(import_module(f".codecs.{module}", __package__), kind)(settings)
    return made
