"""What replies cost, what the memory saved, and caches that collapse."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import (
    CacheCollapsed,
    Chat,
    InMemoryStore,
    Memory,
    MemoryEvent,
    Message,
    Prices,
    Spent,
    Usage,
)
from finite_memory_core.spending import Asked, input_cost
from finite_memory_core.testing import ScriptedBackend

from .strategies import CORE, prose
from .turns import DRIVES, Drive

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)

PRICES = Prices(input=2.0, output=10.0, cached=0.2, written=2.5, ttl=300.0)

counts = st.integers(0, 5_000)
usages = st.builds(
    lambda plain, cached, written, output, cost: Usage(
        plain + (cached or 0) + (written or 0), output, cached, written, None, cost
    ),
    st.integers(1, 5_000),
    st.none() | counts,
    st.none() | counts,
    counts,
    st.none() | st.floats(0, 10),
)


@CORE
@given(said=st.lists(st.tuples(usages, st.booleans(), st.booleans()), max_size=12))
def test_the_sums_are_sums(said: list[tuple[Usage, bool, bool]]) -> None:
    """And what everything would have cost is never less in tokens."""
    spent = Spent()
    for i, (usage, cold, priced) in enumerate(said, 1):
        asked = Asked(100, 90 * i + 10, PRICES if priced else None, cold)
        before, spent = spent, spent.plus(asked, usage)
        assert before.replies + 1 == spent.replies
        assert spent.unbounded_tokens >= spent.input_tokens
        if not priced or usage.cost is None:
            assert pytest.approx(before.saved) == spent.saved
    assert sum(usage.input_tokens for usage, *_ in said) == spent.input_tokens
    assert sum(usage.cached_tokens or 0 for usage, *_ in said) == spent.cached_tokens
    assert sum(usage.output_tokens for usage, *_ in said) == spent.output_tokens
    assert pytest.approx(sum(usage.cost or 0.0 for usage, *_ in said)) == spent.cost
    assert 0 <= spent.cached_share <= 1
    assert spent == Spent(*json.loads(json.dumps(spent.to_list())))


def test_what_was_saved_by_hand() -> None:
    """Two requests, reckoned on paper."""
    # All of 1,000 tokens written: ours and everything are the same.
    first = Usage(1_000, 100, 0, 1_000, None, (1_000 * 2.5 + 100 * 10.0) / 1e6)
    spent = Spent().plus(Asked(500, 500, PRICES), first)
    assert pytest.approx(0.0) == spent.saved
    # Ours: 600 read, 400 written. Everything: 1,000 read, and 2,000 written.
    second = Usage(1_000, 100, 600, 400, None, (600 * 0.2 + 400 * 2.5 + 100 * 10.0) / 1e6)
    spent = spent.plus(Asked(500, 1_500, PRICES), second)
    assert 1_000 + 3_000 == spent.unbounded_tokens
    saved = (1_000 * 0.2 + 2_000 * 2.5 - 600 * 0.2 - 400 * 2.5) / 1e6
    assert pytest.approx(saved) == spent.saved
    assert 0.3 == spent.cached_share


def test_short_prefixes_are_charged_in_full() -> None:
    """Under the provider's minimum nothing is cached, nor charged for writing."""
    high = Prices(input=2.0, output=10.0, cached=0.2, written=2.5, ttl=300.0, minimum=1_024)
    assert pytest.approx(1_000 * 2.0 / 1e6) == input_cost(Usage(1_000, 0, 500, 500), high)
    assert pytest.approx(2_000 * 2.5 / 1e6) == input_cost(Usage(2_000, 0, 0, 2_000), high)


class Cached(ScriptedBackend):
    """Reports that a share of each prompt came from a cache."""

    prices = PRICES

    def __init__(self, share: float | None) -> None:
        self._share = share
        super().__init__(*(prose(i, 200) for i in range(200)))

    def stream(self, context):  # type: ignore[no-untyped-def]
        """See `Backend.stream`."""
        *pieces, last = super().stream(context)
        yield from pieces
        cached = None if self._share is None else int(self._share * context.stable_tokens)
        usage = Usage(context.token_count, 50, cached, context.token_count - (cached or 0))
        cost = input_cost(usage, PRICES) + 50 * PRICES.output / 1e6
        yield replace(last, usage=replace(usage, cost=cost))


