"""Spans and metrics, as the OpenTelemetry SDK gets them, of real chats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry import trace as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from finite_memory_core import (
    Backend,
    BudgetError,
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
from finite_memory_core.telemetry import MEASURES, OpenTelemetryObserver
from finite_memory_core.testing import ScriptedBackend

from .strategies import prose, quarter
from .turns import DRIVES, Drive, Fake, talked

each_drive = pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)
USAGE = Usage(100, 20, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=5, cost=0.25)


class Telemetry(NamedTuple):
    """An observer, and what the SDK got from it."""

    tracing: TracerProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    metering: MeterProvider

    def observer(self, **settings: Any) -> OpenTelemetryObserver:
        """Return an observer that tells this SDK."""
        return OpenTelemetryObserver(
            tracer_provider=self.tracing, meter_provider=self.metering, **settings
        )

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return the finished spans, by their beginning."""
        found = [s for s in self.exporter.get_finished_spans() if name in (None, s.name)]
        return sorted(found, key=lambda span: span.start_time or 0)

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Return the attributes and the sum of each point of a metric."""
        data = self.reader.get_metrics_data()
        found: list[Any] = []
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += metric.data.data_points
        return [
            (dict(p.attributes or {}), p.value if hasattr(p, "value") else p.sum) for p in found
        ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """A tracer and a meter that keep what they get."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    metering = MeterProvider([reader])
    yield Telemetry(tracing, exporter, reader, metering)
    metering.shutdown()
    tracing.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    """Return the id of the span that it is a part of."""
    return None if span.parent is None else span.parent.span_id


def identity(span: ReadableSpan) -> int:
    """Return a span's id."""
    assert span.context is not None
    return int(span.context.span_id)


class Model(Fake):
    """A backend with the name and the model of a provider."""

    name = "mistral:large"
    model = "large"


@each_drive
def test_a_turn_is_a_tree_of_spans(drive: Drive, telemetry: Telemetry) -> None:
    """The turn under the caller's span, its steps under it, each inside the time of its parent."""
    backend = Model(lambda _: [Delta("Well, "), Delta("hello.", finish="length", usage=USAGE)])
    memory = Memory(4_000, observers=[telemetry.observer()], session_id="s")
    tracer = telemetry.tracing.get_tracer("caller")
    with tracer.start_as_current_span("caller") as caller:
        drive(Chat(backend, memory), "Hello")
    (turn,) = telemetry.spans("finite_memory.turn")
    assert caller.get_span_context().span_id == parent(turn)
    assert {
        "gen_ai.conversation.id": "s",
        "finite_memory.outcome": "ended",
        "finite_memory.backend": "mistral:large",
    } == attributes(turn)
    (chat,) = telemetry.spans("chat large")
    assert api.SpanKind.CLIENT is chat.kind
    streamed = drive in (DRIVES["stream"], DRIVES["astream"])
    told = attributes(chat)
    first = told.pop("gen_ai.response.time_to_first_chunk", None)
    assert streamed == (first is not None)
    assert (True if streamed else None) == told.pop("gen_ai.request.stream", None)
    context = memory.context()
    assert context.token_count > told.pop("finite_memory.context.tokens") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": "large",
        "gen_ai.conversation.id": "s",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "gen_ai.response.finish_reasons": ("length",),
        "finite_memory.context.stable_tokens": 0,
        "finite_memory.budget": 4_000,
    }
    steps = [span for span in telemetry.spans() if identity(turn) == parent(span)]
    assert ["append", "chat large", "append", "commit"] == [
        span.name.removeprefix("finite_memory.") for span in steps
    ]
    for span in steps:
        assert (turn.start_time or 0) <= (span.start_time or 0)
        assert (span.end_time or 0) <= (turn.end_time or 0)


