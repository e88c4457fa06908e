"""Who may look, and what a browser may load.

The token travels in a header that only a script of the page itself can set: there is no cookie that
a browser would send along for another site. What another site could make a browser ask for in
spite of that is refused by its origin, and a name that was pointed at this machine by its host.
"""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from urllib.parse import urlsplit

from ..server.refusals import Refusal

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
LOCAL = frozenset(["localhost", "127.0.0.1", "[::1]"])


def check_local(headers: Mapping[str, str]) -> None:
    """Refuse any name but this machine's own: a web page that resolves its name to here.

    Raises:
        Refusal: that is no name of this machine.
    """
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name not in LOCAL:
        raise Refusal(421, f"this page answers to localhost alone, not to {name!r:.80}")


def check_asker(headers: Mapping[str, str], token: str) -> None:
    """Refuse who does not show the token, or is another site's page.

    Raises:
        Refusal: one of the two.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refusal(403, "another site's page may not ask this one")
    origin = headers.get("origin")
    if origin is not None and not _is_of(origin, headers.get("host", "")):
        raise Refusal(403, f"the origin {origin!r:.80} is not this page's")
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    fits = compare_digest(shown.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not fits:
        raise Refusal(401, "this page wants its token", code="invalid_api_key")


def _is_of(origin: str, host: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:  # such as "http://["
        return False
