"""The nine things that always hold (see ``ARCHITECTURE.md``), each from the outside."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    Context,
    InMemoryStore,
    Memory,
    Message,
    SQLiteStore,
    Store,
)
from finite_memory_core.policies import POLICIES

from .checks import (
    find_in_order,
    is_instruction,
    mark_of,
    recount,
    recount_context,
    refusal,
    say,
    stands_for,
    state,
    stored,
    take,
    view,
    wire,
)
from .examples import some
from .strategies import CORE, Setup, conversations, prose, setups


def in_sqlite_sometimes(number: int) -> Store:
    return SQLiteStore(":memory:") if number % 4 == 0 else InMemoryStore()


# -- 1. the budget --------------------------------------------------------------------------------


@CORE
@given(setup=setups, said=conversations())
def test_a_context_is_within_the_budget(setup: Setup, said: list[Message]) -> None:
    """Counted again by the stated rules, a context and the reserve never exceed the budget."""
    memory = setup.memory()
    for message in said:
        if (error := refusal(memory, message)) is not None:
            assert error.needed > error.available
            assert message is error.rejected
            assert str(setup.budget) in str(error)
        context = memory.context()
        assert recount_context(memory, setup.counter) == context.token_count
        assert context.token_count + setup.reserve <= memory.budget
        if not context.recalled:
            assert context.token_count == memory.stats.tokens_held


@CORE
@given(setup=setups, said=conversations())
def test_a_refused_message_really_cannot_fit(setup: Setup, said: list[Message]) -> None:
    """A message that fits beside what must stay is never refused."""
    memory = setup.memory()
    spoken: list[Message] = []
    for message in said:
        if take(memory, message):
            spoken.append(message)
        elif message.role in ("user", "system", "developer"):
            users = [m for m in spoken if m.role == "user"][-1:]
            stay = [m for m in spoken if is_instruction(m) or m.pinned]
            stay += [m for m in users if message.role != "user" and not m.pinned]
            counter = setup.counter
            alone = sum(recount(m, counter) for m in [*stay, message])
            tools = memory.context().counted_tokens - sum(
                recount(m, counter) for m in memory.context().messages
            )
            assert setup.oversize == "clip" or alone + tools + setup.reserve > setup.budget


# -- 2. what never leaves -------------------------------------------------------------------------


@CORE
@given(setup=setups, said=conversations())
def test_instructions_pinned_and_the_question_stay(setup: Setup, said: list[Message]) -> None:
    """System and pinned messages and the last user message are in every context, whole."""
    memory = setup.memory()
    spoken: list[Message] = []
    for message in said:
        if not take(memory, message):
            continue
        spoken.append(message)
        shown = [m for m in memory.context().messages if mark_of(m) in ("", "clipped")]
        must = [m for m in spoken if is_instruction(m) or m.pinned]
        kept = [m for m in shown if is_instruction(m) or m.pinned]
        assert len(must) == len(kept)
        assert all(map(stands_for, kept, must))
        users = [m for m in spoken if m.role == "user"]
        if users:
            last = [m for m in shown if m.role == "user"][-1]
            assert stands_for(last, users[-1])
            assert setup.oversize == "clip" or wire([users[-1]]) == wire([last])
        assert setup.oversize == "clip" or not any(map(mark_of, shown))


# -- 3. the shape ---------------------------------------------------------------------------------


@CORE
@given(setup=setups, said=conversations())
def test_every_provider_accepts_the_shape(setup: Setup, said: list[Message]) -> None:
    """The first spoken message is a user's; calls are followed by all their results, and only."""
    memory = setup.memory()
    for message in said:
        take(memory, message)
        shown = list(memory.context().messages)
        spoken = [m for m in shown if not is_instruction(m)]
        assert not spoken or spoken[0].role == "user"
        while shown:
            first = shown.pop(0)
            assert first.role != "tool"
            ids = sorted(call.id for call in first.tool_calls)
            results, shown = shown[: len(ids)], shown[len(ids) :]
            assert ids == sorted(str(m.tool_call_id) for m in results)


# -- 4. order -------------------------------------------------------------------------------------


@CORE
@given(setup=setups, said=conversations())
def test_kept_messages_are_verbatim_and_in_order(setup: Setup, said: list[Message]) -> None:
    """What stands in a context was said, byte for byte, in that order, but for what is marked."""
    memory = setup.memory()
    spoken: list[Message] = []
    for message in said:
        if take(memory, message):
            spoken.append(message)
        shown = memory.context().messages
        find_in_order([m for m in shown if mark_of(m) in ("", "clipped")], spoken)
        ours = [mark_of(m) for m in shown if mark_of(m) not in ("", "clipped")]
        if ours[-1:] == ["recalled"]:
            assert setup.recall is not None
            ours.pop()
        assert ours in ([], ["bridge"], ["summary"])
        assert setup.policy == "rolling_summary" or "summary" not in ours


# -- 5. nothing is lost ---------------------------------------------------------------------------


@CORE
@given(setup=setups, said=conversations(), number=st.integers(0, 7))
def test_the_transcript_is_what_was_said(setup: Setup, said: list[Message], number: int) -> None:
    """The transcript holds every message that was taken, byte for byte, whatever left."""
    with in_sqlite_sometimes(number) as store:
        memory = setup.memory(store)
        taken = say(memory, said)
        assert wire(taken) == wire(memory.transcript)
        assert len(taken) == len(memory.transcript) == memory.stats.messages
        assert taken == memory.transcript
        assert sum(tokens for _, tokens in store.messages("s")) == memory.stats.tokens_seen


