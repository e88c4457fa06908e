"""A generator's work in a thread of its own: it is never held up by a reader who takes a break.

Knows nothing of models. Whoever leaves early tells the work to stop and waits for its next step;
work that has not begun, because it waits its turn, is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wanted:
    """Whether somebody still wants what the work makes.

    Attributes:
        stopping: set when nobody does.
    """

    def __init__(self) -> None:
        self.stopping = Event()
        self._begun = Event()

    def begins(self) -> bool:
        """Say that whoever leaves must wait from here on; returns False if nobody is there."""
        self._begun.set()
        return not self.stopping.is_set()

    def leave(self) -> bool:
        """Want no more; returns whether the work has begun.

        Each side sets its own event before it looks at the other's, so that work which is not
        waited for cannot begin.
        """
        self.stopping.set()
        return self._begun.is_set()


class Worker(Generic[Item]):
    """Runs `work(emit, wanted)` in a thread and iterates over what it emits.

    Args:
        work: asks `wanted.begins()` before it changes anything, calls its first argument with every
            item, and returns soon after `wanted.stopping` is set.
    """

    def __init__(self, work: Callable[[Callable[[Item], None], Wanted], None]) -> None:
        self._work = work
        self._items: SimpleQueue[Item | _End] = SimpleQueue()
        self._wanted = Wanted()

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
            if self._wanted.leave():
                thread.join()

    def _run(self) -> None:
        end = _End(None)
        try:
            self._work(self._items.put, self._wanted)
        except BaseException as error:  # noqa: BLE001  # it is raised where the items are read
            end = _End(error)
        self._items.put(end)


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
