"""What the server itself refuses, told in the shape of the API that the client speaks."""

from __future__ import annotations

import json

from finite_memory_core import FiniteMemoryError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    421: "invalid_request_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(FiniteMemoryError):
    """A request that gets no answer from upstream.

    Attributes:
        status: the HTTP status that it is answered with.
        code: a word for programs; None where the status says it all.
        retry_after: seconds after which asking again makes sense; None where it never does.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


def told(refusal: Refusal, *, anthropic: bool) -> bytes:
    """Return the body that tells of `refusal`."""
    kind, message = TYPES.get(refusal.status, "api_error"), str(refusal)
    if anthropic:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    error = {"message": message, "type": kind, "param": None, "code": refusal.code}
    return json.dumps({"error": error}).encode()
