"""The chat: a memory and a backend taking turns.

A turn is written once, in `_Turn`, without I/O: it begins with a staged user message and a
context, is fed the pieces of a reply, and ends by being recorded or undone. Four thin drivers run
the backend: sync or async, whole or streamed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from types import TracebackType

from .backends.asking import aask, ask, title
from .backends.base import Backend, Delta, Prices, Usage
from .backends.closing import aclosed_after, closed_after
from .context import Context
from .errors import (
    BackendError,
    BudgetError,
    ConfigError,
    ContextOverflowError,
    FiniteMemoryError,
    Interrupted,
    MessageError,
    ToolCallError,
)
from .events import TurnEnded, TurnFailed
from .memory import Memory
from .messages import Message, Role, ToolCall
from .stats import MemoryStats
from .tracing import TurnTrace
from .window import MARK

RESENDS = 2
"""How often a context is shortened and sent again, in one turn."""
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Reply:
    """A turn that was recorded.

    Attributes:
        message: what the backend said.
        context: what it was shown.
        usage: what it cost; None where the backend does not say.
        stats: the memory's, after the turn.
        finish: why it ended, in the backend's word; ``"interrupted"`` for a kept partial reply.
    """

    message: Message
    context: Context
    usage: Usage | None
    stats: MemoryStats
    finish: str

    @property
    def text(self) -> str:
        """The text of the message."""
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the backend asks for; answer each with a `Message.tool`."""
        return self.message.tool_calls


