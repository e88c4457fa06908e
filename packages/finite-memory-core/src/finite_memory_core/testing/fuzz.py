"""The conformance fuzz: long seeded conversations through anything that bounds a context.

After each step where a model would be called, the context is checked (see `violations`). A third
party's policy is fuzzed with one call::

    from finite_memory_core.testing import fuzz_policy

    report = fuzz_policy(MyPolicy)
    assert not report.failures, report

and anything else, whoever wrote it, with a class that has `append` and `context`::

    report = fuzz(MySubject, count=my_count_of_a_context)

A subject may refuse a message by raising an error from `append`: that is no violation, and the
driver does what an application would (see `fuzz`). What it may not do is go over the budget or
hand out a context that a provider would not take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..accounting import CONTEXT_OVERHEAD, Accountant
from ..errors import FiniteMemoryError
from ..messages import Message, Role
from ..window import MARK
from .streams import Shape, Step, stream
from .violations import AnyMessage, Checker, Count, kind_of

NO_CONTEXT = "no context"
STUCK = "stuck"
CRASHED = "crashed"
MISCOUNTED = "miscounted"
PREFIX_BROKEN = "prefix broken"
TRANSCRIPT_ALTERED = "transcript altered"
NOT_DETERMINISTIC = "not deterministic"
NOT_RESUMED = "not resumed"

TOO_LARGE = "Error: the result was too large."
"""What the driver puts in the place of a tool result that was refused."""


class Subject(Protocol):
    """What is under test: it takes messages and gives contexts.

    It may also have a property `transcript` (all messages that it accepted, checked byte for
    byte), `token_count` (what it says that its last context holds) and `evictions` (how often it
    evicted; as long as this stands still, a context must begin with the one before), and a method
    `resumed` (another subject, made from what this one has stored; it must give the same context).
    """

    def append(self, *messages: Message) -> object:
        """Take messages, all or none; raise to refuse them."""
        ...

    def context(self) -> Sequence[AnyMessage]:
        """Return what would be sent to the model now."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """One call whose context was wrong.

    Attributes:
        seed: the stream's seed; with the same arguments `fuzz` finds it again.
        call: which call of the model it was, from 1.
        said: how many messages the transcript had.
        violations: what was wrong, one line each.
    """

    seed: int
    call: int
    said: int
    violations: tuple[str, ...]

    def __str__(self) -> str:
        lines = "".join(f"\n    {line}" for line in self.violations)
        return f"seed {self.seed}, call {self.call}, after {self.said} messages:{lines}"


@dataclass(slots=True)
class PrefixUse:
    """What a prefix cache could serve, over the calls whose transcript no longer fits.

    Attributes:
        calls: how many such calls there were.
        broken: how many of them did not begin with the whole context before.
        tokens: what their contexts held, all together.
        stable: how much of that was the prefix shared with the context before.
    """

    calls: int = 0
    broken: int = 0
    tokens: int = 0
    stable: int = 0

    @property
    def share(self) -> float:
        """The share of all context tokens that a cache could serve, 0 to 1."""
        return self.stable / self.tokens if self.tokens else 0.0

    @property
    def broken_share(self) -> float:
        """The share of calls that broke the prefix, 0 to 1."""
        return self.broken / self.calls if self.calls else 0.0

    @property
    def mean_tokens(self) -> float:
        """The mean size of a context."""
        return self.tokens / self.calls if self.calls else 0.0


@dataclass(slots=True)
class FuzzReport:
    """What a fuzz found.

    Attributes:
        budget: the budget that held.
        calls: how many contexts were checked.
        failures: the calls whose context was wrong, with what was wrong.
        refusals: messages that the subject refused, by the name of the error.
        prefix: what a prefix cache could serve.
    """

    budget: int
    calls: int = 0
    failures: list[Failure] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    prefix: PrefixUse = field(default_factory=PrefixUse)

    @property
    def kinds(self) -> Counter[str]:
        """How many calls had a violation of each kind."""
        return Counter(
            kind for failure in self.failures for kind in set(map(kind_of, failure.violations))
        )

    def failed(self, *, ignoring: Iterable[str] = ()) -> int:
        """Return how many calls had a violation of a kind that is not in `ignoring`."""
        ignored = set(ignoring)
        return sum(any(kind_of(v) not in ignored for v in f.violations) for f in self.failures)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {n}" for kind, n in self.kinds.most_common()) or "none"
        refusals = ", ".join(f"{name} {n}" for name, n in self.refusals.most_common()) or "none"
        head = (
            f"{self.calls} calls, {len(self.failures)} wrong ({kinds}); refused: {refusals}; "
            f"{self.prefix.share:.1%} cacheable, {self.prefix.broken_share:.1%} broken, "
            f"{self.prefix.mean_tokens:,.0f} tokens of {self.budget:,} in the mean"
        )
        return "\n".join([head, *map(str, self.failures[:5])])


def quarter(text: str) -> int:
    """Count a token for every four characters: the counter that the fuzz uses unless told."""
    return len(text) // 4


def count_context(messages: Sequence[AnyMessage]) -> int:
    """Return the tokens of a context by the rules of `accounting` over `quarter`."""
    return CONTEXT_OVERHEAD + sum(
        _QUARTERS.message(m if isinstance(m, Message) else Message.from_dict(m)) for m in messages
    )


_QUARTERS = Accountant(quarter)


def fuzz(
    subject_factory: Callable[[], Subject],
    *,
    seeds: Iterable[int] = range(10),
    turns: int = 40,
    budget: int = 4_096,
    big: float = 0.02,
    shape: Shape = "agent",
    count: Count = count_context,
    clip: bool = False,
    replay: bool = False,
) -> FuzzReport:
    """Drive fresh subjects through seeded streams and report what was wrong.

    What is refused is repaired as an application would: in the place of a tool result comes
    `TOO_LARGE`, a turn whose question is refused does not take place, any other message is left
    out.

    Args:
        subject_factory: makes a fresh subject, once a seed.
        seeds: one stream each.
        turns: questions in each stream.
        budget: the most tokens of a context. The subject must know it too.
        big: the share of messages larger than the whole budget, 0 to 1.
        shape: `plain_chat`, `agent_stream` or `rough_stream`.
        count: counts a context by the same rules as the subject.
        clip: whether visibly clipped messages are allowed, see `violations`.
        replay: whether to append to a second subject what the first one accepted, and nothing
            else, ask it for every third context, and compare: refusals must leave no trace,
            asking must change nothing, and everything must be deterministic.
    """
    report = FuzzReport(budget)
    for seed in seeds:
        run = _Run(seed, subject_factory(), report, count, clip)
        for step in stream(shape, seed, turns, budget, big):
            if not run.step(step):
                break
        run.finish()
        if replay:
            run.compare_with(subject_factory())
    return report


def fuzz_policy(
    policy_factory: Callable[[], Any],
    *,
    seeds: Iterable[int] = range(10),
    turns: int = 40,
    budget: int = 4_096,
    big: float = 0.02,
    shape: Shape = "agent",
    **settings: Any,
) -> FuzzReport:
    """Fuzz a `Memory` with the policy that `policy_factory` makes; the rest is as in `fuzz`.

    Checked beside the context: the token count that it reports, the transcript byte for byte, that
    the prefix stands still between evictions, and that a replay and a memory resumed from the
    store give the same contexts.

    Args:
        policy_factory: makes a fresh policy (a class will do), or returns a policy's name.
        seeds, turns, budget, big, shape: as in `fuzz`.
        settings: go to `Memory`, such as ``low_water=0.6`` or ``oversize="clip"``.
    """
    return fuzz(
        lambda: MemorySubject(budget, policy_factory(), **settings),
        seeds=seeds,
        turns=turns,
        budget=budget - settings.get("reserve", 0),
        big=big,
        shape=shape,
        clip=settings.get("oversize") == "clip",
        replay=True,
    )


class MemorySubject:
    """A `Memory` as a `Subject`, counting with `quarter`; `settings` go to `Memory`."""

    def __init__(self, budget: int, policy: Any, **settings: Any) -> None:
        from ..memory import Memory

        self.memory = Memory(budget, policy, counter=quarter, **settings)
        self.token_count = 0
        self._again = {**settings, "policy": policy, "counter": quarter}

    def append(self, *messages: Message) -> None:
        """Append `messages` to the memory."""
        self.memory.append(*messages)

    def context(self) -> Sequence[Message]:
        """Return the messages of the memory's context."""
        context = self.memory.context()
        self.token_count = context.token_count
        return context.messages

    def resumed(self) -> MemorySubject:
        """Return a subject whose memory was read from this one's store."""
        from ..memory import Memory

        other = MemorySubject.__new__(MemorySubject)
        other.memory = Memory.resume(self.memory.store, self.memory.session_id, **self._again)
        other.token_count, other._again = 0, self._again
        return other

    @property
    def transcript(self) -> Sequence[Message]:
        """All that the memory accepted."""
        return list(self.memory.transcript)

    @property
    def evictions(self) -> int:
        """How often the memory evicted."""
        return self.memory.stats.evictions


