"""From what a provider answered to one of our errors. Pure: no I/O, no clock but the one given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from finite_memory_core import BackendError

from . import errors
from .keys import redact
from .overflow import Overflow, overflow_in, rate_bucket_in

_IDS = ("request-id", "x-request-id", "x-amzn-requestid", "cf-ray", "x-goog-request-id")
_QUOTA = frozenset({"insufficient_quota", "billing_error", "billing_not_active", "credit_balance"})
_FILTERS = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_TOO_MANY_BYTES = "request_too_large"
_STATUS_OF = {
    "invalid_request_error": 400,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "exceed_context_size_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "UNAUTHENTICATED": 401,
    "billing_error": 402,
    "permission_error": 403,
    "PERMISSION_DENIED": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "NOT_FOUND": 404,
    "timeout_error": 408,
    "conflict_error": 409,
    "ABORTED": 409,
    _TOO_MANY_BYTES: 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "insufficient_quota": 429,
    "RESOURCE_EXHAUSTED": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "service_unavailable": 503,
    "DEADLINE_EXCEEDED": 504,
    "overloaded_error": 529,
}
_ADVICE = {
    errors.AuthenticationError: "check the key",
    errors.PermissionDeniedError: "check what the key and the account may do",
    errors.NotFoundError: "check the model's name and base_url",
    errors.BadRequestError: "check the options and the messages",
    errors.RequestTooLargeError: "send fewer or smaller images and files",
    errors.QuotaExceededError: "add credit, or raise the limit, at the provider",
    errors.RateLimitedError: "wait, or send less",
    errors.ServerError: "try again later",
    errors.TemporaryError: "try again",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the body of an error says.

    Attributes:
        message: the provider's text; for what is no JSON the beginning of the body.
        code: its code, or else its type.
        kinds: every code, type and status word in it.
        fields: the whole error object.
    """

    message: str
    code: str | None = None
    kinds: tuple[str, ...] = ()
    fields: Mapping[str, Any] | None = None


def failure(
    backend: str,
    status: int | None,
    headers: Mapping[str, str],
    body: bytes | Mapping[str, Any],
    *,
    key: str | None = None,
    now: datetime | None = None,
) -> BackendError:
    """Return the error that an answer stands for.

    Args:
        backend: its name, for the message.
        status: the HTTP status; None for an error inside a stream that had begun well.
        headers: the answer's, with names in lower case.
        body: the answer's, or an error object that was found in a stream.
        key: the key that was sent, to blot it out wherever the provider echoes it.
        now: for dates in ``Retry-After``; None for the present.
    """
    told = told_by(body)
    message = redact(told.message, key)
    status_like = _status_of(told) if status is None or status < 400 else status
    details: dict[str, Any] = {
        "status": status,
        "code": told.code,
        "request_id": next((headers[name] for name in _IDS if name in headers), None),
        "provider_message": message,
        "retry_after": retry_after(headers, now),
    }
    fields = told.fields or {}
    long = rate_bucket_in(message) or _overflow(told, message, fields)
    if long is not None and status_like not in (401, 403):
        return _too_long(backend, long, details)
    kind = kind_of(status_like, told)
    text = f"backend {backend!r} {_what(kind, status)}: {message or 'no explanation'}"
    if kind is errors.ContentFilterError:
        return errors.ContentFilterError(f"{text}{_id(details)}", **details)
    error: BackendError = kind(f"{text}; {_ADVICE[kind]}{_id(details)}", **details)
    return error


def told_by(body: bytes | Mapping[str, Any]) -> Told:
    """Return what an error body says, in whatever shape it says it."""
    if isinstance(body, bytes):
        text = body.decode("utf-8", "replace").strip()
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return Told(_no_json(text))
    else:
        found = body
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, Mapping):
        return Told(str(found)[:500])
    inner = found.get("error", found)
    if isinstance(inner, str):
        return Told(inner, _text(found.get("code")), _kinds(found), found)
    if not isinstance(inner, Mapping):
        inner = found
    if isinstance(inner.get("error"), Mapping):
        inner = inner["error"]
    message = inner.get("message") or inner.get("detail") or found.get("message") or ""
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)
    kinds = _kinds(inner)
    return Told(message[:2_000], kinds[0] if kinds else None, kinds, inner)


