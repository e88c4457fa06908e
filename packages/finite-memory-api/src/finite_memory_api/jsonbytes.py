"""JSON bytes that never change: compact, keys in the order given, text as it was said.

A provider's cache compares tokens from the first on, so what was sent once must be sent the same
again. `Raw` carries JSON that a model wrote, such as the arguments of a call, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any


class Raw:
    """Text that is JSON already."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def encode(value: Any) -> bytes:
    """Return `value` (JSON values, frozen ones too, and `Raw`) as UTF-8."""
    return _text(value).encode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(k)}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, Raw):
        return value.text
    return json.dumps(value, allow_nan=False)


def object_or_text(text: str, key: str) -> Raw | dict[str, str]:
    """Return JSON text as it is where it is an object, and otherwise an object that holds it.

    Several providers take the arguments of a call as an object, but a model may have written
    something else.
    """
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        found = None
    return Raw(text) if isinstance(found, dict) else {key: text}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