class Chat:
    """Takes turns between a user and a backend, on one memory.

    Args:
        backend: turns contexts into replies.
        memory: holds the conversation.
        interrupted: what becomes of a turn that ends (by an error, an interrupt, a cancellation,
            a closed stream) after text had arrived and before the reply was complete:
            ``"discard"`` undoes the turn, ``"keep"`` records the question and the partial reply,
            which then has ``"interrupted"`` under ``"finite_memory"`` in its metadata.
        clock: gives messages that have no timestamp one; None leaves them without.

    A chat has one turn at a time; a second one that begins meanwhile gets a `BusyError`.

    Raises:
        ConfigError: an unknown choice for `interrupted`, or something that is no backend, no
            memory or no clock.
    """

    def __init__(
        self,
        backend: Backend,
        memory: Memory,
        *,
        interrupted: str = "discard",
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        if not callable(getattr(backend, "stream", None)):
            raise ConfigError(
                f"{backend!r:.80} is no backend: it has no stream(context); wrap a function in "
                "CallableBackend, or name one with load_backend('openai:...')"
            )
        if not isinstance(memory, Memory):
            raise ConfigError(f"a chat needs a Memory, got {type(memory).__name__}: {memory!r:.80}")
        if interrupted not in ("discard", "keep"):
            raise ConfigError(f"interrupted must be 'discard' or 'keep', got {interrupted!r:.80}")
        if clock is not None and not callable(clock):
            raise ConfigError(
                f"clock must be a function that returns a datetime, got {clock!r:.80}"
            )
        self.backend = backend
        self.memory = memory
        self.keeps_interrupted = interrupted == "keep"
        self.clock = clock
        self.ended: float | None = None

    def idle(self) -> float | None:
        """Return how many seconds ago the last reply ended; None where that cannot be told.

        After a resume it is told by the clock and the last message's timestamp, if there are both.
        """
        if self.ended is not None:
            return monotonic() - self.ended
        said = (m.timestamp for b in reversed(self.memory.blocks) for m in reversed(b.messages))
        newest = next((time for time in said if time is not None), None)
        if self.clock is None or newest is None:
            return None
        now = self.clock()
        if (now.tzinfo is None) != (newest.tzinfo is None):
            return None
        return max(0.0, (now - newest).total_seconds())

    def send(self, *said: str | Message) -> Reply:
        """Record what was said, get the reply, record it, and return it.

        Args:
            said: the user's message as text, or any messages; the results of tool calls go
                together in one call.

        Raises:
            BackendError: the backend failed or returned rubbish; `Interrupted` with the partial
                text where it stopped in the middle.
            BusyError: another turn is under way.
            FiniteMemoryError: what `Memory.append` raises.

        After any of them memory and store are what they were, or hold the turn as interrupted.
        """
        with _Turn(self, said) as turn:
            with closed_after(self._pieces(turn)) as pieces:
                for piece in pieces:
                    turn.feed(piece)
            reply = turn.end()
        self._afterwards()
        return reply

    def stream(self, *said: str | Message) -> Iterator[Delta]:
        """Yield the reply piece by piece; the turn is recorded before the last piece is yielded.

        The last piece has `reply`. Closing the iterator early interrupts the turn. Nothing
        happens before the first piece is asked for. Arguments and errors are those of `send`.
        """
        with _Turn(self, said, streams=True) as turn:
            with closed_after(self._pieces(turn)) as pieces:
                for piece in pieces:
                    turn.feed(piece)
                    if piece.finish is None:
                        yield piece
            last = turn.last()
            self._afterwards()
            yield last

    async def asend(self, *said: str | Message) -> Reply:
        """Do as `send` does, without blocking the event loop while the backend works."""
        with _Turn(self, said) as turn:
            async with aclosed_after(self._apieces(turn)) as pieces:
                async for piece in pieces:
                    turn.feed(piece)
            reply = turn.end()
        self._afterwards(on_loop=True)
        return reply

    async def astream(self, *said: str | Message) -> AsyncIterator[Delta]:
        """Do as `stream` does, without blocking the event loop while the backend works.

        A loop that may end early goes into ``async with contextlib.aclosing(...)``: an
        asynchronous iterator that is merely dropped is closed a little later, by the event loop,
        and until then the turn is under way.
        """
        with _Turn(self, said, streams=True) as turn:
            async with aclosed_after(self._apieces(turn)) as pieces:
                async for piece in pieces:
                    turn.feed(piece)
                    if piece.finish is None:
                        yield piece
            last = turn.last()
            self._afterwards(on_loop=True)
            yield last

    def _afterwards(self, *, on_loop: bool = False) -> None:
        """Begin what there is time for once the reply is there."""
        self.memory.summarize_later(on_loop=on_loop)
        self.memory.index_later()

    def _pieces(self, turn: _Turn) -> Iterator[Delta]:
        """Yield the pieces of the reply; where the context was too long, of one to a shorter."""
        while True:
            try:
                asked: Iterator[Delta] = ask(self.backend, turn.context)
                if turn.watch is not None:
                    asked = turn.watch.asked(turn.context, asked)
                with closed_after(asked) as pieces:
                    yield from pieces
            except ContextOverflowError as error:
                turn.shorten(error)
            else:
                return

    async def _apieces(self, turn: _Turn) -> AsyncIterator[Delta]:
        """Do the same from an asynchronous backend."""
        while True:
            try:
                asked: AsyncIterator[Delta] = aask(self.backend, turn.context)
                if turn.watch is not None:
                    asked = turn.watch.aasked(turn.context, asked)
                async with aclosed_after(asked) as pieces:
                    async for piece in pieces:
                        yield piece
            except ContextOverflowError as error:
                turn.shorten(error)
            else:
                return


class _Turn:
    """One turn, without I/O. As a context manager it undoes itself, or is kept, when it fails."""

    def __init__(self, chat: Chat, said: tuple[str | Message, ...], streams: bool = False) -> None:
        if not said:
            raise MessageError("send needs something to say: text, or messages")
        self._chat = chat
        self._streams = streams
        self._said = [_message(one, chat.clock) for one in said]
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._final: Delta | None = None
        self._resent = 0
        self._prices: Prices | None = getattr(chat.backend, "prices", None)
        self._idle = None if self._prices is None else chat.idle()
        self._reply: Reply | None = None

    def __enter__(self) -> _Turn:
        self._staged = self._chat.memory.turn()
        self.watch = self._staged.watch
        try:
            if self._prices is not None:
                self._staged.reckon(self._prices, self._idle)
            self._staged.append(*self._said)
            self.context = self._staged.context()
            self._require_answers()
        except BaseException as error:
            self._staged.rollback()
            self._tell_failure(error, kept=False)
            raise
        return self

    def _require_answers(self) -> None:
        """Raise where tool calls still wait for results: the backend would see none of them."""
        last = self._said[-1]
        shown = self.context.messages[-1].tool_call_id if self.context.messages else None
        if last.tool_calls or (last.role is Role.TOOL and last.tool_call_id != shown):
            raise ToolCallError(
                "not all tool calls of the last message have their results; send the results "
                "together: chat.send(Message.tool(...), Message.tool(...))"
            )

    def shorten(self, error: ContextOverflowError) -> None:
        """Make a shorter context, after the backend has refused this one.

        Raises:
            ContextOverflowError: it was asked often enough, had begun to reply, or nothing more
                can leave.
        """
        if self._resent == RESENDS or self._texts:
            raise error
        self._resent += 1
        try:
            self._staged.overflow(self.context, error)
        except BudgetError as budget:
            error.add_note(f"the context cannot be made shorter: {budget}")
            raise error from budget
        self.context = self._staged.context()

    def feed(self, piece: Delta) -> None:
        """Take in a piece of the reply."""
        self._texts.append(piece.text)
        self._calls.extend(piece.tool_calls)
        self._usage = piece.usage or self._usage
        if piece.finish is not None:
            self._final = piece

    def end(self) -> Reply:
        """Record the turn.

        Raises:
            Interrupted: the reply never finished.
            BackendError: it is empty, or no message that can be recorded.
        """
        final = self._final
        if final is None:
            raise Interrupted(
                f"the reply of backend {self._title} ended without a piece that finishes it",
                partial=self._partial,
            )
        if final.message is None:
            said = self._put_together()
        else:
            said = _message(final.message, self._chat.clock)
        return self._record(said, final.finish or "")

    def last(self) -> Delta:
        """Record the turn, and return its last piece with the reply."""
        reply = self.end()
        return replace(self._final or Delta(), usage=self._usage, reply=reply)

    @property
    def _title(self) -> str:
        return repr(title(self._chat.backend))

    @property
    def _partial(self) -> str:
        return "".join(self._texts)

    def _put_together(self, mark: str | None = None) -> Message:
        text = self._partial
        if not text and not self._calls:
            raise BackendError(
                f"backend {self._title} returned an empty reply; send the message again"
            )
        message = Message.assistant(
            text or None, tool_calls=self._calls, metadata={} if mark is None else {MARK: mark}
        )
        return _message(message, self._chat.clock)

    def _record(self, message: Message, finish: str, *, is_partial: bool = False) -> Reply:
        memory, staged = self._chat.memory, self._staged
        if self._usage is not None and not is_partial:  # else it may be half the story
            staged.report_usage(self.context, self._usage, self._prices, self._idle)
        try:
            staged.append(message)
        except MessageError as error:
            raise BackendError(
                f"backend {self._title} returned a reply that cannot be recorded: {error}"
            ) from error
        staged.commit()
        self._chat.ended = monotonic()
        self._reply = Reply(message, self.context, self._usage, memory.stats, finish)
        if self.watch is not None:
            trace = None if is_partial else self._trace()
            memory.tell(TurnEnded(memory.session_id, self._reply, trace))
        return self._reply

    def _trace(self) -> TurnTrace | None:
        watch, backend = self.watch, self._chat.backend
        if watch is None:
            return None
        name, model = title(backend), getattr(backend, "model", None)
        return TurnTrace(
            watch.began,
            watch.seconds,
            name,
            model if isinstance(model, str) else name.partition(":")[2] or None,
            self._streams,
            tuple(self._said),
            tuple(watch.steps),
        )

    # -- failing --------------------------------------------------------------------------------

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or self._reply is not None:
            return
        try:
            kept = self._keep_partial(error)
        finally:
            self._staged.rollback()  # does nothing to a turn that was recorded
        told = self._told(error, kept)
        self._tell_failure(told, kept)
        if told is not error:
            raise told from error

    def _tell_failure(self, error: BaseException, kept: bool) -> None:
        if self.watch is not None:
            memory = self._chat.memory
            memory.tell(TurnFailed(memory.session_id, error, kept, self._trace()))

    def _keep_partial(self, error: BaseException) -> bool:
        """Record the question and the partial reply, where that is wanted and can be."""
        if not (self._chat.keeps_interrupted and self._partial and self._final is None):
            return False
        self._calls.clear()  # their results would be waited for
        try:
            self._record(self._put_together(INTERRUPTED), INTERRUPTED, is_partial=True)
        except FiniteMemoryError as other:
            error.add_note(f"the partial reply could not be kept: {other}")
            return False
        return True

    def _told(self, error: BaseException, kept: bool) -> BaseException:
        """Return what the caller gets: with the partial text, where the backend had sent some."""
        partial = self._partial
        if isinstance(error, Interrupted):
            error.partial = error.partial or partial
        elif isinstance(error, BackendError) and partial:
            outcome = "recorded as interrupted" if kept else "undone"
            return Interrupted(
                f"{error}; {len(partial):,} characters of the reply had arrived, and the turn was "
                f"{outcome}",
                partial=partial,
            )
        return error


def _message(said: object, clock: Callable[[], datetime] | None) -> Message:
    """Return what was said as a message with a timestamp: text is the user's.

    Raises:
        MessageError: neither text nor a message.
    """
    message = Message.user(said) if isinstance(said, str) else said
    if not isinstance(message, Message):
        raise MessageError(
            f"send takes text or Message objects, got {type(said).__name__}: {said!r:.80}"
        )
    if clock is not None and message.timestamp is None:
        message = replace(message, timestamp=clock())
    return message
