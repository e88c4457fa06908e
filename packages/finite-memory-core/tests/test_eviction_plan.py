"""A plan, block by block: who is asked, what room there is, and the reason in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from finite_memory_core.blocks import Block
from finite_memory_core.errors import ConfigError, PolicyError
from finite_memory_core.eviction import Decision, Eviction, Plan, plan, select
from finite_memory_core.messages import Message
from finite_memory_core.policies import MUST_LEAVE, CannotDecide, Policy, View


class Told(Policy):
    """A policy that answers with what it was told, or raises it, and keeps what it saw."""

    name = "told"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def worth(self, view: View) -> Sequence[float]:
        self.view = view
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


SYSTEM = Block(0, (Message.system("Be brief."),), 5, pinned=True)
FIRST = Block(1, (Message.user("first"),), 10)
PINNED = Block(2, (Message.assistant("pinned"),), 7, pinned=True)
SECOND = Block(3, (Message.user("second"), Message.assistant("answer")), 20)
QUESTION = Block(5, (Message.user("question"),), 4)
BLOCKS = (SYSTEM, FIRST, PINNED, SECOND, QUESTION)
NEWEST = Block(6, (Message.assistant("newest"),), 9)


def planned(answer: object, target: int = 45, newest: Block | None = NEWEST) -> Plan:
    """Return a plan for `BLOCKS` by a policy that answers so."""
    return plan(
        Told(answer), BLOCKS, question=QUESTION, newest=newest, target=target, at=6, max_ms=60_000
    )


def test_only_what_may_leave_is_asked_about() -> None:
    """Instructions, pinned blocks and the question stay beside the newest, and take of the room."""
    policy = Told([1.0, 1.0])
    plan(policy, BLOCKS, question=QUESTION, newest=NEWEST, target=45, at=6, max_ms=250)
    assert [FIRST, SECOND] == policy.view.candidates
    assert [SYSTEM, PINNED, QUESTION, NEWEST] == policy.view.kept
    assert 45 - 5 - 7 - 4 - 9 == policy.view.room
    assert 250 == policy.view.deadline.ms


@pytest.mark.parametrize("newest", [None, Block(6, (), 9)])
def test_what_has_no_messages_yet_only_takes_room(newest: Block | None) -> None:
    """An open round is not shown to the policy; where nothing comes, nothing is taken."""
    policy = Told([1.0, 1.0])
    plan(policy, BLOCKS, question=QUESTION, newest=newest, target=45, at=6)
    assert [SYSTEM, PINNED, QUESTION] == policy.view.kept
    assert (20 if newest else 29) == policy.view.room
    assert policy.view.deadline.ms is None


def test_a_plan_says_what_stays_what_leaves_and_why() -> None:
    """Blocks in their order; sums before and after; a decision for each."""
    made = planned([1.0, 40.0])
    assert [SYSTEM, PINNED, SECOND, QUESTION] == made.stay
    assert [FIRST] == made.leave
    eviction = made.eviction
    assert ("told", 6, 20, 2.0) == (
        eviction.policy,
        eviction.at,
        eviction.room,
        eviction.threshold,
    )
    assert 5 + 10 + 7 + 20 + 4 + 9 == eviction.before
    assert 5 + 7 + 20 + 4 + 9 == eviction.after
    assert eviction.stood_in is None
    assert 0 <= eviction.ms < 60_000
    assert (
        Decision(0, 1, 5, True, None, None, 20, "instructions, which always stay"),
        Decision(1, 1, 10, False, 1.0, 2.0, 20),
        Decision(2, 1, 7, True, None, None, 20, "pinned"),
        Decision(3, 2, 20, True, 40.0, 2.0, 20),
        Decision(5, 1, 4, True, None, None, 20, "the last user message, which always stays"),
    ) == eviction.decisions


def test_without_anything_new_its_tokens_are_none() -> None:
    """Before and after are what stands."""
    eviction = planned([1.0, 40.0], 45, None).eviction
    assert (46, 36) == (eviction.before, eviction.after)


def test_no_room_is_none() -> None:
    """Where what must stay takes more than the target, no candidate stays."""
    made = planned([1.0, 40.0], 10)
    assert [FIRST, SECOND] == made.leave
    assert (0, None) == (made.eviction.room, made.eviction.threshold)


def test_a_pinned_question_is_pinned() -> None:
    """A pin is the stronger reason."""
    question = Block(0, (Message.user("q"),), 4, pinned=True)
    made = plan(Told([]), [question], question=question, newest=None, target=9, at=1)
    assert ["pinned"] == [decision.reason for decision in made.eviction.decisions]


# -- in words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Decision(0, 1, 10, True, None, None, 30, "pinned"), "pinned"),
        (
            Decision(0, 1, 10, False, MUST_LEAVE, 1.0, 30),
            "outside of what the policy keeps",
        ),
        (Decision(0, 1, 10, True, 25.0, 2.5, 30), "2.5 a token, at or over the threshold 2.5"),
        (
            Decision(0, 1, 31, False, 31.0, 0.5, 30),
            "1 a token, but larger than the whole room of 30",
        ),
        (Decision(0, 1, 30, False, 15.0, 2.5, 30), "0.5 a token, under the threshold 2.5"),
        (
            Decision(0, 1, 30, False, 75.0, 2.5, 30),
            "2.5 a token, but no longer fitted the room of 30",
        ),
        (
            Decision(0, 1, 30, False, 10.0, None, 30),
            "0.3333 a token, but no longer fitted the room of 30",
        ),
        (Decision(0, 1, 0, False, 5.0, 9.0, 30), "5 a token, under the threshold 9"),
    ],
)
def test_a_decision_says_why(decision: Decision, reason: str) -> None:
    """Each reason has its words, with the numbers that decided."""
    assert reason == decision.reason


def test_an_eviction_is_told_line_by_line() -> None:
    """A head with the sums, and a line a block."""
    decisions = (
        Decision(3, 1, 10, False, MUST_LEAVE, 1.0, 30),
        Decision(12, 1, 1_000, True, None, None, 30, "pinned"),
    )
    eviction = Eviction(14, "hybrid", 1_010, 1_000, 30, 1.0, decisions, 0.5)
    assert (
        "eviction at message 14 by hybrid: 1 of 2 blocks left, 1010 -> 1000 tokens\n"
        "#3          10 tokens  left  outside of what the policy keeps\n"
        "#12       1000 tokens  kept  pinned"
    ) == str(eviction)


# -- policies that cannot, or do it wrong ---------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "told"),
    [(CannotDecide("no model"), "no model"), (CannotDecide(), "CannotDecide")],
)
def test_the_window_stands_in(reason: CannotDecide, told: str) -> None:
    """Where a policy cannot decide, the sliding window does, and the eviction says why."""
    eviction = planned(reason).eviction
    assert told == eviction.stood_in
    assert [None, MUST_LEAVE, None, 40.0, None] == [d.worth for d in eviction.decisions]
    assert str(eviction).startswith(f"eviction at message 6 by told (sliding window: {told}): 1 of")


def test_an_error_of_ours_is_passed_on() -> None:
    """A policy that raises one of our errors has said what is wrong."""
    with pytest.raises(ConfigError, match=r"^mine$"):
        planned(ConfigError("mine"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (KeyError("turin"), "policy 'told' failed on 2 candidates: KeyError: 'turin'"),
        (
            None,
            "policy 'told' must answer with numbers, one a candidate; got None",
        ),
        (
            ["x" * 200],
            f"policy 'told' must answer with numbers, one a candidate; got ['{'x' * 118}",
        ),
        (
            [1.0],
            (
                "policy 'told' answered with 1 numbers for 2 candidates; it must give exactly one "
                "for each, in their order"
            ),
        ),
        (
            [1.0, float("nan")],
            (
                "policy 'told' gave NaN to candidate 1; use MUST_LEAVE for a block that is not to "
                "be kept"
            ),
        ),
    ],
)
def test_a_wrong_answer_is_told(answer: object, told: str) -> None:
    """The error names the policy, and says what it did and what it must do."""
    with pytest.raises(PolicyError) as caught:
        planned(answer)
    assert told == str(caught.value)


# -- the knapsack ---------------------------------------------------------------------------------


def test_what_costs_nothing_is_compared_by_its_worth() -> None:
    """A block of no tokens is compared as if it cost one, and stays though the room is full."""
    assert ({0, 1, 2}, 2.0) == select([4.0, 9.0, 2.0], [2, 3, 0], 5)
    assert ({0, 1}, 2.0) == select([2.0, 9.0], [1, 3], 4)


def test_each_worth_needs_its_cost() -> None:
    """Lists of different lengths are a mistake, and not cut to the shorter."""
    with pytest.raises(ValueError, match="zip"):
        select([1.0, 2.0], [1], 5)
