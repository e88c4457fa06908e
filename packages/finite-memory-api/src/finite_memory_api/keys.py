"""Keys: from the environment, a function or an argument, and never to be seen.

A `Key` shows nothing in a repr, and a pickle of it carries only where to find the key again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from finite_memory_core import ConfigError

from .errors import AuthenticationError

KeySource: TypeAlias = "str | Callable[[], str] | None"

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_SECRETS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|r8|csk|fw|key)[-_][A-Za-z0-9_-]{8,}|AIza[\w-]{20,}"
    r"|(?i:bearer)\s+[\w.~+/=-]{8,}"
)


class Key:
    """Where a key comes from.

    Args:
        given: the key, a function that returns it (asked before every request, so it may change),
            or None to read the environment.
        variable: the environment variable; None where the provider has none.
        required: whether a request without a key makes sense at all.
    """

    __slots__ = ("_given", "_lost", "_required", "_variable")

    def __init__(self, given: KeySource, variable: str | None, *, required: bool = True) -> None:
        if given is not None and not callable(given) and not isinstance(given, str):
            raise ConfigError(
                f"api_key must be text or a function that returns it, got {type(given).__name__}"
            )
        if isinstance(given, str):
            _checked(given, "api_key")
        self._given = given
        self._variable = variable
        self._required = required
        self._lost = False

    def __repr__(self) -> str:
        return f"Key({'given' if self._given is not None else self._variable})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickled, (self._variable, self._required, self._given is not None))

    def read(self, backend: str) -> str | None:
        """Return the key; None where there is none and none is needed.

        Raises:
            AuthenticationError: there is none, or it cannot be a key.
        """
        given, variable = self._given, self._variable
        found = given() if callable(given) else given
        if found is None and not self._lost and variable is not None:
            found = os.environ.get(variable) or None
        if found is None:
            if not self._required:
                return None
            where = f"set {variable}, or pass api_key" if variable else "pass api_key"
            lost = "; a pickle does not carry the key that was passed" if self._lost else ""
            raise AuthenticationError(f"backend {backend!r} has no key: {where}{lost}")
        source = "api_key" if given is not None else str(variable)
        try:
            return _checked(found, source)
        except ConfigError as error:
            raise AuthenticationError(f"backend {backend!r}: {error}") from None


def _unpickled(variable: str | None, required: bool, lost: bool) -> Key:
    key = Key(None, variable, required=required)
    key._lost = lost and required
    return key


def _checked(key: object, source: str) -> str:
    """Return a key that a header can carry; the message never shows it."""
    if not isinstance(key, str):
        raise ConfigError(f"{source} is {type(key).__name__}, not text")
    if not key:
        raise ConfigError(f"{source} is empty; leave it out, or give the key")
    if not _PRINTABLE.fullmatch(key):
        raise ConfigError(
            f"{source} has characters that no key has (a line end or a space, often from reading "
            "a file); strip() it"
        )
    return key


def redact(text: str, key: str | None = None) -> str:
    """Return `text` with all that looks like a key, and `key` itself, blotted out."""
    if key:
        text = text.replace(key, "[key]")
    return _SECRETS.sub("[key]", text)
