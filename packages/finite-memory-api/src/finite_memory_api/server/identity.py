"""Which session a request belongs to, by what real clients send.

A wrong guess mixes nothing up: a cursor counts only where the history's digest agrees, and an
archive is searched only where its messages are those of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

HEADERS = (
    "x-session-id",
    "x-session-affinity",
    "x-opencode-session",
    "x-openwebui-chat-id",
    "x-litellm-session-id",
    "session-id",
    "x-claude-code-session-id",
    "x-conversation-id",
    "x-grok-conv-id",
)
FIELDS = ("prompt_cache_key", "user", "safety_identifier")
METADATA = ("session_id", "user_id")
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


def named(headers: Mapping[str, str], fields: Mapping[str, Any]) -> str:
    """Return the name that the client gives the session; "" where it gives none."""
    for header in HEADERS:
        if value := headers.get(header):
            return f"{header}={value}"
    metadata = fields.get("metadata")
    inner = metadata if isinstance(metadata, Mapping) else {}
    said = [(name, fields.get(name)) for name in FIELDS]
    said += [(f"metadata.{name}", inner.get(name)) for name in METADATA]
    for name, value in said:
        if isinstance(value, str) and value:
            return f"{name}={value}"
    return ""


def session_key(headers: Mapping[str, str], fields: Mapping[str, Any], first: bytes) -> bytes:
    """Return the session's key, 16 bytes.

    Args:
        headers: the request's, by lower-case name.
        fields: the body's.
        first: a digest of the first unit; side calls of one client (titles, tags) differ in it.
    """
    running = blake2b(digest_size=16)
    credential = "".join(headers.get(name, "") for name in CREDENTIALS)
    for piece in (credential, named(headers, fields)):
        data = piece.encode("utf-8", "surrogatepass")
        running.update(b"%d:" % len(data))
        running.update(data)
    running.update(first)
    return running.digest()