# -- 6. determinism -------------------------------------------------------------------------------


@CORE
@given(setup=setups, said=conversations(), size=st.integers(1, 5))
def test_a_replay_gives_the_same_contexts(setup: Setup, said: list[Message], size: int) -> None:
    """The same messages and settings give the same contexts, however they are batched."""
    first, second, batched = (setup.memory(session_id=name) for name in "abc")
    taken = []
    for message in said:
        if take(first, message):
            taken.append(message)
            second.append(message)
            assert view(first) == view(second)
    for start in range(0, len(taken), size):
        batched.append(*taken[start : start + size])
    assert view(first) == view(batched)


@CORE
@given(
    setup=setups,
    said=conversations(max_turns=16),
    cut=st.floats(0, 1),
    number=st.integers(0, 7),
)
def test_a_resumed_memory_equals_one_that_never_stopped(
    setup: Setup, said: list[Message], cut: float, number: int
) -> None:
    """Stopped after any message and resumed from its store, a memory goes on as if it had not."""
    with in_sqlite_sometimes(number) as store:
        memory, stopped = setup.memory(), setup.memory(store)
        where = int(cut * len(said))
        say(memory, said[:where])
        say(stopped, said[:where])
        for message in (None, *said[where:]):
            if message is not None:
                assert take(memory, message) == take(stopped, message)
            kept = {**state(memory), **stored(store, "s")}
            assert kept == state(stopped)
            resumed = setup.resume(store)
            assert kept == state(resumed)
            if message is None or number % 2:
                stopped = resumed


@settings(CORE, max_examples=some(20))
@given(setup=setups, said=conversations(max_turns=16), cut=st.floats(0, 1))
def test_a_loaded_memory_equals_one_that_never_stopped(
    tmp_path_factory: pytest.TempPathFactory, setup: Setup, said: list[Message], cut: float
) -> None:
    """Saved after any message and loaded, a memory goes on as if it had not stopped."""
    path = tmp_path_factory.getbasetemp() / "saved.json"
    memory = setup.memory()
    where = int(cut * len(said))
    say(memory, said[:where])
    memory.save(path)
    loaded = Memory.load(path, **setup.passed())
    for message in said[where:]:
        assert take(memory, message) == take(loaded, message)
        assert view(memory) == view(loaded)
    assert state(memory) == state(loaded)


# -- 7. the prefix --------------------------------------------------------------------------------


def fixed_part(context: Context, setup: Setup) -> int:
    """Return how many leading messages may not change until something is evicted.

    All of them; where text is recalled, those before it, which stands next to the question.
    """
    if setup.recall is None:
        return len(context.messages)
    ends = [i for i, m in enumerate(context.messages) if m.role == "user" and not mark_of(m)][-1:]
    ends += [i for i, m in enumerate(context.messages) if mark_of(m) in ("recalled", "clipped")]
    return min([len(context.messages), *ends])


@CORE
@given(setup=setups, said=conversations(max_turns=16))
def test_between_evictions_a_context_only_grows_at_its_end(
    setup: Setup, said: list[Message]
) -> None:
    """As long as nothing is evicted, each context begins with the whole one before."""
    memory = setup.memory()
    before, evictions = memory.context(), 0
    for message in said:
        take(memory, message)
        context = memory.context()
        shared = 0
        for ours, theirs in zip(wire(context.messages), wire(before.messages), strict=False):
            if ours != theirs:
                break
            shared += 1
        if memory.stats.evictions == evictions:
            assert fixed_part(before, setup) <= shared
        assert shared == context.stable_messages
        counts = [recount(m, setup.counter) for m in context.messages]
        assert context.token_count - sum(counts[shared:]) == context.stable_tokens or not shared
        before, evictions = context, memory.stats.evictions


# -- 9. cost --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_the_cost_of_a_turn_does_not_grow(policy: str) -> None:
    """A turn late in a conversation counts no more text than one early, and reads nothing back."""
    counted = reads = 0

    def counter(text: str) -> int:
        nonlocal counted
        counted += 1
        return len(text) // 4

    class Watched(InMemoryStore):
        def messages(self, *args: object, **more: object) -> object:  # type: ignore[override]
            nonlocal reads
            reads += 1
            return super().messages(*args, **more)  # type: ignore[arg-type]

        def events(self, *args: object, **more: object) -> object:  # type: ignore[override]
            nonlocal reads
            reads += 1
            return super().events(*args, **more)  # type: ignore[arg-type]

    memory = Memory(1_000, policy, counter=counter, store=Watched())
    costs = []
    for i in range(2_000):
        before = counted
        memory.append(Message.user(prose(i, 60)), Message.assistant(prose(i + 1, 60)))
        memory.context()
        kept = memory.store.session(memory.session_id)
        assert kept is not None
        costs.append((counted - before, kept.version.events))
    early, late = costs[500:1_000], costs[1_500:]
    assert 0 == reads
    assert max(cost for cost, _ in late) <= 2 * max(cost for cost, _ in early)
    quiet = [b - a for (_, a), (_, b) in pairwise(costs)]
    ordinary = [cost for (cost, _), wrote in zip(costs[1:], quiet, strict=True) if not wrote]
    assert {2} == set(ordinary)
