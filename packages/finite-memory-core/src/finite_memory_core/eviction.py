"""Eviction: what leaves when the budget is exceeded, and the reason for each block.

Planning is pure: it changes nothing, so the same code serves the real thing and the dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from time import perf_counter

from .blocks import Block
from .errors import FiniteMemoryError, PolicyError
from .policies.base import MUST_LEAVE, CannotDecide, Deadline, Policy, View
from .policies.sliding import SlidingWindow


@dataclass(frozen=True, slots=True)
class Decision:
    """Why one block stayed or left.

    Attributes:
        index: the transcript index of the block's first message.
        messages: how many messages it has.
        tokens: what it costs.
        kept: whether it stayed.
        worth: the policy's number for it; None where the policy was not asked.
        threshold: the lowest worth per token among the candidates that stayed; None if none did.
        room: tokens that were left for the candidates.
        rule: why the policy was not asked; "" where it was.
    """

    index: int
    messages: int
    tokens: int
    kept: bool
    worth: float | None
    threshold: float | None
    room: int
    rule: str = ""

    @property
    def density(self) -> float | None:
        """The worth per token, by which candidates are compared; None where there is none."""
        return None if self.worth is None else self.worth / max(1, self.tokens)

    @property
    def reason(self) -> str:
        """Why, in words."""
        if self.density is None:
            return self.rule
        if self.worth == MUST_LEAVE:
            return "outside of what the policy keeps"
        worth = f"{self.density:.4g} a token"
        if self.kept:
            return f"{worth}, at or over the threshold {self.threshold:.4g}"
        if self.tokens > self.room:
            return f"{worth}, but larger than the whole room of {self.room}"
        if self.threshold is not None and self.density < self.threshold:
            return f"{worth}, under the threshold {self.threshold:.4g}"
        return f"{worth}, but no longer fitted the room of {self.room}"

    def __str__(self) -> str:
        verdict = "kept" if self.kept else "left"
        return f"#{self.index:<6} {self.tokens:>6} tokens  {verdict}  {self.reason}"


@dataclass(frozen=True, slots=True)
class Eviction:
    """One eviction, or what one would do.

    Attributes:
        at: how many messages the transcript held.
        policy: the name of the policy that decided.
        before: tokens of all blocks before, what came in included.
        after: tokens of the blocks that stayed, what came in included.
        room: tokens that were left for the blocks that could leave.
        threshold: the lowest worth per token among the candidates that stayed; None if none did.
        decisions: one a block, oldest first.
        ms: how long the policy took, in milliseconds.
        stood_in: why the sliding window decided in the policy's place; None where it did not.
    """

    at: int
    policy: str
    before: int
    after: int
    room: int
    threshold: float | None
    decisions: tuple[Decision, ...]
    ms: float
    stood_in: str | None = None

    def __str__(self) -> str:
        left = sum(not decision.kept for decision in self.decisions)
        head = (
            f"eviction at message {self.at} by {self.policy}"
            f"{f' (sliding window: {self.stood_in})' if self.stood_in else ''}: {left} of "
            f"{len(self.decisions)} blocks left, {self.before} -> {self.after} tokens"
        )
        return "\n".join([head, *map(str, self.decisions)])


@dataclass(frozen=True, slots=True)
class Plan:
    """Which blocks stay and which leave, oldest first, with the record of it."""

    stay: list[Block]
    leave: list[Block]
    eviction: Eviction


def plan(
    policy: Policy,
    blocks: Iterable[Block],
    *,
    question: Block | None,
    newest: Block | None,
    target: int,
    at: int,
    max_ms: float | None = None,
) -> Plan:
    """Decide what stays.

    Args:
        policy: decides among the candidates.
        blocks: all blocks of the context, oldest first.
        question: the block of the last user message, which stays.
        newest: what is about to be added, which stays; None if nothing is.
        target: tokens that may be in use afterwards, those of `newest` among them.
        at: how many messages the transcript holds.
        max_ms: the policy's deadline in milliseconds, None for none.

    Raises:
        PolicyError: the policy failed or did not answer with a number per candidate.
    """
    blocks = list(blocks)
    candidates = [b for b in blocks if not b.pinned and b is not question]
    kept = [b for b in blocks if b.pinned or b is question]
    incoming = 0 if newest is None else newest.tokens
    room = max(0, target - incoming - sum(b.tokens for b in kept))
    if newest is not None and newest.messages:
        kept.append(newest)
    start = perf_counter()
    worths, stood_in = _ask(policy, View(candidates, room, kept, Deadline(max_ms)))
    ms = (perf_counter() - start) * 1_000
    chosen, threshold = select(worths, [b.tokens for b in candidates], room)
    asked = {
        b.index: Decision(
            b.index, len(b.messages), b.tokens, i in chosen, worths[i], threshold, room
        )
        for i, b in enumerate(candidates)
    }
    stay = [b for b in blocks if b.index not in asked or asked[b.index].kept]
    leave = [b for b in blocks if b.index in asked and not asked[b.index].kept]
    eviction = Eviction(
        at=at,
        policy=policy.name,
        before=incoming + sum(b.tokens for b in blocks),
        after=incoming + sum(b.tokens for b in stay),
        room=room,
        threshold=threshold,
        decisions=tuple(asked.get(b.index) or _unasked(b, question, room) for b in blocks),
        ms=ms,
        stood_in=stood_in,
    )
    return Plan(stay, leave, eviction)


def select(
    worths: Sequence[float], tokens: Sequence[int], room: int
) -> tuple[set[int], float | None]:
    """Fill `room` by worth per token, the best first: the greedy answer to the knapsack problem.

    Greedy by density, passing over what does not fit, is within one item of the optimum
    (Dantzig, "Discrete-variable extremum problems", 1957); blocks are small beside the room, and
    the order of its choices can be explained, which an optimal packing's cannot.

    Args:
        worths: what each is worth; `MUST_LEAVE` is never chosen.
        tokens: what each costs, in the same order.
        room: what may be spent.

    Returns:
        The chosen positions, and the lowest worth per token among them (None if none).
    """
    density = [w / max(1, t) for w, t in zip(worths, tokens, strict=True)]
    chosen: set[int] = set()
    threshold = None
    for i in sorted(range(len(density)), key=lambda i: (-density[i], -i)):
        if tokens[i] <= room and worths[i] != MUST_LEAVE:
            chosen.add(i)
            room -= tokens[i]
            threshold = density[i]
    return chosen, threshold


def _ask(policy: Policy, view: View) -> tuple[Sequence[float], str | None]:
    try:
        worths = policy.worth(view)
        view.deadline.check()
    except CannotDecide as reason:
        return SlidingWindow().worth(view), str(reason) or type(reason).__name__
    except FiniteMemoryError:
        raise
    except Exception as error:
        raise PolicyError(
            f"policy {policy.name!r} failed on {len(view.candidates)} candidates: "
            f"{type(error).__name__}: {error}"
        ) from error
    return _checked(policy, worths, len(view.candidates)), None


def _checked(policy: Policy, worths: object, count: int) -> Sequence[float]:
    try:
        numbers = [float(worth) for worth in worths]  # type: ignore[attr-defined]
    except Exception as error:
        raise PolicyError(
            f"policy {policy.name!r} must answer with numbers, one a candidate; got {worths!r:.120}"
        ) from error
    if len(numbers) != count:
        raise PolicyError(
            f"policy {policy.name!r} answered with {len(numbers)} numbers for {count} candidates; "
            "it must give exactly one for each, in their order"
        )
    if any(map(isnan, numbers)):
        raise PolicyError(
            f"policy {policy.name!r} gave NaN to candidate {[*map(isnan, numbers)].index(True)}; "
            "use MUST_LEAVE for a block that is not to be kept"
        )
    return numbers


def _unasked(block: Block, question: Block | None, room: int) -> Decision:
    if block is question and not block.pinned:
        rule = "the last user message, which always stays"
    elif block.role.instructs:
        rule = "instructions, which always stay"
    else:
        rule = "pinned"
    size = len(block.messages)
    return Decision(block.index, size, block.tokens, True, None, None, room, rule)
