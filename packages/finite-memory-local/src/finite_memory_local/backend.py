"""The Hugging Face backend: a model whose cache lives as long as the conversation."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from hashlib import sha256
from os import PathLike
from threading import Event
from typing import TYPE_CHECKING, Any

from finite_memory_core import (
    Backend,
    BackendError,
    ConfigError,
    Context,
    ContextOverflowError,
    Delta,
    FellBack,
    Message,
    Observer,
    Usage,
)
from finite_memory_core.checking import callables

from .ledger import Piece, Span, ids_of
from .stats import CacheStats
from .tally import Tally
from .teams import dismiss
from .toolcalls import ToolCalls
from .worker import Wanted, Worker

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from .attention import Recorder
    from .importance import AttentionScorer
    from .probe import Capability
    from .rendering import Rendered
    from .session import Moved, Plan, Session
    from .text import TextStream

MODES = ("exact", "shift", "off")
REPLY = 512
"""Tokens of a reply where neither the settings nor the context's reserve say how many."""


class HuggingFaceBackend(Backend):
    """Asks a causal language model of transformers, and keeps its KV cache between turns.

    Args:
        model: a name on the hub, a path, or a loaded model, which is used where it is, and
            leaves training (`model.eval()`): dropout would make each reply another one.
        tokenizer: a tokenizer, or its name or path; None for the one beside the model.
        device: where a named model goes: ``"auto"`` for CUDA where there is one, else the CPU.
        dtype: what a named model's weights become: ``"auto"`` for what they are stored in.
        kv: what becomes of the cache when a context is not the last one and more.
            ``"exact"``: what follows the first change is read again; the outcome is that of a
            fresh model. ``"shift"``: what left is taken out of the cache, what stays is moved
            together and not read again; it has seen what left, so this is an approximation.
            ``"off"``: every context is read from its beginning.
        generation: sampling and stop conditions; None for the model's own.
        sinks: with ``kv="shift"``, how many first tokens stay in the cache whatever leaves: a
            model leans on them.
        chunk: tokens that are read at once; a reply that nobody wants ends between two chunks.
        sessions: the most sessions that are remembered; above it the one that was not used for
            the longest is forgotten, its cache with it. `BackendSummarizer` makes one a summary.
        cache_bytes: the most bytes that the caches of all sessions may hold; None for no limit.
            Above it the session that was not used for the longest loses its own: to CPU memory
            where the model is elsewhere, which then holds as much again at most, else altogether.
            One that is in use is never taken, nor the one that was used last, which may be above
            it alone: its next turn is the likeliest.
        seed: samples every reply from this seed; None for torch's random state. Replies from seeds
            are made one at a time in a process, and are the same again if nothing else samples
            meanwhile.
        observers: hear of fallbacks, as `FellBack` events.
        options: fields of transformers' `GenerationConfig`: ``max_new_tokens=100``,
            ``do_sample=True``, ``temperature=0.7``, ``stop_strings=["###"]``.

    Raises:
        ConfigError: a setting that cannot be, a model that is no causal language model, or a
            tokenizer that does not belong to it.
        BackendError: the model or its tokenizer cannot be loaded.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        device: str = "auto",
        dtype: Any = "auto",
        kv: str = "exact",
        generation: GenerationConfig | None = None,
        sinks: int = 4,
        chunk: int = 512,
        sessions: int = 16,
        cache_bytes: int | None = None,
        seed: int | None = None,
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> None:
        if kv not in MODES:
            raise ConfigError(f"kv must be one of {', '.join(map(repr, MODES))}, got {kv!r:.80}")
        numbers = (
            ("sinks", sinks, 0),
            ("chunk", chunk, 1),
            ("sessions", sessions, 1),
            ("cache_bytes", cache_bytes or 0, 0),
        )
        for name, value, least in numbers:
            if type(value) is not int or value < least:
                raise ConfigError(f"{name} must be a whole number, {least} or more, got {value!r}")
        from .attention import register
        from .generating import lock_of, settings
        from .loading import load_model, load_tokenizer, window_of
        from .rendering import PLAIN_STOPS, Renderer

        self.model = load_model(model, device, dtype)
        self.tokenizer = load_tokenizer(tokenizer, self.model, model)
        self.name = f"hf:{model if isinstance(model, str | PathLike) else type(model).__name__}"
        self.kv = kv
        self.sinks = sinks
        self.chunk = chunk
        self.sessions = sessions
        self.cache_bytes = cache_bytes
        self.seed = seed
        self.window = window_of(self.model)
        self._observers = callables(observers)
        self._lock = lock_of(self.model)  # held while a reply is made; then the session's own
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._tally = Tally()
        self._renderer = Renderer(self.tokenizer)
        self._settings = settings(self.model, generation, options)
        self._stops = tuple(self._settings.stop_strings or ())
        self._settings.stop_strings = None  # they are looked for in the text, and left out of it
        if self._renderer.is_plain:
            self._stops += PLAIN_STOPS
        self._ends = self._end_ids()
        register()
        with self._lock:
            self._attends = self._can_attend()
            self.capability = self._examined()
        self._recorded = 0

    # -- what it is ------------------------------------------------------------------------------

    def _end_ids(self) -> frozenset[int]:
        """Return the ids that end a reply, and settle them and the padding in the settings.

        With that the settings are complete.

        Raises:
            ConfigError: no reply could be made with them.
        """
        from .generating import check

        ends = self._settings.eos_token_id
        if ends is None:
            ends = self.tokenizer.eos_token_id
        known = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        for id_, token in self.tokenizer.added_tokens_decoder.items():
            if token.special and token.content in self._stops:  # the text is without it
                known.append(id_)
        self._settings.eos_token_id = known or None
        if self._settings.pad_token_id is None:
            self._settings.pad_token_id = known[0] if known else 0
        check(self.model, self._settings, self.seed)
        return frozenset(known)

    def _can_attend(self) -> bool:
        """Whether the model takes our attention and comes to the same with it."""
        if self.model.config._attn_implementation != "sdpa":
            return False
        from .probe import same_with_ours

        return same_with_ours(self.model, self._vocabulary)

    @property
    def _vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    def _examined(self) -> Capability:
        from .generating import attending
        from .probe import examine

        with attending(self.model, self._attends):
            found = examine(self.model, self._vocabulary, self.window)
        if self.kv != "off" and not found.reuse:
            self._fall_back("", "kv='off': every context is read anew", found.why_not or "")
        elif self.kv == "shift" and not found.shift:
            self._fall_back("", "kv='exact'", found.why_not or "")
        dismiss()  # whoever builds a backend need not be who asks for replies
        return found

    # -- what it does ----------------------------------------------------------------------------

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`. Whoever stops early gets a cache as it was before.

        Raises:
            ContextOverflowError: the context is longer than the model's window.
            BackendError: the template refuses it, the model failed, or memory ran out.
        """
        yield from self._worker(context).items()

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        """See `stream`. Whoever leaves waits, without the event loop, until the reply has ended.

        A reply that is cancelled once more meanwhile is not waited for, and ends by itself.
        """
        async with aclosing(self._worker(context).aitems()) as deltas:
            async for delta in deltas:
                yield delta

    def _worker(self, context: Context) -> Worker[Delta]:
        dismiss()  # the helpers of whoever waits would slow down those of the reply
        return Worker(lambda emit, wanted: self._reply(context, emit, wanted))

    def scorer(self, session_id: str | None = None, *, queries: int = 32) -> AttentionScorer:
        """Return a scorer for `Importance` and `Hybrid`: what the model last attended to.

        From now on the last queries of each layer are remembered.

        Args:
            session_id: whose cache is looked at; None for the one that holds the blocks.
            queries: how many of the last queries are asked, in each layer.

        Raises:
            ConfigError: the model's attention cannot be watched.
        """
        from .generating import attending
        from .importance import AttentionScorer, watchable

        name = type(self.model).__name__
        if not self._attends or not self.capability.kept:
            raise ConfigError(
                f"the attention of {name} cannot be watched: it does not take an attention "
                "function; use Importance() without a scorer"
            )
        with self._lock, attending(self.model, is_ours=True):
            can_be = watchable(self.model, self.capability)
        if not can_be:
            raise ConfigError(
                f"the attention of {name} cannot be watched: its cache holds no keys that its "
                "queries could be asked against; use Importance() without a scorer"
            )
        self._recorded = max(self._recorded, queries)
        return AttentionScorer(self, session_id, queries)

    def ledger(self, session_id: str) -> tuple[Span, ...]:
        """Return which ids stand behind which positions of a session's cache, oldest first."""
        session = self._held().get(session_id)
        if session is None:
            return ()
        with session.lock:
            return session.spans

    @property
    def cache_stats(self) -> CacheStats:
        """What the caches did so far; a turn that goes on is counted when it ends."""
        with self._tally.lock:
            held = [s for s in self._sessions.values() if s.cache is not None]
            return self._tally.stats(len(held), sum(s.nbytes for s in held))

    def drop(self, session_id: str | None = None) -> None:
        """Drop the cache of a session, or of all; the next turn reads its context anew."""
        with self._tally.lock:
            for name in list(self._sessions) if session_id is None else [session_id]:
                self._sessions.pop(name, None)

    def save_cache(self, session_id: str, path: str | PathLike[str]) -> None:
        """Write the cache of a session to a file, with its ledger.

        Raises:
            BackendError: the session holds no cache, or one that cannot be written.
        """
        from .saving import save

        session = self._held().get(session_id)
        with nullcontext() if session is None else session.lock:
            save(self, session, session_id, path)

    def load_cache(self, session_id: str, path: str | PathLike[str]) -> None:
        """Take over a saved cache for a session, which then goes on without reading it again.

        Raises:
            BackendError: the file is missing or broken, or the model, its dtype, its tokenizer
                or the tokens are not those that it was saved with.
        """
        from .saving import load as load_session

        loaded = load_session(self, path)
        with self._tally.lock:
            self._sessions.pop(session_id, None)
            self._sessions[session_id] = loaded
        self._make_room(session_id)

    # -- a turn ----------------------------------------------------------------------------------

    def _reply(self, context: Context, emit: Callable[[Delta], None], wanted: Wanted) -> None:
        """Make one reply; all of it happens while no other is made."""
        from .attention import recording
        from .generating import Stopped, attending, seeded
        from .linear import single_rows

        with self._lock:
            if not wanted.begins():
                return
            session = self._session(context.session_id)
            with (
                session.lock,
                attending(self.model, self._attends),
                single_rows(self.model),
                seeded(self.seed),
            ):
                try:
                    with recording(self._ready(session)):
                        self._turn(session, context, emit, wanted.stopping)
                except Stopped:
                    return
                except (MemoryError, RuntimeError) as error:
                    session.drop()  # after such a failure nothing in it is to be trusted
                    self._count(dropped=1)
                    raise _failure(error) from error
                finally:
                    self._make_room(context.session_id)

    def _turn(
        self, session: Session, context: Context, emit: Callable[[Delta], None], stopping: Event
    ) -> None:
        from .generating import Limits, Stopped, generate
        from .session import Moved

        started = time.perf_counter()
        rendered = self._rendered(session, context)
        room, reuses = self._room(rendered, context)
        if not reuses:
            session.drop()
        wanted = [*rendered.pieces, rendered.opening]
        plan = session.plan(wanted, self.kv == "shift", context.erasures)
        ids = ids_of(plan.pieces)
        moved = self._prepare(session, plan, ids, stopping) if reuses else Moved(0, 0, 0)
        reply = _Reply(self, context, emit, started)
        with self._cut_back(session, moved.reused):
            limits = Limits(room, stopping, reply.is_over)
            cache = session.cache if reuses else None
            made = generate(self.model, ids, cache, self._settings, limits, reply.hear)
            if stopping.is_set():
                raise Stopped
        with self._tally.lock:
            self._tally.add(moved, len(ids) - moved.reused, len(made), reply.times())
        message = reply.message()
        if reuses:
            *said, opening = plan.pieces
            whole = Piece((*opening.ids, *made), message, is_open=True)
            session.commit([*said, whole], context.erasures)
        self._remember(session, context, made, reply)
        usage = Usage(len(ids), len(made), cached_tokens=moved.reused)
        reply.finish(self._finish(made, room, reply), usage)

    def _prepare(self, session: Session, plan: Plan, ids: list[int], stopping: Event) -> Moved:
        """Bring the cache to the beginning of `ids`: all of it but what fits in one reading."""
        from .generating import read

        def reads(fresh: Sequence[int]) -> None:
            if session.cache is not None:
                read(self.model, fresh, session.cache, self.chunk, stopping)

        began = time.perf_counter()
        moved = session.follow(plan, reads)
        if moved.shifted:
            self._count(evict_ms=1e3 * (time.perf_counter() - began))
        held = session.held
        ahead = (len(ids) - held - 1) // self.chunk * self.chunk
        with self._cut_back(session, held):
            reads(ids[held : held + ahead])
        return moved

    @contextmanager
    def _cut_back(self, session: Session, length: int) -> Iterator[None]:
        """Cut the cache back to `length` tokens if the block fails or is left.

        Where it cannot be cut, no length says what a broken forward left in its layers.
        """
        try:
            yield
        except BaseException:
            if session.layers:
                session.cut(length)
            else:
                session.drop()
            raise

    def _rendered(self, session: Session, context: Context) -> Rendered:
        if not context.messages:
            raise BackendError("the context has no message; append one before asking for a reply")
        rendered = self._renderer.render(context.messages, context.tools, session.replies)
        if not rendered.whole:
            self._fall_back(
                context.session_id,
                "the whole context is one piece, and tokenised as one",
                "the chat template does not keep the messages' text in its order",
            )
        return rendered

    def _room(self, rendered: Rendered, context: Context) -> tuple[int, bool]:
        """Return the most tokens of the reply, and whether the cache holds for this turn.

        Raises:
            ContextOverflowError: the context leaves no room in the model's window.
        """
        length = sum(len(piece.ids) for piece in rendered.pieces) + len(rendered.opening.ids)
        length += self.sinks if self.kv == "shift" and self.capability.shift else 0
        room = self._settings.max_new_tokens or context.reserve or REPLY
        if self.window is not None:
            if length >= self.window:
                raise ContextOverflowError(
                    f"the context has {length:,} tokens and the window of {self.name} has "
                    f"{self.window:,}; lower the memory's budget",
                    limit=self.window,
                    actual=length,
                )
            room = min(room, self.window - length)
        limit = self.capability.limit
        reuses = self.kv != "off" and self.capability.reuse
        if reuses and limit is not None and length + room > limit:
            self._fall_back(
                context.session_id,
                "contexts beyond that length are read anew",
                f"the model's positions change with more than {limit:,} tokens, "
                "and with them every cached state",
            )
            return room, False
        return room, reuses

    def _remember(self, session: Session, context: Context, made: list[int], reply: _Reply) -> None:
        """Keep the ids of the reply, as the truth about its text."""
        session.forget_replies(context.messages)
        if reply.text.text and not reply.text.stopped and not reply.calls.found:
            chosen = made[:-1] if made and made[-1] in self._ends else made
            session.replies[reply.text.text] = tuple(chosen)

    def _finish(self, made: list[int], room: int, reply: _Reply) -> str:
        if reply.calls.found:
            return "tool_calls"
        ended = reply.text.stopped or (made and made[-1] in self._ends)
        return "stop" if ended or len(made) < room else "length"

    # -- sessions --------------------------------------------------------------------------------

    def _held(self) -> dict[str, Session]:
        """Return the sessions as they are now."""
        with self._tally.lock:
            return dict(self._sessions)

    def _count(self, **more: float) -> None:
        """Add to what is counted."""
        with self._tally.lock:
            for name, number in more.items():
                setattr(self._tally, name, getattr(self._tally, name) + number)

    def _session(self, session_id: str) -> Session:
        """Return the session of a turn that begins."""
        with self._tally.lock:
            self._tally.turns += 1
            session = self._sessions.pop(session_id, None) or self._new_session()
            self._sessions[session_id] = session  # the last one used stands last
            return session

    def _ready(self, session: Session) -> Recorder | None:
        """Bring a session to where the model is, and return what sees its queries, if anything."""
        from .attention import Recorder

        known = session.recorder
        if self._recorded and (known is None or known.width < self._recorded):
            session.recorder = Recorder(self._recorded)
        for layer in session.layers:
            layer.bring_home()
        return session.recorder

    def _new_session(self) -> Session:
        import torch

        from .session import Session

        exact = self.model.dtype in (torch.float32, torch.float64)
        return Session(
            self.capability, lambda: self.capability.new_cache(self.model), exact, self.sinks
        )

    def _make_room(self, current: str) -> None:
        """Bring sessions and caches under their caps: what was not used for the longest goes.

        What is in use is left alone.
        """
        with self._tally.lock:
            others = [s for name, s in self._sessions.items() if name != current]
        idle = [session for session in others if session.lock.acquire(blocking=False)]
        try:
            self._bound_sessions(idle)
            self._bound_bytes(idle)
        finally:
            for session in idle:
                session.lock.release()

    def _bound_sessions(self, idle: list[Session]) -> None:
        with self._tally.lock:
            most = max(0, len(self._sessions) - self.sessions)
            gone = idle[:most]
            self._sessions = OrderedDict(
                (name, s) for name, s in self._sessions.items() if s not in gone
            )
            self._tally.dropped += sum(session.cache is not None for session in gone)
        for session in gone:
            session.drop()

    def _bound_bytes(self, idle: list[Session]) -> None:
        most = self.cache_bytes
        if most is None:
            return
        for session in idle:
            if session.cache is None or session.is_away or self._bytes(away=False) <= most:
                continue
            if session.can_leave:
                session.leave()
                self._count(offloaded=1)
            else:
                session.drop()
                self._count(dropped=1)
        for session in idle:  # what waits in CPU memory is bounded as well
            if session.is_away and self._bytes(away=True) > most:
                session.drop()
                self._count(dropped=1)

    def _bytes(self, away: bool) -> int:
        """Return what is held where the model is, or of what had to leave."""
        return sum(s.nbytes for s in self._held().values() if s.is_away == away)

    def _fall_back(self, session_id: str, what: str, why: str) -> None:
        """Say once that something is not possible; an observer that fails stops nothing."""
        with self._tally.lock:
            is_new = self._tally.fall_back(what, why)
        for observer in self._observers if is_new else ():
            try:
                observer(FellBack(session_id, what, why))
            except Exception as error:
                logging.getLogger(__name__).exception("observer %r failed", observer)
                with self._tally.lock:
                    self._tally.fall_back("an observer was not heard", f"{observer!r}: {error!r}")

    def __repr__(self) -> str:
        return f"HuggingFaceBackend({self.name!r}, kv={self.kv!r})"


