"""A generator's work in a thread of its own: it is never held up by a reader who takes a break.

Knows nothing of models. Whoever leaves early tells the work to stop and waits for its next step;
work that has not begun, because it waits its turn, is not waited for. An event loop reads in the
same way, and goes on while one of its readers waits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import copy_context
from queue import SimpleQueue
from threading import Event, Thread, current_thread, main_thread
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stopping(Event):
    """Set when nobody wants the rest, be it that whoever could read it has ended.

    Python waits at its exit for the work's thread, while an iterator that nobody closed may stand
    in a variable: from then on only a thread that still reads wants the work.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reader = current_thread()

    def read(self) -> None:
        """Say that the calling thread reads."""
        self._reader = current_thread()

    def is_set(self) -> bool:
        """Whether nobody wants the rest."""
        return super().is_set() or not (main_thread().is_alive() or self._reader.is_alive())


class Wanted:
    """Whether somebody still wants what the work makes.

    Attributes:
        stopping: set when nobody does.
    """

    def __init__(self) -> None:
        self.stopping = Stopping()
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
    """Runs `work(emit, wanted)` in a thread and iterates over what it emits, once.

    Args:
        work: asks `wanted.begins()` before it changes anything, calls its first argument with every
            item, and returns soon after `wanted.stopping` is set.
    """

    def __init__(self, work: Callable[[Callable[[Item], None], Wanted], None]) -> None:
        self._work = work
        self._wanted = Wanted()

    def items(self) -> Iterator[Item]:
        """Yield the items; what the work raises is raised here."""
        items: SimpleQueue[Item | _End] = SimpleQueue()
        thread = self._thread(items.put)
        try:
            thread.start()  # an interrupt may come when it runs already
            while not isinstance(item := items.get(), _End):
                yield item
                self._wanted.stopping.read()
            if item.error is not None:
                raise item.error
        finally:
            if self._wanted.leave():  # what has begun was started
                thread.join()

    async def aitems(self) -> AsyncGenerator[Item, None]:
        """Yield the same on an event loop, which goes on meanwhile.

        Whoever is cancelled once more, while the work ends, waits no longer; it ends by itself.
        """
        import asyncio  # slow to import, and whoever awaits has it already

        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Item | _End] = asyncio.Queue()

        def put(item: Item | _End) -> None:
            try:
                loop.call_soon_threadsafe(items.put_nowait, item)
            except RuntimeError:
                if not loop.is_closed():
                    raise
                self._wanted.stopping.set()  # nobody can read any more

        has_ended = False
        try:
            self._thread(put).start()
            while not isinstance(item := await items.get(), _End):
                yield item
                self._wanted.stopping.read()
            has_ended = True
            if item.error is not None:
                raise item.error
        finally:
            if self._wanted.leave():
                while not has_ended and not loop.is_closed():
                    has_ended = isinstance(await items.get(), _End)

    def _thread(self, put: Callable[[Item | _End], None]) -> Thread:
        """Return a thread that is to do the work and put what it makes, and the end."""
        self._wanted.stopping.read()
        return Thread(target=copy_context().run, args=(self._run, put), name="finite-memory-local")

    def _run(self, put: Callable[[Item | _End], None]) -> None:
        end = _End(None)
        try:
            self._work(put, self._wanted)
        except BaseException as error:  # noqa: BLE001  # it is raised where the items are read
            end = _End(error)
        put(end)


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
