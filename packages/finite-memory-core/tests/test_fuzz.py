"""The fuzz finds what is wrong, and finds nothing where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from finite_memory_core.errors import BudgetError, FiniteMemoryError
from finite_memory_core.messages import Message, Role, ToolCall
from finite_memory_core.testing.fuzz import (
    TOO_LARGE,
    FuzzReport,
    count_context,
    fuzz,
    fuzz_policy,
    quarter,
)
from finite_memory_core.testing.streams import Shape, Step, stream
from finite_memory_core.testing.violations import Checker, kind_of, violations

BUDGET = 1_000
SHAPES: list[Shape] = ["chat", "agent", "rough"]

SYSTEM = Message.system("Be brief.")
QUESTION = Message.user("Where does Ada live?")
CALLS = Message.assistant(tool_calls=(ToolCall("a", "search"), ToolCall("b", "search")))
RESULT_A = Message.tool("Turin", tool_call_id="a")
RESULT_B = Message.tool("Rome", tool_call_id="b")
ANSWER = Message.assistant("In Turin.")
NEXT = Message.user("Since when?")
SAID = [SYSTEM, QUESTION, CALLS, RESULT_A, RESULT_B, ANSWER, NEXT]


def kinds(context: Sequence[Any], said: Sequence[Any] = SAID, **options: Any) -> list[str]:
    arguments = {"budget": BUDGET, "count": count_context, **options}
    return [kind_of(line) for line in violations(context, transcript=said, **arguments)]


# -- violations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    [
        SAID,
        [SYSTEM, NEXT],
        [SYSTEM, QUESTION, ANSWER, NEXT],
        [SYSTEM, QUESTION, CALLS, RESULT_A, RESULT_B, NEXT],
        [SYSTEM, QUESTION, NEXT],
        [SYSTEM, Message.user("[Earlier: Ada]", metadata={"finite_memory": "summary"}), NEXT],
        [SYSTEM, Message.user("[:]", metadata={"finite_memory": "bridge"}), ANSWER, NEXT],
    ],
)
def test_a_valid_context_has_no_violations(context: list[Message]) -> None:
    """What a provider takes, in order and verbatim, is right whatever was left out."""
    assert [] == kinds(context)


@pytest.mark.parametrize(
    ("expected", "context"),
    [
        (["empty", "system lost", "question lost"], []),
        (["empty", "question lost"], [SYSTEM]),
        (["system lost"], [QUESTION, ANSWER, NEXT]),
        (["question lost"], [SYSTEM, QUESTION, ANSWER]),
        (["orphan result"], [SYSTEM, QUESTION, RESULT_A, NEXT]),
        (["dangling call"], [SYSTEM, QUESTION, CALLS, ANSWER, NEXT]),
        (["split group"], [SYSTEM, QUESTION, CALLS, RESULT_A, ANSWER, NEXT]),
        (["starts without user"], [SYSTEM, ANSWER, NEXT]),
        (["out of order"], [SYSTEM, QUESTION, ANSWER, CALLS, RESULT_A, RESULT_B, NEXT]),
        (["out of order"], [SYSTEM, QUESTION, QUESTION, NEXT]),
        (["altered"], [SYSTEM, QUESTION, Message.assistant("In Rome."), NEXT]),
    ],
)
def test_each_violation_is_named(expected: list[str], context: list[Message]) -> None:
    """One thing wrong gives one line, of its own kind."""
    found = kinds(context)
    if expected == ["out of order"]:
        found = sorted(set(found))
    assert expected == found


def test_a_context_over_the_budget_is_a_violation() -> None:
    """The tokens of the whole context count, by the given counter."""
    used = count_context(SAID)
    assert [] == kinds(SAID, budget=used)
    assert ["over budget"] == kinds(SAID, budget=used - 1)


def test_the_newest_message_must_be_there() -> None:
    """A model that is called after a tool result must see that result."""
    said = SAID[:5]
    assert [] == kinds(said, said)
    assert ["newest lost"] == kinds([SYSTEM, QUESTION], said)


def test_a_pinned_message_must_be_there() -> None:
    """What was pinned never leaves."""
    pinned = Message.user("Call me Ada.", pinned=True)
    assert ["pinned lost"] == kinds([SYSTEM, QUESTION], [SYSTEM, pinned, ANSWER, QUESTION])


def test_a_clipped_question_is_allowed_only_where_the_caller_asked_for_it() -> None:
    """Clipping must be marked, and chosen."""
    long = Message.user("x" * 9_000)
    clipped = replace(long, content="xx [...] xx", metadata={"finite_memory": "clipped"})
    assert [] == kinds([SYSTEM, clipped], [SYSTEM, long], clip=True)
    assert ["question lost", "altered"] == kinds([SYSTEM, clipped], [SYSTEM, long])
    unmarked = replace(clipped, metadata={})
    assert ["question lost", "altered"] == kinds([SYSTEM, unmarked], [SYSTEM, long], clip=True)


def test_a_repeated_message_is_found_in_its_later_place() -> None:
    """The same words said twice are two messages."""
    okay = Message.user("ok")
    said = [SYSTEM, okay, ANSWER, QUESTION, ANSWER, okay]
    assert [] == kinds([SYSTEM, QUESTION, ANSWER, okay], said)
    assert [] == kinds([SYSTEM, okay, ANSWER, okay], said)


def test_dicts_are_checked_like_messages() -> None:
    """A third party's contexts need not be made of our classes."""
    said = [m.to_dict(wire=True) for m in SAID]
    assert [] == kinds(said, said)
    assert [] == kinds(said, SAID)
    assert ["orphan result"] == kinds([said[0], said[1], said[3], said[6]], said)


