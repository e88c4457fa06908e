"""Stats: sums that add up."""

from __future__ import annotations

import json

from hypothesis import given

from finite_memory_core import Memory, Message
from finite_memory_core.stats import Totals

from .checks import take
from .strategies import CORE, Setup, conversations, prose, quarter, setups


@CORE
@given(setup=setups, said=conversations())
def test_the_sums_add_up(setup: Setup, said: list[Message]) -> None:
    """Tokens seen, held, sent and stable are the sums of what was seen, held and sent."""
    memory = setup.memory()
    sent = stable = seen = contexts = 0
    for message in said:
        if take(memory, message):
            seen += 1
        context = memory.context()
        contexts += 1
        sent += context.token_count
        stable += context.stable_tokens
        assert 0 <= context.stable_tokens <= context.token_count
    stats = memory.stats
    assert (seen, contexts) == (stats.messages, stats.contexts)
    assert (sent, stable) == (stats.context_tokens, stats.stable_tokens)
    assert stable / sent == stats.stable_share
    assert len(memory.blocks) == stats.blocks_held
    assert setup.budget == stats.budget
    assert stats.tokens_held <= stats.budget
    data = stats.to_dict()
    assert data == json.loads(json.dumps(data))
    assert stats.stable_share == data["stable_share"]


def test_a_new_memory_has_done_nothing() -> None:
    """Before anything is said every count is 0, and shares are defined."""
    stats = Memory(400, counter=quarter).stats
    assert 3 == stats.tokens_held
    assert 0 == stats.stable_share
    assert 0 == stats.messages == stats.evictions == stats.contexts


def test_a_full_chat_is_mostly_stable() -> None:
    """At a full budget most tokens of a context were in the one before."""
    memory = Memory(2_000, counter=quarter)
    for i in range(500):
        memory.append(Message.user(prose(2 * i, 80)))
        memory.context()
        memory.append(Message.assistant(prose(2 * i + 1, 80)))
    assert memory.stats.stable_share > 0.85


def test_totals_are_values() -> None:
    """Adding makes new totals and leaves the old as they were."""
    first = Totals().plus(evictions=1)
    second = first.plus(evictions=2, fallback="policy").plus(fallback="policy")
    assert (1, {}) == (first.evictions, first.fallbacks)
    assert (3, {"policy": 2}) == (second.evictions, second.fallbacks)
    assert second == Totals(**second.to_dict())
