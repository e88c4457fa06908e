"""On what the figures were measured."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path


def describe(command: str) -> str:
    """Return one paragraph: when, on what, and by which command."""
    return (
        f"Measured on {datetime.now(UTC):%d %B %Y} with `{command}`: "
        f"{platform.python_implementation()} {platform.python_version()}, {processor()}, "
        f"{os.cpu_count()} logical CPUs, "
        f"{platform.system()} {platform.machine()}."
    )


def processor() -> str:
    """Return the processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or "unknown processor"


def resident_bytes() -> int:
    """Return the memory that this process holds now, in bytes (Linux), or its peak elsewhere."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1_024