def test_a_checker_that_grows_agrees_with_one_that_reads_everything() -> None:
    """`Checker` is `violations`, message by message."""
    checker = Checker(budget=BUDGET, count=count_context)
    for i, message in enumerate(SAID, start=1):
        checker.append(message)
        assert violations(
            SAID[:i], transcript=SAID[:i], budget=BUDGET, count=count_context
        ) == checker.check(SAID[:i])


# -- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_is_determined_by_its_seed(shape: Shape) -> None:
    """The same seed gives the same messages, another seed others."""
    once = list(stream(shape, 7, 20, BUDGET, 0.05))
    assert once == list(stream(shape, 7, 20, BUDGET, 0.05))
    assert once != list(stream(shape, 8, 20, BUDGET, 0.05))


@pytest.mark.parametrize("shape", ["chat", "agent"])
def test_a_stream_is_valid_in_itself(shape: Shape) -> None:
    """With all that was said in it, and no bound, a context has no violations."""
    said: list[Message] = []
    checker = Checker(budget=10**9, count=count_context)
    for step in stream(shape, 3, 30, BUDGET, 0.0):
        for message in step.messages:
            said.append(message)
            checker.append(message)
        if step.calls_model:
            assert [] == checker.check(said)


def test_big_messages_are_larger_than_the_budget_by_every_usual_count() -> None:
    """By characters, by words, and in their stated share."""
    said = _said(list(stream("agent", 1, 200, BUDGET, 0.1)))
    texts = [m.text for m in said if m.text]
    big = [text for text in texts if len(text) > 2_000]
    assert all(len(text.split()) > BUDGET and quarter(text) > BUDGET for text in big)
    assert 0.05 < len(big) / len(texts) < 0.15


def test_an_agent_stream_has_rounds_of_parallel_calls() -> None:
    """Up to five rounds a turn, of up to three calls, results one by one."""
    steps = list(stream("agent", 2, 100, BUDGET, 0.0))
    rounds = [len(m.tool_calls) for m in _said(steps) if m.tool_calls]
    assert {1, 2, 3} == set(rounds)
    assert {1} == {len(step.messages) for step in steps}
    per_turn = [
        sum(bool(m.tool_calls) for s in steps for m in s.messages if s.turn == t)
        for t in range(1, 101)
    ]
    assert {0, 1, 2, 3, 4, 5} == set(per_turn)


def _said(steps: list[Step]) -> list[Message]:
    return [message for step in steps for message in step.messages]


# -- the driver -----------------------------------------------------------------------------------


class Everything:
    """Keeps all: right until the budget is full."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def append(self, *messages: Message) -> None:
        self.messages.extend(messages)

    def context(self) -> Sequence[Message]:
        return self.messages


class LastFew(Everything):
    """The naive window: the newest messages that fit, whatever they are."""

    def context(self) -> Sequence[Message]:
        start = len(self.messages)
        while start and count_context(self.messages[start - 1 :]) <= BUDGET:
            start -= 1
        return self.messages[start:]


class OnlyTheTurn(Everything):
    """A right one: instructions and the current turn's question and newest round; it refuses."""

    def append(self, *messages: Message) -> None:
        before = list(self.messages)
        super().append(*messages)
        if (needed := count_context(self.context())) > BUDGET:
            self.messages = before
            raise BudgetError("too large; shorten it", needed=needed, available=BUDGET)

    def context(self) -> Sequence[Message]:
        system = [m for m in self.messages if m.role is Role.SYSTEM]
        users = [i for i, m in enumerate(self.messages) if m.role is Role.USER]
        if not users:
            return system
        calls = [i for i, m in enumerate(self.messages) if m.tool_calls and i > users[-1]]
        newest = self.messages[calls[-1] :] if calls else []
        return [*system, self.messages[users[-1]], *newest]


def run(subject: Any, **options: Any) -> FuzzReport:
    return fuzz(subject, **{"seeds": range(3), "turns": 30, "budget": BUDGET, **options})


@pytest.mark.parametrize("shape", ["chat", "agent"])
def test_a_right_subject_passes(shape: Shape) -> None:
    """No violation, refusals are none, and the replay agrees."""
    report = run(OnlyTheTurn, shape=shape, big=0.05, replay=True)
    assert [] == report.failures
    assert {"BudgetError"} == set(report.refusals)
    assert report.calls >= 3 * 25


