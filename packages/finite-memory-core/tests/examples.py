"""How many random examples the tests try: all, or a share where another session tries them all."""

from __future__ import annotations

import math
import os

from hypothesis import settings

SHARE = float(os.environ.get("FINITE_MEMORY_EXAMPLES", "1"))


def some(full: int) -> int:
    """Return `full`, or the share of it that the session asks for; at least one."""
    return math.ceil(full * SHARE)


def use_share() -> None:
    """Let tests that say no number try a share too."""
    settings.register_profile("share", max_examples=some(settings().max_examples))
    settings.load_profile("share")
