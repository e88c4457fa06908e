"""A framework's history against what a memory already has, the same for every framework.

What a framework says is cut into **atoms**: the smallest things that it can be put together from
again. Each message of the memory carries its atoms whole, as JSON, in its metadata, so whatever
comes back out of a context is what went in. Frameworks differ only in their `Codec`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from ..errors import MessageError, MissingExtraError, ToolCallError
from ..messages import Message, Part, Role, ToolCall, thaw
from ..tombstone import is_tombstone
from ..window import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..memory import Memory
    from ..turn import Turn

KEY = "foreign"
"""The metadata key under which a message carries what a framework said."""

Item = TypeVar("Item")


class HistoryError(MessageError):
    """A framework's history is not a continuation of what its memory holds."""


@dataclass(frozen=True, slots=True)
class Atom:
    """The smallest piece of a framework's history.

    Attributes:
        text: the whole of it, as JSON text.
        identity: what tells it from another one: a digest.
        whole: the framework's own object, or a part of one, where it is at hand.
        problem: what of it JSON could not carry, so that it comes back otherwise from a store.
    """

    text: str
    identity: bytes
    whole: Any = None
    problem: str | None = None


class Read(NamedTuple):
    """A message of the memory, and how many atoms went into it.

    Attributes:
        message: what the memory holds and counts, without metadata.
        atoms: how many of the atoms it stands for.
        problem: why part of it is counted by its JSON only: the framework is newer than we are.
    """

    message: Message
    atoms: int = 1
    problem: str | None = None


class Codec(Protocol[Item]):
    """What is special about one framework."""

    name: str

    def cut(self, items: Sequence[Item]) -> list[Atom]:
        """Return the atoms of a history."""
        ...

    def read(self, atoms: Sequence[Atom]) -> list[Read]:
        """Return the messages that `atoms` say; the counts of their atoms add up to all."""
        ...

    def load(self, text: str) -> Atom:
        """Return the atom whose JSON text was stored."""
        ...

    def is_ours(self, atom: Atom) -> bool:
        """Whether it can be told that `say` made it: for who sends a context of old back."""
        ...

    def shortened(self, atom: Atom, text: str) -> Atom:
        """Return `atom` with `text` in the place of its own."""
        ...

    def say(self, message: Message) -> Atom:
        """Return an atom for a message that the framework did not say."""
        ...

    def join(self, atoms: Sequence[Atom]) -> list[Item]:
        """Return the history that has these atoms; the inverse of `cut`."""
        ...


P = ParamSpec("P")
T = TypeVar("T")


