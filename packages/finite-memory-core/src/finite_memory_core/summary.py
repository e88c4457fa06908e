"""Summaries: what stands in for blocks that left.

A summarizer gets the summary so far and the blocks that leave, and gives back the new summary. It
is not trusted: the memory enforces the size, refuses what states a number or a name that was never
said, and carries the facts that the summary lost in a ledger beside it, word for word. Where the
summarizer fails, the old summary stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol, runtime_checkable

from .accounting import Accountant
from .blocks import Block
from .counting import TokenCounter
from .errors import CounterError
from .facts import Fact, Said, facts_in, facts_of, invented, sources
from .messages import Message, check_text
from .quoting import chosen_lines
from .text.sentences import sentences
from .window import MARK

LEDGER_SHARE = 0.4
"""How much of a summary's room is kept for the ledger, where there are facts."""

_OPENING = "[Summary of the earlier conversation]\n"
_LEDGER = "[Said word for word:]"


@runtime_checkable
class Summarizer(Protocol):
    """Folds blocks into a running summary.

    One that takes long, because it asks a model, has an attribute ``background`` that is True: it
    is then never called while something is appended, but after a chat's reply, in a thread, or by
    `Memory.summarize`. It may have ``asummarize`` too, a coroutine function with the same
    arguments, for chats on an event loop. An attribute ``ledger_share`` says how much of the
    summary's room is kept for the ledger, from 0 to 1; without it, `LEDGER_SHARE`.
    """

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """Return the new summary.

        Args:
            previous: the summary so far, "" at first, and behind it the facts that it lost, a
                line each; what it says must be carried on.
            blocks: what leaves now, oldest first.
            max_tokens: the most that the new summary may cost.
            count: the counter to measure it with.
        """
        ...


class Waiting(NamedTuple):
    """A block that left and is in no summary yet, by its place in the transcript.

    Attributes:
        start: the transcript index of its first message.
        end: the index after its last.
        tokens: what it cost.
    """

    start: int
    end: int
    tokens: int


class Offer(NamedTuple):
    """A summary that was made in the background and stands from the next eviction on.

    Attributes:
        text: the summary.
        blocks: how many of the waiting blocks it has folded in.
    """

    text: str
    blocks: int


