"""A prompt that the upstream found too long: how much shorter it has to be.

As in core's fold, what the provider says of its own limit is believed where it explains the
refusal, and otherwise the context is cut to a fixed share of the one that was refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finite_memory_core.limits import KEPT_MOST, KEPT_UNKNOWN

from ..errors import PromptTooLongError
from ..failures import failure

TRIES = 2
"""How often a request is made shorter and sent again."""
MOST_BYTES = 64 << 10
"""An error with more to say than this is no refusal of a prompt."""
_OTHERS = frozenset([401, 403, 404])
_REPLY = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def may_be_too_long(status: int) -> bool:
    """Return whether an answer with this status can be a refusal of the prompt's length."""
    return status >= 400 and status not in _OTHERS


def too_long(status: int, body: bytes) -> PromptTooLongError | None:
    """Return what an error says of the prompt's length; None where it is another error."""
    error = failure("the upstream", status, {}, body)
    return error if isinstance(error, PromptTooLongError) else None


def most_after(
    error: PromptTooLongError, counted: int, factor: float, fields: Mapping[str, Any], reserve: int
) -> int:
    """Return the most tokens, as counted, of the context to send instead.

    Args:
        error: what the upstream said.
        counted: what the refused context cost, by our own count and uncorrected.
        factor: by what that is multiplied.
        fields: the request's; what it asks for as a reply has to fit too.
        reserve: what is kept free for the reply in any case.
    """
    unknown = int(counted * KEPT_UNKNOWN)
    if error.limit is None:
        return unknown
    asked = [fields[name] for name in _REPLY if isinstance(fields.get(name), int)]
    scale = error.actual / counted if error.actual and counted else factor
    fits = int((KEPT_MOST * error.limit - max([reserve, *asked[:1]])) / scale)
    # Where it should have fitted by their own numbers, these are of no use.
    return min(int(counted * KEPT_MOST), fits) if 0 < fits < counted else unknown
