"""The conformance fuzz through an adapter, whatever its framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from finite_memory_core import Memory, Message, Recall, ToolCall
from finite_memory_core.events import FellBack, MemoryEvent
from finite_memory_core.integrations.history import History
from finite_memory_core.stores import InMemoryStore
from finite_memory_core.testing.fuzz import Subject, fuzz, quarter
from finite_memory_core.tombstone import is_tombstone

BUDGET = 2_000
POLICIES = ("sliding", "rolling_summary", "hybrid")

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


def wander(
    history: Callable[[Memory], History[Any]], tell: Tell, *, keep: bool, resumes: bool
) -> None:
    """Take turns with tools, in few words that recur; some runs fail and are begun anew.

    What is recorded must be what was said in the runs that ended, and in the one under way.
    """
    for seed in range(40):
        draw, store = Random(seed), InMemoryStore()
        settings = {"recall": Recall(), "policy": draw.choice(POLICIES)}
        held = memory(draw.choice([150, 300, 3_000]), store=store, session_id="s", **settings)
        mine, went, ended = history(held), list[Any](), list[Message]()
        for _ in range(20):
            if resumes and draw.random() < 0.2:
                held = Memory.resume(store, "s", counter=quarter)
                mine = history(held)
            asked = Message.user(draw.choice(["yes", "no", "go on please " * 5]))
            run, said, left = [*went, tell(asked)], [*ended, asked], draw.choice([0, 0, 1, 3])
            while draw.random() < 0.85:
                shown = mine.context(run, keep=keep)
                run = shown if keep else run
                answered = max(
                    (i for i, m in enumerate(said, 1) if m.role == "assistant"), default=0
                )
                recorded = [m for m in held.transcript if not is_tombstone(m)]
                assert [_told(m) for m in said[:answered]] == [_told(m) for m in recorded], seed
                new = [Message.assistant(draw.choice(["ok", "Noted.", "well " * 10]))]
                if left:
                    call_id = draw.choice(["c", f"c{draw.random()}"])
                    call = Message.assistant(tool_calls=[ToolCall(call_id, "f", "{}")])
                    new = [call, Message.tool(draw.choice(["r", "res " * 9]), tool_call_id=call_id)]
                run, said, left = [*run, *map(tell, new)], [*said, *new], left - 1
                if left < 0:
                    went, ended = run, said
                    break


def _told(message: Message) -> tuple[str, str]:
    return message.role.value, message.text


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
