"""Who may ask, and for what: the token, the host name, the path, and the headers that go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hmac import compare_digest
from urllib.parse import unquote_to_bytes

from .refusals import Refusal
from .settings import ServeSettings

TOKEN_HEADER = "x-finite-memory-token"  # noqa: S105  (its name, not a token)
OURS = "x-finite-memory-"

_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_OWN = frozenset(["host", "content-length", "expect", "cookie", "accept-encoding"])
"""Set anew for the upstream, or none of its business."""
_LOCAL_NAMES = frozenset(["localhost", "127.0.0.1", "[::1]", "::1"])
_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b'\\"<>^`{|}@')

Headers = list[tuple[str, str]]


def check_host(settings: ServeSettings, headers: Mapping[str, str]) -> None:
    """Refuse another machine's name for this one: a web page that resolves it to here.

    Raises:
        Refusal: that is no name of this machine.
    """
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if settings.local and name not in (*_LOCAL_NAMES, settings.host, ""):
        raise Refusal(421, f"this server answers to localhost alone, not to {name!r:.80}")


def check_token(settings: ServeSettings, headers: Mapping[str, str]) -> None:
    """Refuse a client that does not show the token, where one is set.

    Raises:
        Refusal: it shows none, or another.
    """
    if not settings.token:
        return
    shown = [headers.get(TOKEN_HEADER, ""), _bearer(headers.get("proxy-authorization", ""))]
    if settings.keyed:  # then the client's own key is the token
        shown += [_bearer(headers.get("authorization", "")), headers.get("x-api-key", "")]
    wanted = settings.token.encode()
    fits = [compare_digest(one.encode("utf-8", "replace"), wanted) for one in shown]
    if not any(fits):
        where = f"the header {TOKEN_HEADER}" if not settings.keyed else "the API key"
        raise Refusal(401, f"this server wants its token in {where}", code="invalid_api_key")


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def check_path(raw: bytes) -> str:
    """Return the path to ask the upstream for.

    Raises:
        Refusal: it could mean another place than it seems to.
    """
    decoded = raw
    for _ in range(2):  # a path may be decoded again further on
        decoded = unquote_to_bytes(decoded)
        parts = decoded.split(b"/")
        tricks = b"\\" in decoded or b"//" in decoded or b".." in parts or b"." in parts
        if tricks or not decoded.startswith(b"/") or any(byte < 0x20 for byte in decoded):
            raise Refusal(400, f"no such path: {raw.decode('ascii', 'replace')!r:.120}")
    if not _PLAIN.issuperset(raw):
        raise Refusal(400, f"no such path: {raw.decode('ascii', 'replace')!r:.120}")
    return raw.decode("ascii")


def for_upstream(settings: ServeSettings, headers: Headers, *, anthropic: bool) -> Headers:
    """Return the client's headers as they go upstream; its key among them, our token not.

    Raises:
        Refusal: the server asks with keys of its own, and has none for this host.
    """
    dropped = _named_by_connection(headers) | _HOP | _OWN
    kept = [(k, v) for k, v in headers if k not in dropped and not k.startswith(OURS)]
    if settings.keyed:
        kept = [(k, v) for k, v in kept if k not in ("authorization", "x-api-key")]
        key = settings.key(anthropic=anthropic)
        if not key:
            api = "Anthropic's API" if anthropic else "OpenAI's API"
            raise Refusal(403, f"this server has no key of its own for {api}")
        kept.append(("x-api-key", key) if anthropic else ("authorization", f"Bearer {key}"))
    kept.append(("accept-encoding", "identity"))  # compression would hold a stream back
    return kept


def for_client(headers: Headers) -> Headers:
    """Return the upstream's headers as they go to the client."""
    dropped = _named_by_connection(headers) | _HOP
    return [(k, v) for k, v in headers if k not in dropped and not k.startswith(OURS)]


def _named_by_connection(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    return frozenset(
        name.strip().lower() for k, v in headers if k == "connection" for name in v.split(",")
    ) - {"authorization", "x-api-key", "content-type", "content-length"}