@each_drive
def test_requests_are_measured_as_the_conventions_say(drive: Drive, telemetry: Telemetry) -> None:
    """Duration, sizes and usage, with the conventions' attributes; the first piece if streamed."""
    memory = Memory(4_000, observers=[telemetry.observer(provider="mine")])
    drive(Chat(Model(lambda _: [Delta("Hi.", finish="stop", usage=USAGE)]), memory), "Hello")
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mine",
        "gen_ai.request.model": "large",
    }
    prefix = "gen_ai.client.inference."
    (span,) = telemetry.spans("chat large")
    ((labels, seconds),) = telemetry.points(prefix + "duration")
    assert common == labels
    assert pytest.approx(seconds, abs=1e-6) == ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    assert [(common, 100)] == telemetry.points(prefix + "operation.input_tokens")
    assert [(common, 20)] == telemetry.points(prefix + "operation.output_tokens")
    counted = {**common, "gen_ai.token.modality": "unknown"}
    expected = {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read.input_tokens": 60,
        "cache_write.input_tokens": 30,
        "reasoning.output_tokens": 5,
    }
    for name, tokens in expected.items():
        assert [(counted, tokens)] == telemetry.points(f"{prefix}usage.{name}")
    streamed = drive in (DRIVES["stream"], DRIVES["astream"])
    assert streamed == bool(telemetry.points(prefix + "time_to_first_chunk"))


def test_evictions_summaries_and_recall_are_spans(telemetry: Telemetry) -> None:
    """What the policy decided, inside the append that needed room; what was found, by its count."""
    memory = Memory(
        300,
        "rolling_summary",
        counter=quarter,
        recall=Recall(gate=0),
        observers=[telemetry.observer()],
    )
    chat = Chat(ScriptedBackend(*(prose(50 + i, 40) for i in range(20))), memory)
    for i in range(20):
        chat.send(f"Question {i}: " + prose(i, 60))
    appends = {identity(span) for span in telemetry.spans("finite_memory.append")}
    policies = telemetry.spans("finite_memory.policy")
    summaries = telemetry.spans("finite_memory.summary")
    stats = memory.stats
    assert (stats.evictions, stats.summaries) == (len(policies), len(summaries))
    assert {parent(span) for span in (*policies, *summaries)} <= appends
    told = [attributes(span) for span in policies]
    assert {"rolling_summary"} == {one["finite_memory.policy"] for one in told}
    assert stats.blocks_evicted == sum(one["finite_memory.evicted.blocks"] for one in told)
    assert stats.tokens_evicted == sum(one["finite_memory.evicted.tokens"] for one in told)
    searches = [attributes(span) for span in telemetry.spans("search_memory")]
    assert 20 == len(searches)
    assert {"search_memory"} == {one["gen_ai.operation.name"] for one in searches}
    assert stats.recalled == sum(one["gen_ai.memory.record.count"] for one in searches) > 0
    compacted = [
        attributes(span).get("gen_ai.conversation.compacted") for span in telemetry.spans("chat")
    ]
    assert None is compacted[0]
    assert True is compacted[-1]
    assert {True, None} == set(compacted)
    policy = {"finite_memory.policy": "rolling_summary"}
    assert [(policy, stats.evictions)] == telemetry.points("finite_memory.evictions")
    assert [({}, stats.summaries)] == telemetry.points("finite_memory.summaries")
    assert [({}, stats.recalled)] == telemetry.points("finite_memory.recalled")
    assert [({}, stats.stable_tokens)] == telemetry.points("finite_memory.stable_tokens")


@each_drive
@pytest.mark.parametrize("interrupted", ["discard", "keep"])
def test_a_failure_is_an_error_of_its_spans(
    drive: Drive, interrupted: str, telemetry: Telemetry
) -> None:
    """Turn and request say which; nothing that the error says is told."""
    memory = Memory(2_000, observers=[telemetry.observer()])
    backend = ScriptedBackend(["Once ", ConnectionError("secret")])
    with pytest.raises(Interrupted):
        drive(Chat(backend, memory, interrupted=interrupted), "Hello")
    (turn,), (chat,) = telemetry.spans("finite_memory.turn"), telemetry.spans("chat")
    outcome = "kept" if interrupted == "keep" else "failed"
    assert outcome == attributes(turn)["finite_memory.outcome"]
    assert "Interrupted" == attributes(turn)["error.type"]
    assert "BackendError" == attributes(chat)["error.type"]
    assert ("error",) == attributes(chat)["gen_ai.response.finish_reasons"]
    assert [api.StatusCode.ERROR] * 2 == [span.status.status_code for span in (turn, chat)]
    assert "secret" not in "".join(span.to_json() for span in telemetry.spans())
    ((labels, _),) = telemetry.points("gen_ai.client.inference.duration")
    assert "BackendError" == labels["error.type"]
    assert [0] == [n for _, n in telemetry.points("gen_ai.client.inference.usage.input_tokens")]
    turns = telemetry.points("finite_memory.turns")
    assert [(outcome, 1)] == [(at["finite_memory.outcome"], n) for at, n in turns]
    assert [({"finite_memory.error": "Interrupted"}, 1)] == telemetry.points("finite_memory.errors")