class _Run:
    """One stream through one subject."""

    def __init__(
        self, seed: int, subject: Subject, report: FuzzReport, count: Count, clip: bool
    ) -> None:
        self.seed = seed
        self.subject = subject
        self.report = report
        self.count = count
        self.checker = Checker(budget=report.budget, count=count, clip=clip)
        self.accepted: list[tuple[Message, ...]] = []
        self.contexts: dict[int, tuple[AnyMessage, ...]] = {}  # by how many appends came before
        self.said = 0
        self.said_tokens = 0
        self.calls = 0
        self.skipped = -1
        self.last: tuple[AnyMessage, ...] | None = None
        self.last_evictions: int | None = None

    # -- appending ------------------------------------------------------------------------------

    def step(self, step: Step) -> bool:
        """Append and check; return whether the subject can go on."""
        if step.turn == self.skipped:
            return True
        try:
            self._append_or_repair(step)
        except Exception as error:  # any failure of a subject is a finding
            self._fail([f"{CRASHED}: append raised {type(error).__name__}: {error}"])
            return False
        return self._check() if step.calls_model and step.turn != self.skipped else True

    def _append_or_repair(self, step: Step) -> None:
        if self._accepts(*step.messages):
            return
        if len(step.messages) > 1:
            for message in step.messages:
                if step.turn != self.skipped:
                    self._append_or_repair(replace(step, messages=(message,)))
            return
        message = step.messages[0]
        if message.role is Role.TOOL:
            if not self._accepts(replace(message, content=TOO_LARGE)):
                self._fail([f"{STUCK}: a tool result of {len(TOO_LARGE)} characters was refused"])
                self.skipped = step.turn
        elif message.tool_calls or message.role is Role.USER:
            self.skipped = step.turn

    def _accepts(self, *messages: Message) -> bool:
        try:
            self.subject.append(*messages)
        except FiniteMemoryError as error:
            self.report.refusals[type(error).__name__] += 1
            return False
        self.accepted.append(messages)
        self.said += len(messages)
        self.said_tokens += self.count(messages)
        for message in messages:
            self.checker.append(message)
        return True

    # -- checking -------------------------------------------------------------------------------

    def _check(self) -> bool:
        self.calls += 1
        self.report.calls += 1
        try:
            context = tuple(self.subject.context())
        except Exception as error:  # as above
            self._fail([f"{NO_CONTEXT}: {type(error).__name__}: {error}"])
            return isinstance(error, FiniteMemoryError)
        self.contexts[len(self.accepted)] = context
        found = [*self.checker.check(context), *self._own_checks(context), *self._resume(context)]
        if found:
            self._fail(found)
        self._measure_prefix(context)
        self.last = context
        return True

    def _own_checks(self, context: tuple[AnyMessage, ...]) -> Iterable[str]:
        """Yield what only a subject that tells more about itself can be asked for."""
        told = getattr(self.subject, "token_count", None)
        if told is not None and told != (counted := self.count(context)):
            yield f"{MISCOUNTED}: it says {told:,} tokens, by count they are {counted:,}"
        evictions = getattr(self.subject, "evictions", None)
        if evictions is not None and evictions == self.last_evictions and self.last is not None:
            before, now = _unrecalled(self.last), _unrecalled(context)
            if now[: len(before)] != before:
                same = _common(before, now)
                yield f"{PREFIX_BROKEN}: at message {same} of {len(before)}, without an eviction"
        self.last_evictions = evictions

    def _resume(self, context: tuple[AnyMessage, ...]) -> Iterable[str]:
        """Yield what is wrong with a resumed subject, at every tenth call."""
        resumed = getattr(self.subject, "resumed", None)
        if resumed is None or self.calls % 10:
            return
        try:
            again = tuple(resumed().context())
        except FiniteMemoryError as error:
            yield f"{NOT_RESUMED}: {type(error).__name__}: {error}"
            return
        if again != context:
            same = _common(context, again)
            yield f"{NOT_RESUMED}: differs at message {same} of {len(context)}"

    def _measure_prefix(self, context: tuple[AnyMessage, ...]) -> None:
        if self.last is None or self.said_tokens <= self.report.budget:
            return
        same = _common(self.last, context)
        prefix = self.report.prefix
        prefix.calls += 1
        prefix.broken += same < len(self.last)
        prefix.tokens += self.count(context)
        prefix.stable += self.count(context[:same])

    def finish(self) -> None:
        """Check the transcript, where the subject shows one."""
        transcript = getattr(self.subject, "transcript", None)
        if transcript is None:
            return
        said = [message for messages in self.accepted for message in messages]
        if [m.to_dict() for m in transcript] != [m.to_dict() for m in said]:
            self._fail([f"{TRANSCRIPT_ALTERED}: {len(transcript)} messages for {len(said)} said"])

    def compare_with(self, other: Subject) -> None:
        """Append to `other` all that was accepted, and compare every third context."""
        asked = sorted(self.contexts)
        compared = {*asked[::-3], *asked[-1:]}
        for number, messages in enumerate(self.accepted, start=1):
            other.append(*messages)
            if number in compared and tuple(other.context()) != self.contexts[number]:
                self._fail([f"{NOT_DETERMINISTIC}: the replay differs after {number} appends"])
                return

    def _fail(self, violations: Sequence[str]) -> None:
        self.report.failures.append(Failure(self.seed, self.calls, self.said, tuple(violations)))


def _common(a: Sequence[AnyMessage], b: Sequence[AnyMessage]) -> int:
    """Return how many messages `a` and `b` begin with in common."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _unrecalled(context: Sequence[AnyMessage]) -> list[AnyMessage]:
    return [m for m in context if _mark(m) != "recalled"]


def _mark(message: AnyMessage) -> object:
    metadata = message.metadata if isinstance(message, Message) else message.get("metadata")
    return (metadata or {}).get(MARK)
