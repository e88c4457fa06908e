"""The rolling summary: a sliding window, and what leaves it is folded into a summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..summarizing import ExtractiveSummarizer
from ..summary import Summarizer
from .importance import check_share
from .sliding import SlidingWindow


class RollingSummary(SlidingWindow):
    """Keeps the newest blocks and a summary of those that left.

    Args:
        summarizer: writes the summary; None for the extractive one, which needs no model.
        summary_share: how much of the budget the summary may take, above 0 and below 1.
        sinks: see `SlidingWindow`.

    Raises:
        ConfigError: a share that leaves no room for either; a summarizer that is none.
    """

    name = "rolling_summary"

    def __init__(
        self, summarizer: Summarizer | None = None, summary_share: float = 0.15, sinks: int = 0
    ) -> None:
        super().__init__(sinks)
        if check_share("summary_share", summary_share) in (0.0, 1.0):
            raise ConfigError(f"summary_share must lie between 0 and 1, got {summary_share!r}")
        if summarizer is not None and not isinstance(summarizer, Summarizer):
            raise ConfigError(
                f"summarizer must have a method summarize; pass it again, got {summarizer!r}"
            )
        self.summarizer = ExtractiveSummarizer() if summarizer is None else summarizer
        self.summary_share = summary_share

    def settings(self) -> Mapping[str, Any]:
        """See `Policy.settings`."""
        return {"sinks": self.sinks, "summary_share": self.summary_share}
