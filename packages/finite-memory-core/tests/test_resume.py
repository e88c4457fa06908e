"""Resuming and loading: settings that change, what must be passed again, what was lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from finite_memory_core import (
    Block,
    BudgetError,
    ConfigError,
    CorruptError,
    ExtractiveSummarizer,
    FellBack,
    InMemoryStore,
    Memory,
    MemoryEvent,
    Message,
    RollingSummary,
    SlidingWindow,
    StoreError,
    TokenCounter,
    ToolCall,
    ToolCallError,
)
from finite_memory_core.recall import Recall
from finite_memory_core.stores import Event
from finite_memory_core.testing import WordEmbedder

from .checks import as_json, state, view
from .strategies import TOOL, prose, quarter


def stored(**more: Any) -> Memory:
    """Return a memory with evictions behind it."""
    memory = Memory(**{"budget": 400, "session_id": "s", "counter": quarter, **more})
    for i in range(40):
        memory.append(Message.user(prose(i, 80)))
    return memory


def test_an_open_round_goes_on_where_it_stood() -> None:
    """Resumed behind an eviction between two results, a round takes the rest and no more."""
    memory = stored(budget=600)
    memory.append(Message.assistant(tool_calls=[ToolCall("a", "f"), ToolCall("b", "f")]))
    memory.append(Message.tool("x" * 1_200, tool_call_id="b"))
    found = memory.store.last_event("s", "checkpoint")
    assert found is not None
    assert 42 == found[1].at
    memory = Memory.resume(memory.store, "s", counter=quarter)
    with pytest.raises(ToolCallError, match="'b' has its result already"):
        memory.append(Message.tool("again", tool_call_id="b"))
    memory.append(Message.tool("y", tool_call_id="a"))
    assert ["assistant", "tool", "tool"] == [m.role for m in memory.context()][-3:]


def test_changed_settings_are_kept() -> None:
    """A setting that is changed on resuming is the session's from then on."""
    store = stored().store
    changed = Memory.resume(
        store, "s", counter=quarter, budget=900, low_water=0.5, reserve=9, oversize="clip"
    )
    again = Memory.resume(store, "s", counter=quarter)
    assert (900, 0.5, 9, "clip") == (
        again.budget,
        again.settings.low_water,
        again.settings.reserve,
        again.settings.oversize,
    )
    assert state(changed) == state(again)
    for i in range(40):
        changed.append(Message.user(prose(i, 80)))
    assert state(changed) == state(Memory.resume(store, "s", counter=quarter))


def test_a_lower_budget_evicts_at_once() -> None:
    """Resumed with less, a memory is within its new budget before anything is appended."""
    memory = stored()
    heard: list[MemoryEvent] = []
    resumed = Memory.resume(
        memory.store, "s", counter=quarter, budget=150, observers=[heard.append]
    )
    context = resumed.context()
    assert context.token_count <= 150 * 0.75
    assert context.messages[-1] == memory.transcript[-1]
    assert memory.stats.evictions + 1 == resumed.stats.evictions
    assert ["Evicted"] == [type(e).__name__ for e in heard if type(e).__name__ != "ContextBuilt"]
    assert state(resumed) == state(Memory.resume(memory.store, "s", counter=quarter))


def test_a_budget_too_small_for_what_must_stay_is_refused() -> None:
    """Resuming with it fails, and the session stays as it was stored."""
    memory = stored()
    memory.pin(0, 1, 2)
    before = state(memory)
    with pytest.raises(BudgetError, match="what must stay costs"):
        Memory.resume(memory.store, "s", counter=quarter, budget=80)
    assert before == state(Memory.resume(memory.store, "s", counter=quarter))


def test_a_lower_budget_does_not_trip_over_what_may_leave() -> None:
    """A message larger than the new budget, said not long ago, simply leaves."""
    memory = Memory(2_000, session_id="s", counter=quarter)
    memory.append(Message.user("x" * 4_000), Message.assistant("Noted."), Message.user("Next."))
    resumed = Memory.resume(memory.store, "s", counter=quarter, budget=300)
    assert "Next." == resumed.context()[-1].text
    assert "x" * 4_000 not in [m.text for m in resumed.context()]
    assert memory.transcript == resumed.transcript


def test_another_policy_goes_on_from_the_same_context() -> None:
    """What stands is kept; the new policy decides from then on."""
    memory = stored()
    before = view(memory)
    resumed = Memory.resume(memory.store, "s", counter=quarter, policy="hybrid")
    assert before == view(resumed)
    assert "hybrid" == Memory.resume(memory.store, "s", counter=quarter).policy.name
    sinks = Memory.resume(memory.store, "s", counter=quarter, policy=SlidingWindow(sinks=3))
    assert {"sinks": 3} == dict(sinks.settings.policy_settings)
    again = Memory.resume(memory.store, "s", counter=quarter)
    assert {"sinks": 3} == dict(again.settings.policy_settings)


