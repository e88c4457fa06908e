"""Closing what yields a reply, however the block that used it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def closed_after(pieces: T) -> Iterator[T]:
    """Close `pieces`, if that can be, behind the block.

    What ended the block is never hidden by a failure to close: a Ctrl-C stays one.
    """
    try:
        yield pieces
    except BaseException as error:
        with _noting(error):
            _close(pieces)
        raise
    _close(pieces)


@asynccontextmanager
async def aclosed_after(pieces: T) -> AsyncIterator[T]:
    """Do the same with `aclose`."""
    try:
        yield pieces
    except BaseException as error:
        with _noting(error):
            await _aclose(pieces)
        raise
    await _aclose(pieces)


@contextmanager
def _noting(error: BaseException) -> Iterator[None]:
    try:
        yield
    except Exception as other:
        if isinstance(error, GeneratorExit):  # nobody reads a note on this one
            raise
        error.add_note(f"closing the reply failed too: {type(other).__name__}: {other}")


def _close(pieces: Any) -> None:
    if hasattr(pieces, "close"):
        pieces.close()


async def _aclose(pieces: Any) -> None:
    if hasattr(pieces, "aclose"):
        await pieces.aclose()
