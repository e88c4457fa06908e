"""The conformance fuzz through an adapter, whatever its framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from finite_memory_core import Memory, Message
from finite_memory_core.events import FellBack, MemoryEvent
from finite_memory_core.testing.fuzz import Subject, fuzz, quarter

BUDGET = 2_000

Tell = Callable[[Message], Any]
Show = Callable[[Sequence[Any]], list[dict[str, Any]]]


def memory(budget: int = BUDGET, **settings: Any) -> Memory:
    """Return a memory that counts as the fuzz does."""
    return Memory(budget, settings.pop("policy", "sliding"), counter=quarter, **settings)


class Resending:
    """A framework that sends its whole history each time."""

    def __init__(self, call: Callable[[list[Any]], list[Any]], tell: Tell, show: Show) -> None:
        self._call, self._tell, self._show = call, tell, show
        self.items: list[Any] = []

    def append(self, *messages: Message) -> None:
        """Say them; refused where the adapter refuses the longer history."""
        tried = [*self.items, *map(self._tell, messages)]
        self._call(tried)
        self.items = tried

    def context(self) -> list[dict[str, Any]]:
        """Return what the model would be sent, in the OpenAI shape."""
        return self._show(self._call(self.items))


class Replacing(Resending):
    """A framework that goes on with what it was handed in the place of its history."""

    def append(self, *messages: Message) -> None:
        """Say them behind the context before."""
        self.items = self._call([*self.items, *map(self._tell, messages)])


class Telling:
    """A framework that tells what is said once."""

    def __init__(
        self,
        put: Callable[[list[Any]], object],
        get: Callable[[], list[Any]],
        tell: Tell,
        show: Show,
    ) -> None:
        self._put, self._get, self._tell, self._show = put, get, tell, show

    def append(self, *messages: Message) -> None:
        """Say them."""
        self._put([*map(self._tell, messages)])

    def context(self) -> list[dict[str, Any]]:
        """Return what the model would be sent, in the OpenAI shape."""
        return self._show(self._get())


def hold(make: Callable[[Memory], Subject], seeds: int = 2, turns: int = 12) -> None:
    """Fuzz an adapter with agents' work, chats, and clipping; no history may be invalid."""
    for settings in ({}, {"policy": "rolling_summary"}, {"oversize": "clip"}):
        report = fuzz(
            lambda settings=settings: make(memory(**settings)),  # type: ignore[misc]
            seeds=range(seeds),
            turns=turns,
            budget=BUDGET,
            clip="oversize" in settings,
        )
        assert not report.failures, report
        assert report.calls > seeds * turns


def mark(content: Any) -> dict[str, Any]:
    """Return the metadata that says whether a text is the memory's own."""
    for kind, sign in (
        ("summary", "[Summary of the earlier"),
        ("bridge", "[The conversation so far:]"),
        ("recalled", "[Recalled:"),
    ):
        if str(content).startswith(sign):
            return {"metadata": {"finite_memory": kind}}
    clipped = " tokens left out ..." in str(content)
    return {"metadata": {"finite_memory": "clipped"}} if clipped else {}


class Heard(list[MemoryEvent]):
    """An observer that keeps what it hears."""

    __call__ = list.append

    @property
    def fallbacks(self) -> list[str]:
        """Why something stood in for something else."""
        return [event.why for event in self if isinstance(event, FellBack)]
