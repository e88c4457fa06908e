"""Keys: from the environment, a function or an argument, and never to be seen.

A `Key` shows nothing in a repr, and a pickle of it carries only where to find the key again. The
same holds for what looks like a key among the headers and the query that somebody passes. A copy
is made in memory, where the key is anyway, and keeps it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from finite_memory_core import ConfigError

from .errors import AuthenticationError

KeySource: TypeAlias = "str | Callable[[], str] | None"

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_SECRETS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|r8|csk|fw|key)[-_][A-Za-z0-9_-]{8,}|AIza[\w-]{20,}"
    r"|(?i:bearer)\s+[\w.~+/=-]{8,}"
)
_SECRET_NAMES = re.compile(r"(?i)key|token|secret|auth|pass|sig|cred|cookie|session")


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

    def __deepcopy__(self, memo: object) -> Key:
        return self  # nothing in it changes

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


class Fields:
    """Headers, or the fields of a query, that were passed; some of them may be secrets.

    Args:
        what: what they are called in errors.
        values: the fields.
        lost: the names of those that a pickle did not carry.
    """

    __slots__ = ("_lost", "_values", "_what")

    def __init__(self, what: str, values: Mapping[str, str], lost: tuple[str, ...] = ()) -> None:
        self._what = what
        self._values = dict(values)
        self._lost = lost

    def __repr__(self) -> str:
        return f"Fields({self._what}: {', '.join(self._values)})"

    def __reduce__(self) -> tuple[Any, ...]:
        lost = tuple(k for k, v in self._values.items() if _is_secret(k, v))
        kept = {k: v for k, v in self._values.items() if k not in lost}
        return (Fields, (self._what, kept, (*self._lost, *lost)))

    def __deepcopy__(self, memo: object) -> Fields:
        return self  # nothing in it changes

    def read(self, backend: str) -> dict[str, str]:
        """Return the fields.

        Raises:
            AuthenticationError: some were left behind when the backend was pickled.
        """
        if self._lost:
            raise AuthenticationError(
                f"backend {backend!r}: a pickle does not carry {', '.join(self._lost)} of the "
                f"{self._what} that was passed; make the backend anew where it is used"
            )
        return dict(self._values)


def _is_secret(name: str, value: object) -> bool:
    return bool(_SECRET_NAMES.search(name) or _SECRETS.search(str(value)))


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
