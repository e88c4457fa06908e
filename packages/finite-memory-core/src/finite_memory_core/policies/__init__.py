"""The five policies, and those that others register under ``finite_memory.policies``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .base import MUST_LEAVE, CannotDecide, Deadline, DeadlineExceeded, Policy, View

if TYPE_CHECKING:
    from ..embedding import Embedder
    from .hybrid import Hybrid
    from .importance import Importance
    from .rolling_summary import RollingSummary
    from .semantic import Semantic
    from .sliding import SlidingWindow

__all__ = [
    "MUST_LEAVE",
    "POLICIES",
    "CannotDecide",
    "Deadline",
    "DeadlineExceeded",
    "Hybrid",
    "Importance",
    "Policy",
    "RollingSummary",
    "Semantic",
    "SlidingWindow",
    "View",
    "build_policy",
]

_HOME = {
    "SlidingWindow": "sliding",
    "Importance": "importance",
    "Semantic": "semantic",
    "RollingSummary": "rolling_summary",
    "Hybrid": "hybrid",
}
POLICIES = tuple(_HOME.values())
"""The names of the five policies that ship with core."""

_GROUP = "finite_memory.policies"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build_policy(
    policy: str | Policy,
    settings: Mapping[str, Any] | None = None,
    embedder: Embedder | None = None,
) -> Policy:
    """Return a policy object.

    Args:
        policy: a policy (returned as it is), or the name of one that ships with core or that an
            installed distribution registers.
        settings: the constructor's arguments for a named one; None for its defaults.
        embedder: passed to a named policy that takes one, unless None.

    Raises:
        ConfigError: no such policy, or arguments that it does not take.
    """
    if not isinstance(policy, str):
        if not isinstance(policy, Policy):
            raise ConfigError(
                f"policy must be a name ({', '.join(POLICIES)}) or an object with `name` and "
                f"`worth`, got {type(policy).__name__}: {policy!r:.80}"
            )
        return policy
    arguments = dict(settings or {})
    if embedder is not None and policy in ("semantic", "hybrid"):
        arguments["embedder"] = embedder
    try:
        built: Policy = _policy_class(policy)(**arguments)
    except TypeError as error:
        raise ConfigError(f"policy {policy!r} does not take {arguments}: {error}") from error
    return built


def _policy_class(name: str) -> Any:
    for class_name, home in _HOME.items():
        if home == name:
            return __getattr__(class_name)
    from importlib.metadata import entry_points  # slow to import, so only for names of others

    found = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in found:
        known = sorted({*POLICIES, *found})
        raise ConfigError(
            f"there is no policy {name!r}; known are {', '.join(known)}. Another distribution's "
            f"policy must be installed and registered under the entry point group {_GROUP!r}"
        )
    return found[name].load()
