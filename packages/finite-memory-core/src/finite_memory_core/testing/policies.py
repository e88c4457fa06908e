"""The contract of a policy, as tests that a third party's policy inherits.

::

    class TestMyPolicy(PolicyContract):
        def make(self):
            return MyPolicy()

The class must stand at the top of its module: one test runs it in other processes. Needs no pytest
itself; call ``pytest.register_assert_rewrite("finite_memory_core.testing.policies")`` before
importing it to have failures explained.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any

from ..accounting import Accountant
from ..blocks import Block
from ..messages import Message, ToolCall
from ..policies.base import MUST_LEAVE, CannotDecide, Deadline, DeadlineExceeded, Policy, View
from .fuzz import fuzz_policy, quarter
from .streams import Shape

SCRIPTS = (
    "My sister Ada moved to Turin on 14 March 2024. Did I tell you about INV-20493?",
    "Grüße aus Köln! Gestern traf ich Frau Müller; sie fährt um 12:30 Uhr.",
    "Вчера Анна уехала в Москву. Когда она вернётся?",
    "سافرت ليلى إلى القاهرة أمس. متى تعود؟",
    "אתמול פגשתי את דנה בתל אביב.",
    "आदा कल दिल्ली गई। वह कब लौटेगी?",
    "昨天我和王芳去了北京。你什么时候来？",
    "昨日、田中さんと東京へ行きました。",
    "어제 민수와 서울에 갔어요.",
    "เมื่อวานฉันไปเชียงใหม่กับมานี",
    "👩\u200d👩\u200d👧\u200d👦 👍🏽 🇮🇹",
    "def f(x: int) -> int:\n    return x ** 2  # snake_case, a.b@c.de",
    "\x01 \u202e \ufeff \n\t",
    " ",
    "?",
)

_CHILD = """
import importlib, importlib.util, json, sys
module, path, name = sys.argv[1:]
try:
    found = importlib.import_module(module)
