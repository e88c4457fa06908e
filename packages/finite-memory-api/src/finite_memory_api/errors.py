"""What can go wrong between us and a provider, in one tree below core's `BackendError`.

::

    BackendError
    ├── ContextOverflowError
    │   └── PromptTooLongError      the provider says that the prompt is too long
    ├── Interrupted                 a stream that broke, stalled or ended early
    │   └── RefusedError            the model or its provider would not answer
    │       └── ContentFilterError  a filter stopped the prompt or the reply
    └── ProviderError               the provider answered with an error, or not at all
        ├── AuthenticationError     no key, or one that is not accepted (401)
        ├── PermissionDeniedError   the key may not do this (403)
        ├── NotFoundError           no such model or path (404)
        ├── BadRequestError         the provider rejects something in the request (400, 422)
        ├── RequestTooLargeError    too many bytes (413)
        ├── QuotaExceededError      the account has no money or quota left
        ├── RedirectedError         the address points elsewhere; no key was sent there
        ├── UnreadableReplyError    an answer that is no reply: HTML, no JSON, nothing at all
        └── TemporaryError          may pass by itself; was retried
            ├── RateLimitedError    too many requests or tokens (429)
            ├── ServerError         the provider's own failure (5xx, 529)
            ├── ConnectionLostError no connection, or one that broke before the first piece
            └── DeadlineError       no answer in the time that was given

None of them holds a request, a header or a key, and all of them can be pickled.
"""

from __future__ import annotations

from typing import Any

from finite_memory_core import BackendError, ContextOverflowError, Interrupted


class ProviderDetails:
    """What a provider said about a failure.

    Attributes:
        status: the HTTP status; None where there was none (no connection, an error in a stream).
        code: the provider's word for it, its ``code`` or else its ``type``.
        request_id: what to quote to the provider's support.
        provider_message: the provider's own text, keys blotted out.
        retry_after: seconds after which the provider asks to be tried again.
    """

    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    provider_message: str | None = None
    retry_after: float | None = None


class ProviderError(BackendError, ProviderDetails):
    """The provider answered with an error, or did not answer; see `ProviderDetails`."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        vars(self).update(details)


class AuthenticationError(ProviderError):
    """There is no key, or the provider does not accept it."""


class PermissionDeniedError(ProviderError):
    """The key is known but may not do this."""


class NotFoundError(ProviderError):
    """There is no such model, deployment or path."""


class BadRequestError(ProviderError):
    """The provider rejects something in the request, most often an option."""


class RequestTooLargeError(ProviderError):
    """The request has more bytes than the provider takes; tokens were not counted."""


class QuotaExceededError(ProviderError):
    """The account has no money or quota left; waiting does not help."""


class RedirectedError(ProviderError):
    """The address points elsewhere. Redirects are not followed: they could leak the key."""


class UnreadableReplyError(ProviderError):
    """The answer is no reply: HTML, broken JSON, or nothing at all."""


class TemporaryError(ProviderError):
    """May pass by itself. It was retried as often as allowed, or could not wait that long."""


class RateLimitedError(TemporaryError):
    """Too many requests, or too many tokens, in a span of time."""


class ServerError(TemporaryError):
    """The provider failed, or has too much to do."""


class ConnectionLostError(TemporaryError):
    """No connection, or one that broke before the first piece of the reply."""


class DeadlineError(TemporaryError):
    """No answer in the time that was given."""


class PromptTooLongError(ContextOverflowError, ProviderDetails):
    """The provider says that the prompt is too long, in one of its many shapes."""

    def __init__(
        self,
        message: str,
        *,
        limit: int | None = None,
        actual: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, limit=limit, actual=actual)
        vars(self).update(details)


class RefusedError(Interrupted, ProviderDetails):
    """The model or its provider would not answer; what it said instead is in `provider_message`."""

    def __init__(self, message: str, *, partial: str = "", **details: Any) -> None:
        super().__init__(message, partial=partial)
        vars(self).update(details)


class ContentFilterError(RefusedError):
    """A filter stopped the prompt or the reply."""