class _Reply:
    """What has been made of a reply so far."""

    def __init__(
        self,
        backend: HuggingFaceBackend,
        context: Context,
        emit: Callable[[Delta], None],
        started: float,
    ) -> None:
        from .text import TextStream

        self.text: TextStream = TextStream(backend.tokenizer, backend._stops)
        self.calls = ToolCalls(bool(context.tools), _digest(context))
        self._emit = emit
        self._started = started
        self._first: float | None = None

    def hear(self, token: int) -> None:
        """Take in an id and pass on the text that is certain."""
        if self._first is None:
            self._first = time.perf_counter()
        self._pass(self.text.feed(token))

    def _pass(self, text: str) -> None:
        said = self.calls.feed(text)
        if said:
            self._emit(Delta(said))

    def message(self) -> Message | None:
        """Return what was said, for the ledger; None where it was nothing."""
        self._pass(self.text.end())
        return Message.assistant(self.text.text) if self.text.text else None

    def is_over(self) -> bool:
        """Whether a stop string has been said."""
        return self.text.stopped

    def times(self) -> tuple[float, float]:
        """Return the milliseconds to the first token, and of those after it."""
        now = time.perf_counter()
        first = now if self._first is None else self._first
        return 1e3 * (first - self._started), 1e3 * (now - first)

    def finish(self, finish: str, usage: Usage) -> None:
        """Pass on the rest, and the end."""
        rest, calls = self.calls.end()
        if rest:
            self._emit(Delta(rest))
        self._emit(Delta(tool_calls=calls, finish=finish, usage=usage))


def _digest(context: Context) -> str:
    """Return what tells this context's tool calls from those of others, the same every time."""
    said = f"{len(context)} {context.token_count} {context[-1].text}"
    return sha256(said.encode()).hexdigest()[:8]


def _failure(error: BaseException) -> BackendError:
    text = str(error)
    memory = (
        isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text
    )
    if memory:
        return BackendError(
            f"memory ran out ({text.splitlines()[0] if text else 'no detail'}); the session goes "
            "on with its cache dropped. Lower the memory's budget, or set cache_bytes"
        )
    return BackendError(
        f"the model failed: {type(error).__name__}: {text}; the session's cache was dropped"
    )


def load(spec: str, **options: Any) -> HuggingFaceBackend:
    """Return the backend for `load_backend("hf:name")`.

    Raises:
        ConfigError: no model is named.
    """
    if not spec:
        raise ConfigError(
            "name a model behind the colon: load_backend('hf:Qwen/Qwen3-0.6B'), or a folder: "
            "'hf:./my-model'"
        )
    return HuggingFaceBackend(spec, **options)
