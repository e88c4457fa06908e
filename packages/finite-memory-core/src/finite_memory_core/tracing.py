"""How a turn went: its steps, and how long each took. Nothing is timed where nobody listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from time import perf_counter, time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .backends.closing import aclosed_after, closed_after

if TYPE_CHECKING:
    from .backends.base import Delta
    from .context import Context
    from .eviction import Eviction
    from .messages import Message

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a turn.

    Attributes:
        name: ``"append"`` (messages are counted and placed), ``"policy"`` and ``"summary"`` (mostly
            inside an append), ``"recall"``, ``"backend"`` (one a request; while a reply is
            streamed, what the consumer does between two pieces is part of it), or ``"commit"``
            (the store's transaction).
        start: seconds from the turn's beginning.
        seconds: how long it took.
        error: the name of the exception that ended it; None where it ended well.
        first: of a backend, seconds until the first piece of the reply; None without one.
        context: of a backend, what it was shown.
        eviction: of a policy, what it decided.
    """

    name: str
    start: float
    seconds: float
    error: str | None = None
    first: float | None = None
    context: Context | None = None
    eviction: Eviction | None = None


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """How a chat's turn went.

    Attributes:
        began: when, in seconds since 1970.
        seconds: how long it took, observers aside that hear of its end.
        backend: what the backend is called.
        model: the name of its model; None where it has none.
        streamed: whether the reply was handed on piece by piece.
        said: the messages that the turn began with.
        steps: in the order in which they ended; a turn that is undone has those up to its end.
    """

    began: float
    seconds: float
    backend: str
    model: str | None
    streamed: bool
    said: tuple[Message, ...]
    steps: tuple[Step, ...]


class Stopwatch:
    """Times the steps of one turn.

    Attributes:
        began: when the turn began, in seconds since 1970.
        steps: what has ended so far.
    """

    __slots__ = ("_zero", "began", "steps")

    def __init__(self) -> None:
        self.began = time()
        self._zero = perf_counter()
        self.steps: list[Step] = []

    @property
    def seconds(self) -> float:
        """Seconds since the turn began."""
        return perf_counter() - self._zero

    def took(
        self,
        name: str,
        began: float,
        seconds: float,
        error: BaseException | None = None,
        *,
        first: float | None = None,
        context: Context | None = None,
        eviction: Eviction | None = None,
    ) -> None:
        """Note a step that `began` then, by `perf_counter`, and took so many `seconds`."""
        why = None if error is None else type(error).__name__
        start = max(0.0, began - self._zero)
        self.steps.append(Step(name, start, seconds, why, first, context, eviction))

    def timed(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return `function`, which notes how long it took when it is called."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = perf_counter()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.took(name, start, perf_counter() - start, error)
                raise
            self.took(name, start, perf_counter() - start)
            return result

        return call

    def asked(self, context: Context, pieces: Iterator[Delta]) -> Generator[Delta, None, None]:
        """Yield the pieces of a reply to `context`, and note how long they took."""
        request = _Request(self, context)
        try:
            with closed_after(pieces):
                for piece in pieces:
                    request.heard()
                    yield piece
        except BaseException as error:
            request.ended(error)
            raise
        request.ended(None)

    async def aasked(
        self, context: Context, pieces: AsyncIterator[Delta]
    ) -> AsyncGenerator[Delta, None]:
        """Do the same with an asynchronous backend."""
        request = _Request(self, context)
        try:
            async with aclosed_after(pieces):
                async for piece in pieces:
                    request.heard()
                    yield piece
        except BaseException as error:
            request.ended(error)
            raise
        request.ended(None)


class _Request:
    """One request to a backend, under way."""

    __slots__ = ("_context", "_first", "_start", "_watch")

    def __init__(self, watch: Stopwatch, context: Context) -> None:
        self._watch = watch
        self._context = context
        self._first: float | None = None
        self._start = perf_counter()

    def heard(self) -> None:
        if self._first is None:
            self._first = perf_counter() - self._start

    def ended(self, error: BaseException | None) -> None:
        took = perf_counter() - self._start
        self._watch.took(
            "backend", self._start, took, error, first=self._first, context=self._context
        )
