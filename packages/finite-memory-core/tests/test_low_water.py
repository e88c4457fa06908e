"""The low water that is chosen from prices, and evictions while no cache is warm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import (
    Chat,
    ConfigError,
    InMemoryStore,
    Memory,
    Message,
    Prices,
    Usage,
)
from finite_memory_core.low_water import LEAST, MORE, MOST, choose
from finite_memory_core.testing import ScriptedBackend

from .strategies import CORE, prose

CACHING = Prices(input=3.0, output=15.0, cached=0.3, written=3.75, ttl=300.0)
PLAIN = Prices(input=3.0, output=15.0, cached=3.0, written=3.0, ttl=300.0)


def per_token(prices: Prices, budget: int, turn: float, share: float) -> float:
    """Cost of a turn for each token that a context holds, by walking one cycle of evictions."""
    held, cost, turns = share * budget, prices.written * share * budget, 0
    total = 0.0
    while held + turn <= budget:
        cost += prices.cached * held + prices.written * turn
        held += turn
        total += held
        turns += 1
    return cost / total if total else float("inf")


@CORE
@given(
    read=st.floats(0.01, 1.0),
    extra=st.floats(1.0, 1.5),
    turn=st.integers(10, 60),
    budget=st.integers(8_000, 40_000),
)
def test_it_is_the_highest_that_is_worth_it(
    read: float, extra: float, turn: int, budget: int
) -> None:
    """A walked cycle costs about `MORE` times the cheapest a held token, and less a step below."""
    prices = Prices(1.0, 5.0, read, extra, 300.0)
    found = choose(prices, budget, tokens_seen=100 * turn, replies=100, cold=0)
    assert found is not None
    assert LEAST <= found.share <= MOST
    cheapest = per_token(prices, budget, turn, 0.0)
    assert per_token(prices, budget, turn, found.share - 0.05) <= 1.02 * MORE * cheapest
    if found.share < MOST:
        assert per_token(prices, budget, turn, found.share + 0.05) >= 0.98 * MORE * cheapest


def test_what_moves_it() -> None:
    """Cheap reads and long turns lower it; no cache, a cold one and a high minimum raise it."""

    def share(prices: Prices, turn: int = 150, cold: int = 0, budget: int = 4_096) -> float:
        found = choose(prices, budget, tokens_seen=turn * 50, replies=50, cold=cold)
        assert found is not None
        return found.share

    assert share(CACHING) < share(PLAIN)
    assert share(CACHING, turn=400) < share(CACHING, turn=50)
    assert share(CACHING) < share(CACHING, cold=50)
    high = Prices(3.0, 15.0, 0.3, 3.75, 300.0, minimum=3_000)
    assert share(high) * 4_096 >= 3_000
    assert share(high) > share(CACHING)


def test_free_tokens_are_no_reason() -> None:
    """Where nothing costs anything the default stands."""
    free = Prices(0.0, 0.0, 0.0, 0.0, 300.0)
    found = choose(free, 4_096, tokens_seen=1_000, replies=10, cold=0)
    assert found is not None
    assert 0.75 == found.share


def test_too_little_is_known_at_first() -> None:
    """A few replies tell no mean."""
    assert choose(CACHING, 4_096, tokens_seen=300, replies=3, cold=0) is None


class Priced(ScriptedBackend):
    """A backend that names its prices."""

    def __init__(self, prices: Prices | None, replies: int = 200) -> None:
        said = [prose(i, 100) for i in range(replies)]
        super().__init__(*said, usage=Usage(500, 25, 400))
        self.prices = prices


def chatted(prices: Prices | None, turns: int, **settings: Any) -> Chat:
    """Return a chat of so many turns."""
    chat = Chat(Priced(prices), Memory(2_000, **settings), clock=settings.pop("clock", None))
    for i in range(turns):
        chat.send(prose(i, 200))
    return chat


def test_a_chat_chooses_by_its_prices() -> None:
    """It says what was chosen and why, evicts to it, and a resumed memory has it too."""
    store = InMemoryStore()
    chat = chatted(CACHING, 80, low_water="auto", store=store, session_id="a")
    stats = chat.memory.stats
    assert stats.low_water != 0.75
    assert "reads at $0.3, writes at $3.75" in stats.low_water_why
    assert "auto" == chat.memory.settings.low_water
    again = Memory.resume(store, "a")
    assert (stats.low_water, stats.low_water_why) == (
        again.stats.low_water,
        again.stats.low_water_why,
    )
    assert chat.memory.context().messages == again.context().messages
    other = Memory.resume(store, "a", low_water=0.9)
    assert (0.9, "as given") == (other.stats.low_water, other.stats.low_water_why)


def test_the_default_may_be_asked_for_instead() -> None:
    """Also by its number, from which "auto" began."""
    store = InMemoryStore()
    chat = chatted(CACHING, 80, low_water="auto", store=store, session_id="a")
    assert chat.memory.stats.low_water != 0.75
    other = Memory.resume(store, "a", low_water=0.75)
    assert (0.75, "as given") == (other.stats.low_water, other.stats.low_water_why)
    again = Memory.resume(store, "a")
    assert (0.75, "as given") == (again.stats.low_water, again.stats.low_water_why)


def test_without_prices_the_default_stands() -> None:
    """And the stats say that it is one."""
    stats = chatted(None, 30, low_water="auto").memory.stats
    assert 0.75 == stats.low_water
    assert "default" in stats.low_water_why
    assert "as given" == chatted(CACHING, 30, low_water=0.6).memory.stats.low_water_why


@pytest.mark.parametrize("wrong", ["cheap", 0, 1.5, -0.1, None, True, float("nan")])
def test_other_low_waters_are_refused(wrong: Any) -> None:
    """With what would do."""
    with pytest.raises(ConfigError, match="low_water must lie above 0"):
        Memory(2_000, low_water=wrong)


def full_enough(memory: Memory) -> bool:
    """Whether more than half of what an eviction takes stands above low water."""
    low = memory.stats.low_water * memory.budget
    return memory.stats.tokens_held > (low + memory.budget) / 2 + 50


def test_what_would_leave_soon_leaves_while_the_cache_is_cold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rewriting the prefix is free then; before the time is up nothing happens."""
    now = [1_000.0]
    monkeypatch.setattr("finite_memory_core.chat.monotonic", lambda: now[0])
    chat = chatted(CACHING, 4)
    while not full_enough(chat.memory):
        chat.send("More. " + prose(3, 40))
    evictions = chat.memory.stats.evictions
    now[0] += CACHING.ttl - 1
    chat.send("Quick.")
    assert (evictions, 0) == (chat.memory.stats.evictions, chat.memory.stats.early)
    now[0] += CACHING.ttl
    chat.send("I am back.")
    assert (evictions + 1, 1) == (chat.memory.stats.evictions, chat.memory.stats.early)
    assert 1 == chat.memory.stats.spent.cold
    now[0] += CACHING.ttl
    chat.send("And again.")  # little stands above low water now
    assert 1 == chat.memory.stats.early


