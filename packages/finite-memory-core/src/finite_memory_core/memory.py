"""The memory: a bounded context over an append-only transcript.

This is the public face: settings, and the rooms that do the work. The rules of what stays and
leaves are in `fold`, `eviction` and `policies`; what is written, in `recording`; what a context is
put together from, in `assembling`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import resuming
from .accounting import Accountant
from .assembling import Assembler
from .backends.base import Prices, Usage
from .blocks import Block
from .checking import callables, check, schemas
from .configuration import Configuration
from .context import Context
from .counting import TokenCounter
from .errors import ConfigError
from .events import MemoryEvent, Observer
from .eviction import Eviction
from .fold import Fold
from .forgetting import Reader, forget
from .low_water import DEFAULT
from .messages import Message
from .pinning import keep
from .policies import Policy, build_policy
from .recall import Hit, Recall
from .recall.recaller import Recaller
from .recording import Recorder
from .reported import Reports
from .settings import Settings
from .stats import MemoryStats
from .stores.base import Store, Version
from .stores.memory import InMemoryStore
from .summary import Summarizer
from .summary_jobs import SummaryJobs
from .tally import tally
from .transcript import Transcript
from .turn import Turn

if TYPE_CHECKING:
    from os import PathLike

    from .embedding import Embedder
    from .recall.tool import SearchTool


class Memory:
    """Holds a conversation of any length inside a token budget.

    Args:
        budget: the most tokens that a context may hold, everything counted: roles, separators,
            names, tool calls and schemas, summary, and the reserve for the reply.
        policy: what decides who leaves: ``"sliding"``, ``"importance"``, ``"semantic"``,
            ``"rolling_summary"``, ``"hybrid"``, the name of a registered one, or an object.
        low_water: where eviction stops once it starts, as a share of the budget. The lower, the
            rarer the evictions and the longer a prefix cache stays warm; the higher, the more of
            the conversation is in the context (see ``docs/benchmarks.md``). ``"auto"`` lets a
            `Chat` choose it from its backend's prices; `stats` says what was chosen, and why.
        reserve: tokens of the budget that are kept free for the reply.
        counter: counts the tokens of a text; None for an estimate that needs no tokenizer and
            corrects itself from reported usage.
        recall: brings back from the archive what the question asks for; None for no recall.
        summarizer: folds what leaves into a summary; None for the policy's own, if it has one.
            One that asks a model, such as `BackendSummarizer`, does so in the background.
        embedder: an `Embedder`, or a function from texts to a vector each. It serves the policies
            ``"semantic"`` and ``"hybrid"`` when named, and recall unless that has its own; None
            for words alone.
        store: where the transcript is kept; None for this process's memory.
        session_id: the session's name in the store; None for a new random one.
        max_policy_ms: how long a policy may think, in milliseconds, before the sliding window
            decides in its place, and how long an embedder may take at a search before words alone
            are searched; None for no limit.
        observers: called with each `MemoryEvent`.
        oversize: what happens to a message that cannot fit: ``"raise"`` a `BudgetError`, or
            ``"clip"`` it visibly in the context (the transcript keeps it whole).
        tools: tool schemas that go with each request; counted.

    Raises:
        ConfigError: a setting that cannot work.
        ConflictError: the store has that session already; use `Memory.resume`.

    A memory may be used from several threads: calls are serialised.
    """

    def __init__(
        self,
        budget: int,
        policy: str | Policy = "sliding",
        *,
        low_water: float | str = DEFAULT,
        reserve: int = 0,
        counter: TokenCounter | None = None,
        recall: Recall | None = None,
        summarizer: Summarizer | None = None,
        embedder: Embedder | None = None,
        store: Store | None = None,
        session_id: str | None = None,
        max_policy_ms: float | None = None,
        observers: Iterable[Observer] = (),
        oversize: str = "raise",
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        made = Configuration(
            budget=budget,
            policy=build_policy(policy, embedder=embedder),
            low_water=low_water,
            reserve=reserve,
            counter=counter,
            recall=recall,
            summarizer=summarizer,
            embedder=embedder,
            max_policy_ms=max_policy_ms,
            oversize=oversize,
        )
        session = os.urandom(16).hex() if session_id is None else session_id
        self._set_up(made, InMemoryStore() if store is None else store, session, observers)
        mark = self._fold.mark()
        if tools:
            self._fold.set_tools(schemas(tools))
        self._create()
        self._recorder.commit(mark)

    def _set_up(
        self, made: Configuration, store: Store, session_id: str, observers: Iterable[Observer]
    ) -> None:
        check("store", store)
        self._made, self._store, self._session_id = made, store, session_id
        self._recaller = Recaller(store, session_id, made.recall, made.limits.max_policy_ms)
        self._recorder = Recorder(made.new_fold(session_id), store, callables(observers))
        self._assembler = Assembler(self._recorder, self._recaller)
        self._jobs = SummaryJobs(self._recorder)
        self._reports = Reports(made.low_water)

    def _create(self) -> None:
        """Begin the session in the store."""
        self._store.create(self._session_id, self.settings.dumps())
        if self._recaller.scope is not None:
            self._store.set_scope(self._session_id, self._recaller.scope)

    @property
    def _fold(self) -> Fold:
        return self._recorder.fold

    # -- what it is -----------------------------------------------------------------------------

    @property
    def budget(self) -> int:
        """The most tokens that a context may hold."""
        return self._made.limits.budget

    @property
    def policy(self) -> Policy:
        """What decides who leaves."""
        return self._made.policy

    @property
    def store(self) -> Store:
        """Where the transcript is kept."""
        return self._store

    @property
    def session_id(self) -> str:
        """The session's name in the store."""
        return self._session_id

    @property
    def settings(self) -> Settings:
        """What the memory was made with."""
        return self._made.settings

    @property
    def accountant(self) -> Accountant:
        """What counts messages for this memory."""
        return self._fold.accountant

    @property
    def transcript(self) -> Transcript:
        """All that was said, in order; read from the store when it is asked for."""
        return Transcript(self._store, self._session_id)

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]:
        """The tool schemas that go with each request."""
        return self._fold.state.tools

    @property
    def summary(self) -> str:
        """The running summary of what left; "" where there is none."""
        return self._fold.state.running.text

    @property
    def ledger(self) -> tuple[str, ...]:
        """The facts of what left that the summary does not hold, word for word; oldest first."""
        return tuple(fact.text for fact in self._fold.state.running.ledger)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that stand in the context now, oldest first."""
        return tuple(self._fold.window.blocks)

    @property
    def stats(self) -> MemoryStats:
        """What it has seen, holds and did so far."""
        why = self._made.low_water_why(self._fold.state.chosen)
        return tally(self._recorder, self._assembler, self._recaller, why)

    # -- what is said ---------------------------------------------------------------------------

    def append(self, *messages: Message) -> None:
        """Record what was said: all of `messages` or none, in one transaction of the store.

        Raises:
            MessageError: something that is no `Message`; a tool result without its open call.
            BudgetError: a message that must stay whole and cannot fit.
            BusyError: a turn is under way on this memory.
            StoreError: the store could not write; `ConflictError` if another writer was first.
            CounterError, PolicyError: the counter or the policy broke its contract.

        After any of them the memory is what it was.
        """
        recorder = self._recorder
        with recorder.lock:
            recorder.refuse_during_turn("append")
            self._jobs.collect()
            mark = recorder.fold.mark()
            recorder.push(mark, messages)
            recorder.commit(mark)

    def turn(self) -> Turn:
        """Begin a turn: what is appended to it becomes part of the memory together, or not at all.

        Use it as a context manager; it commits at the end, and undoes everything on an exception.

        Raises:
            BusyError: another turn is under way.
        """
        recorder = self._recorder
        with recorder.lock:
            recorder.refuse_during_turn("turn")
            self._jobs.collect()
            recorder.turn = Turn(self, recorder.fold.mark())
            return recorder.turn

    def tell(self, event: MemoryEvent) -> None:
        """Tell the observers; one that fails is logged and counted, and stops nothing."""
        self._recorder.tell(event)

    # -- what the model sees --------------------------------------------------------------------

    def context(self, query: str | None = None) -> Context:
        """Return what the model should see now.

        It changes nothing that is remembered: evictions happen when messages are appended.

        Args:
            query: what is asked; None for the last user message.

        Raises:
            ConfigError: a query that is no text.
            BudgetError: what must stay no longer fits, because reported usage showed that counts
                were too low, or the reserve or the pinned blocks grew.
        """
        if query is not None:
            _check_query(query)
        with self._recorder.lock:
            return self._assembler.context(query)

    def search(self, query: str, limit: int = 10) -> list[Hit]:
        """Return the messages of the archive that answer `query`, best first.

        The archive is what was said and does not stand in the context now. With a scope, all that
        was said in its other sessions is searched too.

        Args:
            query: what is looked for, as for `context`.
            limit: the most messages to return.

        Raises:
            ConfigError: a limit less than 1, or a query that is no text.
        """
        _check_query(query)
        if type(limit) is not int or limit < 1:
            raise ConfigError(f"search takes a limit of 1 or more, got {limit!r}")
        with self._recorder.lock:
            written = self._recorder.version.messages
            found = self._recaller.search(self._fold, query, limit, written)
            self._assembler.tell_of_recall()
            return found

    def index(self) -> int:
        """Bring the archive's index up to date, and with an embedder compute the missing vectors.

        A search does both for what was said since the last one, and a chat has the vectors made
        after each reply. Call this where there is time for more, as after an import. With a scope
        it does so for all its sessions.

        Returns:
            How many messages were new to the embedder.

        Raises:
            EmbedderError: the embedder failed; what was computed before that is kept.
            StoreError: something could not be read or written.
        """
        with self._recorder.lock:
            return self._recaller.index(self._recorder.version.messages)

    def index_later(self) -> bool:
        """Begin to compute missing vectors in a thread; a chat does so after each reply.

        The thread ends with that, and keeps no process alive. What it cannot do is left to the
        next search, and counted in ``stats.fallbacks["embedder"]``.

        Returns:
            Whether it was begun: there is an embedder, and no such thread at work.
        """
        with self._recorder.lock:
            return self._recaller.embed_later(self._recorder.version.messages)

    def search_tool(
        self, *, name: str = "search_memory", limit: int = 8, max_tokens: int = 1_000
    ) -> SearchTool:
        """Return a tool with which a model can search what left its context.

        Its `schema` goes to `set_tools`; called with a `ToolCall` it returns the `Message.tool`.

        Args:
            name: what the tool is called.
            limit: how many messages are quoted where the model does not say.
            max_tokens: the most that an answer's quotes may cost.

        Raises:
            ConfigError: a name or a number that cannot work.
        """
        from .recall.tool import SearchTool

        return SearchTool(self, name=name, limit=limit, max_tokens=max_tokens)

    def dry_run(self, *, budget: int | None = None, policy: str | Policy | None = None) -> Eviction:
        """Return what the next eviction would do if it came now; nothing changes.

        Args:
            budget: another budget to try; None for the memory's own.
            policy: another policy to try; None for the memory's own.
        """
        with self._recorder.lock:
            tried = self._made.limits_for(budget)
            return self._fold.dry_run(None if policy is None else build_policy(policy), tried)

    # -- what else can be told ------------------------------------------------------------------

    def report_usage(
        self,
        context: Context,
        usage: int | Usage,
        prices: Prices | None = None,
        idle: float | None = None,
    ) -> None:
        """Account for a reply, and correct the token estimate by what the provider counted.

        Counts are not corrected where the memory was given a counter: that one is believed.

        Args:
            context: what the provider was sent.
            usage: what it reported; a number where only the prompt's tokens are known, which
                corrects the estimate and is not added to what was spent.
            prices: what it charges, to reckon what the memory saved; None where that is unknown.
            idle: seconds between the reply before and this request; None where that is unknown.

        Raises:
            CounterError: a number of tokens that is none.
        """
        with self._recorder.lock:
            self._recorder.refuse_during_turn("report_usage")
            report = self._reports.usage
            self._recorder.record(lambda: report(self._fold, context, usage, prices, idle))

    def set_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Send and count these tool schemas from now on.

        Raises:
            BudgetError: they leave no room for what must stay.
            MessageError: something that JSON cannot carry.
        """
        with self._recorder.lock:
            self._recorder.refuse_during_turn("set_tools")
            self._recorder.record(lambda: self._fold.set_tools(schemas(tools)))

    def pin(self, *targets: int | Message) -> None:
        """Keep messages in the context for good; those that left come back.

        Args:
            targets: transcript indices (negative from the end), or messages (the newest equal
                one is meant). A tool call and its results are pinned together.

        Raises:
            BudgetError: they do not fit beside what must stay.
            ConfigError: no such message.
            MessageError: it belongs to tool calls that lack results.
        """
        self._set_pinned(targets, True)

    def unpin(self, *targets: int | Message) -> None:
        """Let pinned messages leave again when it is their turn. Instructions always stay.

        Raises:
            ConfigError: no such message, or it stands in no context.
        """
        self._set_pinned(targets, False)

    def _set_pinned(self, targets: tuple[int | Message, ...], pinned: bool) -> None:
        with self._recorder.lock:
            self._recorder.refuse_during_turn("pin")
            self._recorder.record(lambda: keep(self._fold, self._reader(), targets, pinned))

    def _reader(self) -> Reader:
        return Reader(self._store, self._session_id, self._fold.count)

    # -- forgetting -----------------------------------------------------------------------------

    def forget(self, *targets: int | Message) -> tuple[int, ...]:
        """Truly remove messages: from transcript, context, archive, index, summary and store.

        A tombstone stands in their place: all other messages keep their indices. A summary is made
        again without them. The next context begins differently, so no prefix of it is cached.

        Args:
            targets: transcript indices (negative from the end), or messages (all that equal one
                are meant). A tool call and its results are forgotten together; instructions and
                pinned messages too if they are named.

        Returns:
            The indices of what was removed now; empty where it was all forgotten before.

        Raises:
            ConfigError: no such message.
            BusyError: a turn is under way on this memory.
            StoreError: the store could not write; `ConflictError` if another writer was first.
                Nothing is forgotten then.
        """
        with self._recorder.lock:
            self._recorder.refuse_during_turn("forget")
            reader = self._reader()
            gone = reader.named(targets)
            if gone:
                forget(self._recorder, reader, gone, self._drop_traces)
            return tuple(sorted(gone))

    def _drop_traces(self) -> None:
        """Let go of what earlier contexts and searches left in this object."""
        self._recaller.drop()
        self._jobs.drop()  # a summary under way may tell of it
        self._assembler.drop_changed()

    # -- summaries in the background ------------------------------------------------------------

    def summarize(self) -> bool:
        """Have a summarizer that works in the background fold in what waits for it, now.

        It takes as long as the summarizer does. The new summary stands at once, though that
        changes the context behind its instructions, and with it what a prompt cache holds.

        Returns:
            Whether a new summary stands. Why not is in `stats.fallbacks` and in an event.

        Raises:
            BusyError: a turn is under way, or a summary on an event loop (await `asummarize`).
            StoreError: it could not be written; the old summary stands.
            PolicyError: something had to leave for it, and the policy failed.
        """
        return self._jobs.now()

    async def asummarize(self) -> bool:
        """Do as `summarize` does, without blocking the event loop while the summarizer works.

        Raises:
            BusyError: a turn is under way, or a summary on another event loop, which stands still.
            StoreError, PolicyError: see `summarize`.
        """
        return await self._jobs.anow()

    def summarize_later(self, *, on_loop: bool = False) -> bool:
        """Begin to summarize what left, in the background; a chat does so after each reply.

        The new summary stands from the first eviction on that comes after it is there. Nothing
        is begun where nothing new has left, or while another one is being made.

        Args:
            on_loop: True for a task of the running event loop, False for a thread.

        Returns:
            Whether it was begun.
        """
        return self._jobs.later(on_loop)

    # -- keeping it -----------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole session to one JSON file, atomically.

        Raises:
            StoreError: the file cannot be written; what stood there before still does.
        """
        from .persistence import write

        with self._recorder.lock:
            self._recorder.refuse_during_turn("save")
            write(path, self._store, self._session_id)

    @classmethod
    def load(cls, path: str | PathLike[str], **overrides: Any) -> Memory:
        """Return the memory that `save` wrote, as if it had never stopped.

        Args:
            path: the file.
            overrides: arguments of `Memory` to change, or that a file cannot hold (a counter, a
                summarizer, an embedder, a policy that is not registered, observers).

        Raises:
            StoreError: no such file; `CorruptError` where it was truncated or edited,
                `VersionError` where a newer release wrote it.
            ConfigError: it was made with something that must be passed again.
        """
        from .persistence import read

        store = InMemoryStore()
        return cls.resume(store, read(path, store), **overrides)

    @classmethod
    def resume(cls, store: Store, session_id: str, **overrides: Any) -> Memory:
        """Return the memory of a stored session, as if it had never stopped.

        Its cost grows with the context, not with the transcript.

        Args:
            store: where the session is.
            session_id: its name.
            overrides: as for `load`. Changed settings are stored with the session.

        Raises:
            StoreError: no such session, or it cannot be read.
            ConfigError: it was made with something that must be passed again.
            BudgetError: what must stay does not fit a lower budget.
        """
        session, stored = resuming.find(store, session_id)
        memory = cls.__new__(cls)
        made = resuming.configuration(stored, overrides)
        memory._set_up(made, store, session_id, overrides.get("observers", ()))
        fold, recorder = memory._fold, memory._recorder
        resuming.replay(fold, store, session, stored, memory.settings)
        recorder.version = session.version
        if memory.settings != stored:
            fold.settle()
        store.set_scope(session_id, memory._recaller.scope)
        resuming.note_changes(fold, stored, memory.settings, overrides)
        recorder.commit(fold.mark())
        if "tools" in overrides:
            memory.set_tools(overrides["tools"])
        return memory

    def reset(self) -> None:
        """Forget the whole conversation, in the store too, and begin again with equal settings."""
        with self._recorder.lock:
            self._recorder.refuse_during_turn("reset")
            self._recaller.drop()  # first: vectors that are being computed would miss the session
            self._store.delete(self._session_id)
            self._create()
            tools = self._fold.state.tools
            self._recorder.version = Version(0, 0)
            self._recorder.fold = self._made.new_fold(self._session_id)
            self._reports.accounted = False
            self._assembler.drop()
            self._jobs.drop()
            if tools:
                self.set_tools(tools)

    def __repr__(self) -> str:
        stats = self.stats
        return (
            f"Memory(budget={self.budget}, policy={self.policy.name!r}, {stats.messages} "
            f"messages, {stats.tokens_held} tokens held)"
        )


def _check_query(query: object) -> None:
    if not isinstance(query, str):
        raise ConfigError(f"a query must be text, got {type(query).__name__}: {query!r:.80}")
