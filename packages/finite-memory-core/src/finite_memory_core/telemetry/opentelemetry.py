"""Traces and metrics for OpenTelemetry, by its API (extra ``opentelemetry``).

Names follow the GenAI semantic conventions (`open-telemetry/semantic-conventions-genai`, as they
stood in November 2026, all of them still "development"); what these do not know is called
``finite_memory.*``. Where spans and metrics go is the application's choice of an SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError
from ..events import MemoryEvent, TurnEnded, TurnFailed
from ..tracing import Step, TurnTrace
from .content import asked, found, said, tool_definitions
from .measures import MEASURES, SECONDS, TOKENS, measured, outcome

if TYPE_CHECKING:
    from opentelemetry.context import Context as Parent
    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, SpanKind, TracerProvider

    from ..chat import Reply
    from ..context import Context

SCOPE = "finite_memory_core"
"""The instrumentation scope of all spans and metrics."""
USAGE = {
    "input_tokens": "Tokens of prompts, those that a cache served included.",
    "output_tokens": "Tokens of replies, reasoning included.",
    "cache_read.input_tokens": "Tokens of prompts that the provider's cache served.",
    "cache_write.input_tokens": "Tokens of prompts that were written to the provider's cache.",
    "reasoning.output_tokens": "Tokens of replies that were reasoning.",
}
"""The conventions' counters ``gen_ai.client.inference.usage.*``, which spans have too."""
PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""What the conventions call a provider, by the prefix of our backend's name, where they differ."""

Attributes = dict[str, Any]


class OpenTelemetryObserver:
    """Makes spans of turns, and metrics of everything; `docs/telemetry.md` lists them.

    A turn's spans are made when it has ended, with the times that it took, under the span that is
    current then. So they cannot be the parents of spans that another instrumentation makes
    meanwhile (of HTTP requests, say): those stand beside them.

    Args:
        tracer_provider: makes the spans; None for the global one.
        meter_provider: takes the metrics; None for the global one.
        content: whether what was said, recalled and offered as tools goes into spans. It is
            likely to be personal, and large; the conventions leave it out unless it is asked for.
        provider: the provider's name, where the backend's does not tell it.

    Raises:
        MissingExtraError: ``opentelemetry-api`` is not installed.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        content: bool = False,
        provider: str | None = None,
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise MissingExtraError(
                "OpenTelemetryObserver needs the package 'opentelemetry-api', which is not "
                'installed; run: pip install "finite-memory-core[opentelemetry]"'
            ) from error
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._content = content
        self._provider = provider
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._own = _own_metrics(meter)
        self._requests = _Requests(meter)

    def __call__(self, event: MemoryEvent, /) -> None:
        """Add what `event` tells, and make the spans of a turn that has ended."""
        for name, value, labels in measured(event):
            metric = self._own.get(name)
            if metric is not None:
                metric(value, {f"finite_memory.{label}": said for label, said in labels.items()})
        if isinstance(event, TurnEnded | TurnFailed) and event.trace is not None:
            self._turn(event, event.trace)

    def __repr__(self) -> str:
        return f"OpenTelemetryObserver(content={self._content})"

    # -- one turn -------------------------------------------------------------------------------

    def _turn(self, event: TurnEnded | TurnFailed, trace: TurnTrace) -> None:
        from opentelemetry.trace import SpanKind

        came_out = outcome(event)
        attributes: Attributes = {
            "gen_ai.conversation.id": event.session_id,
            "finite_memory.outcome": came_out,
            "finite_memory.backend": trace.backend,
        }
        error = None if isinstance(event, TurnEnded) else type(event.error).__name__
        whole = Step("turn", 0.0, trace.seconds, error)
        root = self._start("finite_memory.turn", trace, whole, SpanKind.INTERNAL, attributes)
        made: dict[int, Span] = {}
        for i in _outer_first(trace.steps):
            outer = _outer(trace.steps, i)
            parent = root if outer is None else made[outer]
            made[i] = self._step(event, trace, i, parent)
        for i, span in made.items():
            self._end(span, trace, trace.steps[i])
        self._end(root, trace, whole)

    def _step(self, event: TurnEnded | TurnFailed, trace: TurnTrace, i: int, parent: Span) -> Span:
        from opentelemetry.trace import SpanKind

        step = trace.steps[i]
        if step.name == "backend":
            return self._request(event, trace, step, parent)
        name, attributes = f"finite_memory.{step.name}", _decision(step)
        if step.name == "recall":
            name = "search_memory"
            attributes = self._search(event.session_id, _next_context(trace.steps[i:]))
        return self._start(name, trace, step, SpanKind.INTERNAL, attributes, parent)

    def _request(
        self, event: TurnEnded | TurnFailed, trace: TurnTrace, step: Step, parent: Span
    ) -> Span:
        """Start a span of one request to the backend, and record its metrics."""
        from opentelemetry.trace import SpanKind

        prefix = trace.backend.partition(":")[0]
        common: Attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._provider or PROVIDERS.get(prefix, prefix),
        }
        if trace.model is not None:
            common["gen_ai.request.model"] = trace.model
        ended_well = isinstance(event, TurnEnded) and step.error is None
        reply = event.reply if isinstance(event, TurnEnded) and ended_well else None
        usage = _usage(reply)
        self._requests.record(common, step, usage, streamed=trace.streamed)
        attributes = {
            **common,
            "gen_ai.conversation.id": event.session_id,
            **{f"gen_ai.usage.{name}": count for name, count in usage.items()},
            **_about_context(step.context),
        }
        if trace.streamed:
            attributes["gen_ai.request.stream"] = True
            if step.first is not None:
                attributes["gen_ai.response.time_to_first_chunk"] = step.first
        finish = "error" if reply is None else reply.finish
        if finish:
            attributes["gen_ai.response.finish_reasons"] = [finish]
        if self._content:
            attributes |= self._texts(step.context, reply)
        name = "chat" if trace.model is None else f"chat {trace.model}"
        kind = SpanKind.INTERNAL if prefix == "hf" else SpanKind.CLIENT
        return self._start(name, trace, step, kind, attributes, parent)

    def _texts(self, context: Context | None, reply: Reply | None) -> Attributes:
        """Return what was said, in the shapes of the conventions."""
        texts: Attributes = {}
        if context is not None:
            texts["gen_ai.input.messages"] = asked(context)
            if context.tools:
                texts["gen_ai.tool.definitions"] = tool_definitions(context.tools)
        if reply is not None:
            texts["gen_ai.output.messages"] = said(reply)
        return texts

    def _search(self, session_id: str, context: Context | None) -> Attributes:
        attributes: Attributes = {
            "gen_ai.operation.name": "search_memory",
            "gen_ai.conversation.id": session_id,
        }
        if context is None:
            return attributes
        attributes["gen_ai.memory.record.count"] = len(context.recalled)
        if self._content:
            query, records = found(context)
            attributes["gen_ai.memory.query.text"] = query
            attributes["gen_ai.memory.records"] = records
        return attributes

    # -- spans ----------------------------------------------------------------------------------

    def _start(
        self,
        name: str,
        trace: TurnTrace,
        step: Step,
        kind: SpanKind,
        attributes: Attributes,
        parent: Span | None = None,
    ) -> Span:
        from opentelemetry.trace import set_span_in_context

        within: Parent | None = None if parent is None else set_span_in_context(parent)
        if step.error is not None:
            attributes["error.type"] = step.error
        start = _nanoseconds(trace.began + step.start)
        return self._tracer.start_span(
            name, context=within, kind=kind, attributes=attributes, start_time=start
        )

    def _end(self, span: Span, trace: TurnTrace, step: Step) -> None:
        from opentelemetry.trace import Status, StatusCode

        if step.error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=_nanoseconds(trace.began + step.start + step.seconds))


class _Requests:
    """The conventions' metrics of requests to models."""

    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, unit: str, told: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(
                f"gen_ai.client.inference.{name}",
                unit=unit,
                description=told,
                explicit_bucket_boundaries_advisory=bounds,
            )

        self._duration = histogram("duration", "s", "How long requests took.", SECONDS)
        self._first = histogram(
            "time_to_first_chunk", "s", "Until the first piece of a streamed reply.", SECONDS
        )
        self._sizes = {
            name: histogram(f"operation.{name}", "{token}", "Tokens of one request.", TOKENS)
            for name in ("input_tokens", "output_tokens")
        }
        self._usage: dict[str, Counter] = {
            name: meter.create_counter(
                f"gen_ai.client.inference.usage.{name}", unit="{token}", description=told
            )
            for name, told in USAGE.items()
        }

    def record(
        self, common: Attributes, step: Step, usage: Mapping[str, int], *, streamed: bool
    ) -> None:
        error = {} if step.error is None else {"error.type": step.error}
        self._duration.record(step.seconds, {**common, **error})
        if streamed and step.first is not None:
            self._first.record(step.first, common)
        for name, size in self._sizes.items():
            size.record(usage.get(name, 0), {**common, **error})
        for name, counter in self._usage.items():
            counter.add(usage.get(name, 0), {**common, "gen_ai.token.modality": "unknown"})


