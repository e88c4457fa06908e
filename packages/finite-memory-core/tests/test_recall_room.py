"""What is recalled follows from the transcript and the settings, not from what was asked before."""

from __future__ import annotations

from finite_memory_core import Memory, Message
from finite_memory_core.recall import Recall

from .checks import view
from .strategies import prose, quarter


def test_earlier_contexts_leave_no_trace_in_later_ones() -> None:
    """Contexts built in a turn that was undone, or at other limits, change nothing afterwards."""
    memory = Memory(400, counter=quarter, recall=Recall(gate=0.0))
    for i in range(60):
        memory.append(Message.user(prose(i, 60)), Message.assistant(prose(i + 1, 60)))
        memory.set_tools([{"name": "x" * (i % 5 * 40)}] if i % 3 else [])
        before = view(memory)
        turn = memory.turn()
        turn.append(Message.user(prose(i + 7, 600)))
        turn.context("Turin 1998")
        turn.rollback()
        assert before == view(memory)
        assert before == view(Memory.resume(memory.store, memory.session_id, counter=quarter))