def test_an_embedder_for_recall_leaves_the_policy_as_it_was() -> None:
    """Passed again for the search, it does not make the policy decide by meaning."""
    recall = Recall(embedder=WordEmbedder())
    memory = stored(policy="hybrid", recall=recall)
    resumed = Memory.resume(memory.store, "s", counter=quarter, embedder=WordEmbedder())
    assert memory.settings.policy_settings == resumed.settings.policy_settings
    assert None is resumed.policy.embedder  # type: ignore[attr-defined]
    own = stored(policy="hybrid", recall=None, embedder=WordEmbedder())
    resumed = Memory.resume(own.store, "s", counter=quarter, embedder=WordEmbedder())
    assert own.settings.policy_settings == resumed.settings.policy_settings


def test_tools_come_back_equal() -> None:
    """Schemas with lists in them are the same after resuming, before and behind a checkpoint."""
    memory = stored(tools=[TOOL])
    resumed = Memory.resume(memory.store, "s", counter=quarter)
    assert memory.tools == resumed.tools
    memory.set_tools([{**TOOL, "strict": True}])
    resumed = Memory.resume(memory.store, "s", counter=quarter)
    assert memory.tools == resumed.tools
    assert as_json(memory.tools) == as_json(resumed.tools)
    other = Memory.resume(memory.store, "s", counter=quarter, tools=[])
    assert () == other.tools


def test_a_lost_counter_is_told() -> None:
    """A session that another counter counted goes on with estimates, and says so."""
    memory = stored()
    heard: list[MemoryEvent] = []
    resumed = Memory.resume(memory.store, "s", observers=[heard.append])
    assert {"counter": 1} == resumed.stats.fallbacks
    fell = next(event for event in heard if isinstance(event, FellBack))
    assert "counted with 'quarter', which was not passed" in fell.why
    assert memory.stats.tokens_seen == resumed.stats.tokens_seen
    assert {} == Memory.resume(memory.store, "s", counter=quarter).stats.fallbacks
    assert {} == Memory.resume(memory.store, "s", counter=None).stats.fallbacks


class Custom:
    """A summarizer that no store can hold."""

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        return "Things were said."


@pytest.mark.parametrize("passed", ["summarizer", "policy"])
def test_a_summarizer_must_be_passed_again(passed: str) -> None:
    """Without it, resuming names it; with it, or with a choice, resuming goes on."""
    more: dict[str, Any] = (
        {"summarizer": Custom()} if passed == "summarizer" else {"policy": RollingSummary(Custom())}
    )
    memory = stored(**more)
    with pytest.raises(ConfigError, match=r"was summarized by 'Custom'.*pass it again"):
        Memory.resume(memory.store, "s", counter=quarter)
    resumed = Memory.resume(memory.store, "s", counter=quarter, summarizer=Custom())
    assert view(memory) == view(resumed)
    without = Memory.resume(memory.store, "s", counter=quarter, summarizer=None)
    assert "Things were said." == without.summary


def test_a_default_summarizer_comes_back_by_itself() -> None:
    """The extractive one is built again by name."""
    memory = stored(summarizer=ExtractiveSummarizer())
    resumed = Memory.resume(memory.store, "s", counter=quarter)
    assert state(memory) == state(resumed)
    assert memory.summary


def test_what_cannot_be_resumed_is_named() -> None:
    """No such session, an argument that cannot change: each says what there is."""
    store = InMemoryStore()
    with pytest.raises(StoreError, match="has no session 's'; it is empty"):
        Memory.resume(store, "s")
    stored(store=store)
    with pytest.raises(StoreError, match="has no session 't'; the latest are 's'"):
        Memory.resume(store, "t")
    with pytest.raises(ConfigError, match="colour cannot be changed here; what can is budget"):
        Memory.resume(store, "s", colour="red")


@pytest.mark.parametrize(
    "body",
    ["{", "[]", "{}", '{"blocks": 5}', "DAMAGED"],
)
def test_a_checkpoint_that_does_not_fit_is_corrupt(body: str) -> None:
    """A checkpoint of another transcript, or of none, is refused with the place."""
    store = stored().store
    found = store.last_event("s", "checkpoint")
    session = store.session("s")
    assert found is not None
    assert session is not None
    if body == "DAMAGED":
        whole = json.loads(found[1].body)
        body = json.dumps({**whole, "blocks": [[5, 900, 0]]})
    store.append("s", session.version, [], [Event("checkpoint", 40, body)])
    with pytest.raises(CorruptError, match="checkpoint after message 40 of session 's'"):
        Memory.resume(store, "s", counter=quarter)


def test_settings_that_cannot_be_read_are_corrupt() -> None:
    """Settings of something else are refused."""
    store = InMemoryStore()
    store.create("s", '{"colour": "red"}')
    with pytest.raises(CorruptError, match="settings cannot be read"):
        Memory.resume(store, "s")