def test_a_turn_that_cannot_begin_has_spans_too(telemetry: Telemetry) -> None:
    """The append is the one that failed, and no request was made."""
    memory = Memory(100, counter=quarter, observers=[telemetry.observer()])
    with pytest.raises(BudgetError):
        Chat(ScriptedBackend("Hi."), memory).send("x" * 4_000)
    told = {span.name: attributes(span)["error.type"] for span in telemetry.spans()}
    assert {"finite_memory.turn": "BudgetError", "finite_memory.append": "BudgetError"} == told


def test_a_cancelled_turn_and_a_stream_that_is_left(telemetry: Telemetry) -> None:
    """Both are told as cancelled, with what ended them."""
    memory = Memory(2_000, observers=[telemetry.observer()])
    waiting = asyncio.Event()

    class Slow(Backend):
        def stream(self, context: Context) -> Iterator[Delta]:
            yield Delta("One ")
            yield Delta("two.", finish="stop")

        async def astream(self, context: Context):  # type: ignore[no-untyped-def]
            waiting.set()
            await asyncio.Event().wait()
            yield Delta("Never.")

    async def cancel() -> None:
        task = asyncio.create_task(Chat(Slow(), memory).asend("Hello"))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    with closing(Chat(Slow(), memory).stream("Hello")) as deltas:  # type: ignore[type-var]
        next(deltas)
    turns = [attributes(span) for span in telemetry.spans("finite_memory.turn")]
    assert ["cancelled"] * 2 == [turn["finite_memory.outcome"] for turn in turns]
    errors = ["CancelledError", "GeneratorExit"]
    assert errors == [turn["error.type"] for turn in turns]
    assert errors == [attributes(span)["error.type"] for span in telemetry.spans("chat")]


@each_drive
def test_a_context_that_was_too_long_is_a_request_of_its_own(
    drive: Drive, telemetry: Telemetry
) -> None:
    """Two requests under one turn: the refused one with its error, and the shorter one."""
    errors = iter([ContextOverflowError("too long", limit=100, actual=150), None])

    def answer(context: Context) -> Iterator[Delta]:
        error = next(errors)
        if error is not None:
            raise error
        yield Delta("Fine.", finish="stop", usage=USAGE)

    memory = talked(observers=[telemetry.observer()])
    drive(Chat(Model(answer), memory), "Hello")
    refused, answered = telemetry.spans("chat large")
    assert parent(refused) == parent(answered)
    assert "ContextOverflowError" == attributes(refused)["error.type"]
    assert "gen_ai.usage.input_tokens" not in attributes(refused)
    assert 100 == attributes(answered)["gen_ai.usage.input_tokens"]
    sizes = [attributes(s)["finite_memory.context.tokens"] for s in (refused, answered)]
    assert sizes[0] > sizes[1]
    assert [({}, 1)] == telemetry.points("finite_memory.overflows")


SECRETS = ("sesame", "hippo", "quokka", "narwhal", "wombat", "ocelot")


def tell_secrets(observer: OpenTelemetryObserver) -> Memory:
    """Take turns with secrets in instructions, questions, answers, tools, names and recall."""
    tool = {"type": "function", "function": {"name": "ocelot", "description": "a wombat"}}
    memory = Memory(500, counter=quarter, recall=Recall(gate=0), tools=[tool], observers=[observer])
    memory.append(Message.system("The word is sesame."))
    memory.append(Message.user("My hippo is called Ada.", name="hippo"))
    call = ToolCall("narwhal", "ocelot", '{"animal": "quokka"}')
    script = [Delta("I look at the hippo.", (call,), finish="tool_calls")]
    chat = Chat(ScriptedBackend(script, "A quokka.", *["Noted."] * 20), memory)
    chat.send("What animal?")
    chat.send(Message.tool("a wombat", tool_call_id="narwhal"))
    for i in range(20):
        chat.send(f"The hippo number {i} says: " + prose(i, 100))
    return memory


def test_nothing_of_what_was_said_is_told_unasked(telemetry: Telemetry) -> None:
    """No span and no metric has a word of it."""
    memory = tell_secrets(telemetry.observer())
    assert memory.stats.recalled
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    told = "".join(span.to_json() for span in telemetry.spans()) + data.to_json()
    assert [] == [word for word in SECRETS if word in told]


