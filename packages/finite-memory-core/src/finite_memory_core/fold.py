"""The fold: from a transcript, message by message, to the blocks that stand in the context.

It is deterministic and does no I/O: the same messages and settings give the same window, in any
process. It knows nothing of stores, observers, recall or backends. What must be known again to
resume without reading the whole transcript, it writes down as events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from . import checkpoint, window as window_module
from .accounting import CONTEXT_OVERHEAD, Accountant
from .background import Request
from .blocks import Block
from .clip import clip
from .counting import Calibration
from .errors import BudgetError, CounterError, MessageError, ToolCallError
from .events import (
    Clipped,
    Evicted,
    FactsDropped,
    FellBack,
    Forgotten,
    MemoryEvent,
    Overflowed,
    Summarized,
    Unanswered,
)
from .eviction import Decision, Eviction, plan
from .low_water import LowWater
from .messages import Message, Role, freeze, thaw
from .policies.base import Policy
from .spending import Spent
from .stats import Totals
from .stores.base import Counted, Event
from .summary import (
    Offer,
    Running,
    Summarizer,
    Vetted,
    Waiting,
    ask,
    carry,
    failure,
    summary_message,
    text_tokens,
    too_small,
    vet,
)
from .tombstone import is_tombstone
from .tracing import Stopwatch
from .window import BRIDGE, OpenRound, Window

if TYPE_CHECKING:
    from .background import Job

KEPT_MOST = 0.95
"""Of what a model is said to take no more than this is used once it has refused a context."""
KEPT_UNKNOWN = 0.75
"""Where it does not say, a context is cut to this share of the one that was refused."""
RESULT_RESERVE = 64
"""Tokens kept free for each tool result that is still to come, so that a short one always fits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that bound a context.

    Attributes:
        budget: the most tokens that it may hold, the reply's `reserve` among them.
        low_water: where eviction stops, as a share of what the budget leaves.
        reserve: tokens kept free for the reply.
        clips: whether a message that cannot fit is clipped, rather than refused.
        max_policy_ms: how long a policy may take, in milliseconds; None for as long as it likes.
        summary_share: how much of the budget a summary may take.
        recall_share: how much of the budget is kept for recalled text. What must stay may use it.
    """

    budget: int
    low_water: float
    reserve: int
    clips: bool
    max_policy_ms: float | None
    summary_share: float
    recall_share: float = 0.0


class Mark(NamedTuple):
    """What `Fold.rewind` needs to make everything as it was."""

    window: Window
    window_mark: window_module.Mark
    messages: int
    tokens_seen: int
    totals: Totals
    calibration: Calibration | None
    clips: Mapping[int, Counted]
    tools: tuple[Mapping[str, Any], ...]
    tools_tokens: int
    asked_room: int
    last: Eviction | None
    running: Running
    spent: Spent
    ceiling: int | None
    chosen: LowWater | None
    staged: int
    events: int
    notices: int


class Fold:
    """The state of a memory: the window, and what is counted along the way.

    Attributes:
        window: what stands in the context.
        limit: the tokens that the window may hold before something leaves.
        most: the tokens that it may hold where it must; above `limit` where text is recalled.
        factor: by what counts are multiplied, as learnt from reported usage.
        usable: the tokens that a context may count, before correction.
        asked_room: the tokens, before correction, that may be recalled for the last question; what
            is learnt while it is answered does not change them, so that all its rounds begin alike.
        ceiling: the most that the model was found to take, as counted; None if it never refused.
        chosen: the low water that was chosen by prices; None for the one in `limits`.
        spent: what the replies cost.
        count: how many messages the transcript has.
        tokens_seen: what they cost, all together; what was forgotten costs nothing.
        totals: see `Totals`.
        running: the running summary, and its ledger.
        last: the last eviction, None before there was one.
        staged: messages since the last commit.
        events: what a resume must know, since the last commit.
        notices: what observers will hear, since the last commit.
        watch: times the turn that is under way; None where nobody listens.
    """

    watch: Stopwatch | None = None  # of the class: one key more would unshare every fold's dict

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
        self.limits = limits
        self.summarizer = summarizer
        self.calibration = calibration
        self._bridge_tokens = accountant.message(BRIDGE)
        self.window = Window(self._bridge_tokens)
        self.count = 0
        self.tokens_seen = 0
        self.totals = Totals()
        self.tools: tuple[Mapping[str, Any], ...] = ()
        self.tools_tokens = 0
        self.running = Running()
        self.spent = Spent()
        self.ceiling: int | None = None
        self.chosen: LowWater | None = None
        self.last: Eviction | None = None
        self.staged: list[Counted] = []
        self.events: list[Event] = []
        self.notices: list[MemoryEvent] = []
        self.clips: Mapping[int, Counted] = {}
        self._stored_clips: dict[int, Counted] = {}
        self._checkpoint_due = False
        self._set_limit()
        self.asked_room = self.recall_room

    # -- limits and sums ------------------------------------------------------------------------

    def _set_limit(self) -> None:
        self.factor = 1.0 if self.calibration is None else self.calibration.factor
        room = self.limits.budget - self.limits.reserve
        usable = int(room / self.factor)
        while self.corrected(usable) > room:  # the division was rounded up
            usable -= 1
        self.usable = usable if self.ceiling is None else min(usable, self.ceiling)
        self.most = self.usable - CONTEXT_OVERHEAD - self.tools_tokens
        self.limit = self.most - self.recall_room

    @property
    def recall_room(self) -> int:
        """The tokens, before correction, that are kept for what is recalled."""
        return int(self.limits.recall_share * self.usable)

    @property
    def low_water(self) -> float:
        """Where eviction stops, as a share of what may stand."""
        return self.limits.low_water if self.chosen is None else self.chosen.share

    @property
    def everything(self) -> int:
        """What a context with the whole transcript in it would count."""
        return self.tokens_seen + CONTEXT_OVERHEAD + self.tools_tokens

    @property
    def raw_tokens(self) -> int:
        """Tokens of a context built now, as counted."""
        return self.window.tokens + CONTEXT_OVERHEAD + self.tools_tokens

    def corrected(self, raw: int) -> int:
        """Return `raw` tokens corrected by what the provider reported, rounded up."""
        return raw if self.factor == 1.0 else ceil(raw * self.factor)

    def _target(self) -> int:
        """Return where an eviction stops: low water, with some room left behind instructions.

        Where instructions and pinned blocks take most of the low water, stopping there would
        leave the rest no room and make every turn an eviction.
        """
        low, fixed = self.low_water, self.window.fixed
        return int(max(low * self.limit, fixed + low * low * (self.limit - fixed)))

    # -- undoing --------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Return what `rewind` needs to undo all that follows."""
        window = self.window
        return Mark(
            window,
            window.mark(),
            self.count,
            self.tokens_seen,
            self.totals,
            self.calibration,
            self.clips,
            self.tools,
            self.tools_tokens,
            self.asked_room,
            self.last,
            self.running,
            self.spent,
            self.ceiling,
            self.chosen,
            len(self.staged),
            len(self.events),
            len(self.notices),
        )

    def rewind(self, mark: Mark) -> None:
        """Make everything as it was at `mark`."""
        self.window = mark.window
        self.window.cut(mark.window_mark)
        self.count, self.tokens_seen = mark.messages, mark.tokens_seen
        self.totals, self.last, self.running = mark.totals, mark.last, mark.running
        self.calibration, self.clips = mark.calibration, mark.clips
        self.spent, self.ceiling, self.chosen = mark.spent, mark.ceiling, mark.chosen
        del self.staged[mark.staged :]
        del self.events[mark.events :]
        del self.notices[mark.notices :]
        self._checkpoint_due = False
        self.tools, self.tools_tokens = mark.tools, mark.tools_tokens
        self.asked_room = mark.asked_room
        self._set_limit()

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
        if tokens is None:
            tokens = 0 if is_tombstone(message) else self.accountant.message(message)
        try:
            self._place(message, tokens)
        except BudgetError as error:
            error.rejected = message
            raise
        self.staged.append(Counted(message, tokens))
        self.count += 1
        self.tokens_seen += tokens
        self._write_checkpoint_if_due()

    def _place(self, message: Message, tokens: int) -> None:
        if is_tombstone(message):
            if self.window.open is not None:
                self._abandon(self.window.open)
        elif message.role is Role.TOOL:
            self._answer(message, tokens)
        elif message.tool_calls:
            self._call(message, tokens)
        else:
            self._say(message, tokens)

    def _write_checkpoint_if_due(self) -> None:
        if self._checkpoint_due:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write down all that a resume needs."""
        self._checkpoint_due = False
        self.note("checkpoint", checkpoint.dump(self))

    def _say(self, message: Message, tokens: int) -> None:
        window, role = self.window, message.role
        if window.open is not None:
            self._abandon(window.open)
        block = Block(self.count, (message,), tokens, message.pinned or role.instructs)
        if window.tokens + tokens + window.lead_cost(role) > self.limit:
            fitted = self._fit(block)
            if fitted is None:
                self._turn_away(block)
                return
            block = fitted
            self._evict(block, None if role is Role.USER else self.window.question)
        self.window.push(block)
        if role is Role.USER:
            self.asked_room = self.recall_room

    def _call(self, message: Message, tokens: int) -> None:
        window = self.window
        if window.open is not None:
            self._abandon(window.open)
        ids = [call.id for call in message.tool_calls]
        if len(set(ids)) < len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise ToolCallError(
                f"tool call id {twice!r} stands twice in one message; ids must differ"
            )
        opened = OpenRound(self.count, (message,), tokens, frozenset(ids), message.pinned)
        self._open(opened)

    def _answer(self, message: Message, tokens: int) -> None:
        call_id, opened = message.tool_call_id, self.window.open
        if opened is None or call_id not in opened.pending:
            raise ToolCallError(_stray(call_id, opened))
        still_to_come = RESULT_RESERVE * (len(opened.pending) - 1)
        room = self.most - self.window.required(Role.TOOL) - opened.tokens - still_to_come
        if tokens > room:
            share = min(room // len(opened.pending), self.limit // 2)
            shown = self._clip(message, tokens, share)
            if shown is None:
                raise self._too_large(f"the result of tool call {call_id!r}", tokens, room)
            message, tokens = shown
        grown = OpenRound(
            opened.start,
            (*opened.messages, message),
            opened.tokens + tokens,
            opened.pending - {call_id},
            opened.pinned or message.pinned,
        )
        self._open(grown)
        if not grown.pending:
            block = Block(grown.start, grown.messages, grown.tokens, grown.pinned)
            self.window.open = None
            self.window.push(block)

    def _open(self, opened: OpenRound) -> None:
        """Make `opened` the open round, with room for it."""
        window = self.window
        needed = opened.tokens + RESULT_RESERVE * len(opened.pending)
        if window.tokens + needed + window.lead_cost(Role.ASSISTANT) > self.limit:
            room = self.most - window.required(Role.ASSISTANT)
            if needed > room:
                raise self._too_large("a message with tool calls, with its results,", needed, room)
            newest = Block(opened.start, opened.messages, needed, opened.pinned)
            self._evict(newest, window.question)
        self.window.open = opened

    def _abandon(self, opened: OpenRound) -> None:
        self.window.open = None
        self._forget_clips(range(opened.start, opened.start + len(opened.messages)))
        self.totals = self.totals.plus(unanswered=1)
        ids = tuple(sorted(opened.pending))
        self.notices.append(Unanswered(self.session_id, opened.start, ids))

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
        if not self.limits.clips:
            return None
        known = self._stored_clips.get(self.count)
        if known is not None and known.tokens <= room:
            self.clips = {**self.clips, self.count: known}
            self.totals = self.totals.plus(clipped=1)
            return known
        clipped = clip(message, self.accountant, room)
        if clipped is None:
            return None
        shown = Counted(clipped.message, clipped.tokens)
        self.clips = {**self.clips, self.count: shown}
        self.note(
            "clip", json.dumps([clipped.message.to_dict(), clipped.tokens], ensure_ascii=False)
        )
        self.totals = self.totals.plus(clipped=1)
        self.notices.append(Clipped(self.session_id, self.count, tokens, clipped.left_out))
        return shown

    def _turn_away(self, block: Block) -> None:
        """Send an answer to the archive at once: it does not fit beside its question."""
        rule = "does not fit beside the last user message"
        decision = Decision(block.index, 1, block.tokens, False, None, None, 0, rule)
        tokens = self.window.tokens
        self._record(
            Eviction(
                self.count,
                self.policy.name,
                tokens + block.tokens,
                tokens,
                0,
                None,
                (decision,),
                0.0,
            ),
            [block],
        )
        # It is folded in later or never: a summary that grew now might not fit beside the question.
        if self.in_background:
            waiting = self._bounded((*self.running.waiting, _waiting(block)))
            self.running = replace(self.running, waiting=waiting)
        elif self.summarizer is not None:
            self.totals = self.totals.plus(unsummarized=1)

    def _evict(self, newest: Block, question: Block | None) -> None:
        """Make room for `newest` (pushed by the caller afterwards)."""
        window = self.window
        planned = plan(
            self.policy,
            window.blocks,
            question=question,
            newest=newest,
            target=self._target() - self._bridge_tokens - self._summary_room(),
            at=self.count,
            max_ms=self.limits.max_policy_ms,
        )
        if self.watch is not None:
            took = planned.eviction.ms / 1_000
            self.watch.took("policy", took, eviction=planned.eviction)
        self._record(planned.eviction, planned.leave)
        self._summarize(planned.leave)
        self.window = self._rebuilt(planned.stay, newest.tokens)

    def _record(self, eviction: Eviction, left: Sequence[Block]) -> None:
        self.last = eviction
        self.totals = self.totals.plus(
            evictions=1, blocks_evicted=len(left), tokens_evicted=sum(b.tokens for b in left)
        )
        self.notices.append(Evicted(self.session_id, eviction))
        if eviction.stood_in is not None:
            why = f"{eviction.policy}: {eviction.stood_in}; the sliding window decided"
            self.fall_back("policy", why)
        for block in left:
            self._forget_clips(range(block.index, block.end))
        self._checkpoint_due = True

    def _forget_clips(self, gone: Collection[int]) -> None:
        if any(index in gone for index in self.clips):
            self.clips = {i: shown for i, shown in self.clips.items() if i not in gone}

    def fall_back(self, what: str, why: str) -> None:
        """Count, and tell observers, that something stood in for `what`, and `why`."""
        self.totals = self.totals.plus(fallback=what)
        self.notices.append(FellBack(self.session_id, what, why))

    # -- the summary ----------------------------------------------------------------------------

    def _summary_room(self) -> int:
        if self.summarizer is not None:
            return int(self.limits.summary_share * self.limit)
        return self.window.summary.tokens if self.window.summary is not None else 0

    @property
    def in_background(self) -> bool:
        """Whether the summarizer is only asked when nobody waits."""
        return bool(getattr(self.summarizer, "background", False))

    def _summarize(self, left: Sequence[Block]) -> None:
        """Fold `left` into the summary, now or later, and what must not be lost into its ledger."""
        if self.summarizer is None or not left:
            return
        running = self.running
        if self.in_background:
            offer = running.offer
            text, folded = (running.text, ()) if offer is None else self._folded(offer)
            waiting = (*running.waiting[len(folded) :], *map(_waiting, left))
        else:
            asking = ask if self.watch is None else self.watch.timed("summary", ask)
            vetted = asking(self.summarizer, running, left, self._summary_room(), self.accountant)
            if vetted.problem is not None:
                self.fall_back("summarizer", vetted.problem)
            if vetted.text is None:
                text, folded, lost = running.text, (), len(left)
            else:
                text, folded, lost = vetted.text, tuple(map(_waiting, left)), 0
            self.totals = self.totals.plus(unsummarized=lost + len(running.waiting))
            waiting = ()
        self._stand(text, folded, left)
        self.running = replace(self.running, waiting=self._bounded(waiting), offer=None)

    def _folded(self, offer: Offer) -> tuple[str, tuple[Waiting, ...]]:
        return offer.text, self.running.waiting[: offer.blocks]

    def _bounded(self, waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
        """Return the newest of `waiting` that a context holds: no request may grow for ever.

        The others stay in the archive, in no summary.
        """
        room, start = self.limit, len(waiting)
        while start and waiting[start - 1].tokens <= room:
            start -= 1
            room -= waiting[start].tokens
        self.totals = self.totals.plus(unsummarized=start)
        return waiting[start:]

    def _stand(self, text: str, folded: Sequence[Waiting], left: Sequence[Block]) -> None:
        """Let `text`, which has `folded` in it, stand, with a ledger of the facts that it lacks."""
        room = self._summary_room()
        carried = carry(self.running, text, left, room, self.accountant)
        before, self.running = self.running, carried.running
        if self.running.text != text:
            self.fall_back("summarizer", f"the summary was cut: its room is {room} tokens now")
        if carried.dropped:
            dropped = tuple(fact.text for fact in carried.dropped)
            self.totals = self.totals.plus(facts_dropped=len(dropped))
            self.notices.append(FactsDropped(self.session_id, dropped))
        if self.running.text != before.text:
            self.totals = self.totals.plus(summaries=1)
            ledger = tuple(fact.text for fact in self.running.ledger)
            tokens = sum(block.tokens for block in folded)
            self.notices.append(
                Summarized(self.session_id, self.running.text, len(folded), tokens, ledger)
            )

    def request(self, read: Callable[[Waiting], Block]) -> Request | None:
        """Return what a summary of all that waits is to be made of; None where nothing waits.

        Args:
            read: returns a block that left.
        """
        running, summarizer = self.running, self.summarizer
        if summarizer is None or not (self.in_background and running.waiting):
            return None
        room = self._summary_room()
        most = text_tokens(summarizer, running, (), room, self.accountant)
        return Request(running, lambda: [*map(read, running.waiting)], most, self.accountant.text)

    def vet(self, job: Job) -> Vetted:
        """Return what of a job's answer may stand; nothing where it comes too late."""
        running, max_tokens = job.request.running, job.request.max_tokens
        if max_tokens <= 0:
            return too_small(self._summary_room())
        if job.error is not None:
            return Vetted(None, failure(job.error))
        if not self.running.still(running):
            return Vetted(None, "it came too late; the previous summary stands")
        return vet(job.answer, running.whole, job.blocks, max_tokens, self.accountant)

    def offer(self, vetted: Vetted, blocks: int) -> None:
        """Take in what came of a summary of the first `blocks` of those that wait.

        It stands from the next eviction on, when the prefix of the context changes anyway.
        """
        self.note("summary", json.dumps([*vetted, blocks], ensure_ascii=False))
        self._take(vetted, blocks)

    def _take(self, vetted: Vetted, blocks: int) -> None:
        if vetted.problem is not None:
            self.fall_back("summarizer", vetted.problem)
        if vetted.text is not None:
            self.running = replace(self.running, offer=Offer(vetted.text, blocks))

    def swap(self) -> None:
        """Let the summary on offer stand now, though that changes the prefix of the context.

        Raises:
            PolicyError: something has to leave for it, and the policy failed.
        """
        if self.running.offer is None:
            return
        text, folded = self._folded(self.running.offer)
        self._stand(text, folded, ())
        waiting = self.running.waiting[len(folded) :]
        self.running = replace(self.running, waiting=waiting, offer=None)
        self.window = self._rebuilt(self.window.blocks, self._open_tokens())
        self._settle()
        self._checkpoint_due = True
        self._write_checkpoint_if_due()

    def _summary_block(self) -> Block | None:
        shown = self.running.shown
        if not shown:
            return None
        message = summary_message(shown)
        return Block(-1, (message,), self.accountant.message(message), pinned=True)

    # -- what is not a message ------------------------------------------------------------------

    def set_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Count `tools` in every context from now on.

        Raises:
            BudgetError: they leave no room for what must stay.
        """
        tokens = self.accountant.tools(tools)
        room = self.most + self.tools_tokens - self.window.required() - self._open_tokens()
        if tokens > room:
            raise self._too_large("the list of tool schemas", tokens, room)
        self.tools, self.tools_tokens = tuple(tools), tokens
        self._set_limit()
        self.note("tools", json.dumps([thaw(tool) for tool in tools], ensure_ascii=False))
        self._settle()
        self._write_checkpoint_if_due()

    def learn(self, counted: int, reported: object, spent: Spent | None = None) -> None:
        """Correct counts: a context `counted` as so many tokens was `reported` as so many.

        Args:
            counted: what it counted, before correction.
            reported: what the provider counted.
            spent: what all replies cost by now, this one included; None where only tokens count.

        Raises:
            CounterError: `reported` is no number of tokens.
            PolicyError: counts were so low that something has to leave, and the policy failed.
        """
        if isinstance(reported, bool) or not isinstance(reported, int) or reported < 0:
            raise CounterError(
                f"reported usage must be a whole number of tokens, 0 or more, got {reported!r}"
            )
        if self.calibration is None and spent is None:
            return
        self.spent = self.spent if spent is None else spent
        self.note("usage", json.dumps([counted, reported, *([spent.to_list()] if spent else [])]))
        if self.calibration is not None:
            self.calibration = Calibration.from_dict(self.calibration.to_dict())
            self.calibration.observe(counted, reported)
            self._set_limit()
            self._settle()
        self._write_checkpoint_if_due()

    # -- what a backend tells -------------------------------------------------------------------

    def overflow(self, counted: int, limit: int | None, actual: int | None) -> None:
        """Hold all contexts below one that a model refused, and evict to low water.

        Args:
            counted: what the refused context counted, before correction.
            limit: the most tokens that the model takes, the reply's among them, by its own count;
                None where it does not say.
            actual: the tokens of that context, by its own count; None likewise.

        Raises:
            BudgetError: what must stay does not fit.
        """
        ceiling = int(counted * (KEPT_UNKNOWN if limit is None else KEPT_MOST))
        if limit is not None:
            scale = actual / counted if actual and counted else self.factor
            room = KEPT_MOST * limit - self.limits.reserve
            fits = int(room / scale)
            # Where it should have fitted by their own numbers, these are of no use.
            ceiling = min(ceiling, fits) if fits < counted else int(counted * KEPT_UNKNOWN)
        self.ceiling = ceiling if self.ceiling is None else min(ceiling, self.ceiling)
        self.totals = self.totals.plus(overflows=1)
        self.notices.append(Overflowed(self.session_id, limit, actual, self.ceiling))
        self._set_limit()
        self.asked_room = self.recall_room
        self._require_room()
        self._evict_now()
        self._checkpoint_due = True
        self._write_checkpoint_if_due()

    def choose_low_water(self, chosen: LowWater) -> None:
        """Evict to another low water from now on."""
        if chosen != self.chosen:
            self.chosen = chosen
            self.note("low_water", json.dumps(chosen))

    def evict_early(self) -> None:
        """Evict to low water now, if at least half of what would leave at the budget can leave.

        For a moment in which changing the prefix costs nothing.
        """
        standing = self.window.tokens + self._open_tokens()
        if standing > (self._target() + self.limit) / 2:
            self.totals = self.totals.plus(early=1)
            self._evict_now()
            self._write_checkpoint_if_due()

    def _evict_now(self) -> None:
        self._evict(Block(self.count, (), self._open_tokens()), self.window.question)

    def replace(self, block: Block) -> None:
        """Put `block` where a block with its index stands, or where it stood before it left.

        Raises:
            BudgetError: it is pinned, and what must stay does not fit.
        """
        others = [b for b in self.window.blocks if b.index != block.index]
        window = self._rebuilt(sorted([*others, block], key=_index), self._open_tokens())
        beside = window.required() + self._open_tokens() - block.tokens
        if block.pinned and beside + block.tokens > self.most:
            room = self.most - beside
            raise self._too_large(f"block {block.index}, to be pinned,", block.tokens, room)
        self.window = window
        self._settle()
        self._checkpoint_due = True
        self._write_checkpoint_if_due()

    def bound(self, limits: Limits) -> None:
        """Go on within other limits; `settle` makes what stands fit them."""
        self.limits = limits
        self._set_limit()

    def settle(self) -> None:
        """Evict if what stands exceeds limits that are lower than they were.

        Raises:
            BudgetError: what must stay does not fit.
        """
        self._require_room()
        self._settle()
        self._write_checkpoint_if_due()

    def _require_room(self) -> None:
        needed = self.window.required() + self._open_tokens()
        if needed > self.most:
            raise self._too_large("what must stay", needed, self.most)

    def _settle(self) -> None:
        """Evict if what stands in the window exceeds the limit without anything new."""
        window, open_tokens = self.window, self._open_tokens()
        lead = window.lead_cost(Role.ASSISTANT) if open_tokens else 0
        if window.tokens + open_tokens + lead > self.limit:
            self._evict_now()

    def _open_tokens(self) -> int:
        opened = self.window.open
        if opened is None:
            return 0
        return opened.tokens + RESULT_RESERVE * len(opened.pending)

    def _rebuilt(self, blocks: Sequence[Block], incoming: int) -> Window:
        """Return a window of `blocks` behind the summary, if that fits beside `incoming` tokens."""
        left = self.most - self._bridge_tokens - incoming - sum(b.tokens for b in blocks)
        summary = self._summary_block()
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
        window, before = self.window, self.running
        self.running, self.last = Running(), None
        self._forget_clips(gone)
        if before != self.running:
            for blocks in archived:
                self._summarize(blocks)
            if before.text and not self.running.text:
                self.fall_back("summary", "it was dropped, for it may have told what is forgotten")
        stay = [block for block in window.blocks if block.index not in gone]
        opened = None if window.open is None or window.open.start in gone else window.open
        self.window = self._rebuilt(stay, self._open_tokens() if opened else 0)
        self.window.open = opened
        if self.window.question is not None and self.window.question.index in gone:
            self.window.question = None
        self._settle()  # a bridge may be needed now, or a longer summary
        self.tokens_seen -= tokens
        self.totals = self.totals.plus(erasures=1, forgotten=len(gone))
        self.notices.append(Forgotten(self.session_id, tuple(sorted(gone))))
        self.note("forgotten", json.dumps(len(gone)))  # what is derived elsewhere no longer holds

    # -- resuming -------------------------------------------------------------------------------

    def restore(
        self,
        tools: Sequence[Mapping[str, Any]],
        blocks: Sequence[Block],
        opened: OpenRound | None,
        *,
        summary_stands: bool,
    ) -> None:
        """Take up the state that a checkpoint describes, counts aside."""
        self.tools, self.tools_tokens = tuple(tools), self.accountant.tools(tools)
        self._set_limit()
        summary = self._summary_block() if summary_stands else None
        self.window = self.window.rebuilt(blocks, summary)
        self.window.open = opened

    def replay(self, event: Event) -> None:
        """Take in an event that stands behind the last checkpoint."""
        body = json.loads(event.body)
        if event.kind == "clip":
            self._stored_clips[event.at] = Counted(Message.from_dict(body[0]), body[1])
        elif event.kind == "usage":
            counted, reported, *spent = body
            self.learn(counted, reported, *(Spent(*sums) for sums in spent))
        elif event.kind == "low_water":
            self.choose_low_water(LowWater(*body))
        elif event.kind == "tools":
            self.set_tools(freeze(body, "stored tools"))
        elif event.kind == "summary":
            self._take(Vetted(*body[:2]), body[2])

    # -- the dry run ----------------------------------------------------------------------------

    def dry_run(self, policy: Policy | None, limits: Limits | None) -> Eviction:
        """Return what an eviction now would do; nothing changes."""
        limit = self.limit
        if limits is not None:
            more = (limits.budget - self.limits.budget) * (1 - self.limits.recall_share)
            limit += int(more / self.factor)
        low, fixed = self.low_water, self.window.fixed
        target = int(max(low * limit, fixed + low * low * (limit - fixed)))
        return plan(
            policy or self.policy,
            self.window.blocks,
            question=self.window.question,
            newest=None,
            target=target - self._bridge_tokens - self._summary_room(),
            at=self.count,
            max_ms=self.limits.max_policy_ms,
        ).eviction

    def note(self, kind: str, body: str) -> None:
        """Write down something that a resume must know."""
        self.events.append(Event(kind, self.count, body))

    def _too_large(self, what: str, needed: int, available: int) -> BudgetError:
        hint = "" if self.limits.clips else ", or let it be clipped with oversize='clip'"
        bound = f"the budget of {self.limits.budget}"
        if self.ceiling is not None:
            bound += f" (and the model, which was found to take {self.ceiling})"
        return BudgetError(
            f"{what} costs {needed} tokens, but {bound} leaves {max(0, available)} for it beside "
            f"what must stay (instructions, pinned blocks, the last user message, tool schemas, "
            f"the reserve of {self.limits.reserve}); raise the budget, shorten it{hint}",
            needed=needed,
            available=max(0, available),
        )


def _index(block: Block) -> int:
    return block.index


def _waiting(block: Block) -> Waiting:
    return Waiting(block.index, block.end, block.tokens)


def _stray(call_id: str | None, opened: OpenRound | None) -> str:
    if opened is None:
        return (
            f"a result for tool call {call_id!r}, but no tool call is open; append the assistant's "
            "message with that call first, and its results before anything else"
        )
    if any(call_id == call.id for call in opened.messages[0].tool_calls):
        return f"tool call {call_id!r} has its result already; each call takes one"
    return (
        f"a result for tool call {call_id!r}, which is not among the open calls "
        f"{sorted(opened.pending)}; append the message with that call first"
    )
