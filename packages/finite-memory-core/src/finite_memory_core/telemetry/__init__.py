"""Telemetry: observers that tell other systems what memories and chats do.

Hand them to `Memory(observers=[...])`. Importing this package needs nothing else; making an
observer needs its extra. None of them tells what was said, unless it is asked to.
"""

from __future__ import annotations

from .measures import MEASURES, Measure
from .opentelemetry import OpenTelemetryObserver
from .prometheus import PrometheusObserver
from .recorder import TurnRecorder

__all__ = [
    "MEASURES",
    "Measure",
    "OpenTelemetryObserver",
    "PrometheusObserver",
    "TurnRecorder",
]