def _kinds(fields: Mapping[str, Any]) -> tuple[str, ...]:
    found = [_text(fields.get(name)) for name in ("code", "type", "status")]
    inner = fields.get("innererror")
    if isinstance(inner, Mapping):
        found.append(_text(inner.get("code")))
    return tuple(kind for kind in found if kind)


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _no_json(text: str) -> str:
    if text[:200].lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
        return "an HTML page instead of JSON"
    return text[:500]


def kind_of(status: int, told: Told) -> type[Any]:
    """Return the class of error for a status and what the body says."""
    kinds = frozenset(told.kinds)
    if kinds & _FILTERS:
        return errors.ContentFilterError
    if status == 402 or kinds & _QUOTA or "credit balance is too low" in told.message:
        return errors.QuotaExceededError
    by_status: dict[int, type[Any]] = {
        401: errors.AuthenticationError,
        403: errors.PermissionDeniedError,
        404: errors.NotFoundError,
        408: errors.TemporaryError,
        409: errors.TemporaryError,
        413: errors.RequestTooLargeError,
        425: errors.TemporaryError,
        429: errors.RateLimitedError,
    }
    if status in by_status:
        return by_status[status]
    if status == 400 and "API key not valid" in told.message:  # Gemini's 401
        return errors.AuthenticationError
    return errors.ServerError if status >= 500 else errors.BadRequestError


def _overflow(told: Told, message: str, fields: Mapping[str, Any]) -> Overflow | None:
    for kind in (*told.kinds, None):
        found = overflow_in(kind, message, fields)
        if found is not None:
            return None if set(told.kinds) & {"string_above_max_length"} else found
    return None


def _too_long(backend: str, long: Overflow, details: dict[str, Any]) -> errors.PromptTooLongError:
    said = details["provider_message"]
    numbers = ""
    if long.actual is not None:
        numbers = f": {long.actual:,} tokens"
        if long.limit is not None:
            numbers += f" of {long.limit:,}"
    return errors.PromptTooLongError(
        f"backend {backend!r} says that the prompt is too long{numbers} ({said}); "
        f"lower the memory's budget{_id(details)}",
        limit=long.limit,
        actual=long.actual,
        **details,
    )


def _what(kind: type[Any], status: int | None) -> str:
    shown = "in the reply's stream" if status is None or status < 400 else f"({status})"
    return {
        errors.AuthenticationError: f"does not accept the key {shown}",
        errors.PermissionDeniedError: f"does not permit this {shown}",
        errors.NotFoundError: f"knows no such model or path {shown}",
        errors.QuotaExceededError: f"has no credit or quota left {shown}",
        errors.RateLimitedError: f"limits the rate {shown}",
        errors.ContentFilterError: f"filtered the content {shown}",
        errors.RequestTooLargeError: f"takes no request of so many bytes {shown}",
        errors.BadRequestError: f"rejects the request {shown}",
    }.get(kind, f"failed {shown}")


def _id(details: Mapping[str, Any]) -> str:
    return f" [request {details['request_id']}]" if details["request_id"] else ""


def _status_of(told: Told) -> int:
    """Return the status that an error inside a stream would have had; 500 where unknown."""
    for kind in told.kinds:
        if kind in _STATUS_OF:
            return _STATUS_OF[kind]
        if kind.isdecimal() and 400 <= int(kind) < 600:
            return int(kind)
    return 500


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that ``retry-after-ms`` or ``retry-after`` (seconds, date) ask for."""
    milliseconds = _float(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1_000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _float(text)
    if seconds is not None:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _float(text: str | None) -> float | None:
    try:
        found = float(text)  # type: ignore[arg-type]  # None is refused below
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < float("inf") else None
