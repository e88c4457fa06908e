"""Assembling a context: what stands, what is recalled, and how much of it the last one had too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .accounting import CONTEXT_OVERHEAD
from .context import Context
from .errors import BudgetError
from .events import ContextBuilt, Recalled
from .fold import Fold
from .limits import corrected
from .messages import Message
from .recall import Hit
from .recall.choosing import Recalled as Found
from .recall.recaller import Recaller
from .recording import Recorder
from .state import State
from .window import Window

Sent: TypeAlias = tuple[Window, int, tuple[Message, ...], int, int, tuple[Mapping[str, Any], ...]]
"""The last context: its window, how often that was cut by then, the messages, how many of them
cannot change soon and what those cost, and the tool schemas. A plain tuple: each context makes one.
"""


class Assembler:
    """Builds the contexts of one memory, and tells how much of each the one before had too.

    Attributes:
        contexts: how many were built.
        context_tokens: what they held, all together.
        stable_tokens: how much of that was the unchanged prefix of the context before.
        recalled: messages that were brought back, all contexts together.
    """

    def __init__(self, recorder: Recorder, recaller: Recaller) -> None:
        self._recorder = recorder
        self._recaller = recaller
        self._sent: Sent | None = None
        self.contexts = self.context_tokens = self.stable_tokens = self.recalled = 0

    def drop(self) -> None:
        """Let go of the last context."""
        self._sent = None

    def drop_changed(self) -> None:
        """Let go of the last context from the first message on that stands no more."""
        if self._sent is not None:
            _, cuts, messages, place, lead, tools = self._sent
            same = _common(self._recorder.fold.window.flat, messages)
            self._sent = (Window(0), cuts, messages[:same], place, lead, tools)

    def context(self, query: str | None) -> Context:
        """Return what the model should see now; see `Memory.context`."""
        recorder = self._recorder
        fold = recorder.fold
        window, state = fold.window, fold.state
        limits, factor = state.limits, state.room.factor
        standing = window.tokens + CONTEXT_OVERHEAD + state.tools_tokens
        tokens = corrected(standing, factor)
        if tokens + limits.reserve > limits.budget:
            raise _over(state, tokens)
        bring_back = self._recaller.bring_back
        if fold.journal.watch is not None and self._recaller.recalls:
            bring_back = fold.journal.watch.timed("recall", bring_back)
        recalled = bring_back(fold, query, recorder.version.messages)
        self.tell_of_recall()
        counted = standing
        if recalled.message is None:
            messages, place, lead = tuple(window.flat), len(window.flat), standing
        else:
            messages, place, lead = _with_recalled(window, recalled.message, standing)
            counted += recalled.tokens
            tokens = corrected(counted, factor)
        same, same_counted = self._unchanged(messages, place, lead)
        stable = min(tokens, corrected(same_counted, factor))
        self._sent = (window, window.cuts, messages, place, lead, state.tools)
        self.contexts += 1
        self.context_tokens += tokens
        self.stable_tokens += stable
        context = _built(fold, messages, tokens, counted, stable, same, query, recalled.hits)
        if recalled.hits:
            self.recalled += len(recalled.hits)
        if recorder.observers:
            self._tell(context, recalled)
        return context

    def _tell(self, context: Context, recalled: Found) -> None:
        tell, session_id = self._recorder.tell, context.session_id
        if recalled.hits:
            tell(Recalled(session_id, recalled.hits, recalled.tokens))
        tell(ContextBuilt(session_id, context))

    def tell_of_recall(self) -> None:
        """Tell what searches did without."""
        notices = self._recaller.notices
        while notices:  # a thread may add to them meanwhile
            self._recorder.tell(notices.pop(0))

    def _unchanged(self, messages: tuple[Message, ...], place: int, lead: int) -> tuple[int, int]:
        """Return how many leading messages the last context had too, and their tokens."""
        fold = self._recorder.fold
        if self._sent is None:
            return 0, 0
        window, cuts, sent, sent_place, sent_lead, tools = self._sent
        if tools is not fold.state.tools:
            return 0, 0
        same, counted = 0, fold.state.tools_tokens + CONTEXT_OVERHEAD
        if window is fold.window and cuts == window.cuts:  # one list's beginning
            same, counted = (sent_place, sent_lead) if sent_place <= place else (place, lead)
        if same < len(sent):
            more = _common(messages[same:], sent[same:])
            counted += sum(map(fold.accountant.message, messages[same : same + more]))
            same += more
        return (same, counted) if same else (0, 0)


def _built(
    fold: Fold,
    messages: tuple[Message, ...],
    tokens: int,
    counted: int,
    stable: int,
    same: int,
    query: str | None,
    hits: tuple[Hit, ...],
) -> Context:
    """Return the context. Made by its keywords it would cost a tenth of a turn more."""
    state, question = fold.state, fold.window.question
    context = Context.__new__(Context)
    context.messages = messages
    context.session_id = fold.session_id
    context.token_count = tokens
    context.counted_tokens = counted
    context.stable_tokens = stable
    context.stable_messages = same
    context.budget = state.limits.budget
    context.reserve = state.limits.reserve
    context.tools = state.tools
    context.query = query
    context.question = None if question is None else question.messages[0]
    context.recalled = hits
    context.erasures = fold.journal.totals.erasures
    context._eviction = state.last
    return context


def _over(state: State, tokens: int) -> BudgetError:
    limits = state.limits
    return BudgetError(
        f"what must stay costs {tokens} tokens, corrected by reported usage (factor "
        f"{state.room.factor:.3f}), and with the reserve of {limits.reserve} exceeds the "
        f"budget of {limits.budget}; raise the budget, unpin something, or shorten "
        "the instructions",
        needed=tokens,
        available=limits.budget - limits.reserve,
    )


def _with_recalled(
    window: Window, recalled: Message, standing: int
) -> tuple[tuple[Message, ...], int, int]:
    """Return the messages with what was recalled before the question, and what stands before it.

    Returns:
        The messages, how many of them stand before the recalled one, and their tokens.
    """
    flat, place, lead = window.flat, len(window.flat), standing
    if window.question is not None:
        for block in reversed(window.blocks):
            place -= len(block.messages)
            lead -= block.tokens
            if block is window.question:
                break
    return (*flat[:place], recalled, *flat[place:]), place, lead


def _common(ours: Sequence[Message], theirs: Sequence[Message]) -> int:
    """Return how many leading messages two contexts share."""
    same = 0
    for mine, other in zip(ours, theirs, strict=False):
        if mine is not other and mine != other:
            break
        same += 1
    return same