def _alone(method: Callable[P, T]) -> Callable[P, T]:
    """Return a method of `History` that waits for others of the same object to end."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        history: Any = args[0]
        with history._lock:
            return method(*args, **kwargs)

    return call


class _Behind(NamedTuple):
    """What of a history was known, in pieces that are equal, and what is new behind it."""

    same: int
    new: Sequence[Atom]


class _Handed(NamedTuple):
    """A context that was handed out, and what it stood for."""

    shown: tuple[bytes, ...]
    known: int  # atoms of the transcript then
    staged: tuple[Atom, ...]


class History(Generic[Item]):
    """A memory that a framework speaks to in its own messages.

    A framework that sends its whole history with each request calls `context`. What has been
    answered is recorded then; what the model has yet to answer is only looked at, so that a run
    that fails leaves no trace. One that tells what is said once calls `append` and `standing`.

    Args:
        memory: one conversation's memory. Messages that it holds already stay.
        codec: the framework's.
    """

    def __init__(self, memory: Memory, codec: Codec[Item]) -> None:
        self.memory = memory
        self._codec = codec
        self._lock = RLock()
        self._tools: Sequence[Mapping[str, Any]] | None = None
        self._beside: tuple[str, ...] = ()
        self._held = (-1, 0)  # erasures and messages of the memory, as far as they are known here
        self._known: list[bytes] = []
        self._waits = False  # whether what was recorded last asks for tools
        self._ours: set[bytes] = (
            set()
        )  # the memory's own: summary, bridge, recalled, clipped, quoted
        self._added: set[bytes] = set()  # what somebody appended to the memory
        self._handed: _Handed | None = None
        self._wholes: dict[bytes, Atom] = {}

    # -- what frameworks call -------------------------------------------------------------------

    @_alone
    def context(
        self,
        items: Sequence[Item],
        *,
        beside: Iterable[Mapping[str, Any]] = (),
        keep: bool = True,
        records: bool = True,
    ) -> list[Item]:
        """Return what of the history `items` the model should see, within the budget.

        Args:
            items: the whole history, as it was said; or the context before, with what was said
                since behind it.
            beside: what goes with the request beside messages and is counted: tool schemas,
                instructions.
            keep: whether the framework will send back what is returned in the place of `items`.
            records: whether what was answered is recorded, and a run that failed taken back. Not
                where `append` is told of it.

        Raises:
            HistoryError: it continues neither.
            BudgetError: what must stay does not fit.
        """
        self._sync()
        self._count_beside(beside)
        atoms = self._codec.cut(items)
        reads = self._codec.read(new := self._new(atoms, records))
        answers = (i for i, r in enumerate(reads, 1) if r.message.role is Role.ASSISTANT)
        said = max(answers, default=0) if records else 0
        taken = sum(read.atoms for read in reads[:said])
        if said:
            self._record(reads[:said], new[:taken])
        self._remember(new)
        shown = self._preview(reads[said:], new[taken:])
        staged = new[taken:]
        if keep:
            self._hand_out(shown, staged)
        self._let_go([*shown, *staged])
        return self._codec.join(shown)

    @_alone
    def append(self, items: Sequence[Item]) -> None:
        """Record what was said: all of `items` or none.

        Raises:
            BudgetError: something of it must stay whole and cannot fit.
        """
        self._sync()
        atoms = self._codec.cut(items)
        self._record(self._codec.read(atoms), atoms)
        self._remember(atoms)

    @_alone
    def standing(self, query: str | None = None) -> list[Item]:
        """Return the context of what is recorded; `query` as for `Memory.context`."""
        self._sync()
        if not self.memory.stats.messages:
            return []
        shown = self._render(self.memory.context(query).messages)
        self._hand_out(shown, ())
        self._let_go(shown)
        return self._codec.join(shown)

    @_alone
    def everything(self) -> list[Item]:
        """Return all that was recorded, in the framework's messages; nothing is left out."""
        messages = [m for m in self.memory.transcript if not is_tombstone(m)]
        return self._codec.join([atom for m in messages for atom in self._said(m)])

    @_alone
    def take_back(self) -> Item | None:
        """Forget what was said last, and return it; None where nothing was said.

        Raises:
            StoreError: the store cannot forget.
        """
        self._sync()
        transcript = list(self.memory.transcript)
        last = next(
            (i for i in range(len(transcript) - 1, -1, -1) if _atoms_of(transcript[i])), None
        )
        if last is None:
            return None
        atoms = self._said(transcript[last])
        gone = self.memory.forget(last)
        self._sync()
        again = [a for i in gone if i < last for a in self._said(transcript[i])] + atoms[:-1]
        if again:
            self._record(self._codec.read(again), again)
        return self._codec.join(atoms[-1:])[0]

    @_alone
    def clear(self) -> None:
        """Forget the whole conversation and begin again with equal settings."""
        self.memory.reset()
        self._held = (-1, 0)

    # -- what is new ----------------------------------------------------------------------------

    def _sync(self) -> None:
        """Learn what the memory holds: at first, and where others have changed it."""
        stats = self.memory.stats
        held, before = (stats.erasures, stats.messages), self._held
        if held == before:
            return
        said: Iterable[Message] = self.memory.transcript
        if held[0] == before[0] and held[1] > before[1]:
            said = self.memory.transcript[before[1] :]
        else:
            self._known, self._handed, self._wholes = [], None, {}
            self._waits = False
        said = [message for message in said if _atoms_of(message)]
        if said:
            self._waits = bool(said[-1].tool_calls)
        texts = [text for message in said for text in _atoms_of(message)]
        self._known += [self._codec.load(text).identity for text in texts]
        self._held = held
        if stats.messages:
            self._note_ours(self.memory.context().messages)

    def _new(self, atoms: Sequence[Atom], takes_back: bool) -> Sequence[Atom]:
        """Return the atoms that are not recorded yet."""
        ids = [atom.identity for atom in atoms]
        known = self._known
        if ids[: len(known)] == known:
            return atoms[len(known) :]
        handed = self._handed
        if handed is not None and tuple(ids[: len(handed.shown)]) == handed.shown:
            since = [*handed.staged, *atoms[len(handed.shown) :]]
            recorded = known[handed.known :]
            if [atom.identity for atom in since[: len(recorded)]] == recorded:
                return since[len(recorded) :]
        found = self._behind(atoms, known)
        run, gone = self._waiting_run() if self._waits and takes_back else ([], 0)
        if run:  # it failed, if more of the history is explained without it
            other = self._behind(atoms, known[: len(known) - gone])
            if other is not None and (found is None or other.same > found.same):
                self.memory.forget(*run)
                self._sync()
                return other.new
        if found is None:
            raise self._parted(ids)
        return found.new

    def _behind(self, atoms: Sequence[Atom], known: Sequence[bytes]) -> _Behind | None:
        """Return what stands behind what is left of `known`; None where it does not go on."""
        beside, is_ours = self._ours | self._added, self._codec.is_ours
        own = [i for i, a in enumerate(atoms) if a.identity not in beside and not is_ours(a)]
        end = _overlap([atoms[i].identity for i in own], known)
        if not end:
            return None if end is None else _Behind(0, [atoms[i] for i in own])
        # What was added to the memory by others may be said again, in the same words.
        behind = atoms[own[end - 1] + 1 :]
        ours = self._ours
        new = [atom for atom in behind if atom.identity not in ours and not is_ours(atom)]
        return _Behind(end, new)

    def _waiting_run(self) -> tuple[list[int], int]:
        """Return the places of a run that waits for its tools, and how many atoms it is."""
        transcript = list(self.memory.transcript)
        run = _unfinished(transcript)
        return run, sum(len(_atoms_of(transcript[place])) for place in run)

    def _parted(self, ids: Sequence[bytes]) -> HistoryError:
        known = self._known
        same = _common(ids, known)
        return HistoryError(
            f"this history of {len(ids)} pieces does not continue the {len(known)} that session "
            f"{self.memory.session_id!r} holds: they part after {same}. Give each conversation a "
            "memory of its own; where something was taken back on purpose, `Memory.forget` it"
        )

    # -- recording and looking ------------------------------------------------------------------

    def _record(self, reads: Sequence[Read], atoms: Sequence[Atom]) -> None:
        with self.memory.turn() as turn:
            self._place(turn, reads, atoms)
        self._known += [atom.identity for atom in atoms]
        self._held = (self._held[0], self._held[1] + len(reads))
        if reads:
            self._waits = bool(reads[-1].message.tool_calls)
        self.memory.summarize_later()
        self.memory.index_later()

    def _preview(self, reads: Sequence[Read], atoms: Sequence[Atom]) -> list[Atom]:
        with self._undone() as turn:
            self._place(turn, reads, atoms)
            return self._render(turn.context().messages)

    @contextmanager
    def _undone(self) -> Iterator[Turn]:
        turn = self.memory.turn()
        try:
            yield turn
        finally:
            turn.rollback()

    def _place(self, turn: Turn, reads: Sequence[Read], atoms: Sequence[Atom]) -> None:
        start = 0
        for read in reads:
            mine = atoms[start : start + read.atoms]
            start += read.atoms
            foreign = {"by": self._codec.name, "atoms": [atom.text for atom in mine]}
            for problem in (read.problem, *(atom.problem for atom in mine)):
                if problem is not None:
                    turn.fall_back("foreign message", problem)
            try:
                turn.append(with_metadata(read.message, foreign))
            except ToolCallError as error:
                turn.append(with_metadata(_quoted(read.message), {**foreign, "quoted": True}))
                turn.fall_back("foreign message", f"it is quoted, for its place is wrong: {error}")

    def _count_beside(self, beside: Iterable[Mapping[str, Any]]) -> None:
        texts = tuple(plain(_dumps(schema)[0]) for schema in beside)
        tools = self.memory.tools
        if tools is not self._tools:  # a resumed memory counts what went beside its last request
            self._beside = tuple(_dumps(thaw(tool[KEY]))[0] for tool in tools if KEY in tool)
        if texts != self._beside:
            given = [tool for tool in tools if KEY not in tool]
            self.memory.set_tools([*given, *({KEY: json.loads(text)} for text in texts)])
            self._beside = texts
        self._tools = self.memory.tools

    # -- the way back ---------------------------------------------------------------------------

    def _render(self, messages: Iterable[Message]) -> list[Atom]:
        messages = tuple(messages)
        self._note_ours(messages)
        return [atom for message in messages for atom in self._atoms(message)]

    def _atoms(self, message: Message) -> list[Atom]:
        """Return the atoms of a message as it stands in a context."""
        atoms = self._said(message)
        if not _atoms_of(message):
            return atoms
        if message.metadata[KEY].get("quoted"):
            return [self._codec.say(message)]
        if message.metadata.get(MARK) == "clipped":
            return [self._codec.shortened(atoms[0], message.text), *atoms[1:]]
        return atoms

    def _said(self, message: Message) -> list[Atom]:
        """Return the atoms of a message as it was said."""
        texts = _atoms_of(message)
        if not texts or message.metadata[KEY].get("by") != self._codec.name:
            return [self._codec.say(message)]
        return [self._atom(text) for text in texts]

    def _atom(self, text: str) -> Atom:
        return self._wholes.get(digest(text)) or self._codec.load(text)

    def _note_ours(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if MARK in message.metadata or (
                _atoms_of(message) and message.metadata[KEY].get("quoted")
            ):
                self._ours |= {atom.identity for atom in self._atoms(message)}
            elif not _atoms_of(message):
                self._added |= {atom.identity for atom in self._atoms(message)}

    def _remember(self, new: Sequence[Atom]) -> None:
        """Keep the framework's own objects of what is new."""
        self._wholes |= {digest(atom.text): atom for atom in new}

    def _hand_out(self, shown: Sequence[Atom], staged: Sequence[Atom]) -> None:
        self._handed = _Handed(
            tuple(atom.identity for atom in shown), len(self._known), tuple(staged)
        )

    def _let_go(self, atoms: Sequence[Atom]) -> None:
        """Keep no object but those of `atoms`, and those that JSON does not tell whole."""
        odd = {key: atom for key, atom in self._wholes.items() if atom.problem is not None}
        self._wholes = odd | {digest(atom.text): atom for atom in atoms}


# -- what codecs share --------------------------------------------------------------------------


def missing(extra: str, error: ImportError) -> MissingExtraError:
    """Return the error that says which extra is not installed."""
    return MissingExtraError(
        f"finite_memory_core.integrations.{extra.replace('-', '_')} needs its framework ({error}); "
        f"install finite-memory-core[{extra}]"
    )


def with_metadata(message: Message, foreign: Mapping[str, Any]) -> Message:
    """Return `message` with what the framework said in its metadata."""
    return replace(message, metadata={KEY: foreign})


def digest(text: str) -> bytes:
    """Return what stands for a text where only sameness matters."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def atom(
    value: Any, whole: Any, same: Callable[[Any], Any] | None = None, lost: Sequence[str] = ()
) -> Atom:
    """Return the atom whose JSON value is `value`.

    Args:
        value: JSON; what is not is written as its `repr`, and that is a problem.
        whole: the framework's own object.
        same: returns what of `value` tells it from another; None for all of it.
        lost: the types of what was written as text already.
    """
    text, more = _dumps(value)
    problem = None
    if kinds := [*lost, *more]:
        problem = f"it holds a {kinds[0]}, which JSON cannot carry; from a store it comes as text"
    return Atom(text, digest(text if same is None else _dumps(same(value))[0]), whole, problem)


def stored(text: str, same: Callable[[Any], Any] | None = None) -> Atom:
    """Return the atom that was stored as `text`; `same` as for `atom`."""
    return Atom(text, digest(text if same is None else _dumps(same(json.loads(text)))[0]))


def _dumps(value: Any) -> tuple[str, list[str]]:
    lost: list[str] = []

    def other(item: Any) -> str:
        lost.append(type(item).__name__)
        return repr(item)

    return json.dumps(value, default=other, skipkeys=False), lost


def plain(text: str) -> str:
    """Return `text` without what no store can hold: NULs and lone surrogates are U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode(errors="surrogatepass").decode(errors="replace")


def text_part(text: str) -> Part:
    """Return a part that is counted as text."""
    return {"type": "text", "text": plain(text)}


def other_part(kind: str, value: Any) -> Part:
    """Return a part that is counted by its JSON."""
    return {"type": kind, "json": plain(_dumps(value)[0])}


IMAGE: Part = {"type": "image"}
"""Counted as an image; the image itself is in the metadata."""


def data_part(data: str) -> Part:
    """Return a part that is counted as a file of base64 `data`; "" for one that is elsewhere."""
    return {"type": "file", "file": {"file_data": data} if data else {}}


def content_of(parts: Sequence[Part]) -> str | list[Part]:
    """Return parts as content: text alone as text, which can be clipped."""
    if len(parts) == 1 and parts[0]["type"] == "text" and parts[0]["text"]:
        return str(parts[0]["text"])
    return list(parts) or [text_part("")]


def call(call_id: str | None, name: str | None, arguments: Any) -> ToolCall:
    """Return a tool call; arguments that are no text are written as JSON."""
    text = arguments if isinstance(arguments, str) else _dumps(arguments)[0]
    name = plain(name or "unnamed")
    return ToolCall(plain(call_id or name), name, plain(text))


def _quoted(message: Message) -> Message:
    """Return what tool messages say where they cannot stand as such."""
    asked = [f"{call.name} {call.arguments}" for call in message.tool_calls]
    text = "\n".join([message.text, *asked]).strip() or "(nothing)"
    if message.role is Role.TOOL:
        return Message.user(f"[A tool's result:]\n{text}")
    return Message.assistant(text)


def _atoms_of(message: Message) -> Sequence[str]:
    foreign = message.metadata.get(KEY)
    return foreign.get("atoms", ()) if isinstance(foreign, Mapping) else ()


def _unfinished(transcript: Sequence[Message]) -> list[int]:
    """Return the places of a run that waits for results of its tools, its question included."""
    places = [i for i, message in enumerate(transcript) if _atoms_of(message)]
    start, waiting, is_newest = len(places), False, True
    while start and _is_work(message := transcript[places[start - 1]]):
        if is_newest and message.role is Role.ASSISTANT:
            answered = {transcript[i].tool_call_id for i in places[start:]}
            waiting = any(asked.id not in answered for asked in message.tool_calls)
            is_newest = False
        start -= 1
    while start and not _is_work(transcript[places[start - 1]]):
        start -= 1
    return places[start:] if waiting else []


def _is_work(message: Message) -> bool:
    """Whether it is an answer or a tool's result, quoted ones included."""
    return message.role in (Role.ASSISTANT, Role.TOOL) or bool(message.metadata[KEY].get("quoted"))


def _overlap(ids: Sequence[bytes], known: Sequence[bytes]) -> int | None:
    """Return how many of `ids` are what is left of `known`, its end among it; None for none."""
    if not known:
        return 0
    for end in range(len(ids), 0, -1):
        if ids[end - 1] == known[-1] and _is_subsequence(ids[:end], known):
            # Equal words: it may be the beginning, from which another way is taken.
            same = _common(ids, known)
            branches = same > end or (same == end and ids[:end] != known[-end:])
            return None if branches else end
    return None


def _common(ids: Sequence[bytes], known: Sequence[bytes]) -> int:
    """Return how many pieces two histories begin with alike."""
    pairs = enumerate(zip(ids, known, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(ids), len(known)))


def _is_subsequence(ids: Sequence[bytes], known: Sequence[bytes]) -> bool:
    """Whether `ids` are in `known`, in order, the last ones matched first."""
    place = len(known)
    for identity in reversed(ids):
        place -= 1
        while place >= 0 and known[place] != identity:
            place -= 1
        if place < 0:
            return False
    return True