def talk(
    share: float | None, turns: int, **settings: object
) -> tuple[Memory, list[CacheCollapsed]]:
    """Chat with a backend whose cache serves that share of what has not changed."""
    events: list[MemoryEvent] = []
    memory = Memory(4_000, observers=[events.append])
    chat = Chat(Cached(share), memory)
    for i in range(turns):
        chat.send(prose(i, 300))
    return memory, [event for event in events if isinstance(event, CacheCollapsed)]


def test_a_cache_that_collapses_is_told() -> None:
    """With what it should have served; a warm one, and one that is not reported, are not."""
    memory, told = talk(0.1, 40)
    assert told
    assert len(told) == memory.stats.spent.collapsed
    assert all(event.expected >= 1_024 and event.cached < event.expected / 2 for event in told)
    assert "had not changed here" in told[0].why
    for share in (1.0, 0.9, None):
        assert ([], 0) == (talk(share, 40)[1], talk(share, 40)[0].stats.spent.collapsed)


def test_a_context_that_was_sent_to_nobody_is_in_no_cache() -> None:
    """Built to be looked at after a resume, it does not make the first reply a collapse."""
    memory = talk(1.0, 40)[0]
    events: list[MemoryEvent] = []
    again = Memory.resume(memory.store, memory.session_id, observers=[events.append])
    assert again.context().token_count >= 1_024
    chat = Chat(Cached(0.0), again)
    chat.send("Hello.")
    assert 0 == again.stats.spent.collapsed
    chat.send("Are you there?")
    assert 1 == again.stats.spent.collapsed
    assert 1 == sum(isinstance(event, CacheCollapsed) for event in events)


def test_a_pause_is_the_likely_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time that the provider keeps it had passed."""
    clock = [0.0]

    def later() -> float:
        clock[0] += 200.0
        return clock[0]

    monkeypatch.setattr("finite_memory_core.chat.monotonic", later)
    _, told = talk(0.0, 40)
    assert all("and a cached prefix lives 300 s" not in event.why for event in told)
    monkeypatch.setattr("finite_memory_core.chat.monotonic", lambda: later() + later())
    _, told = talk(0.0, 40)
    assert "s had passed since the last reply, and a cached prefix lives 300 s" in told[0].why


@each_drive
def test_a_reply_is_accounted_for(drive: Drive) -> None:
    """Once, in the stats of the reply, and a resumed memory has the same sums."""
    store = InMemoryStore()
    memory = Memory(4_000, store=store, session_id="a")
    chat = Chat(Cached(1.0), memory)
    replies = [drive(chat, prose(i, 300)) for i in range(120)]
    spent = replies[-1].stats.spent
    assert memory.stats.spent == spent
    assert 120 == spent.replies
    assert spent.unbounded_tokens > 1.5 * spent.input_tokens
    assert 0 < spent.saved < spent.unbounded_cost
    assert spent == Memory.resume(store, "a").stats.spent
    assert spent.to_dict() == memory.stats.to_dict()["spent"]


def test_a_reply_that_is_not_recorded_is_not_accounted_for() -> None:
    """A turn that fails leaves the sums alone."""
    memory = Memory(4_000)
    before = memory.stats.spent
    turn = memory.turn()
    turn.append(Message.user("Hello"))
    turn.report_usage(turn.context(), Usage(10, 2))
    assert 1 == memory.stats.spent.replies
    turn.rollback()
    assert before == memory.stats.spent


def test_a_number_alone_corrects_and_adds_nothing() -> None:
    """As from a tokenizer's count, which nobody pays for."""
    memory = Memory(4_000)
    memory.append(Message.user(prose(1, 400)))
    memory.report_usage(memory.context(), 2 * memory.context().counted_tokens)
    assert 2.0 == memory.stats.correction
    assert 0 == memory.stats.spent.replies


def test_with_a_counter_of_its_own_a_memory_accounts_all_the_same() -> None:
    """It believes its counter, and adds up what was paid."""
    memory = Memory(4_000, counter=len)
    memory.append(Message.user("Hello"))
    memory.report_usage(memory.context(), Usage(99, 1, cost=0.5))
    assert (1, 99, 0.5) == (
        memory.stats.spent.replies,
        memory.stats.spent.input_tokens,
        memory.stats.spent.cost,
    )
    assert 1.0 == memory.stats.correction
