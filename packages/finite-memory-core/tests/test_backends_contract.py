"""BackendContract: it passes for good backends, and each of its tests fails for some bad one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest import SkipTest

import pytest

from finite_memory_core import (
    Backend,
    BackendError,
    CallableBackend,
    Context,
    Delta,
    Message,
    Usage,
)
from finite_memory_core.testing import BackendContract, ScriptedBackend

from .turns import Fake

END = Delta(finish="stop")


class TestScripted(BackendContract):
    """The fake that users get is a backend like any other."""

    def backend(self) -> Backend:
        return ScriptedBackend(*["Some words in a row."] * 20, usage=Usage(10, 5, 2))

    def failing_backend(self) -> Backend:
        return ScriptedBackend()


class TestPlain(BackendContract):
    """A backend may return lists, and iterators without a close."""

    deterministic = True

    def backend(self) -> Backend:
        return Fake(lambda context: [Delta(f"{len(context)}"), END])


class _Named(Fake):
    name = " "


class _Forgetful(Fake):
    """Remembers what it was asked before."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__(self._reply)

    def _reply(self, _: Context) -> list[Delta]:
        self.asked += 1
        return [Delta(f"reply {self.asked}"), END]


class _Blocking(Fake):
    """Works on the event loop's own thread."""

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        for delta in self.stream(context):
            yield delta


class _Unlike(Fake):
    """Says something else where there is a loop."""

    async def astream(self, context: Context) -> AsyncIterator[Delta]:
        await asyncio.sleep(0)
        yield Delta("else", finish="stop")


class _OnlyOnce(Fake):
    """Is worn out after a reply that was left."""

    def __init__(self) -> None:
        self.worn_out = False
        super().__init__(self._reply)

    def _reply(self, _: Context) -> Iterator[Delta]:
        if self.worn_out:
            return
        try:
            yield Delta("Some ")
            yield Delta("text", finish="stop")
        except GeneratorExit:
            self.worn_out = True
            raise


def fake(*pieces: Any) -> Callable[[], Backend]:
    return lambda: Fake(lambda _: iter(pieces))


def contract(make: Callable[[], Backend], failing: Callable[[], Backend]) -> Any:
    class Contract(BackendContract):
        deterministic = True

        def backend(self) -> Backend:
            return make()

        def failing_backend(self) -> Backend:
            return failing()

    return Contract()


def _fails_raw(_: Context) -> Any:
    raise OSError("raw")


BAD: dict[str, list[Callable[[], Backend]]] = {
    "test_it_has_a_name": [lambda: _Named(lambda _: [])],
    "test_every_context_gets_one_well_formed_reply": [
        fake(Delta("Hi")),
        fake(Delta("Hi"), END, END),
        fake(Delta("Hi"), END, Delta("more")),
        fake(END),
        fake("Hi", END),
        fake(Delta("\ud800"), END),
        fake(Delta("Hi", usage=Usage(-1, 1)), END),
    ],
    "test_pieces_add_up_to_the_message": [
        fake(Delta("Hi"), Delta(finish="stop", message=Message.assistant("Ho"))),
    ],
    "test_usage_is_sane": [
        fake(Delta("Hi"), Delta(finish="stop", usage=Usage(0, 1))),
        fake(Delta("Hi"), Delta(finish="stop", usage=Usage(5, 1, 6))),
    ],
    "test_a_chat_records_its_reply": [fake(Delta("Hi"))],
    "test_equal_contexts_get_equal_replies": [_Forgetful],
    "test_nothing_follows_a_close": [_OnlyOnce],
    "test_astream_yields_the_same": [lambda: _Unlike(lambda _: [Delta("Hi", finish="stop")])],
    "test_astream_lets_other_tasks_run": [lambda: _Blocking(lambda _: [Delta("Hi", finish="")])],
    "test_astream_can_be_left": [_OnlyOnce],
    "test_failures_are_backend_errors": [fake(Delta("Hi"), END), lambda: Fake(_fails_raw)],
    "test_a_failed_turn_leaves_no_trace": [fake(Delta("Hi"), END)],
}


def test_every_test_of_the_contract_has_a_bad_backend() -> None:
    """No test of the contract is one that cannot fail."""
    assert sorted(BAD) == sorted(name for name in dir(BackendContract) if name.startswith("test_"))


@pytest.mark.parametrize(
    ("test", "make"),
    [(test, make) for test, makers in BAD.items() for make in makers],
)
def test_a_bad_backend_is_found(test: str, make: Callable[[], Backend]) -> None:
    """Each broken backend fails the test that is for it."""
    with pytest.raises((AssertionError, BackendError, OSError)):
        getattr(contract(make, make), test)()


def test_what_is_not_given_is_skipped() -> None:
    """Tests of failures and of determinism are skipped where nothing is claimed."""

    class Silent(BackendContract):
        def backend(self) -> Backend:
            return CallableBackend(lambda _: "Hi")

    with pytest.raises(SkipTest, match="failing_backend"):
        Silent().test_failures_are_backend_errors()
    with pytest.raises(SkipTest, match="deterministic"):
        Silent().test_equal_contexts_get_equal_replies()
    with pytest.raises(NotImplementedError, match="backend\\(\\)"):
        BackendContract().test_it_has_a_name()
