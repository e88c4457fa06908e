"""Requests over a client of the official `openai` or `anthropic` SDK, which somebody already has.

It brings what it alone can do (the authentication of Azure, Bedrock, Vertex); its own retries are
off, it follows no redirect (that could carry the key elsewhere), its data models are not used, and
its errors are taken apart at the border.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any

from finite_memory_core import ConfigError

from ..exchange import Send, TransportFailed
from .http import plain

_SDKS = ("openai", "anthropic")
_PATHS = {
    ("openai", "openai-chat"): ("chat", "completions"),
    ("openai", "openai-embeddings"): ("embeddings",),
    ("openai", "openai-responses"): ("responses",),
    ("anthropic", "anthropic-messages"): ("messages",),
}
_TYPED = ("model", "messages", "input", "max_tokens", "stream", "max_output_tokens")
"""Fields that `create` has as arguments; all others travel in ``extra_body``."""


def sdk_of(client: object) -> str | None:
    """Return which SDK `client` belongs to; None for neither."""
    for kind in type(client).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in _SDKS and hasattr(client, "with_options"):
            return root
    return None


def require_sdk(client: object, codec: str) -> None:
    """Raise where an SDK's client does not speak the wire format.

    Raises:
        ConfigError: it does not.
    """
    sdk = sdk_of(client)
    if (sdk, codec) not in _PATHS:
        raise ConfigError(
            f"a client of {sdk} does not speak {codec}; hand over an httpx2 client, or leave "
            "client out"
        )


class _SDK:
    """What both kinds of client share."""

    def __init__(self, client: Any) -> None:
        self._client = client.with_options(max_retries=0)
        self._client._prepare_options = _staying(self._client._prepare_options)
        self._name = sdk_of(client) or ""
        self._module: Any = import_module(self._name)

    def _create(self, send: Send) -> Any:
        """Return the context manager that sends the request."""
        target: Any = self._client
        for name in _PATHS[self._name, send.request.codec]:
            target = getattr(target, name)
        body: dict[str, Any] = json.loads(send.request.body)
        typed = {name: body.pop(name) for name in _TYPED if name in body}
        return target.with_streaming_response.create(
            **typed,
            extra_body=body or None,
            extra_headers=dict(send.request.headers) or None,
            timeout=send.idle,
        )

    def _failed(self, error: Exception) -> TransportFailed:
        """Return our form of an error that is no answer; what is not the SDK's is raised again."""
        if isinstance(error, self._module.APITimeoutError):
            return TransportFailed("timeout", type(error).__name__)
        root = type(error).__module__.partition(".")[0]
        if isinstance(error, self._module.APIConnectionError):
            kind = "connect" if _is_connect(error.__cause__) else "broken"
            return TransportFailed(kind, f"{type(error).__name__}: {error.__cause__ or error}")
        if root in ("httpx", "httpx2"):  # the anthropic SDK lets these out while it reads
            kind = "timeout" if "Timeout" in type(error).__name__ else "broken"
            return TransportFailed(kind, f"{type(error).__name__}: {error}")
        raise error


def _staying(prepare: Any) -> Any:
    """Return an SDK's last look at a request's options, so that no redirect is followed.

    Both SDKs follow redirects unless the options say otherwise, and `create` has no argument for
    it. The hook belongs to the copy that `with_options` made; the client as given stays as it is.
    """
    if iscoroutinefunction(prepare):

        async def astay(options: Any) -> Any:
            options = await prepare(options)
            options.follow_redirects = False
            return options

        return astay

    def stay(options: Any) -> Any:
        options = prepare(options)
        options.follow_redirects = False
        return options

    return stay


def _is_connect(cause: BaseException | None) -> bool:
    return "Connect" in type(cause).__name__


class _Answered:
    """An answer that the SDK made an error of: status, headers and body are all that is kept."""

    punctual = True

    def __init__(self, error: Any) -> None:
        self.status = int(error.status_code)
        self.headers: Mapping[str, str] = plain(error.response.headers)
        self._body: bytes | None = _body(error)

    def read(self, within: float = 0.0) -> bytes | None:  # noqa: ARG002  (it is there already)
        """Return the body, once."""
        body, self._body = self._body, None
        return body or None

    def close(self) -> None:
        """Do nothing: all of it was read."""


class _AsyncAnswered(_Answered):
    async def read(self) -> bytes | None:  # type: ignore[override]
        """See `_Answered.read`."""
        return super().read()

    async def close(self) -> None:  # type: ignore[override]
        """See `_Answered.close`."""


def _body(error: Any) -> bytes:
    try:
        return bytes(error.response.content)
    except Exception as unread:
        if type(unread).__name__ != "ResponseNotRead":
            raise
    return json.dumps(error.body).encode() if error.body is not None else b""


class SDKTransport(_SDK):
    """Sends with a blocking SDK client."""

    def open(self, send: Send) -> Any:
        """See `driving.Transport.open`."""
        stack = ExitStack()
        try:
            answer = stack.enter_context(self._create(send))
        except self._module.APIStatusError as error:
            return _Answered(error)
        except Exception as error:  # noqa: BLE001 (sorted there)
            lost = self._failed(error)
        else:
            return _SDKLine(self, stack, answer)
        raise lost  # outside, so that the SDK's error is not its context


class _SDKLine:
    punctual = False

    def __init__(self, sdk: SDKTransport, stack: ExitStack, answer: Any) -> None:
        self._sdk, self._stack = sdk, stack
        self._chunks: Iterator[bytes] = answer.iter_bytes()
        self.status = int(answer.status_code)
        self.headers = plain(answer.headers)

    def read(self, within: float) -> bytes | None:  # noqa: ARG002  (an SDK has no such limit)
        """See `driving.Line.read`."""
        try:
            return next(self._chunks, None)
        except Exception as error:  # noqa: BLE001 (sorted there)
            lost = self._sdk._failed(error)
        raise lost

    def close(self) -> None:
        """See `driving.Line.close`."""
        self._stack.close()


class AsyncSDKTransport(_SDK):
    """Sends with an asynchronous SDK client."""

    async def open(self, send: Send) -> Any:
        """See `driving.AsyncTransport.open`."""
        stack = AsyncExitStack()
        try:
            answer = await stack.enter_async_context(self._create(send))
        except self._module.APIStatusError as error:
            return _AsyncAnswered(error)
        except Exception as error:  # noqa: BLE001 (sorted there)
            lost = self._failed(error)
        else:
            return _AsyncSDKLine(self, stack, answer)
        raise lost


class _AsyncSDKLine:
    def __init__(self, sdk: AsyncSDKTransport, stack: AsyncExitStack, answer: Any) -> None:
        self._sdk, self._stack = sdk, stack
        self._chunks: AsyncIterator[bytes] = answer.iter_bytes()
        self.status = int(answer.status_code)
        self.headers = plain(answer.headers)

    async def read(self) -> bytes | None:
        """See `driving.AsyncLine.read`."""
        try:
            return await anext(self._chunks, None)
        except Exception as error:  # noqa: BLE001 (sorted there)
            lost = self._sdk._failed(error)
        raise lost

    async def close(self) -> None:
        """See `driving.AsyncLine.close`."""
        await self._stack.aclose()
