"""The tally: a memory's numbers, gathered from the rooms that count them."""

from __future__ import annotations

from .assembling import Assembler
from .recall.recaller import Recaller
from .recording import Recorder
from .stats import MemoryStats


def tally(
    recorder: Recorder, assembler: Assembler, recaller: Recaller, low_water_why: str
) -> MemoryStats:
    """Return what a memory has seen, holds and did so far."""
    fold, state = recorder.fold, recorder.fold.state
    known, totals = state.calibration, fold.journal.totals
    fallbacks = dict(totals.fallbacks)
    for what, count in recaller.fallbacks.items():
        fallbacks[what] = fallbacks.get(what, 0) + count
    return MemoryStats(
        messages=fold.count,
        tokens_seen=fold.tokens_seen,
        tokens_held=fold.corrected(fold.raw_tokens),
        blocks_held=len(fold.window.blocks),
        budget=state.limits.budget,
        ceiling=state.ceiling,
        low_water=state.low_water,
        low_water_why=low_water_why,
        contexts=assembler.contexts,
        context_tokens=assembler.context_tokens,
        stable_tokens=assembler.stable_tokens,
        facts_held=len(state.running.ledger),
        recalled=assembler.recalled,
        policy_ms=recorder.policy_ms,
        policy_ms_max=recorder.policy_ms_max,
        correction=state.room.factor,
        correction_error=0.0 if known is None else known.error,
        spent=state.spent,
        observer_errors=recorder.observer_errors,
        **{**totals.to_dict(), "fallbacks": fallbacks},
    )
