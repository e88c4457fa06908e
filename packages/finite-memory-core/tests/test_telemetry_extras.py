"""Telemetry without its extras: the package imports, and an observer says what to install."""

from __future__ import annotations

import sys

import pytest

from finite_memory_core import MissingExtraError
from finite_memory_core.telemetry import OpenTelemetryObserver, PrometheusObserver


@pytest.mark.parametrize(
    ("observer", "package", "extra"),
    [
        (OpenTelemetryObserver, "opentelemetry", "opentelemetry"),
        (PrometheusObserver, "prometheus_client", "prometheus"),
    ],
)
def test_a_missing_package_names_its_extra(
    observer: type, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is an ImportError too, and can be pasted into a shell."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "finite-memory-core\[{extra}\]"'):
        observer()