def test_going_over_the_budget_is_found() -> None:
    """What keeps everything fails on budget alone."""
    report = run(Everything, big=0.0)
    assert {"over budget"} == set(report.kinds)
    assert 0 == report.failed(ignoring=["over budget"])


def test_a_naive_window_is_found() -> None:
    """It loses instructions, splits rounds, and hands out nothing for a huge message."""
    report = run(LastFew, big=0.05)
    assert {"system lost", "orphan result", "empty", "question lost"} <= set(report.kinds)
    assert "over budget" not in report.kinds
    assert "seed 0" in str(report)


def test_a_failure_can_be_found_again_from_its_seed() -> None:
    """Fuzzing the seed alone gives the same failures."""
    report = run(LastFew)
    seed = report.failures[-1].seed
    again = run(LastFew, seeds=[seed])
    assert [f for f in report.failures if f.seed == seed] == again.failures


def test_the_prefix_of_what_only_grows_is_all_cacheable() -> None:
    """All of the context before is the prefix of the next; only what is new is not."""
    prefix = run(Everything, shape="chat", big=0.0).prefix
    assert 0 == prefix.broken
    assert prefix.share > 0.9
    assert prefix.mean_tokens > BUDGET


def test_the_prefix_of_a_window_that_slides_is_broken() -> None:
    """A minimal fit changes the front of the context nearly every turn."""
    assert run(LastFew, shape="chat", big=0.0).prefix.broken_share > 0.9


def test_a_crash_is_a_violation_and_the_next_seed_goes_on() -> None:
    """Only our own error tree counts as a refusal."""

    class Crashes(Everything):
        def append(self, *messages: Message) -> None:
            raise KeyError("oops")

    report = run(Crashes)
    assert {"crashed": 3} == report.kinds


def test_an_error_instead_of_a_context_is_a_violation() -> None:
    """After `append` accepted everything there must be a context."""

    class Silent(Everything):
        def context(self) -> Sequence[Message]:
            raise FiniteMemoryError("no")

    report = run(Silent, seeds=[0])
    assert {"no context"} == set(report.kinds)
    assert report.calls == len(report.failures) > 1


def test_a_refused_tool_result_is_replaced_by_a_short_error() -> None:
    """As an application does, so that the call does not stay open."""
    seen: list[Message] = []

    class Watches(OnlyTheTurn):
        def append(self, *messages: Message) -> None:
            super().append(*messages)
            seen.extend(messages)

    assert [] == run(Watches, big=0.1).failures
    assert any(m.role is Role.TOOL and m.text == TOO_LARGE for m in seen)


def test_refusing_the_short_error_too_is_a_violation() -> None:
    """An application would have no way to go on."""

    class NoResults(OnlyTheTurn):
        def append(self, *messages: Message) -> None:
            if any(m.role is Role.TOOL for m in messages):
                raise BudgetError("no", needed=1, available=0)
            super().append(*messages)

    assert "stuck" in run(NoResults).kinds


def test_what_a_subject_tells_about_itself_is_checked() -> None:
    """Its token count, its transcript, and that it did not evict."""

    class Lies(OnlyTheTurn):
        token_count = 1
        evictions = 0
        transcript = ()

    found = set(run(Lies, shape="chat").kinds)
    assert {"miscounted", "transcript altered", "prefix broken"} == found


def test_a_subject_that_forgets_when_resumed_is_found() -> None:
    """What is read from the store must give the same context, and give one at all."""

    class Forgets(OnlyTheTurn):
        def resumed(self) -> Everything:
            return Everything()

    class Fails(OnlyTheTurn):
        def resumed(self) -> Everything:
            raise FiniteMemoryError("gone")

    assert {"not resumed"} == set(run(Forgets).kinds)
    assert {"not resumed"} == set(run(Fails).kinds)


def test_a_subject_that_depends_on_being_asked_is_not_deterministic() -> None:
    """The replay asks for fewer contexts and must get the same."""

    class Counts(Everything):
        asked = 0

        def context(self) -> Sequence[Message]:
            self.asked += 1
            mark = Message.user(str(self.asked), metadata={"finite_memory": "recalled"})
            return [*self.messages[:1], mark, *self.messages[1:]]

    report = run(Counts, seeds=[0], replay=True, budget=10**6, big=0.0)
    assert {"not deterministic"} == set(report.kinds)


# -- our own memory ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", ["sliding", "importance", "semantic", "rolling_summary", "hybrid"]
)
@pytest.mark.parametrize("oversize", ["raise", "clip"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_policy_conforms(policy: str, oversize: str, shape: Shape) -> None:
    """No violation in any shape, with messages larger than the budget among the rest."""
    report = fuzz_policy(
        lambda: policy,
        seeds=range(2),
        turns=25,
        budget=BUDGET,
        big=0.04,
        shape=shape,
        oversize=oversize,
    )
    assert [] == report.failures, str(report)
    assert report.calls > 25