def _own_metrics(meter: Meter) -> dict[str, Any]:
    """Return what takes a value and attributes, by the measure's name."""
    made: dict[str, Any] = {}
    for measure in MEASURES:
        if measure.standard:
            continue
        name, unit, told = measure.opentelemetry, measure.unit, measure.help
        if measure.bounds:
            made[measure.name] = meter.create_histogram(
                name,
                unit=unit,
                description=told,
                explicit_bucket_boundaries_advisory=measure.bounds,
            ).record
        else:
            made[measure.name] = meter.create_counter(name, unit=unit, description=told).add
    return made


def _usage(reply: Reply | None) -> dict[str, int]:
    """Return what a reply cost, by the conventions' names; what was not reported is left out."""
    usage = None if reply is None else reply.usage
    if usage is None:
        return {}
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    return {name: count for name, count in zip(USAGE, counts, strict=True) if count is not None}


def _about_context(context: Context | None) -> Attributes:
    if context is None:
        return {}
    told: Attributes = {
        "finite_memory.context.tokens": context.token_count,
        "finite_memory.context.stable_tokens": context.stable_tokens,
        "finite_memory.budget": context.budget,
    }
    if context.explain() is not None:
        told["gen_ai.conversation.compacted"] = True
    return told


def _decision(step: Step) -> Attributes:
    eviction = step.eviction
    if eviction is None:
        return {}
    left = [decision for decision in eviction.decisions if not decision.kept]
    return {
        "finite_memory.policy": eviction.policy,
        "finite_memory.evicted.blocks": len(left),
        "finite_memory.evicted.tokens": sum(decision.tokens for decision in left),
    }


def _next_context(steps: tuple[Step, ...]) -> Context | None:
    return next((step.context for step in steps if step.context is not None), None)


def _outer(steps: tuple[Step, ...], i: int) -> int | None:
    """Return which later step the step `i` is a part of; None for none."""
    start = steps[i].start
    return next((k for k in range(i + 1, len(steps)) if steps[k].start <= start), None)


def _outer_first(steps: tuple[Step, ...]) -> list[int]:
    """Return the places of steps, such that each stands behind the one that it is a part of."""
    return sorted(range(len(steps)), key=lambda i: (steps[i].start, -i))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
