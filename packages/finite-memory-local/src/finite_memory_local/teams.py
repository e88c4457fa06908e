"""PyTorch's helpers on a CPU, and replies that are made in a thread of their own.

Each thread that computes gets a team of helpers by OpenMP, and keeps it. As soon as the teams of a
process have more threads than the machine has CPUs, GNU's OpenMP, which PyTorch brings on Linux,
lets helpers sleep between two operations instead of waiting a moment for the next, and waking them
costs more than most operations of a token take. On two CPUs that is the case as soon as two threads
have computed: whoever loaded the model, and the one that makes a reply.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

_SOFT = 1
"""`omp_pause_soft`: settings, such as the number of threads, stay."""


def dismiss() -> bool:
    """Let the calling thread's helpers go; its next operation brings them back.

    By `omp_pause_resource_all` of OpenMP 5.0, section 3.2.44, if the process has one that everybody
    sees. Where it has none (macOS, Windows), other rules hold, and nothing happens; nor in a
    process that was forked, which would wait without end for helpers of its parent.

    Returns:
        Whether there are no helpers now.
    """
    if _forked:
        return False
    pause = _pause()
    return pause is not None and pause(_SOFT) == 0


_forked = False


def _note_fork() -> None:
    global _forked  # noqa: PLW0603  # of the process, as helpers are
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@cache
def _pause() -> Any:
    """Return the function, or None."""
    try:
        return getattr(ctypes.CDLL(None), "omp_pause_resource_all", None)
    except (OSError, TypeError):  # Windows knows no library of everybody
        return None
