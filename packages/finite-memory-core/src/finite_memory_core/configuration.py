"""What a memory was made with, checked, and the settings that a store keeps of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .accounting import Accountant
from .checking import check
from .counting import Calibration, EstimatingCounter, TokenCounter
from .embedding import as_embedder
from .fold import Fold
from .limits import Limits
from .low_water import UNCHOSEN, LowWater
from .policies import Policy
from .recall import Recall
from .settings import AUTO, Settings, check_limits, name_of
from .summary import Summarizer

if TYPE_CHECKING:
    from .embedding import Embedder


class Configuration:
    """The arguments of `Memory` that say how it works; see there.

    Attributes:
        policy: what decides who leaves.
        limits: what bounds a context.
        low_water: as it was given.
        recall: what is brought back, with the embedder for it; None for nothing.
        counter: counts the tokens of a text.
        summarizer: folds what leaves into a summary; None for none.

    Raises:
        ConfigError: a setting that cannot work.
    """

    def __init__(
        self,
        *,
        budget: int,
        policy: Policy,
        low_water: float | str,
        reserve: int,
        counter: TokenCounter | None,
        recall: Recall | None,
        summarizer: Summarizer | None,
        embedder: Embedder | None,
        max_policy_ms: float | None,
        oversize: str,
    ) -> None:
        self.policy = policy
        self.limits = check_limits(
            budget, low_water, reserve, oversize, max_policy_ms, policy, recall
        )
        self.low_water, self._oversize = low_water, oversize
        embedder = as_embedder(embedder)
        if recall is not None and recall.embedder is None:
            recall = replace(recall, embedder=embedder)
        self.recall = recall
        self.counter = EstimatingCounter() if counter is None else counter
        if summarizer is None:
            summarizer = getattr(policy, "summarizer", None)
        else:
            check("summarizer", summarizer)
        self.summarizer = summarizer

    @property
    def settings(self) -> Settings:
        """What is kept of it."""
        limits = self.limits
        return Settings(
            limits.budget,
            self.low_water,
            limits.reserve,
            self._oversize,
            limits.max_policy_ms,
            self.policy.name,
            dict(self.policy.settings()) if hasattr(self.policy, "settings") else {},
            None if self.recall is None else self.recall.to_dict(),
            name_of(self.summarizer),
            name_of(self.counter),
        )

    def new_fold(self, session_id: str) -> Fold:
        """Return the fold of a session in which nothing was said."""
        learns = isinstance(self.counter, EstimatingCounter)
        return Fold(
            session_id,
            self.policy,
            Accountant(self.counter),
            self.limits,
            summarizer=self.summarizer,
            calibration=Calibration() if learns else None,
        )

    def limits_for(self, budget: int | None) -> Limits:
        """Return the limits with another budget; None for its own.

        Raises:
            ConfigError: a budget that cannot work.
        """
        limits = self.limits
        return check_limits(
            limits.budget if budget is None else budget,
            self.low_water,
            limits.reserve,
            self._oversize,
            limits.max_policy_ms,
            self.policy,
            self.recall,
        )

    def low_water_why(self, chosen: LowWater | None) -> str:
        """Return where the low water in force comes from."""
        return (chosen or UNCHOSEN).why if self.low_water == AUTO else "as given"