def test_what_was_said_is_told_in_the_shapes_of_the_conventions(telemetry: Telemetry) -> None:
    """Messages with parts, calls and results; the reply with its reason; tools; what was found."""
    tell_secrets(telemetry.observer(content=True))
    first, second, *_, last = [attributes(span) for span in telemetry.spans("chat")]
    assert [
        {"role": "system", "parts": [{"type": "text", "content": "The word is sesame."}]},
        {
            "role": "user",
            "parts": [{"type": "text", "content": "My hippo is called Ada."}],
            "name": "hippo",
        },
        {"role": "user", "parts": [{"type": "text", "content": "What animal?"}]},
    ] == json.loads(first["gen_ai.input.messages"])
    call = {
        "type": "tool_call",
        "id": "narwhal",
        "name": "ocelot",
        "arguments": {"animal": "quokka"},
    }
    parts = [{"type": "text", "content": "I look at the hippo."}, call]
    assert [{"role": "assistant", "parts": parts, "finish_reason": "tool_calls"}] == json.loads(
        first["gen_ai.output.messages"]
    )
    assert [{"type": "function", "name": "ocelot", "description": "a wombat"}] == json.loads(
        first["gen_ai.tool.definitions"]
    )
    result = {"type": "tool_call_response", "id": "narwhal", "response": "a wombat"}
    assert {"role": "tool", "parts": [result]} == json.loads(second["gen_ai.input.messages"])[-1]
    searches = [attributes(span) for span in telemetry.spans("search_memory")]
    assert "What animal?" == searches[0]["gen_ai.memory.query.text"]
    records = json.loads(searches[-1]["gen_ai.memory.records"])
    assert records
    assert "hippo" in records[0]["content"]
    assert records[0]["id"].partition("/")[2].isdigit()
    assert "Noted." in last["gen_ai.output.messages"]


def test_parts_and_arguments_of_any_shape(telemetry: Telemetry) -> None:
    """Parts that are no text stay what they are, and arguments that are no JSON stay text."""
    memory = Memory(4_000, observers=[telemetry.observer(content=True)])
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    script = [Delta("", (ToolCall("1", "f", "{broken"),), finish="tool_calls")]
    chat = Chat(ScriptedBackend(script), memory)
    chat.send(Message.user([{"type": "text", "text": "Look:"}, image]))
    (told,) = [attributes(span) for span in telemetry.spans("chat")]
    (asked,) = json.loads(told["gen_ai.input.messages"])
    assert [{"type": "text", "content": "Look:"}, image] == asked["parts"]
    (said,) = json.loads(told["gen_ai.output.messages"])
    assert ["{broken"] == [part["arguments"] for part in said["parts"]]


def test_a_model_in_this_process_is_an_internal_span(telemetry: Telemetry) -> None:
    """Hugging Face models answer here; and their name is in that of the backend."""
    backend = ScriptedBackend("Hi.")
    backend.name = "hf:Qwen/Qwen3-0.6B"
    Chat(backend, Memory(2_000, observers=[telemetry.observer()])).send("Hello")
    (chat,) = telemetry.spans("chat Qwen/Qwen3-0.6B")
    assert api.SpanKind.INTERNAL is chat.kind
    assert "hf" == attributes(chat)["gen_ai.provider.name"]


def test_every_measure_without_a_convention_is_a_metric(telemetry: Telemetry) -> None:
    """Under its own name; what the conventions have a metric for is not told twice."""
    tell_secrets(telemetry.observer())
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    told = {
        metric.name
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    ours = {measure.opentelemetry for measure in MEASURES if not measure.standard}
    assert {name for name in told if name.startswith("finite_memory.")} <= ours
    assert {"finite_memory.turns", "finite_memory.step", "finite_memory.messages"} <= told


def test_without_an_sdk_nothing_happens() -> None:
    """The API alone is enough: it does nothing, and the chat goes on."""
    memory = Memory(2_000, observers=[OpenTelemetryObserver(content=True)])
    assert "Hi." == Chat(ScriptedBackend("Hi."), memory).send("Hello").text
    assert 0 == memory.stats.observer_errors
    assert "OpenTelemetryObserver(content=True)" == repr(OpenTelemetryObserver(content=True))
