"""A memory's settings: checked, and as JSON, so that a stored session can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .counting import EstimatingCounter, TokenCounter
from .errors import ConfigError, CorruptError
from .limits import Limits
from .low_water import DEFAULT
from .policies import Policy
from .recall import Recall
from .summary import Summarizer

DEFAULT_SUMMARY_SHARE = 0.15
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session was made with, in JSON values.

    Attributes:
        budget, low_water, reserve, oversize, max_policy_ms: as given to `Memory`.
        policy: the policy's name.
        policy_settings: what it was built with.
        recall: `Recall`'s values, of its embedder the name; None for no recall.
        summarizer: the name of its class; None for none.
        counter: the name of the counter; None for the default one.
    """

    budget: int
    low_water: float | str
    reserve: int
    oversize: str
    max_policy_ms: float | None
    policy: str
    policy_settings: Mapping[str, Any]
    recall: Mapping[str, Any] | None
    summarizer: str | None
    counter: str | None

    def dumps(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def loads(cls, text: str) -> Settings:
        """Read what `dumps` wrote.

        Raises:
            CorruptError: it is no such text.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise CorruptError(f"the session's settings cannot be read: {error}") from error


def check_limits(
    budget: int,
    low_water: float | str,
    reserve: int,
    oversize: str,
    max_policy_ms: float | None,
    policy: Policy,
    recall: Recall | None,
) -> Limits:
    """Return the limits of a memory.

    Raises:
        ConfigError: a number that cannot work, with what would.
    """
    if recall is not None and not isinstance(recall, Recall):
        raise ConfigError(f"recall must be a Recall, such as Recall(), or None, got {recall!r:.80}")
    _check_count("budget", budget)
    _check_count("reserve", reserve)
    if budget == 0 or reserve >= budget:
        raise ConfigError(
            f"budget must be a positive number of tokens above the reserve for the reply, got "
            f"budget={budget}, reserve={reserve}"
        )
    if low_water == AUTO:
        share = DEFAULT
    elif isinstance(low_water, str) or not _is_number(low_water) or not 0 < low_water <= 1:
        raise ConfigError(
            f"low_water must lie above 0 and at most at 1 (a share of the budget), or be 'auto' to "
            f"be chosen from a backend's prices; got {low_water!r}"
        )
    else:
        share = low_water
    if oversize not in ("raise", "clip"):
        raise ConfigError(f"oversize must be 'raise' or 'clip', got {oversize!r}")
    if max_policy_ms is not None and not (_is_number(max_policy_ms) and max_policy_ms > 0):
        raise ConfigError(
            f"max_policy_ms must be a positive number of milliseconds or None, got "
            f"{max_policy_ms!r}"
        )
    summary = getattr(policy, "summary_share", DEFAULT_SUMMARY_SHARE)
    recalled = 0.0 if recall is None else recall.share
    return Limits(budget, share, reserve, oversize == "clip", max_policy_ms, summary, recalled)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{name} must be a whole number of tokens, 0 or more, got {value!r}")


def name_of(thing: TokenCounter | Summarizer | None) -> str | None:
    """Return what to call a counter or summarizer in stored settings; None for a default one."""
    if thing is None or type(thing) is EstimatingCounter:
        return None
    return getattr(thing, "__qualname__", type(thing).__qualname__)
