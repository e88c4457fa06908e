"""A generator's work in a thread of its own: it is never held up by a reader who takes a break.

Knows nothing of models. Whoever leaves early tells the work to stop and waits for its next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Runs `work(emit, stopping)` in a thread and iterates over what it emits.

    Args:
        work: calls its first argument with every item, and returns soon after the second, an
            event, is set.
    """

    def __init__(self, work: Callable[[Callable[[Item], None], Event], None]) -> None:
        self._work = work
        self._items: SimpleQueue[Item | _End] = SimpleQueue()
        self._stopping = Event()

    def items(self) -> Iterator[Item]:
        """Yield the items; what the work raises is raised here."""
        context = copy_context()
        thread = Thread(target=context.run, args=(self._run,), name="finite-memory-local")
        thread.start()
        try:
            while not isinstance(item := self._items.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        end = _End(None)
        try:
            self._work(self._items.put, self._stopping)
        except BaseException as error:  # noqa: BLE001  # it is raised where the items are read
            end = _End(error)
        self._items.put(end)


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
