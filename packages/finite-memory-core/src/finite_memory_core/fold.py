"""The fold: from a transcript, message by message, to the blocks that stand in the context.

It is deterministic and does no I/O: the same messages and settings give the same window, in any
process. It knows nothing of stores, observers, recall or backends. What must be known again to
resume without reading the whole transcript, it writes down as events.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeAlias

from . import checkpoint, limits as bounds, window as window_module
from .accounting import CONTEXT_OVERHEAD, Accountant
from .blocks import Block
from .clip import clip
from .counting import Calibration
from .errors import BudgetError, MessageError
from .events import Clipped, Evicted, Forgotten, MemoryEvent, Unanswered
from .eviction import Decision, Eviction, plan
from .journal import Journal
from .limits import Limits
from .messages import Message, Role, thaw
from .policies.base import Policy
from .rounds import RESULT_RESERVE, OpenRound, opened, waiting_for
from .state import State
from .stats import Totals
from .stores.base import Counted, Event
from .summary import Running, Summarizer, Vetted
from .summary_keeping import SummaryKeeper
from .tombstone import is_tombstone
from .window import BRIDGE, Window

__all__ = ["Fold", "Limits", "Mark"]

_USER, _TOOL = Role.USER, Role.TOOL  # to look a member up takes as long as a call

Mark: TypeAlias = tuple[Window, window_module.Mark, State, Totals, int, int, int, int, int]
"""What `Fold.rewind` needs to make everything as it was. A plain tuple: each turn makes one."""


class Fold:
    """What stands in the context, and what is counted along the way.

    Attributes:
        window: what stands in the context.
        state: what rarely changes.
        journal: what happened since the last commit, and the totals.
        summaries: the steps of the running summary, which is in `state`.
        count: how many messages the transcript has.
        tokens_seen: what they cost, all together; what was forgotten costs nothing.
        stored_clips: clips that were stored by an earlier run, which a resume must find again.
    """

    def __init__(
        self,
        session_id: str,
        policy: Policy,
        accountant: Accountant,
        limits: Limits,
        *,
        summarizer: Summarizer | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.session_id = session_id
        self.policy = policy
        self.accountant = accountant
        self.journal = Journal(session_id)
        self.summaries = SummaryKeeper(summarizer, accountant, self.journal)
        self.state = State.begun(limits, calibration)
        self._bridge_tokens = accountant.message(BRIDGE)
        self.window = Window(self._bridge_tokens)
        self.count = 0
        self.tokens_seen = 0
        self.stored_clips: dict[int, Counted] = {}
        self._checkpoint_due = False

    # -- limits and sums ------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """The tokens that the window may hold before something leaves."""
        return self.state.room.limit

    @property
    def most(self) -> int:
        """The tokens that it may hold where it must; above `limit` where text is recalled."""
        return self.state.room.most

    @property
    def recall_room(self) -> int:
        """The tokens, before correction, that are kept for what is recalled."""
        return self.state.room.recall

    @property
    def notices(self) -> list[MemoryEvent]:
        """What observers will hear, since the last commit."""
        return self.journal.notices

    @property
    def everything(self) -> int:
        """What a context with the whole transcript in it would count."""
        return self.tokens_seen + CONTEXT_OVERHEAD + self.state.tools_tokens

    @property
    def raw_tokens(self) -> int:
        """Tokens of a context built now, as counted."""
        return self.window.tokens + CONTEXT_OVERHEAD + self.state.tools_tokens

    def corrected(self, raw: int) -> int:
        """Return `raw` tokens corrected by what the provider reported, rounded up."""
        return bounds.corrected(raw, self.state.room.factor)

    def target(self) -> int:
        """Return where an eviction stops."""
        state = self.state
        return bounds.target(state.low_water, state.room.limit, self.window.fixed)

    # -- undoing --------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Return what `rewind` needs to undo all that follows."""
        window, journal = self.window, self.journal
        return (
            window,
            window.mark(),
            self.state,
            journal.totals,
            self.count,
            self.tokens_seen,
            len(journal.staged),
            len(journal.events),
            len(journal.notices),
        )

    def rewind(self, mark: Mark) -> None:
        """Make everything as it was at `mark`."""
        journal = self.journal
        self.window, cut, self.state, journal.totals, *counts = mark
        self.window.cut(cut)
        self.count, self.tokens_seen, staged, events, notices = counts
        del journal.staged[staged:]
        del journal.events[events:]
        del journal.notices[notices:]
        self._checkpoint_due = False

    # -- messages -------------------------------------------------------------------------------

    def push(self, message: Message, tokens: int | None = None) -> None:
        """Take in the next message of the transcript.

        Args:
            message: what was said.
            tokens: what it costs; None to have it counted.

        Raises:
            MessageError: it is no `Message`.
            ToolCallError: a result without its open call, or an id used twice.
            BudgetError: it must stay whole and cannot fit.
            CounterError, PolicyError: the counter or the policy broke its contract.
        """
        if not isinstance(message, Message):
            raise MessageError(
                f"append takes Message objects, got {type(message).__name__}: {message!r:.80}; "
                "use Message.from_dict for the OpenAI chat shape"
            )
        stone = bool(message.metadata) and is_tombstone(message)
        if tokens is None:
            tokens = 0 if stone else self.accountant.message(message)
        try:
            if message.role is _TOOL and not stone:
                self._answer(message, tokens)
            else:
                if self.window.open is not None:
                    self._abandon(self.window.open)
                if message.tool_calls and not stone:
                    self._open(opened(self.count, message, tokens))
                elif not stone:
                    self._say(message, tokens)
        except BudgetError as error:
            error.rejected = message
            raise
        self.journal.staged.append(Counted(message, tokens))
        self.count += 1
        self.tokens_seen += tokens
        if self._checkpoint_due:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write down all that a resume needs."""
        self._checkpoint_due = False
        self.note("checkpoint", checkpoint.dump(self))

    def _say(self, message: Message, tokens: int) -> None:
        window, role = self.window, message.role
        block = Block(self.count, (message,), tokens, message.pinned or role.instructs)
        if window.tokens + tokens + window.lead_cost(role) > self.state.room.limit:
            fitted = self._fit(block)
            if fitted is None:
                self._turn_away(block)
                return
            block = fitted
            self._make_room(block, None if role is _USER else window.question)
        self.window.push(block)
        if role is _USER and self.state.asked_room != self.state.room.recall:
            self.ask_anew()

    def ask_anew(self) -> None:
        """Let as much be recalled for the last question as there is room for now."""
        self.state = self.state._replace(asked_room=self.state.room.recall)

    def _answer(self, message: Message, tokens: int) -> None:
        call_id = message.tool_call_id
        before = waiting_for(call_id, self.window.open)
        still_to_come = RESULT_RESERVE * (len(before.pending) - 1)
        room = self.most - self.window.required(Role.TOOL) - before.tokens - still_to_come
        if tokens > room:
            share = min(room // len(before.pending), self.limit // 2)
            shown = self._clip(message, tokens, share)
            if shown is None:
                raise self._too_large(f"the result of tool call {call_id!r}", tokens, room)
            message, tokens = shown
        grown = before.with_result(message, tokens)
        self._open(grown)
        if not grown.pending:
            self.window.open = None
            self.window.push(grown.block)

    def _open(self, calls: OpenRound) -> None:
        """Make `calls` the open round, with room for it."""
        window, needed = self.window, calls.needed
        if window.tokens + needed + window.lead_cost(Role.ASSISTANT) > self.limit:
            room = self.most - window.required(Role.ASSISTANT)
            if needed > room:
                raise self._too_large("a message with tool calls, with its results,", needed, room)
            newest = Block(calls.start, calls.messages, needed, calls.pinned)
            self._make_room(newest, window.question)
        self.window.open = calls

    def _abandon(self, calls: OpenRound) -> None:
        """Keep the open round out of the context for good."""
        self.window.open = None
        gone = range(calls.start, calls.start + len(calls.messages))
        self.state = self.state.without_clips(gone)
        self.journal.count(unanswered=1)
        pending = tuple(sorted(calls.pending))
        self.journal.tell(Unanswered(self.session_id, calls.start, pending))

    # -- making room ----------------------------------------------------------------------------

    def _fit(self, block: Block) -> Block | None:
        """Return the block, clipped if it must be; None for an answer that has to leave at once."""
        role = block.role
        room = self.most - self.window.required(role)
        if block.tokens <= room:
            return block
        shown = self._clip(block.messages[0], block.tokens, min(room, self.limit // 2))
        if shown is not None:
            return Block(block.index, (shown.message,), shown.tokens, block.pinned)
        alone = self.most - self.window.fixed - self._bridge_tokens
        if role is Role.ASSISTANT and not block.pinned and block.tokens <= alone:
            return None
        what = (
            "a pinned message" if block.messages[0].pinned else f"a message of role {role.value!r}"
        )
        raise self._too_large(what, block.tokens, room)

    def _clip(self, message: Message, tokens: int, room: int) -> Counted | None:
        """Return the message clipped to `room` tokens; None where that cannot or may not be."""
        if not self.state.limits.clips:
            return None
        shown = self.stored_clips.get(self.count)
        if shown is None or shown.tokens > room:
            clipped = clip(message, self.accountant, room)
            if clipped is None:
                return None
            shown = Counted(clipped.message, clipped.tokens)
            body = [clipped.message.to_dict(), clipped.tokens]
            self.note("clip", json.dumps(body, ensure_ascii=False))
            self.journal.tell(Clipped(self.session_id, self.count, tokens, clipped.left_out))
        self.state = self.state.with_clip(self.count, shown)
        self.journal.count(clipped=1)
        return shown

    def _turn_away(self, block: Block) -> None:
        """Send an answer to the archive at once: it does not fit beside its question."""
        rule = "does not fit beside the last user message"
        decision = Decision(block.index, 1, block.tokens, False, None, None, 0, rule)
        held, name = self.window.tokens, self.policy.name
        before = held + block.tokens
        self._record(Eviction(self.count, name, before, held, 0, None, (decision,), 0.0), [block])
        # It is folded in later or never: a summary that grew now might not fit beside the question.
        self.set_running(self.summaries.put_off(self.state.running, block, self.limit))

    def _make_room(self, newest: Block, question: Block | None) -> None:
        """Make room for `newest` (pushed by the caller afterwards)."""
        planned = plan(
            self.policy,
            self.window.blocks,
            question=question,
            newest=newest,
            target=self.target() - self._bridge_tokens - self.summary_room(),
            at=self.count,
            max_ms=self.state.limits.max_policy_ms,
        )
        if self.journal.watch is not None:
            took = planned.eviction.ms / 1_000
            began = perf_counter() - took
            self.journal.watch.took("policy", began, took, eviction=planned.eviction)
        self._record(planned.eviction, planned.leave)
        self._fold_in(planned.leave)
        self.window = self._rebuilt(planned.stay, newest.tokens)

    def _record(self, eviction: Eviction, left: Sequence[Block]) -> None:
        journal = self.journal
        tokens = sum(block.tokens for block in left)
        journal.count(evictions=1, blocks_evicted=len(left), tokens_evicted=tokens)
        journal.tell(Evicted(self.session_id, eviction))
        if eviction.stood_in is not None:
            why = f"{eviction.policy}: {eviction.stood_in}; the sliding window decided"
            journal.fall_back("policy", why)
        self.state = self.state._replace(last=eviction)
        for block in left:
            self.state = self.state.without_clips(range(block.index, block.end))
        self._checkpoint_due = True

    # -- the summary ----------------------------------------------------------------------------

    def summary_room(self) -> int:
        """Return the tokens that the summary may take."""
        if self.summaries.summarizer is not None:
            return int(self.state.limits.summary_share * self.limit)
        return self.window.summary.tokens if self.window.summary is not None else 0

    def _fold_in(self, left: Sequence[Block]) -> None:
        room, running = self.summary_room(), self.state.running
        self.set_running(self.summaries.fold_in(running, left, room, self.limit))

    def set_running(self, running: Running) -> None:
        """Let this be the running summary; it stands once the window is rebuilt."""
        self.state = self.state._replace(running=running)

    def offer(self, vetted: Vetted, blocks: int) -> None:
        """Take in what came of a summary of the first `blocks` of those that wait.

        It stands from the next eviction on, when the prefix of the context changes anyway.
        """
        self.note("summary", json.dumps([*vetted, blocks], ensure_ascii=False))
        self.set_running(self.summaries.take(self.state.running, vetted, blocks))

    def swap(self) -> None:
        """Let the summary on offer stand now, though that changes the prefix of the context.

        Raises:
            PolicyError: something has to leave for it, and the policy failed.
        """
        if self.state.running.offer is None:
            return
        self.set_running(self.summaries.swap(self.state.running, self.summary_room()))
        self.window = self._rebuilt(self.window.blocks, self.open_tokens())
        self.evict_if_over()
        self.checkpoint()

    # -- what is not a message ------------------------------------------------------------------

    def set_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Count `tools` in every context from now on.

        Raises:
            BudgetError: they leave no room for what must stay.
        """
        state, tokens = self.state, self.accountant.tools(tools)
        room = state.room.most + state.tools_tokens - self._needed()
        if tokens > room:
            raise self._too_large("the list of tool schemas", tokens, room)
        self.state = state._replace(tools=tuple(tools), tools_tokens=tokens).fitted()
        self.note("tools", json.dumps([thaw(tool) for tool in tools], ensure_ascii=False))
        self.evict_if_over()
        self.checkpoint_if_due()

    def replace(self, block: Block) -> None:
        """Put `block` where a block with its index stands, or where it stood before it left.

        Raises:
            BudgetError: it is pinned, and what must stay does not fit.
        """
        others = [b for b in self.window.blocks if b.index != block.index]
        window = self._rebuilt(sorted([*others, block], key=_index), self.open_tokens())
        beside = window.required() + self.open_tokens() - block.tokens
        if block.pinned and beside + block.tokens > self.most:
            room = self.most - beside
            raise self._too_large(f"block {block.index}, to be pinned,", block.tokens, room)
        self.window = window
        self.evict_if_over()
        self.checkpoint()

    def bound(self, limits: Limits) -> None:
        """Go on within other limits; `settle` makes what stands fit them."""
        self.state = self.state._replace(limits=limits).fitted()

    def settle(self) -> None:
        """Evict if what stands exceeds limits that are lower than they were.

        Raises:
            BudgetError: what must stay does not fit.
        """
        self.require_room()
        self.evict_if_over()
        self.checkpoint_if_due()

    def require_room(self) -> None:
        """Raise a `BudgetError` if what must stay does not fit."""
        if (needed := self._needed()) > self.most:
            raise self._too_large("what must stay", needed, self.most)

    def _needed(self) -> int:
        """Return the tokens of what must stay, an open round among them."""
        return self.window.required() + self.open_tokens()

    def evict_if_over(self) -> None:
        """Evict if what stands in the window exceeds the limit without anything new."""
        window, open_tokens = self.window, self.open_tokens()
        lead = window.lead_cost(Role.ASSISTANT) if open_tokens else 0
        if window.tokens + open_tokens + lead > self.limit:
            self.evict()

    def evict(self) -> None:
        """Evict to low water."""
        self._make_room(Block(self.count, (), self.open_tokens()), self.window.question)

    def checkpoint_if_due(self) -> None:
        """Write down all that a resume needs, if something has left."""
        if self._checkpoint_due:
            self.checkpoint()

    def open_tokens(self) -> int:
        """Return the tokens of the open round, with those kept free for it."""
        calls = self.window.open
        return 0 if calls is None else calls.needed

    def _rebuilt(self, blocks: Sequence[Block], incoming: int) -> Window:
        """Return a window of `blocks` behind the summary, if that fits beside `incoming` tokens."""
        left = self.most - self._bridge_tokens - incoming - sum(b.tokens for b in blocks)
        summary = self.summaries.block(self.state.running)
        fits = summary is not None and summary.tokens <= left
        return self.window.rebuilt(blocks, summary if fits else None)

    # -- forgetting -----------------------------------------------------------------------------

    def forget(
        self, gone: Collection[int], tokens: int, archived: Iterable[Sequence[Block]]
    ) -> None:
        """Let go of all that is known of the messages in `gone`.

        Args:
            gone: their places; of tool calls and results all or none.
            tokens: what they cost, all together.
            archived: what else has left, oldest first, in batches: the summary is made again of
                it, if there was one. Read only then.
        """
        window, before = self.window, self.state.running
        self.state = self.state.without_clips(gone)._replace(running=Running(), last=None)
        if before != self.state.running:
            for blocks in archived:
                self._fold_in(blocks)
            if before.text and not self.state.running.text:
                why = "it was dropped, for it may have told what is forgotten"
                self.journal.fall_back("summary", why)
        stay = [block for block in window.blocks if block.index not in gone]
        calls = None if window.open is None or window.open.start in gone else window.open
        self.window = self._rebuilt(stay, self.open_tokens() if calls else 0)
        self.window.open = calls
        if self.window.question is not None and self.window.question.index in gone:
            self.window.question = None
        self.evict_if_over()  # a bridge may be needed now, or a longer summary
        self.tokens_seen -= tokens
        self.journal.count(erasures=1, forgotten=len(gone))
        self.journal.tell(Forgotten(self.session_id, tuple(sorted(gone))))
        self.note("forgotten", json.dumps(len(gone)))  # what is derived elsewhere no longer holds

    # -- resuming -------------------------------------------------------------------------------

    def restore(
        self,
        tools: Sequence[Mapping[str, Any]],
        blocks: Sequence[Block],
        calls: OpenRound | None,
        *,
        summary_stands: bool,
    ) -> None:
        """Take up the state that a checkpoint describes, counts aside."""
        tokens = self.accountant.tools(tools)
        self.state = self.state._replace(tools=tuple(tools), tools_tokens=tokens).fitted()
        summary = self.summaries.block(self.state.running) if summary_stands else None
        self.window = self.window.rebuilt(blocks, summary)
        self.window.open = calls

    # -- the dry run ----------------------------------------------------------------------------

    def dry_run(self, policy: Policy | None, limits: Limits | None) -> Eviction:
        """Return what an eviction now would do; nothing changes."""
        state, limit = self.state, self.limit
        if limits is not None:
            more = (limits.budget - state.limits.budget) * (1 - state.limits.recall_share)
            limit += int(more / state.room.factor)
        low = bounds.target(state.low_water, limit, self.window.fixed)
        return plan(
            policy or self.policy,
            self.window.blocks,
            question=self.window.question,
            newest=None,
            target=low - self._bridge_tokens - self.summary_room(),
            at=self.count,
            max_ms=state.limits.max_policy_ms,
        ).eviction

    def note(self, kind: str, body: str) -> None:
        """Write down something that a resume must know."""
        self.journal.events.append(Event(kind, self.count, body))

    def _too_large(self, what: str, needed: int, available: int) -> BudgetError:
        return bounds.too_large(self.state.limits, self.state.ceiling, what, needed, available)


def _index(block: Block) -> int:
    return block.index
