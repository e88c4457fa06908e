"""What pip is told of package indexes, in uv's words: both must find the same packages.

uv makes the environments of the sessions, but reads neither pip's files nor its variables. Where
pip is led to a mirror or to a folder of wheels, uv has to be led there too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

Write = Callable[[str], str]
"""Writes a setting's values, which pip separates by white space, as uv reads them."""


def _by_spaces(value: str) -> str:
    return " ".join(value.split())


def _by_commas(value: str) -> str:
    return ",".join(value.split())


_AS_UV: Mapping[str, tuple[str, Write]] = {
    "index-url": ("UV_DEFAULT_INDEX", _by_spaces),
    "extra-index-url": ("UV_INDEX", _by_spaces),
    "find-links": ("UV_FIND_LINKS", _by_commas),
    "no-index": ("UV_NO_INDEX", str),
    "constraint": ("UV_CONSTRAINT", _by_spaces),
    "trusted-host": ("UV_INSECURE_HOST", _by_spaces),
    "cert": ("SSL_CERT_FILE", str),
    "timeout": ("UV_HTTP_TIMEOUT", str),
    "default-timeout": ("UV_HTTP_TIMEOUT", str),
}
_RANKS = ("global", "install", ":env:")
"""pip's sections that an installation heeds, the last word last."""


def as_uv(listed: str) -> dict[str, str]:
    """Return environment variables that say to uv what ``pip config list`` printed."""
    said: dict[str, dict[str, str]] = {rank: {} for rank in _RANKS}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in said and key in _AS_UV:
            said[section][key] = ast.literal_eval(value)
    told: dict[str, str] = {}
    for rank in _RANKS:
        for key, value in said[rank].items():
            variable, write = _AS_UV[key]
            told[variable] = write(value)
    if "UV_INDEX" in told:
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip's: the newest, from wherever it is
    return told
