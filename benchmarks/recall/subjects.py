"""Who is measured: our memory in many settings, what others do, and the two ends.

Each subject is put through a conversation as a chat. It shows the context of every turn, and after
the last one the context of each question.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from operator import mul
from typing import NamedTuple, Protocol

from finite_memory_core import Memory, Message
from finite_memory_core.recall import Recall
from finite_memory_core.recall.analysis import terms

from ..embedders import MINILM
from ..peers import Peer
from ..peers.remote import Remote, worker
from ..policies.locomo import Conversation, Question
from ..policies.replaying import quarter

Texts = Sequence[str]
"""The texts of a context's messages, in order."""


class Subject(Protocol):
    """What remembers a conversation."""

    def append(self, message: Message) -> None:
        """Take in what was said."""

    def shown(self) -> Texts:
        """Return the context of the last message."""

    def asked(self, question: Question) -> Texts:
        """Return the context of a question that is asked now."""


Make = Callable[[Conversation, int], Subject]
"""Makes a subject for a conversation and a budget. The conversation is for the oracle's eyes."""


class Entry(NamedTuple):
    """A subject under its name."""

    name: str
    make: Make


class Ours:
    """Our memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def append(self, message: Message) -> None:
        """See `Subject`."""
        self._memory.append(message)

    def shown(self) -> Texts:
        """See `Subject`."""
        return [message.text for message in self._memory.context().messages]

    def asked(self, question: Question) -> Texts:
        """See `Subject`."""
        return [message.text for message in self._memory.context(question.text).messages]


def ours(policy: str, recall: Recall | None = None, low_water: float = 0.75) -> Entry:
    """Return our memory in these settings."""

    def make(_: Conversation, budget: int) -> Subject:
        memory = Memory(budget, policy, recall=recall, low_water=low_water, counter=quarter)
        return Ours(memory)

    name = policy if low_water == 0.75 else f"{policy}, low water {low_water:g}"
    if recall is None:
        return Entry(name, make)
    name = f"{name}, recall {recall.share:g}, gate {recall.gate:g}"
    return Entry(name if recall.embedder is None else f"{name}, MiniLM", make)


class _Transcript:
    """All that was said, and a choice among it."""

    def __init__(self, conversation: Conversation, budget: int) -> None:
        self._conversation = conversation
        self._budget = budget
        self.said: list[str] = []

    def append(self, message: Message) -> None:
        """See `Subject`."""
        self.said.append(message.text)

    def shown(self) -> Texts:
        """See `Subject`."""
        return self._fitting(reversed(range(len(self.said))), stop_at_first=True)

    def asked(self, question: Question) -> Texts:  # noqa: ARG002 (most do not look)
        """See `Subject`."""
        return self.shown()

    def _fitting(self, order: Iterator[int], *, stop_at_first: bool = False) -> Texts:
        left, taken = self._budget, []
        for i in order:
            cost = quarter(self.said[i])
            if cost <= left:
                left -= cost
                taken.append(i)
            elif stop_at_first:
                break
        return [self.said[i] for i in sorted(taken)]


class Newest(_Transcript):
    """A window of the newest turns that fit."""


class Everything(_Transcript):
    """The full history, whatever it costs."""

    def shown(self) -> Texts:
        """See `Subject`."""
        return self.said


class Oracle(_Transcript):
    """Knows the evidence of each question, and takes it first."""

    def asked(self, question: Question) -> Texts:
        """See `Subject`."""
        return self._fitting(iter(sorted(question.evidence)))


class PlainBM25(_Transcript):
    """BM25 as in the textbooks (k1 1.2, b 0.75) over our stems; the best turns that fit."""

    def asked(self, question: Question) -> Texts:
        """See `Subject`."""
        ranked = self._ranked(terms(question.text))
        return self._fitting(iter(ranked))

    def _ranked(self, asked: Sequence[str]) -> list[int]:
        counts = [Counter(terms(text)) for text in self.said]
        lengths = [sum(count.values()) for count in counts]
        average, total = sum(lengths) / len(lengths), len(counts)
        scores = [0.0] * total
        for term in dict.fromkeys(asked):
            n = sum(term in count for count in counts)
            weight = log(1 + (total - n + 0.5) / (n + 0.5))
            for i, count in enumerate(counts):
                tf = count[term]
                scores[i] += weight * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * lengths[i] / average))
        return sorted(range(total), key=lambda i: (-scores[i], -i))


class PlainMiniLM(_Transcript):
    """The turns most like the question by MiniLM, each embedded with its speaker's name."""

    def asked(self, question: Question) -> Texts:
        """See `Subject`."""
        return self._fitting(iter(self._by_likeness(question.text)))

    def _by_likeness(self, text: str) -> list[int]:
        said = [f"{m.name}: {m.text}" for m in self._conversation.messages]
        (asked,) = MINILM.embed([text])
        likeness = [sum(map(mul, asked, vector)) for vector in MINILM.embed(said)]
        return sorted(range(len(said)), key=lambda i: (-likeness[i], -i))


class RankFusion(PlainBM25, PlainMiniLM):
    """BM25 and MiniLM by reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009), k = 60."""

    def asked(self, question: Question) -> Texts:
        """See `Subject`."""
        fused: dict[int, float] = defaultdict(float)
        for ranked in (self._ranked(terms(question.text)), self._by_likeness(question.text)):
            for rank, i in enumerate(ranked, 1):
                fused[i] += 1 / (60 + rank)
        return self._fitting(iter(sorted(fused, key=lambda i: (-fused[i], -i))))


@dataclass(frozen=True)
class Other:
    """A library of others, through its adapter; ask within its `running` block."""

    remote: Remote

    def append(self, message: Message) -> None:
        """See `Subject`."""
        self.remote.append(Message(message.role, message.text))

    def shown(self) -> Texts:
        """See `Subject`."""
        return [str(message["content"] or "") for message in self.remote.context()]

    def asked(self, question: Question) -> Texts:  # noqa: ARG002 (it sees no question)
        """See `Subject`."""
        return self.shown()


def contexts(
    entry: Entry | Peer, conversation: Conversation, budget: int, lead: Message | None = None
) -> tuple[list[Texts], list[Texts]]:
    """Return the context of each turn of the user (if there is a lead), and of each question.

    Args:
        entry: who.
        conversation: what is said and asked.
        budget: in tokens of four bytes.
        lead: what is said first; with it the conversation is replayed turn by turn.
    """
    if isinstance(entry, Peer):
        with worker(entry) as process:
            return _talk(Other(Remote(process, entry, budget)), conversation, lead)
    return _talk(entry.make(conversation, budget), conversation, lead)


def _talk(
    subject: Subject, conversation: Conversation, lead: Message | None
) -> tuple[list[Texts], list[Texts]]:
    turns: list[Texts] = []
    if lead is not None:
        subject.append(lead)
    for message in conversation.messages:
        subject.append(message)
        if lead is not None and message.role == "user":
            turns.append(list(subject.shown()))
    if isinstance(subject, Ours | Oracle | PlainBM25 | PlainMiniLM):
        return turns, [subject.asked(question) for question in conversation.questions]
    return turns, [subject.shown()] * len(conversation.questions)
