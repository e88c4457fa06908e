"""Base URLs: checked once, so that a key goes where it was meant to go and nowhere else."""

from __future__ import annotations

from urllib.parse import urlsplit

from finite_memory_core import ConfigError


def checked_base(url: object) -> str:
    """Return `url` without a trailing slash.

    Raises:
        ConfigError: not http or https, no host, credentials in it, or a query.
    """
    if not isinstance(url, str):
        raise ConfigError(f"base_url must be text, got {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"base_url is no URL: {error}") from None
    if "@" in parts.netloc:
        raise ConfigError(
            "base_url has credentials in it, and URLs end up in logs; pass api_key instead"
        )
    shown = f"{f'{parts.scheme}://{parts.netloc}{parts.path}':.80}"  # a query may hold a key
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError(f"base_url must be http://host or https://host, got {shown!r}")
    if parts.query or parts.fragment:
        raise ConfigError(
            f"base_url has a query or a fragment (behind {shown!r}); pass query= instead"
        )
    if any(char.isspace() or ord(char) < 32 for char in url):
        raise ConfigError(f"base_url has white space in it: {shown!r}")
    return url.rstrip("/")
