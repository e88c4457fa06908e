"""Metrics, as the Prometheus client exposes them, of real chats."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from finite_memory_core import (
    BackendError,
    Chat,
    Context,
    ContextOverflowError,
    Delta,
    Interrupted,
    Memory,
    Message,
    Recall,
    ToolCall,
    Usage,
)
from finite_memory_core.telemetry import MEASURES, PrometheusObserver
from finite_memory_core.testing import ScriptedBackend

from .strategies import prose, quarter
from .turns import DRIVES, Drive, Fake, talked

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)


class Metrics:
    """A registry with one observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.observer = PrometheusObserver(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample's value; None where there is none."""
        return self.registry.get_sample_value(f"finite_memory_{name}", labels)


@pytest.fixture
def metrics() -> Metrics:
    """One of its own for each test."""
    return Metrics()


@each_drive
def test_turns_are_counted_and_timed(drive: Drive, metrics: Metrics) -> None:
    """By backend and outcome; requests, first pieces, usage and cost by backend."""
    usage = Usage(100, 20, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=5, cost=0.25)
    backend = Fake(lambda _: [Delta("Well, "), Delta("hi.", finish="stop", usage=usage)])
    memory = Memory(4_000, observers=[metrics.observer])
    for _ in range(3):
        drive(Chat(backend, memory), "Hello")
    turn = {"backend": "fake", "outcome": "ended"}
    assert 3 == metrics.value("turns_total", **turn)
    assert 3 == metrics.value("turn_seconds_count", **turn)
    assert 3 == metrics.value("requests_total", backend="fake")
    assert 3 == metrics.value("first_piece_seconds_count", backend="fake")
    assert 6 == metrics.value("step_seconds_count", step="append")
    assert 3 == metrics.value("step_seconds_count", step="commit")
    told = {
        "prompt_tokens": 300,
        "cached_tokens": 180,
        "cache_write_tokens": 90,
        "reply_tokens": 60,
        "reasoning_tokens": 15,
        "cost_dollars": 0.75,
    }
    for name, total in told.items():
        assert total == metrics.value(f"{name}_total", backend="fake")
    assert 3 == metrics.value("messages_total", role="user")
    assert 3 == metrics.value("messages_total", role="assistant")
    stats = memory.stats
    assert stats.tokens_seen == metrics.value("message_tokens_total")
    assert stats.contexts == metrics.value("contexts_total")
    assert stats.contexts == metrics.value("context_tokens_count")
    assert stats.context_tokens == metrics.value("tokens_total")
    assert stats.context_tokens == metrics.value("context_tokens_sum")
    assert stats.stable_tokens == metrics.value("stable_tokens_total")
    assert 3 * 4_000 == metrics.value("budget_tokens_total")


def test_what_a_memory_does_is_counted_as_in_its_stats(metrics: Metrics) -> None:
    """Evictions, summaries, recall, clips, fallbacks and forgetting: the same numbers."""
    memory = Memory(
        400,
        "rolling_summary",
        counter=quarter,
        recall=Recall(gate=0),
        oversize="clip",
        observers=[metrics.observer],
    )
    chat = Chat(ScriptedBackend(*(prose(50 + i, 40) for i in range(30))), memory)
    for i in range(30):
        chat.send(f"Question {i} about {1000 + i}: " + prose(i, 60))
    memory.append(Message.assistant(tool_calls=[ToolCall("1", "f")]))
    memory.append(Message.user("word " * 4_000))
    memory.forget(3)
    stats = memory.stats
    policy = {"policy": "rolling_summary"}
    assert stats.evictions == metrics.value("evictions_total", **policy)
    assert stats.blocks_evicted == metrics.value("evicted_blocks_total", **policy)
    assert stats.tokens_evicted == metrics.value("evicted_tokens_total", **policy)
    assert stats.recalled == metrics.value("recalled_total")
    assert 1 == metrics.value("clipped_total") == stats.clipped
    assert 1 == metrics.value("unanswered_total") == stats.unanswered
    assert 1 == metrics.value("forgotten_total") == stats.forgotten
    assert stats.facts_dropped == metrics.value("facts_dropped_total")
    assert stats.summaries > 10
    assert 0 < (metrics.value("summaries_total") or 0) <= stats.summaries
    assert 0 == stats.observer_errors
    for what, count in stats.fallbacks.items():
        assert count == metrics.value("fallbacks_total", what=what)


@each_drive
@pytest.mark.parametrize(("interrupted", "outcome"), [("discard", "failed"), ("keep", "kept")])
def test_a_failure_is_counted_once(
    drive: Drive, interrupted: str, outcome: str, metrics: Metrics
) -> None:
    """By the error's class; a partial reply that is kept is one turn, and no usage."""
    memory = Memory(2_000, observers=[metrics.observer])
    script: Any = [Delta("Once ", usage=Usage(70, 1)), ConnectionError("gone")]
    with pytest.raises(Interrupted):
        drive(Chat(ScriptedBackend(script), memory, interrupted=interrupted), "Hello")
    text = generate_latest(metrics.registry).decode()
    turns = [line for line in text.splitlines() if line.startswith("finite_memory_turns_total")]
    assert [f'finite_memory_turns_total{{backend="scripted",outcome="{outcome}"}} 1.0'] == turns
    assert 1 == metrics.value("errors_total", error="Interrupted")
    assert None is metrics.value("prompt_tokens_total", backend="scripted")


def test_a_cancelled_turn_is_counted_as_such(metrics: Metrics) -> None:
    """Whoever no longer wants a reply did not fail."""
    memory = Memory(2_000, observers=[metrics.observer])

    async def cancel() -> None:
        waiting = asyncio.Event()

        class Slow(Fake):
            async def astream(self, context: Context):  # type: ignore[no-untyped-def]
                waiting.set()
                await asyncio.Event().wait()
                yield Delta("Never.")

        task = asyncio.create_task(Chat(Slow(lambda _: []), memory).asend("Hello"))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert 1 == metrics.value("turns_total", backend="fake", outcome="cancelled")


@each_drive
def test_overflows_and_requests(drive: Drive, metrics: Metrics) -> None:
    """A context that was sent again, shorter, is two requests and one overflow."""
    errors = iter([ContextOverflowError("too long", limit=100, actual=150), None])

    def answer(context: Context) -> Iterator[Delta]:
        error = next(errors)
        if error is not None:
            raise error
        yield Delta("Fine.", finish="stop")

    drive(Chat(Fake(answer), talked(observers=[metrics.observer])), "Hello")
    assert 2 == metrics.value("requests_total", backend="fake")
    assert 1 == metrics.value("overflows_total")


def test_one_observer_serves_many_memories(metrics: Metrics) -> None:
    """No label tells sessions apart, so the number of series does not grow with them."""
    for i in range(3):
        memory = Memory(2_000, session_id=f"session-{i}", observers=[metrics.observer])
        Chat(ScriptedBackend("Hi."), memory).send("secret question")
    assert 3 == metrics.value("turns_total", backend="scripted", outcome="ended")
    text = generate_latest(metrics.registry).decode()
    assert "session-" not in text
    assert "secret" not in text


def test_every_measure_is_a_metric_with_its_help(metrics: Metrics) -> None:
    """Names follow Prometheus: seconds and totals say so."""
    text = generate_latest(metrics.registry).decode()
    for measure in MEASURES:
        assert f"# HELP {measure.prometheus} {measure.help}" in text
        assert f"# TYPE {measure.prometheus} {'histogram' if measure.bounds else 'counter'}" in text
    assert len(MEASURES) == len({measure.prometheus for measure in MEASURES})
    assert f"PrometheusObserver({len(MEASURES)} metrics)" == repr(metrics.observer)


def test_an_observer_that_fails_hurts_no_turn(metrics: Metrics) -> None:
    """It is counted and logged; the turn is recorded, and the next observer hears of it."""

    def fail(event: object) -> None:
        raise RuntimeError("collector down")

    memory = Memory(2_000, observers=[fail, metrics.observer])
    assert "Hi." == Chat(ScriptedBackend("Hi."), memory).send("Hello").text
    assert 3 == memory.stats.observer_errors
    assert 1 == metrics.value("turns_total", backend="scripted", outcome="ended")
    with pytest.raises(BackendError, match="boom"):
        Chat(ScriptedBackend(ValueError("boom")), memory).send("Hello")