@pytest.mark.parametrize("zone", [UTC, None])
def test_after_a_resume_the_timestamps_tell(zone: Any) -> None:
    """Where there is a clock to compare them with, of the same kind."""
    now = [datetime(2026, 3, 1, 12, 0, tzinfo=zone)]
    store = InMemoryStore()
    memory = Memory(2_000, store=store, session_id="a")
    chat = Chat(Priced(CACHING), memory, clock=lambda: now[0])
    chat.send("Hello")
    now[0] += timedelta(seconds=400)
    again = Chat(Priced(CACHING), Memory.resume(store, "a"), clock=lambda: now[0])
    assert 400.0 == again.idle()
    other = UTC if zone is None else None
    mixed = Chat(Priced(CACHING), again.memory, clock=lambda: now[0].replace(tzinfo=other))
    assert mixed.idle() is None
    assert Chat(Priced(CACHING), again.memory).idle() is None
    assert Chat(Priced(CACHING), Memory(2_000), clock=lambda: now[0]).idle() is None


def test_a_turn_that_fails_leaves_no_early_eviction() -> None:
    """It is undone with the turn."""
    memory = Memory(1_000)
    while not full_enough(memory):
        memory.append(Message.user(prose(3, 60)))
    held = memory.context().messages
    turn = memory.turn()
    turn.reckon(CACHING, 10_000.0)
    assert 1 == memory.stats.early
    turn.append(Message.user("Hello"))
    turn.rollback()
    assert held == memory.context().messages
    assert 0 == memory.stats.early
