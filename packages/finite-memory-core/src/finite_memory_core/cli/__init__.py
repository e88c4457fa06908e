"""The ``finite-memory`` command: chat with a bounded memory, replay transcripts, look into stores.

One file a command; each has `configure`, which adds its options to a parser, and `run`. Nothing of
the command line is used by the library.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments, without the program's name; None for this process's.

    Returns:
        0 if all went well, 1 if something failed, 2 if the arguments or the input are at fault,
        130 if the user interrupted.
    """
    from .app import run  # so that importing this package costs nothing

    return run(argv)