class Vetted(NamedTuple):
    """What came of a summary: the text that may stand, None for the old one, and what was wrong."""

    text: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Running:
    """A running summary, and what belongs to it. Immutable.

    Attributes:
        text: the summary, "" before there is one.
        ledger: facts that left and that `text` does not hold, in the order in which they were said.
        waiting: blocks that left since `text` was made in the background.
        offer: a newer text, which waits for the next eviction; None for none.
    """

    text: str = ""
    ledger: tuple[Fact, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    offer: Offer | None = None

    def still(self, before: Running) -> bool:
        """Whether a summary that was made of `before` fits: nothing it was made of has changed."""
        waiting = self.waiting[: len(before.waiting)]
        return self.offer is None and (self.text, waiting) == (before.text, before.waiting)

    @property
    def whole(self) -> str:
        """The text and the ledger, as a summarizer gets them."""
        return "\n".join(part for part in (self.text, *(fact.text for fact in self.ledger)) if part)

    @property
    def shown(self) -> str:
        """The text and the ledger, as they stand in a context."""
        if not self.ledger:
            return self.text
        lines = [_LEDGER, *(fact.text for fact in self.ledger)]
        return "\n".join(([self.text, ""] if self.text else []) + lines)

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON values."""
        return {
            "text": self.text,
            "ledger": self.ledger,
            "waiting": self.waiting,
            "offer": self.offer,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Running:
        """Read what `to_json` gave."""
        offer = values["offer"]
        return cls(
            values["text"],
            tuple(Fact(*fact) for fact in values["ledger"]),
            tuple(Waiting(*waiting) for waiting in values["waiting"]),
            None if offer is None else Offer(*offer),
        )


def summary_message(text: str) -> Message:
    """Return the message that carries a summary in a context.

    It speaks as the user: what users and tools said must not gain the authority of instructions
    by being summarized.
    """
    return Message.user(_OPENING + text, metadata={MARK: "summary"})


def room_for_text(room: int, accountant: Accountant) -> int:
    """Return what text and ledger may cost where the whole message may cost `room` tokens."""
    return room - accountant.message(summary_message("."))


def ask(
    summarizer: Summarizer,
    running: Running,
    blocks: Sequence[Block],
    room: int,
    accountant: Accountant,
) -> Vetted:
    """Return what becomes of the summary that `summarizer` makes of `blocks` now.

    Raises:
        CounterError: the counter that the summarizer measures with broke its contract.
    """
    max_tokens = text_tokens(summarizer, running, blocks, room, accountant)
    if max_tokens <= 0:
        return too_small(room)
    try:
        answer: object = summarizer.summarize(running.whole, blocks, max_tokens, accountant.text)
    except CounterError:
        raise
    except Exception as error:  # noqa: BLE001  # a summarizer is anybody's; told in `problem`
        return Vetted(None, failure(error))
    return vet(answer, running.whole, blocks, max_tokens, accountant)


def too_small(room: int) -> Vetted:
    """Return what becomes of a summary that has no room."""
    return Vetted(None, f"a room of {room} tokens holds no summary; raise summary_share")


def failure(error: BaseException) -> str:
    """Return the problem that an exception of a summarizer is."""
    return f"{type(error).__name__}: {error}; the previous summary stands"


def text_tokens(
    summarizer: Summarizer,
    running: Running,
    blocks: Sequence[Block],
    room: int,
    accountant: Accountant,
) -> int:
    """Return the most tokens that a summarizer may use: what the ledger does not need."""
    whole = room_for_text(room, accountant)
    share = int(getattr(summarizer, "ledger_share", LEDGER_SHARE) * whole)
    if share <= 0:
        return whole
    needed = 0
    for fact in chain(*_facts(running, blocks)):
        needed += accountant.text(fact.text) + 1
        if needed >= share:
            break
    return whole - min(share, needed)


def vet(
    answer: object,
    previous: str,
    blocks: Sequence[Block],
    max_tokens: int,
    accountant: Accountant,
) -> Vetted:
    """Return what of a summarizer's answer may stand.

    Rubbish, and a summary that forgets everything or states what was never said, is refused; one
    that says too much is cut at a sentence.
    """
    try:
        summary_message(check_text(answer, "the summary") or ".")
    except Exception as error:  # noqa: BLE001  # the answer is anything; told in `problem`
        return Vetted(None, failure(error))
    text = str(answer)
    if previous and not text.strip():
        return Vetted(None, "it returned an empty summary; the previous summary stands")
    kept = cut(text, max_tokens, accountant)
    if text and not kept:
        problem = f"no sentence of it fits {max_tokens} tokens; the previous summary stands"
        return Vetted(None, problem)
    lie = invented(kept, Said(sources(previous, blocks)))
    if lie is not None:
        return Vetted(None, f"it states {lie}, which was never said; the previous summary stands")
    if len(kept) < len(text):
        return Vetted(kept, f"a summary of more than {max_tokens} tokens was cut to them")
    return Vetted(kept, None)


def cut(text: str, max_tokens: int, accountant: Accountant) -> str:
    """Return the longest run of leading sentences within `max_tokens`."""
    if accountant.text(text) <= max_tokens:
        return text
    ends = [end for _, end in sentences(text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        fits = accountant.text(text[: ends[middle - 1]]) <= max_tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[: ends[low - 1]] if low else ""


# -- the fact gate --------------------------------------------------------------------------------


class Carried(NamedTuple):
    """A summary behind the fact gate, and the facts that there was no room for."""

    running: Running
    dropped: tuple[Fact, ...]


def carry(
    running: Running, text: str, blocks: Sequence[Block], room: int, accountant: Accountant
) -> Carried:
    """Return `running` with the new `text`, and in its ledger the facts that it lacks.

    Asked for are the facts of the text before, of the ledger, and of `blocks`. The whole message
    costs at most `room` tokens.
    """
    most = room_for_text(room, accountant)
    if most <= 0:
        return Carried(replace(running, text="", ledger=()), (*chain(*_facts(running, blocks)),))
    text = cut(text, most, accountant)
    said = Said([text])
    old, new = _facts(running, blocks)
    old = [fact for fact in old if not said.keeps(fact)]
    lacking = [*old, *(fact for fact in new if not said.keeps(fact))]
    left = most - accountant.text(f"{text}\n\n{_LEDGER}\n")
    texts = [fact.text for fact in lacking]
    kept = chosen_lines(texts, len(old), left, accountant.text) if left > 0 else []
    while True:
        ledger = tuple(lacking[i] for i in sorted(kept))
        made = replace(running, text=text, ledger=ledger)
        if not kept or accountant.message(summary_message(made.shown)) <= room:
            break
        kept.pop()
    dropped = [fact for i, fact in enumerate(lacking) if i not in {*kept}]
    return Carried(made, tuple(dropped))


def _facts(running: Running, blocks: Sequence[Block]) -> tuple[list[Fact], list[Fact]]:
    """Return the facts that were carried so far, and the new ones of `blocks`; each text once."""
    old = {fact.text: fact for fact in (*running.ledger, *facts_in(running.text))}
    new = {fact.text: fact for block in blocks for fact in facts_of(block)}
    return [*old.values()], [fact for fact in new.values() if fact.text not in old]
