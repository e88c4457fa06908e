"""Measures for Prometheus, by its own client (extra ``prometheus``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingExtraError
from ..events import MemoryEvent
from .measures import MEASURES, measured

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram


class PrometheusObserver:
    """Counts what memories and chats do; `docs/telemetry.md` lists the metrics.

    One is enough for a process, whatever the number of memories: no label tells sessions apart,
    for each would be a series of its own, for ever.

    Args:
        registry: where the metrics are registered; None for the client's default one.

    Raises:
        MissingExtraError: ``prometheus_client`` is not installed.
        ValueError: the registry has these metrics already.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import REGISTRY, Counter, Histogram
        except ImportError as error:
            raise MissingExtraError(
                "PrometheusObserver needs the package 'prometheus_client', which is not "
                'installed; run: pip install "finite-memory-core[prometheus]"'
            ) from error
        where = REGISTRY if registry is None else registry
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for measure in MEASURES:
            name, told, labels = measure.prometheus, measure.help, measure.labels
            if measure.bounds:
                made = Histogram(name, told, labels, registry=where, buckets=measure.bounds)
                self._histograms[measure.name] = made
            else:
                self._counters[measure.name] = Counter(name, told, labels, registry=where)

    def __call__(self, event: MemoryEvent, /) -> None:
        """Add what `event` tells."""
        for name, value, labels in measured(event):
            histogram = self._histograms.get(name)
            if histogram is not None:
                (histogram.labels(**labels) if labels else histogram).observe(value)
            else:
                counter = self._counters[name]
                (counter.labels(**labels) if labels else counter).inc(value)

    def __repr__(self) -> str:
        return f"PrometheusObserver({len(MEASURES)} metrics)"