except ImportError:
    spec = importlib.util.spec_from_file_location(module, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
sys.stdout.write(json.dumps(getattr(found, name)().answers()))
"""


class PolicyContract:
    """What every policy does. Subclass it as ``Test...`` and give `make`.

    Attributes:
        passed_again: arguments of the constructor that JSON settings cannot hold (a model, a
            function) and that whoever rebuilds the policy passes again.
        checks_deadline: whether the policy looks at its deadline. Only a policy that is as cheap
            as the sliding window may say no.
    """

    passed_again: Mapping[str, Any] = {}
    checks_deadline = True

    def make(self) -> Policy:
        """Return a fresh policy."""
        raise NotImplementedError("a policy's tests give make()")

    def answers(self) -> dict[str, list[str]]:
        """Return what a fresh policy answers to each view, exactly, as JSON values."""
        return {
            name: [float(worth).hex() for worth in self.make().worth(view())]
            for name, view in VIEWS.items()
        }

    def test_it_has_a_name(self) -> None:
        """A policy is called something, for settings, events and explanations."""
        policy = self.make()
        assert isinstance(policy, Policy)
        assert isinstance(policy.name, str)
        assert policy.name

    def test_it_answers_with_one_number_a_candidate(self) -> None:
        """Whatever the candidates, each gets one number: finite, or `MUST_LEAVE`."""
        for name, view in VIEWS.items():
            worths = list(self.make().worth(view()))
            assert len(view().candidates) == len(worths), name
            for worth in map(float, worths):
                assert isfinite(worth) or worth == MUST_LEAVE, f"{name}: {worth}"

    def test_it_answers_the_same_again(self) -> None:
        """The same view gets the same answer, from the same object and from a fresh one."""
        once = self.answers()
        assert once == self.answers()
        policy = self.make()
        for _ in range(2):
            again = {n: [float(w).hex() for w in policy.worth(v())] for n, v in VIEWS.items()}
            assert once == again

    def test_it_answers_the_same_in_other_processes(self) -> None:
        """No answer depends on the order of a set or on the address of an object."""
        here = self.answers()
        for seed in ("0", "1", "4711"):
            assert here == self._answers_elsewhere(seed), f"PYTHONHASHSEED={seed}"

    def test_it_changes_nothing(self) -> None:
        """A view and its blocks are what they were after the policy saw them."""
        for name, make_view in VIEWS.items():
            view, same = make_view(), make_view()
            self.make().worth(view)
            assert _plain(same) == _plain(view), name

    def test_it_works_for_a_room_of_any_size(self) -> None:
        """With no room, room for one block and room for all there is an answer."""
        for room in (0, 1, 40, 10**9):
            view = many()._replace(room=room)
            assert len(view.candidates) == len(self.make().worth(view)), f"a room of {room}"

    def test_it_lets_the_deadline_through(self) -> None:
        """When the time is up it stops with what `Deadline.check` raised."""
        deadline = _Up()
        view = many()._replace(deadline=deadline)
        try:
            self.make().worth(view)
        except CannotDecide:
            return
        assert deadline.checks == 0, "it caught DeadlineExceeded; let it through"
        assert not self.checks_deadline, "it never calls view.deadline.check(); do so in each loop"

    def test_its_settings_build_it_again(self) -> None:
        """`settings` gives JSON values from which the constructor makes an equal policy."""
        policy = self.make()
        settings = json.loads(json.dumps(dict(policy.settings())))
        again = type(policy)(**{**settings, **self.passed_again})
        assert dict(policy.settings()) == settings
        assert settings == dict(again.settings())
        assert policy.name == again.name
        for name, view in VIEWS.items():
            assert list(policy.worth(view())) == list(again.worth(view())), name

    def test_it_holds_a_plain_chat(self) -> None:
        """A chat through `Memory` at a small budget keeps all that always holds."""
        self._hold("chat", budget=700, turns=60)

    def test_it_holds_an_agents_work(self) -> None:
        """So does an agent's work, with calls in parallel and messages larger than the budget."""
        self._hold("agent", budget=1_500, turns=25)

    def test_it_holds_a_rough_stream(self) -> None:
        """So does all that is allowed and rarely tried."""
        self._hold("rough", budget=1_200, turns=25, oversize="clip")

    def _hold(self, shape: Shape, *, budget: int, turns: int, **settings: Any) -> None:
        report = fuzz_policy(
            self.make, seeds=range(2), turns=turns, budget=budget, shape=shape, **settings
        )
        assert not report.failures, str(report)

    def _answers_elsewhere(self, seed: str) -> Any:
        own = type(self)
        path = getattr(sys.modules[own.__module__], "__file__", None)
        assert path is not None, f"{own} stands in no file that another process could read"
        assert "." not in own.__qualname__, f"{own} must stand at the top of its module"
        paths = [str(Path(entry).resolve()) for entry in sys.path]
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(paths),
        }
        done = subprocess.run(  # noqa: S603  # our own interpreter and program
            [sys.executable, "-c", _CHILD, own.__module__, path, own.__qualname__],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class _Up(Deadline):
    """A deadline that is over, and knows how often it was asked."""

    __slots__ = ("checks",)

    def __init__(self) -> None:
        super().__init__(0.0)
        self.checks = 0

    def check(self) -> None:
        self.checks += 1
        raise DeadlineExceeded("it took longer than max_policy_ms=0")


# -- views ----------------------------------------------------------------------------------------

_COUNT = Accountant(quarter)


def view_of(*messages: Message | Sequence[Message], share: float = 0.5) -> View:
    """Return a view of `messages`, a block each, with room for a `share` of them."""
    blocks = []
    index = 0
    for said in messages:
        whole = (said,) if isinstance(said, Message) else tuple(said)
        blocks.append(Block(index, whole, sum(map(_COUNT.message, whole))))
        index += len(whole)
    room = int(share * sum(block.tokens for block in blocks))
    question = Block(index, (Message.user("Where does Ada live?"),), 9)
    return View(blocks, room, [question], Deadline())


def many() -> View:
    """Return a view of 60 turns on a few subjects, questions and answers in turn."""
    random = Random(2)
    subjects = [
        ("Ada", "Turin", "violin", "sister"),
        ("Farid", "invoice", "deadline", "Lisbon"),
        ("garden", "tomatoes", "summer", "water"),
        ("server", "database", "backup", "Monday"),
    ]
    texts = []
    for i in range(60):
        subject = " ".join(random.choices(random.choice(subjects), k=random.randint(1, 4)))
        texts.append(
            f"And what about {subject}?" if i % 2 == 0 else f"It was {subject}, {i * 7} in all."
        )
    return view_of(*(_turn(i, text) for i, text in enumerate(texts)))


def _turn(i: int, text: str) -> Message:
    return Message.user(text) if i % 2 == 0 else Message.assistant(text)


def _tools() -> View:
    calls = tuple(ToolCall(f"c{i}", "search", json.dumps({"query": f"Ada {i}"})) for i in range(2))
    return view_of(
        Message.user("Find Ada."),
        (
            Message.assistant(tool_calls=calls),
            Message.tool("Turin, via Po 7", tool_call_id="c0"),
            Message.tool("", tool_call_id="c1"),
        ),
        Message.assistant("She lives in Turin."),
    )


def _no_text() -> View:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    call = ToolCall("c", "f", "{}")
    return view_of(
        Message.user([image]),
        Message.user([audio, {"type": "text", "text": "Who is that?"}]),
        Message.assistant(" "),
        (Message.assistant(None, tool_calls=(call,)), Message.tool("", tool_call_id="c")),
    )


VIEWS: Mapping[str, Callable[[], View]] = {
    "no candidate": view_of,
    "one candidate": lambda: view_of(Message.user("Hello, I am Ada."), share=1.0),
    "one candidate without room": lambda: view_of(Message.user("Hello, I am Ada."), share=0.0),
    "many": many,
    "many without room": lambda: many()._replace(room=0),
    "equal blocks": lambda: view_of(*[Message.user("The code is 4711.")] * 12),
    "equal questions": lambda: view_of(*[Message.user("And then?")] * 12),
    "tool blocks": _tools,
    "no text": _no_text,
    "every script": lambda: view_of(*(_turn(i, text) for i, text in enumerate(SCRIPTS))),
    "one giant": lambda: view_of(
        Message.user("word 7 Ada " * 3_000), *map(Message.assistant, ["Yes.", "No."]), share=0.1
    ),
    "pinned only": lambda: View([], 100, many().candidates[:3], Deadline()),
}
"""What the contract shows a policy."""


def _plain(view: View) -> list[Any]:
    """Return a view in values that can be compared."""
    return [
        view.room,
        *(
            [[b.index, b.messages, b.tokens, b.pinned, b.text] for b in blocks]
            for blocks in (view.candidates, view.kept)
        ),
    ]
