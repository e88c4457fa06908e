"""The chat: a memory and a backend taking turns.

A turn is written once, in `_Turn`, without I/O: it begins with a staged user message and a
context, is fed the pieces of a reply, and ends by being recorded or undone. Four thin drivers run
the backend: sync or async, whole or streamed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any

from .backends.base import Backend, Delta, Usage
from .context import Context
from .errors import BackendError, ConfigError, FiniteMemoryError, Interrupted, MessageError
from .events import TurnEnded, TurnFailed
from .memory import Memory
from .messages import Message, Role, ToolCall, check_text
from .stats import MemoryStats
from .window import MARK


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
        interrupted: what becomes of a turn that ends early (an error, an interrupt, a
            cancellation, a closed stream) after text had arrived: ``"discard"`` undoes the turn,
            ``"keep"`` records the question and the partial reply, marked as interrupted.
        clock: gives messages that have no timestamp one; None leaves them without.

    A chat has one turn at a time; a second one that begins meanwhile gets a `BusyError`.

    Raises:
        ConfigError: an unknown choice for `interrupted`, or something that is no backend.
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
                f"{backend!r} is no backend: it has no stream(context); wrap a function in "
                "CallableBackend, or name one with load_backend('openai:...')"
            )
        if interrupted not in ("discard", "keep"):
            raise ConfigError(f"interrupted must be 'discard' or 'keep', got {interrupted!r}")
        self.backend = backend
        self.memory = memory
        self.keeps_interrupted = interrupted == "keep"
        self.clock = clock

    def send(self, *said: str | Message) -> Reply:
        """Record what was said, get the reply, record it, and return it.

        Args:
            said: the user's message as text, or any messages (for example tool results).

        Raises:
            BackendError: the backend failed or returned rubbish; `Interrupted` with the partial
                text where it stopped in the middle.
            BusyError: another turn is under way.
            FiniteMemoryError: what `Memory.append` raises.

        After any of them the memory is what it was, or holds the turn as interrupted.
        """
        with _Turn(self, said) as turn, closing(turn.pieces(self.backend.stream)) as pieces:
            for delta in pieces:
                turn.feed(delta)
            return turn.end()

    def stream(self, *said: str | Message) -> Iterator[Delta]:
        """Yield the reply piece by piece; the turn is recorded before the last piece is yielded.

        The last piece has `reply`. Closing the iterator early interrupts the turn. Nothing
        happens before the first piece is asked for. Arguments and errors are those of `send`.
        """
        with _Turn(self, said) as turn, closing(turn.pieces(self.backend.stream)) as pieces:
            for delta in pieces:
                turn.feed(delta)
                if delta.finish is None:
                    yield delta
            yield turn.last()

    async def asend(self, *said: str | Message) -> Reply:
        """Do as `send` does, without blocking the event loop while the backend works."""
        with _Turn(self, said) as turn:
            async with aclosing(turn.apieces(self.backend)) as pieces:
                async for delta in pieces:
                    turn.feed(delta)
            return turn.end()

    async def astream(self, *said: str | Message) -> AsyncIterator[Delta]:
        """Do as `stream` does, without blocking the event loop while the backend works."""
        with _Turn(self, said) as turn:
            async with aclosing(turn.apieces(self.backend)) as pieces:
                async for delta in pieces:
                    turn.feed(delta)
                    if delta.finish is None:
                        yield delta
            yield turn.last()


class _Turn:
    """One turn, without I/O. As a context manager it records or undoes itself when it fails."""

    def __init__(self, chat: Chat, said: tuple[str | Message, ...]) -> None:
        self._chat = chat
        self._said = [chat_message(one, chat.clock) for one in said]
        if not said:
            raise MessageError("send needs something to say: text, or messages")
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._final: Delta | None = None
        self._reply: Reply | None = None

    def __enter__(self) -> _Turn:
        self._staged = self._chat.memory.turn()
        try:
            self._staged.append(*self._said)
            self.context = self._staged.context()
        except BaseException:
            self._staged.rollback()
            raise
        return self

    def pieces(self, stream: Callable[[Context], Iterator[Delta]]) -> Generator[Delta, None, None]:
        """Yield the backend's pieces up to the one that finishes the reply."""
        found = stream(self.context)
        try:
            for delta in found:
                yield delta
                if _is_last(delta):
                    return
        finally:
            closer = getattr(found, "close", None)
            if closer is not None:
                closer()

    async def apieces(self, backend: Backend) -> AsyncGenerator[Delta, None]:
        """Yield the same from `astream`."""
        found = backend.astream(self.context)
        try:
            async for delta in found:
                yield delta
                if _is_last(delta):
                    return
        finally:
            closer = getattr(found, "aclose", None)
            if closer is not None:
                await closer()

    def feed(self, delta: Delta) -> None:
        """Take in a piece of the reply."""
        if not isinstance(delta, Delta):
            raise self._rubbish(f"yielded {type(delta).__name__} {delta!r:.80}, not a Delta")
        try:
            check_text(delta.text, "a piece of a reply")
        except MessageError as error:
            raise self._rubbish(f"yielded rubbish: {error}") from error
        self._texts.append(delta.text)
        self._calls.extend(delta.tool_calls)
        if delta.finish is not None:
            self._final = delta

    def _rubbish(self, what: str) -> BackendError:
        return BackendError(f"backend {self._chat.backend.name!r} {what}")

    def end(self) -> Reply:
        """Record the turn.

        Raises:
            Interrupted: the reply never finished.
            BackendError: it is empty.
        """
        final = self._final
        if final is None:
            raise Interrupted(
                f"the reply of backend {self._chat.backend.name!r} ended without finishing, after "
                f"{len(''.join(self._texts))} characters; send the message again",
                partial="".join(self._texts),
            )
        message = final.message
        if message is None:
            message = self._put_together(())
        self._check(message)
        return self._record(message, final.usage, final.finish or "")

    def last(self) -> Delta:
        """Record the turn, and return its last piece with the reply."""
        reply = self.end()
        return replace(self._final or Delta(), reply=reply)

    def _put_together(self, marks: tuple[tuple[str, str], ...]) -> Message:
        text = "".join(self._texts)
        if not text and not self._calls:
            raise self._rubbish("returned an empty reply; send the message again")
        clock = self._chat.clock
        return Message.assistant(
            text or None,
            tool_calls=tuple(self._calls),
            timestamp=None if clock is None else clock(),
            metadata=dict(marks),
        )

    def _check(self, message: object) -> None:
        if not isinstance(message, Message) or message.role is not Role.ASSISTANT:
            raise self._rubbish(f"returned {message!r:.80} for a reply, not an assistant's message")

    def _record(self, message: Message, usage: Usage | None, finish: str) -> Reply:
        memory = self._chat.memory
        if usage is not None:
            self._staged.report_usage(self.context, usage.input_tokens)
        self._staged.append(message)
        self._staged.commit()
        self._reply = Reply(message, self.context, usage, memory.stats, finish)
        memory.tell(TurnEnded(memory.session_id, self._reply))
        return self._reply

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or self._reply is not None:
            return
        partial = "".join(self._texts)
        kept = self._chat.keeps_interrupted and bool(partial) and self._keep_partial()
        if not kept:
            self._staged.rollback()
        memory = self._chat.memory
        memory.tell(TurnFailed(memory.session_id, error, kept))
        if isinstance(error, Exception) and not isinstance(error, FiniteMemoryError):
            message = (
                f"backend {self._chat.backend.name!r} failed: {type(error).__name__}: {error}; "
                f"the turn was {'recorded as interrupted' if kept else 'undone'}"
            )
            if partial:
                raise Interrupted(message, partial=partial) from error
            raise BackendError(message) from error

    def _keep_partial(self) -> bool:
        """Record the question and what had arrived of the reply; False where that cannot be."""
        self._calls.clear()  # half a tool call is none
        try:
            message = self._put_together(((MARK, "interrupted"),))
            self._record(message, None, "interrupted")
        except FiniteMemoryError:
            return False
        return True


def _is_last(delta: object) -> bool:
    return isinstance(delta, Delta) and delta.finish is not None


def chat_message(said: Any, clock: Callable[[], datetime] | None) -> Message:
    """Return what was said as a message: text is the user's.

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
