"""The memory: a bounded context over an append-only transcript.

This is where the fold, the store and the observers meet. The rules of what stays and leaves are in
`fold`, `eviction` and `policies`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

from . import resuming
from .accounting import CONTEXT_OVERHEAD, Accountant
from .backends.base import Prices, Usage
from .background import Job, start_in_thread, start_on_loop
from .blocks import Block
from .checking import callables, check, schemas
from .context import Context
from .counting import Calibration, EstimatingCounter, TokenCounter
from .embedding import as_embedder
from .errors import (
    BudgetError,
    BusyError,
    ConfigError,
    ContextOverflowError,
    FiniteMemoryError,
    MessageError,
)
from .events import (
    Appended,
    CacheCollapsed,
    ContextBuilt,
    MemoryEvent,
    Observer,
    Recalled,
)
from .eviction import Eviction
from .fold import Fold, Mark as FoldMark
from .forgetting import MOST_FOLDED, Erased, Reader, now
from .low_water import DEFAULT, UNCHOSEN, choose as choose_low_water
from .messages import Message, Role
from .policies import Policy, build_policy
from .recall import Hit, Recall
from .recall.choosing import Recalled as Found
from .recall.recaller import Recaller
from .settings import AUTO, Settings, check_limits, name_of
from .spending import Asked, collapse, is_cold
from .stats import MemoryStats
from .stores.base import Store, Version
from .stores.memory import InMemoryStore
from .summary import Summarizer, Waiting
from .tombstone import is_tombstone
from .transcript import Transcript
from .turn import Turn
from .window import Window

if TYPE_CHECKING:
    from os import PathLike

    from .embedding import Embedder
    from .recall.tool import SearchTool


class _Sent(NamedTuple):
    """The last context, to tell how much of the next one is the same."""

    window: Window
    cuts: int
    messages: tuple[Message, ...]
    place: int
    lead: int
    tools: tuple[Mapping[str, Any], ...]


class _Asked(NamedTuple):
    """A summary that was asked for: who makes it, whether it has yet to begin, and the old text."""

    job: Job | None
    is_new: bool
    before: str


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
        self._set_up(
            budget=budget,
            policy=build_policy(policy, embedder=embedder),
            low_water=low_water,
            reserve=reserve,
            counter=counter,
            recall=recall,
            summarizer=summarizer,
            embedder=embedder,
            store=InMemoryStore() if store is None else store,
            session_id=os.urandom(16).hex() if session_id is None else session_id,
            max_policy_ms=max_policy_ms,
            observers=observers,
            oversize=oversize,
        )
        mark = self._fold.mark()
        if tools:
            self._fold.set_tools(schemas(tools))
        self._store.create(self._session_id, self.settings.dumps())
        if self._recaller.scope is not None:
            self._store.set_scope(self._session_id, self._recaller.scope)
        self._commit(mark)

    def _set_up(
        self,
        *,
        budget: int,
        policy: Policy,
        low_water: float | str,
        reserve: int,
        counter: TokenCounter | None,
        recall: Recall | None,
        summarizer: Summarizer | None,
        embedder: Embedder | None,
        store: Store,
        session_id: str,
        max_policy_ms: float | None,
        observers: Iterable[Observer],
        oversize: str,
    ) -> None:
        self._policy = policy
        self._limits = check_limits(
            budget, low_water, reserve, oversize, max_policy_ms, self._policy, recall
        )
        self._low_water, self._oversize = low_water, oversize
        embedder = as_embedder(embedder)
        if recall is not None and recall.embedder is None:
            recall = replace(recall, embedder=embedder)
        self._recall = recall
        self._recalled = 0
        self._counter = EstimatingCounter() if counter is None else counter
        if summarizer is None:
            summarizer = getattr(self._policy, "summarizer", None)
        else:
            check("summarizer", summarizer)
        self._summarizer = summarizer
        check("store", store)
        self._store, self._session_id = store, session_id
        self._recaller = Recaller(store, session_id, recall, max_policy_ms)
        self._lock = RLock()
        self._turn: Turn | None = None
        self._observers = callables(observers)
        self._observer_errors = 0
        self._sent: _Sent | None = None
        self._accounted = False
        self._contexts = self._context_tokens = self._stable_tokens = 0
        self._policy_ms = self._policy_ms_max = 0.0
        self._job: Job | None = None
        self._tried: Waiting | None = None
        self._version = Version(0, 0)
        self._fold = self._new_fold()

    def _new_fold(self) -> Fold:
        learns = isinstance(self._counter, EstimatingCounter)
        return Fold(
            self._session_id,
            self._policy,
            Accountant(self._counter),
            self._limits,
            summarizer=self._summarizer,
            calibration=Calibration() if learns else None,
        )

    # -- what it is -----------------------------------------------------------------------------

    @property
    def budget(self) -> int:
        """The most tokens that a context may hold."""
        return self._limits.budget

    @property
    def policy(self) -> Policy:
        """What decides who leaves."""
        return self._policy

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
        limits = self._limits
        return Settings(
            limits.budget,
            self._low_water,
            limits.reserve,
            self._oversize,
            limits.max_policy_ms,
            self._policy.name,
            dict(self._policy.settings()) if hasattr(self._policy, "settings") else {},
            None if self._recall is None else self._recall.to_dict(),
            name_of(self._summarizer),
            name_of(self._counter),
        )

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
        return self._fold.tools

    @property
    def summary(self) -> str:
        """The running summary of what left; "" where there is none."""
        return self._fold.running.text

    @property
    def ledger(self) -> tuple[str, ...]:
        """The facts of what left that the summary does not hold, word for word; oldest first."""
        return tuple(fact.text for fact in self._fold.running.ledger)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that stand in the context now, oldest first."""
        return tuple(self._fold.window.blocks)

    @property
    def stats(self) -> MemoryStats:
        """What it has seen, holds and did so far."""
        fold = self._fold
        return MemoryStats(
            messages=fold.count,
            tokens_seen=fold.tokens_seen,
            tokens_held=fold.corrected(fold.raw_tokens),
            blocks_held=len(fold.window.blocks),
            budget=self._limits.budget,
            ceiling=fold.ceiling,
            low_water=fold.low_water,
            low_water_why=self._low_water_why(),
            contexts=self._contexts,
            context_tokens=self._context_tokens,
            stable_tokens=self._stable_tokens,
            facts_held=len(fold.running.ledger),
            recalled=self._recalled,
            policy_ms=self._policy_ms,
            policy_ms_max=self._policy_ms_max,
            correction=fold.factor,
            correction_error=0.0 if fold.calibration is None else fold.calibration.error,
            spent=fold.spent,
            observer_errors=self._observer_errors,
            **{**fold.totals.to_dict(), "fallbacks": self._fallbacks()},
        )

    def _fallbacks(self) -> Mapping[str, int]:
        counted = dict(self._fold.totals.fallbacks)
        for what, count in self._recaller.fallbacks.items():
            counted[what] = counted.get(what, 0) + count
        return counted

    def _low_water_why(self) -> str:
        if self._low_water != AUTO:
            return "as given"
        return (self._fold.chosen or UNCHOSEN).why

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
        with self._lock:
            self._refuse_during_turn("append")
            self._collect()
            mark = self._fold.mark()
            self._push(mark, messages)
            self._commit(mark)

    def turn(self) -> Turn:
        """Begin a turn: what is appended to it becomes part of the memory together, or not at all.

        Use it as a context manager; it commits at the end, and undoes everything on an exception.

        Raises:
            BusyError: another turn is under way.
        """
        with self._lock:
            self._refuse_during_turn("turn")
            self._collect()
            self._turn = Turn(self, self._fold.mark())
            return self._turn

    def _refuse_during_turn(self, what: str) -> None:
        if self._turn is not None:
            raise BusyError(
                f"{what} was called on session {self._session_id!r} while a turn is under way on "
                "it; wait for that turn to end, or give each conversation its own memory"
            )

    def _push(self, mark: FoldMark, messages: Iterable[Message]) -> None:
        fold = self._fold
        try:
            for message in messages:
                fold.push(message)
        except BaseException:
            fold.rewind(mark)
            raise

    def _commit(self, mark: FoldMark, erased: Erased | None = None) -> bool:
        """Write what is staged; on failure make everything as it was at `mark`.

        Returns:
            Whether the bytes of what was `erased` are gone already.
        """
        gone = True
        fold, version = self._fold, self._version
        after = Version(version.messages + len(fold.staged), version.events + len(fold.events))
        try:
            if erased is not None:
                gone = self._store.erase(self._session_id, version, *erased, fold.events)
            elif after != version:
                if fold.watch is None:
                    self._store.append(self._session_id, version, fold.staged, fold.events)
                else:
                    append = fold.watch.timed("commit", self._store.append)
                    append(self._session_id, version, fold.staged, fold.events)
        except FiniteMemoryError:
            fold.rewind(mark)
            raise
        except BaseException:  # an interrupt may fall between the store's commit and its return
            written = False
            try:
                written = self._was_written(after)
            finally:
                if not written:
                    fold.rewind(mark)
            if written:
                self._publish(after)
            raise
        self._publish(after)
        return gone

    def _was_written(self, after: Version) -> bool:
        session = self._store.session(self._session_id)
        return session is not None and session.version == after

    def _publish(self, version: Version) -> None:
        """Tell the observers what is written now."""
        fold = self._fold
        start, self._version = self._version.messages, version
        staged, notices = fold.staged, fold.notices
        fold.staged, fold.notices = [], []
        fold.events.clear()
        if notices:
            self._time_policies(notices)
        if self._observers:
            if staged:
                tokens = sum(counted.tokens for counted in staged)
                said = tuple(counted.message for counted in staged)
                self.tell(Appended(self._session_id, start, said, tokens))
            for notice in notices:
                self.tell(notice)

    def _time_policies(self, notices: Sequence[MemoryEvent]) -> None:
        for notice in notices:
            eviction = getattr(notice, "eviction", None)
            if eviction is not None:
                self._policy_ms += eviction.ms
                self._policy_ms_max = max(self._policy_ms_max, eviction.ms)

    def tell(self, event: MemoryEvent) -> None:
        """Tell the observers; one that fails is logged and counted, and stops nothing."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                import logging  # slow to import, and hardly ever needed

                self._observer_errors += 1
                logging.getLogger(__name__).exception(
                    "observer %r failed on %s of session %s",
                    observer,
                    type(event).__name__,
                    self._session_id,
                )

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
        with self._lock:
            fold, limits = self._fold, self._limits
            window, counted = fold.window, fold.raw_tokens
            tokens = fold.corrected(counted)
            if tokens + limits.reserve > limits.budget:
                raise BudgetError(
                    f"what must stay costs {tokens} tokens, corrected by reported usage (factor "
                    f"{fold.factor:.3f}), and with the reserve of {limits.reserve} exceeds the "
                    f"budget of {limits.budget}; raise the budget, unpin something, or shorten "
                    "the instructions",
                    needed=tokens,
                    available=limits.budget - limits.reserve,
                )
            if fold.watch is None or self._recall is None:
                recalled = self._recaller.bring_back(fold, query, self._version.messages)
            else:
                bring_back = fold.watch.timed("recall", self._recaller.bring_back)
                recalled = bring_back(fold, query, self._version.messages)
            self._tell_of_recall()
            messages, place, lead = self._assembled(recalled)
            if recalled.tokens:
                counted += recalled.tokens
                tokens = fold.corrected(counted)
            same, same_counted = self._unchanged(messages, place, lead)
            stable = min(tokens, fold.corrected(same_counted))
            self._sent = _Sent(window, window.cuts, messages, place, lead, fold.tools)
            self._contexts += 1
            self._context_tokens += tokens
            self._stable_tokens += stable
            self._recalled += len(recalled.hits)
            question = window.question
            context = Context(
                messages,
                session_id=self._session_id,
                token_count=tokens,
                counted_tokens=counted,
                stable_tokens=stable,
                stable_messages=same,
                budget=limits.budget,
                reserve=limits.reserve,
                tools=fold.tools,
                query=query,
                question=None if question is None else question.messages[0],
                recalled=recalled.hits,
                eviction=fold.last,
                erasures=fold.totals.erasures,
            )
            if self._observers:
                if recalled.hits:
                    self.tell(Recalled(self._session_id, recalled.hits, recalled.tokens))
                self.tell(ContextBuilt(self._session_id, context))
            return context

    def _assembled(self, recalled: Found) -> tuple[tuple[Message, ...], int, int]:
        """Return the context's messages, and how many of them, and tokens, cannot change soon."""
        fold, window = self._fold, self._fold.window
        if recalled.message is None:
            return tuple(window.flat), len(window.flat), fold.raw_tokens
        place, lead = len(window.flat), fold.raw_tokens
        if window.question is not None:
            for block in reversed(window.blocks):
                place -= len(block.messages)
                lead -= block.tokens
                if block is window.question:
                    break
        return (*window.flat[:place], recalled.message, *window.flat[place:]), place, lead

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
        with self._lock:
            found = self._recaller.search(self._fold, query, limit, self._version.messages)
            self._tell_of_recall()
            return found

    def index(self) -> int:
        """Bring the archive's index up to date, and with an embedder compute the missing vectors.

        A search does both for what was said since the last one. Call this where there is time for
        more: after an import, or after a reply. With a scope it does so for all its sessions.

        Returns:
            How many messages were new to the embedder.

        Raises:
            EmbedderError: the embedder failed; what was computed before that is kept.
            StoreError: something could not be read or written.
        """
        with self._lock:
            return self._recaller.index(self._version.messages)

    def _tell_of_recall(self) -> None:
        """Tell what searches did without."""
        if self._recaller.notices:
            notices, self._recaller.notices = self._recaller.notices, []
            for notice in notices:
                self.tell(notice)

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

    def _unchanged(self, messages: tuple[Message, ...], place: int, lead: int) -> tuple[int, int]:
        """Return how many leading messages the last context had too, and their tokens."""
        sent, fold = self._sent, self._fold
        if sent is None or sent.tools is not fold.tools:
            return 0, 0
        same, counted = 0, fold.tools_tokens + CONTEXT_OVERHEAD
        if sent.window is fold.window and sent.cuts == fold.window.cuts:
            same, counted = min((sent.place, sent.lead), (place, lead))  # one list's beginning
        if same < len(sent.messages):
            more = _common(messages[same:], sent.messages[same:])
            counted += sum(map(fold.accountant.message, messages[same : same + more]))
            same += more
        return (same, counted) if same else (0, 0)

    def dry_run(self, *, budget: int | None = None, policy: str | Policy | None = None) -> Eviction:
        """Return what the next eviction would do if it came now; nothing changes.

        Args:
            budget: another budget to try; None for the memory's own.
            policy: another policy to try; None for the memory's own.
        """
        with self._lock:
            limits = self._limits
            tried = check_limits(
                limits.budget if budget is None else budget,
                self._low_water,
                limits.reserve,
                self._oversize,
                limits.max_policy_ms,
                self._policy,
                self._recall,
            )
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
        with self._lock:
            self._refuse_during_turn("report_usage")
            mark = self._fold.mark()
            self._undoing(mark, lambda: self._learn(context, usage, prices, idle))
            self._commit(mark)

    def _learn(
        self, context: Context, usage: int | Usage, prices: Prices | None, idle: float | None
    ) -> None:
        fold, counted = self._fold, context.counted_tokens
        # Until a reply was accounted for here, the context before may have been sent to nobody.
        known, self._accounted = self._accounted, True
        if not isinstance(usage, Usage):
            fold.learn(counted, usage)
            return
        found = collapse(context, usage, prices, idle) if known else None
        cold = is_cold(prices, idle)
        asked = Asked(counted, fold.everything, prices, cold, found is not None)
        fold.learn(counted, usage.input_tokens, fold.spent.plus(asked, usage))
        if found is not None:
            expected, why = found
            fold.notices.append(
                CacheCollapsed(self._session_id, expected, usage.cached_tokens or 0, why)
            )

    def _undoing(self, mark: FoldMark, change: Callable[[], object]) -> None:
        """Make `change`; if it fails, everything is as it was at `mark`."""
        try:
            change()
        except BaseException:
            self._fold.rewind(mark)
            raise

    def _reckon(self, prices: Prices, idle: float | None) -> None:
        fold = self._fold
        if self._low_water == AUTO:
            spent = fold.spent
            chosen = choose_low_water(
                prices,
                self._limits.budget,
                tokens_seen=fold.tokens_seen,
                replies=spent.replies,
                cold=spent.cold,
            )
            if chosen is not None and (fold.chosen is None or chosen.share != fold.chosen.share):
                fold.choose_low_water(chosen)
        if is_cold(prices, idle):
            fold.evict_early()

    def _overflow(self, context: Context, error: ContextOverflowError) -> None:
        counted = context.counted_tokens
        if error.actual is not None:
            self._fold.learn(counted, error.actual)
        self._fold.overflow(counted, error.limit, error.actual)

    def set_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Send and count these tool schemas from now on.

        Raises:
            BudgetError: they leave no room for what must stay.
            MessageError: something that JSON cannot carry.
        """
        with self._lock:
            self._refuse_during_turn("set_tools")
            mark = self._fold.mark()
            self._undoing(mark, lambda: self._fold.set_tools(schemas(tools)))
            self._commit(mark)

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
        with self._lock:
            self._refuse_during_turn("pin")
            mark = self._fold.mark()
            try:
                for target in targets:
                    index = self._index_of(target)
                    block = self._block_of(index)
                    if not pinned and block not in self._fold.window.blocks:
                        raise ConfigError(
                            f"message {index} stands in no context, so there is nothing to unpin"
                        )
                    keep = pinned or block.role.instructs
                    self._fold.replace(Block(block.index, block.messages, block.tokens, keep))
            except BaseException:
                self._fold.rewind(mark)
                raise
            self._commit(mark)

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
        with self._lock:
            self._refuse_during_turn("forget")
            reader = Reader(self._store, self._session_id, self._fold.count)
            equal = [target for target in targets if isinstance(target, Message)]
            places = {self._index_of(target) for target in targets}
            gone = reader.whole(places | (reader.places(equal) if equal else set()))
            if gone:
                self._forget(gone, reader)
            return tuple(sorted(gone))

    def _forget(self, gone: set[int], reader: Reader) -> None:
        fold, mark = self._fold, self._fold.mark()
        stay = {i for b in fold.window.blocks for i in range(b.index, b.end)}
        try:
            fold.forget(gone, reader.tokens(gone), reader.blocks(gone | stay))
            if fold.running.shown and fold.count > MOST_FOLDED:
                why = f"it was made again from the newest {MOST_FOLDED} messages of the transcript"
                fold.fall_back("summary", why)
            self._bring_back_question(mark.window.question, reader, gone)
            fold.checkpoint()
        except BaseException:
            fold.rewind(mark)
            raise
        try:
            if not self._commit(mark, reader.erased(gone, now())):
                why = "the store tells it no more, but its files still hold it (docs/stores.md)"
                fold.fall_back("erase", why)
                self._publish(self._version)
        finally:
            if fold.totals.erasures > mark.totals.erasures:  # also where an interrupt came late
                self._drop_traces()

    def _drop_traces(self) -> None:
        """Let go of what earlier contexts and searches left in this object."""
        fold = self._fold
        self._recaller.drop()
        self._job = self._tried = None  # a summary under way may tell of it
        if self._sent is not None:
            same = _common(fold.window.flat, self._sent.messages)
            nothing = Window(0)
            self._sent = self._sent._replace(window=nothing, messages=self._sent.messages[:same])

    def _bring_back_question(
        self, before: Block | None, reader: Reader, gone: Collection[int]
    ) -> None:
        """If the last user's message was forgotten, let the one before stand in its place."""
        fold = self._fold
        question = fold.window.question
        if before is None or question is before:
            return
        place = reader.last_user(before.index, gone)
        if place is None or (question is not None and question.index == place):
            return
        block = self._block_of(place)
        if fold.window.required() + block.tokens <= fold.most:
            fold.replace(block)
        else:
            why = f"message {place}, the last of the user that is left, no longer fits the context"
            fold.fall_back("question", why)

    def _index_of(self, target: int | Message) -> int:
        count = self._fold.count
        if isinstance(target, Message):
            found = [i for i, message in enumerate(self.transcript) if message == target]
            if not found:
                raise ConfigError(f"no message of the transcript equals {target!r:.120}")
            return found[-1]
        if isinstance(target, bool) or not isinstance(target, int):
            raise ConfigError(f"a message is named by its index or itself, got {target!r:.80}")
        if not -count <= target < count:
            raise ConfigError(f"there is no message {target} in a transcript of {count} messages")
        return target % count

    def _block_of(self, index: int) -> Block:
        """Return the block that holds message `index`, from the window or the archive."""
        for block in self._fold.window.blocks:
            if block.index <= index < block.end:
                return block
        read = self._store.messages
        start = index
        while next(read(self._session_id, start, start + 1)).message.role is Role.TOOL:
            start -= 1
        first = next(read(self._session_id, start, start + 1))
        if is_tombstone(first.message):
            raise ConfigError(f"message {index} was forgotten; there is nothing to pin")
        stop = start + 1 + len(first.message.tool_calls)
        counted = list(read(self._session_id, start, stop))
        if any(c.message.role is not Role.TOOL for c in counted[1:]) or start + len(counted) < stop:
            raise MessageError(
                f"message {index} belongs to tool calls that never got all their results; no "
                "provider takes such a block, so it cannot be pinned"
            )
        messages = tuple(c.message for c in counted)
        return Block(start, messages, sum(c.tokens for c in counted))

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
        asked = self._asked()
        if asked.job is not None and asked.is_new:
            asked.job.run()
        elif asked.job is not None:
            if asked.job.loop is not None and not asked.job.done:
                raise self._on_a_loop()
            asked.job.wait()
        return self._finish(asked)

    async def asummarize(self) -> bool:
        """Do as `summarize` does, without blocking the event loop while the summarizer works.

        Raises:
            BusyError: a turn is under way, or a summary on another event loop, which stands still.
            StoreError, PolicyError: see `summarize`.
        """
        asked = self._asked()
        if asked.job is not None:
            await (asked.job.arun() if asked.is_new else asked.job.join())
            if asked.job.stalled:
                raise self._on_a_loop()
        return self._finish(asked)

    def _on_a_loop(self) -> BusyError:
        return BusyError(
            f"a summary of session {self._session_id!r} is being made on an event loop; "
            "await memory.asummarize() there"
        )

    def summarize_later(self, *, on_loop: bool = False) -> bool:
        """Begin to summarize what left, in the background; a chat does so after each reply.

        The new summary stands from the first eviction on that comes after it is there. Nothing
        is begun where nothing new has left, or while another one is being made.

        Args:
            on_loop: True for a task of the running event loop, False for a thread.

        Returns:
            Whether it was begun.
        """
        with self._lock:
            waiting = self._fold.running.waiting
            busy = self._turn is not None or self._job is not None
            if busy or not waiting or waiting[-1] == self._tried:
                return False
            job = self._new_job()
            if job is None:
                return False
            start_on_loop(job) if on_loop else start_in_thread(job)
            return True

    def _new_job(self) -> Job | None:
        fold = self._fold
        request = None if fold.running.offer is not None else fold.request(self._reader())
        if request is None or fold.summarizer is None:
            return None
        self._job, self._tried = Job(fold.summarizer, request), request.running.waiting[-1]
        return self._job

    def _reader(self) -> Callable[[Waiting], Block]:
        store, session_id = self._store, self._session_id

        def read(waiting: Waiting) -> Block:
            found = store.messages(session_id, waiting.start, waiting.end)
            return Block(waiting.start, tuple(c.message for c in found), waiting.tokens)

        return read

    def _asked(self) -> _Asked:
        with self._lock:
            self._refuse_during_turn("summarize")
            before = self._fold.running.text
            if self._job is not None:
                return _Asked(self._job, False, before)
            self._swap()  # one that waits for an eviction: what has left since comes on top
            return _Asked(self._new_job(), True, before)

    def _finish(self, asked: _Asked) -> bool:
        with self._lock:
            self._refuse_during_turn("summarize")
            self._collect()
            self._swap()
            return self._fold.running.text != asked.before

    def _collect(self) -> None:
        """Take in what came of the job, if it has ended; on failure it stays to be taken."""
        job, fold = self._job, self._fold
        if job is None or not job.done:
            return
        mark = fold.mark()
        blocks = len(job.request.running.waiting)
        self._undoing(mark, lambda: fold.offer(fold.vet(job), blocks))
        self._commit(mark)
        self._job = None

    def _swap(self) -> None:
        mark = self._fold.mark()
        self._undoing(mark, self._fold.swap)
        self._commit(mark)

    # -- keeping it -----------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole session to one JSON file, atomically.

        Raises:
            StoreError: the file cannot be written; what stood there before still does.
        """
        from .persistence import write

        with self._lock:
            self._refuse_during_turn("save")
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
        memory._set_up(store=store, session_id=session_id, **resuming.arguments(stored, overrides))
        resuming.replay(memory._fold, store, session, stored, memory.settings)
        memory._version = session.version
        if memory.settings != stored:
            memory._fold.settle()
        store.set_scope(session_id, memory._recaller.scope)
        resuming.note_changes(memory._fold, stored, memory.settings, overrides)
        memory._commit(memory._fold.mark())
        if "tools" in overrides:
            memory.set_tools(overrides["tools"])
        return memory

    def reset(self) -> None:
        """Forget the whole conversation, in the store too, and begin again with equal settings."""
        with self._lock:
            self._refuse_during_turn("reset")
            self._store.delete(self._session_id)
            self._store.create(self._session_id, self.settings.dumps())
            if self._recaller.scope is not None:
                self._store.set_scope(self._session_id, self._recaller.scope)
            self._version = Version(0, 0)
            tools = self._fold.tools
            self._fold = self._new_fold()
            self._sent = None
            self._accounted = False
            self._recaller.drop()
            self._job = self._tried = None
            if tools:
                self.set_tools(tools)

    def __repr__(self) -> str:
        stats = self.stats
        return (
            f"Memory(budget={self.budget}, policy={self._policy.name!r}, {stats.messages} "
            f"messages, {stats.tokens_held} tokens held)"
        )


def _check_query(query: object) -> None:
    if not isinstance(query, str):
        raise ConfigError(f"a query must be text, got {type(query).__name__}: {query!r:.80}")


def _common(ours: Sequence[Message], theirs: Sequence[Message]) -> int:
    """Return how many leading messages two contexts share."""
    same = 0
    for mine, other in zip(ours, theirs, strict=False):
        if mine is not other and mine != other:
            break
        same += 1
    return same
