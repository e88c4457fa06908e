"""Finite Memory, whole: all public names of its distributions, and a chat in one line.

Each name is imported when it is first used, so importing this package loads neither torch nor an
HTTP client. ``finite-memory serve`` starts the drop-in server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finite_memory_api import *  # noqa: F403  (the lists of names have one home each)
    from finite_memory_core import *  # noqa: F403
    from finite_memory_local import *  # noqa: F403

    from .one_line import FiniteMemoryLLM as FiniteMemoryLLM

_PARTS = ("finite_memory_core", "finite_memory_local", "finite_memory_api")


def _homes() -> dict[str, str]:
    """Return where each name is found; these packages import nothing until they are asked."""
    homes = {name: part for part in _PARTS for name in import_module(part).__all__}
    return {**homes, "FiniteMemoryLLM": f"{__name__}.one_line"}


_HOME = _homes()

__all__ = sorted(_HOME)  # noqa: PLE0605  (it has one home)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value  # found at once from now on
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
