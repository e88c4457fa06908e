"""A conversation of which nobody here holds a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finite_memory_core.settings import Settings

from .kept import described
from .rows import UNKNOWN
from .views import Standing, View


class Counted(View):
    """A conversation of which nobody here holds a word: how many messages, and which stand.

    Attributes:
        count: how many messages there are.
        held: the tokens of the context that was sent last.
    """

    def __init__(
        self, session_id: str, settings: Settings, standing: Callable[[], Standing | None]
    ) -> None:
        super().__init__(session_id)
        self._settings = settings
        self._standing = standing
        self.count = 0
        self.held = 0

    def _read(self) -> None:
        if self.count < len(self._rows):
            self.begin_anew()
        rows = self._rows
        missing = self.count - len(rows)
        rows.roles += UNKNOWN * missing
        rows.tokens += [0] * missing
        rows.sizes += [0] * missing
        rows.sums += [0] * missing

    def _located(self) -> str:
        standing = self._standing()
        if standing is None:
            return UNKNOWN * len(self._rows)
        return standing.letters(self._rows.roles)

    def _described(self) -> dict[str, Any]:
        return {**described(self._settings), "held": self.held, "summary": "", "ledger": [],
                "notes": []}  # fmt: skip
