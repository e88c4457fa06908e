"""The shipped policies keep the contract, and the contract catches what breaks it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from finite_memory_core.blocks import Block
from finite_memory_core.policies import (
    MUST_LEAVE,
    DeadlineExceeded,
    Hybrid,
    Importance,
    Policy,
    RollingSummary,
    Semantic,
    SlidingWindow,
    View,
)
from finite_memory_core.testing import PolicyContract


class NGrams:
    """An embedder that behaves like one: texts that share character trigrams are alike."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return hashed counts of trigrams."""
        return [_trigrams(text.casefold()) for text in texts]


def _trigrams(text: str) -> list[float]:
    vector = [0.0] * 64
    for i in range(len(text) - 2):
        code = crc32(text[i : i + 3].encode("utf-8", "surrogatepass"))
        vector[code % 64] += 1.0 if code & 64 else -1.0
    return vector


def attention(blocks: Sequence[Block]) -> list[float]:
    """Stand in for a model's attention: later blocks and longer words weigh more."""
    return [i + max(map(len, b.terms), default=0) / 10 for i, b in enumerate(blocks)]


class TestSlidingWindow(PolicyContract):
    checks_deadline = False

    def make(self) -> Policy:
        return SlidingWindow()


class TestSinks(TestSlidingWindow):
    def make(self) -> Policy:
        return SlidingWindow(sinks=2)


class TestRollingSummary(TestSlidingWindow):
    def make(self) -> Policy:
        return RollingSummary(summary_share=0.2)


class TestImportance(PolicyContract):
    def make(self) -> Policy:
        return Importance()


class TestScorer(PolicyContract):
    passed_again: Mapping[str, Any] = {"scorer": attention}

    def make(self) -> Policy:
        return Importance(attention, recent=0.3)


class TestSemantic(PolicyContract):
    def make(self) -> Policy:
        return Semantic()


class TestSemanticDense(PolicyContract):
    passed_again: Mapping[str, Any] = {"embedder": NGrams()}

    def make(self) -> Policy:
        return Semantic(NGrams())


class TestHybrid(PolicyContract):
    def make(self) -> Policy:
        return Hybrid()


class TestHybridScorer(TestScorer):
    def make(self) -> Policy:
        return Hybrid(scorer=attention)


class TestHybridDense(TestSemanticDense):
    def make(self) -> Policy:
        return Hybrid(NGrams(), recent=0.0)


class Broken(Policy):
    """A policy that answers what it was told to."""

    name = "broken"

    def __init__(self, answer: Callable[[View], Any], name: str = "broken") -> None:
        self.answer = answer
        self.name = name

    def worth(self, view: View) -> Sequence[float]:
        return self.answer(view)  # type: ignore[no-any-return]


def contract(answer: Callable[[View], Any], name: str = "broken") -> PolicyContract:
    """Return the contract of a policy that answers so."""

    class Contract(PolicyContract):
        def make(self) -> Policy:
            return Broken(answer, name)

    return Contract()


def _adds(view: View) -> list[float]:
    view.candidates.append(view.candidates[0])  # type: ignore[attr-defined]
    return [0.0] * len(view.candidates)


def _unpins(view: View) -> list[float]:
    for block in view.candidates:
        block.pinned = True
    return [0.0] * len(view.candidates)


def _swallows(view: View) -> list[float]:
    with suppress(DeadlineExceeded):
        view.deadline.check()
    return [0.0] * len(view.candidates)


_calls = iter(range(10**9))


@pytest.mark.parametrize(
    ("test", "answer"),
    [
        ("test_it_answers_with_one_number_a_candidate", lambda view: [0.0]),
        ("test_it_answers_with_one_number_a_candidate", lambda v: [float("nan")] * len(v[0])),
        ("test_it_answers_with_one_number_a_candidate", lambda v: [float("inf")] * len(v[0])),
        ("test_it_answers_the_same_again", lambda v: [float(next(_calls))] * len(v[0])),
        ("test_it_changes_nothing", _unpins),
        ("test_it_works_for_a_room_of_any_size", lambda view: [0.0] * min(40, view.room)),
        ("test_it_lets_the_deadline_through", _swallows),
        ("test_it_lets_the_deadline_through", lambda v: [0.0] * len(v[0])),
        ("test_its_settings_build_it_again", lambda v: [0.0] * len(v[0])),
    ],
)
def test_what_breaks_the_contract_is_caught(test: str, answer: Callable[[View], Any]) -> None:
    """A policy that breaks a rule fails the test of that rule."""
    with pytest.raises((AssertionError, TypeError)):
        getattr(contract(answer), test)()


def test_a_changed_list_of_candidates_is_caught() -> None:
    """A policy that adds to its view fails, however many numbers it gives."""
    with pytest.raises((AssertionError, IndexError)):
        contract(_adds).test_it_changes_nothing()


def test_a_name_is_needed() -> None:
    """The empty text is no name."""
    with pytest.raises(AssertionError):
        contract(lambda v: [MUST_LEAVE] * len(v[0]), "").test_it_has_a_name()


def test_a_fuzz_failure_is_told() -> None:
    """A policy whose answers change from one replay to the next fails in a conversation."""
    unsteady = contract(lambda v: [float(next(_calls) % 7) for _ in v[0]])
    with pytest.raises(AssertionError, match="not deterministic"):
        unsteady.test_it_holds_a_plain_chat()


def test_a_policys_tests_give_make() -> None:
    """The contract without a policy says what is missing."""
    with pytest.raises(NotImplementedError, match="make"):
        PolicyContract().make()


def test_a_local_contract_cannot_run_elsewhere() -> None:
    """A contract inside a function says that it must stand at the top of its module."""
    with pytest.raises(AssertionError, match="at the top of its module"):
        contract(lambda v: [0.0] * len(v[0])).test_it_answers_the_same_in_other_processes()


HASHED = """
from finite_memory_core.policies import Policy
from finite_memory_core.testing import PolicyContract

class Hashed(Policy):
    name = "hashed"
    def worth(self, view):
        return [float(hash(block.text) % 100) for block in view.candidates]

class TestHashed(PolicyContract):
    def make(self):
        return Hashed()
"""


def test_an_order_of_hashes_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that leans on hashes of text passes in one process and is caught across several."""
    (tmp_path / "hashed_policy.py").write_text(HASHED, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(os.environ, "PYTHONHASHSEED", "7")
    import hashed_policy  # type: ignore[import-not-found]

    own = hashed_policy.TestHashed()
    own.test_it_answers_the_same_again()
    with pytest.raises(AssertionError, match="PYTHONHASHSEED"):
        own.test_it_answers_the_same_in_other_processes()
