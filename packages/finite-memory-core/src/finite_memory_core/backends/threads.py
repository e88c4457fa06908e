"""A blocking iterator for an event loop: its steps run in threads, one after the other.

Knows nothing of replies. What makes it safe is who may touch the iterator: the step under way, or,
between two steps, the event loop. Whoever leaves during a step leaves the closing to that step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextvars import copy_context
from threading import Lock
from typing import Generic, TypeVar

from .closing import closed_after

Item = TypeVar("Item")


class Steps(Generic[Item]):
    """Steps through what `make` returns; `make` is called in the first step, in a thread too.

    All steps share one copy of the context variables of whoever made this.
    """

    def __init__(self, make: Callable[[], Iterable[Item]]) -> None:
        self._items = _generator(make)
        self._context = copy_context()
        self._lock = Lock()
        self._busy = self._left = False

    async def next(self) -> list[Item]:
        """Return the next item in a list, an empty list behind the last one."""
        import asyncio  # slow to import, and whoever awaits has it already

        return await asyncio.get_running_loop().run_in_executor(None, self._step)

    def leave(self) -> None:
        """Close the iterator: now, or when the step that is under way has ended."""
        with self._lock:
            self._left = True
            busy = self._busy
        if not busy:
            self._context.run(self._items.close)

    def _step(self) -> list[Item]:
        with self._lock:
            if self._left:
                return []
            self._busy = True
        try:
            return [self._context.run(next, self._items)]
        except StopIteration:  # a future cannot carry it
            return []
        finally:
            self._end_step()

    def _end_step(self) -> None:
        with self._lock:
            self._busy = False
            left = self._left
        if left:
            self._context.run(self._items.close)


def _generator(make: Callable[[], Iterable[Item]]) -> Generator[Item, None, None]:
    """Yield from what `make` returns: here a stray StopIteration becomes a RuntimeError."""
    with closed_after(make()) as items:
        for item in items:  # noqa: UP028  # `yield from` would close it a second time
            yield item
