"""A memory through everything that can happen to it, held against a model that is a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from finite_memory_core import (
    BudgetError,
    ConfigError,
    Memory,
    Message,
    MessageError,
    SQLiteStore,
    ToolCall,
    ToolCallError,
)
from finite_memory_core.policies import POLICIES
from finite_memory_core.tombstone import is_tombstone

from .checks import is_instruction, mark_of, stands_for, state, stored, wire
from .examples import some
from .strategies import CORE, SIZES, TOOL, Setup, prose, setups


class MemoryMachine(RuleBasedStateMachine):
    """The model: what was said, and which of it is pinned."""

    path: Path

    def __init__(self) -> None:
        super().__init__()
        self.store = SQLiteStore(":memory:")
        self.said: list[Message] = []
        self.pinned: set[int] = set()
        self.unasked = -1  # the last question that was forgotten
        self.open: list[str] = []
        self.number = 0
        self.overloaded = False  # usage was reported that makes what must stay too much

    @initialize(setup=setups)
    def begin(self, setup: Setup) -> None:
        self.setup = setup
        self.memory = setup.memory(self.store)
        self.limits: dict[str, Any] = {}

    def teardown(self) -> None:
        self.store.close()

    # -- what is said -----------------------------------------------------------------------------

    def text(self, size: int) -> str:
        self.number += 1
        return prose(self.number, size)

    def say(self, *messages: Message) -> bool:
        before = state_of(self.memory)
        try:
            self.memory.append(*messages)
        except BudgetError:
            assert before == state_of(self.memory)
            return False
        for message in messages:
            if message.pinned or is_instruction(message):
                self.pinned.add(len(self.said))
            self.said.append(message)
        return True

    @rule(role=st.sampled_from(["user", "user", "assistant"]), size=SIZES)
    def speak(self, role: str, size: int) -> None:
        if self.say(Message(role, self.text(size))):
            self.open = []

    @rule(role=st.sampled_from(["system", "user"]))
    def speak_pinned(self, role: str) -> None:
        if self.say(Message(role, self.text(12), pinned=role == "user")):
            self.open = []

    @rule(size=SIZES, count=st.integers(1, 3))
    def exchange(self, size: int, count: int) -> None:
        pairs = [
            Message(role, self.text(size)) for _ in range(count) for role in ("user", "assistant")
        ]
        if self.say(*pairs):
            self.open = []

    @rule(size=st.just(20_000))
    def shout(self, size: int) -> None:
        assert self.say(Message.user(self.text(size))) == (self.setup.oversize == "clip") or (
            self.overloaded or self.setup.oversize == "clip"
        )
        self.open = [] if self.said and len(self.said[-1].text) == size else self.open

    @rule(count=st.integers(1, 3))
    def call(self, count: int) -> None:
        self.number += 1
        ids = [f"{self.number}-{i}" for i in range(count)]
        calls = [ToolCall(i, "f", "{}") for i in ids]
        if self.say(Message.assistant(tool_calls=calls)):
            self.open = ids

    @precondition(lambda self: self.open)
    @rule(size=SIZES, last=st.booleans())
    def answer(self, size: int, last: bool) -> None:
        call_id = self.open[-1 if last else 0]
        if self.say(Message.tool(self.text(size), tool_call_id=call_id)):
            self.open.remove(call_id)

    @rule()
    def answer_nobody(self) -> None:
        before = state_of(self.memory)
        with pytest.raises(ToolCallError):
            self.memory.append(Message.tool("x", tool_call_id="nobody"))
        assert before == state_of(self.memory)

    # -- what is changed --------------------------------------------------------------------------

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.said) - 1))
        before = state_of(self.memory)
        try:
            self.memory.pin(index)
        except (BudgetError, MessageError, ConfigError):
            assert before == state_of(self.memory)
        else:
            block = next(b for b in self.memory.blocks if b.index <= index < b.end)
            self.pinned.update(range(block.index, block.end))

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(self.pinned)))
        if any(b.index <= index < b.end for b in self.memory.blocks):
            block = next(b for b in self.memory.blocks if b.index <= index < b.end)
            self.memory.unpin(index - len(self.said))
            if not is_instruction(self.said[index]):
                self.pinned.difference_update(range(block.index, block.end))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.said) - 1))
        gone = self.memory.forget(index)
        assert (index in gone) != is_tombstone(self.said[index])
        for i in gone:
            assert is_tombstone(self.memory.transcript[i])
            if {call.id for call in self.said[i].tool_calls} & {*self.open}:
                self.open = []
            if self.said[i].role == "user":
                self.unasked = max(self.unasked, i)
            self.said[i] = self.memory.transcript[i]
        self.pinned.difference_update(gone)

    @rule(some=st.booleans())
    def set_tools(self, some: bool) -> None:
        before = state_of(self.memory)
        try:
            self.memory.set_tools([TOOL] if some else [])
        except BudgetError:
            assert before == state_of(self.memory)
        else:
            assert int(some) == len(self.memory.tools)

    @rule(factor=st.sampled_from([0.6, 0.9, 1.0, 1.1, 1.3]))
    def report_usage(self, factor: float) -> None:
        try:
            context = self.memory.context()
        except BudgetError:
            return
        self.memory.report_usage(context, int(context.counted_tokens * factor))

    # -- what changes nothing ---------------------------------------------------------------------

    @rule(size=SIZES, usage=st.booleans())
    def roll_back(self, size: int, usage: bool) -> None:
        before = state_of(self.memory)
        turn = self.memory.turn()
        try:
            turn.append(Message.user(self.text(size)))
            context = turn.context()
            if usage:
                turn.report_usage(context, 2 * context.counted_tokens)
            turn.append(Message.assistant(self.text(size)))
        except BudgetError:
            pass
        turn.rollback()
        assert before == state_of(self.memory)

    @rule(policy=st.sampled_from(POLICIES), budget=st.sampled_from([None, 100, 5_000]))
    def dry_run(self, policy: str, budget: int | None) -> None:
        before = state_of(self.memory)
        eviction = self.memory.dry_run(policy=policy, budget=budget)
        assert policy == eviction.policy
        assert before == state_of(self.memory)

    @rule()
    def save_and_load(self) -> None:
        path = self.path / "session.json"
        self.memory.save(path)
        loaded = Memory.load(path, **self.setup.passed())
        assert state_of(self.memory) == state_of(loaded)

    @rule()
    def crash_and_resume(self) -> None:
        before = state_of(self.memory)
        self.memory = self.setup.resume(self.store)
        assert before == state_of(self.memory)

    @rule(size=SIZES)
    def crash_in_a_turn(self, size: int) -> None:
        before = state_of(self.memory)
        turn = self.memory.turn()
        try:
            turn.append(Message.user(self.text(size)))
        except BudgetError:
            turn.rollback()
        self.memory = self.setup.resume(self.store)
        assert before == state_of(self.memory)

    # -- what holds -------------------------------------------------------------------------------

    @invariant()
    def the_transcript_is_what_was_said(self) -> None:
        if hasattr(self, "memory"):
            assert wire(self.said) == wire(self.memory.transcript)

    @invariant()
    def the_context_holds_what_it_must(self) -> None:
        if not hasattr(self, "memory"):
            return
        users = [i for i, m in enumerate(self.said) if m.role == "user"]
        try:
            context = self.memory.context()
        except BudgetError:  # the provider counts more than we did, and nothing more can leave
            self.overloaded = True
            assert {b.index for b in self.memory.blocks if not b.pinned} <= set(users[-1:])
            return
        assert context.token_count + self.setup.reserve <= self.setup.budget
        shown = [m for m in context.messages if mark_of(m) in ("", "clipped")]
        closed = sorted(i for b in self.memory.blocks for i in range(b.index, b.end))
        assert len(closed) == len(shown)
        assert all(stands_for(m, self.said[i]) for m, i in zip(shown, closed, strict=True))
        # What left for a question stays in the archive when that question is forgotten.
        asked = {i for i in users[-1:] if i > self.unasked}
        assert {*asked, *self.pinned} <= set(closed)


def state_of(memory: Memory) -> dict[str, Any]:
    """Return what can be seen of `memory`, also where its context is refused."""
    try:
        return state(memory)
    except BudgetError:
        return {
            "blocks": [(b.index, b.end, b.pinned) for b in memory.blocks],
            **stored(memory.store, memory.session_id),
        }


def test_memory_as_a_state_machine(tmp_path: Path) -> None:
    """Whatever is done in whatever order, the memory is what the model says."""

    class Machine(MemoryMachine):
        path = tmp_path

    run_state_machine_as_test(
        Machine, settings=settings(CORE, max_examples=some(40), stateful_step_count=30)
    )
