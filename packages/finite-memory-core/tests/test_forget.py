"""Forgetting: what is forgotten is in nothing any more, and all else goes on as it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    BusyError,
    ConfigError,
    ConflictError,
    ExtractiveSummarizer,
    Forgotten,
    InMemoryStore,
    Memory,
    Message,
    SQLiteStore,
    Store,
    StoreError,
    ToolCall,
    ToolCallError,
)
from finite_memory_core.blocks import Block
from finite_memory_core.counting import TokenCounter
from finite_memory_core.forgetting import MOST_FOLDED
from finite_memory_core.recall import Recall
from finite_memory_core.testing.fuzz import MemorySubject, quarter
from finite_memory_core.testing.violations import Checker
from finite_memory_core.tombstone import is_tombstone

from .checks import state, take, view, wire
from .examples import some
from .recalling import chat, recalled_text
from .strategies import CORE, Setup, conversations, quarter_bytes, setups

SECRET = "The password is Zanzibar-4711, and nobody may know."
WORDS = (b"Zanzibar", b"zanzibar", b"4711", b"password")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def told(turns: int = 22, **more: Any) -> Memory:
    """Return a memory in which a secret was told, and left the context long ago."""
    defaults: dict[str, Any] = {
        "budget": 600, "policy": "rolling_summary", "recall": Recall(gate=0.0),
        "summarizer": ExtractiveSummarizer(), "counter": quarter_bytes, "session_id": "s",
    }  # fmt: skip
    memory = Memory(**{**defaults, **more})
    memory.append(Message.user(SECRET, name="Eve"), Message.assistant("I see."))
    memory.append(*chat(turns))
    assert SECRET in recalled_text(memory, "What is the password?")
    return memory


def everything_of(memory: Memory) -> str:
    """Return all that can be got out of a memory and its store."""
    store, id_ = memory.store, memory.session_id
    said = [json.dumps(m.to_dict()) for m in memory.transcript]
    shown = [json.dumps(m.to_dict()) for m in memory.context("password Zanzibar 4711 Eve").messages]
    found = [repr(hit) for hit in memory.search("password Zanzibar 4711 Eve", 1_000)]
    memory.context("greyhound")  # or it would still know what it was asked for
    events = [e.body for e in store.events(id_)]
    return "\n".join([*said, *shown, *found, *events, memory.summary, repr(memory.__dict__)])


# -- it is gone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [InMemoryStore, SQLiteStore])
def test_what_is_forgotten_is_nowhere(kind: type[Store], path: Path) -> None:
    """Transcript, context, search, summary, checkpoints: none of them has a word of it."""
    store: Store = SQLiteStore(path) if kind is SQLiteStore else InMemoryStore()
    with store:
        memory = told(store=store)
        assert "Zanzibar" in memory.summary
        assert (0,) == memory.forget(0)
        assert "Zanzibar" not in everything_of(memory)
        assert "Eve" not in everything_of(memory)
        assert memory.summary
        memory.append(*chat(20))
        assert "Zanzibar" not in everything_of(memory)


@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_forgotten_counts_no_more(resumed: bool) -> None:
    """What the transcript costs is what the messages cost that are left in it."""
    memory = told()
    seen = memory.stats.tokens_seen
    memory.forget(0, 4)
    stored = memory.store.messages("s")
    if resumed:
        memory = Memory.resume(memory.store, "s", counter=quarter_bytes)
    assert seen > memory.stats.tokens_seen == sum(counted.tokens for counted in stored)


def test_a_file_keeps_no_byte_of_it(path: Path) -> None:
    """Neither the database nor its log has a word of it, once `forget` has returned."""
    with SQLiteStore(path) as store:
        memory = told(100, store=store)
        for word in WORDS:  # some of them in the index
            assert word in files(path)
        memory.forget(Message.user(SECRET, name="Eve"))
        for word in WORDS:
            assert word not in files(path)
        memory.context("password")
        memory.append(*chat(10))
    for word in WORDS:
        assert word not in files(path)


def files(path: Path) -> bytes:
    """Return the bytes of the database and of all files beside it."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def test_a_saved_session_has_nothing_of_it(tmp_path: Path) -> None:
    """A file that is saved afterwards tells that something was forgotten, and not what."""
    memory = told()
    memory.forget(0)
    memory.save(tmp_path / "saved.json")
    content = (tmp_path / "saved.json").read_bytes()
    for word in WORDS:
        assert word not in content
    loaded = Memory.load(tmp_path / "saved.json", counter=quarter_bytes)
    assert state(memory) == state(loaded)
    assert is_tombstone(loaded.transcript[0])


def test_a_clipped_message_is_forgotten_with_its_clip() -> None:
    """What stands clipped in the context has its text in an event too."""
    memory = Memory(300, counter=quarter_bytes, oversize="clip")
    memory.append(Message.user(f"{SECRET} {'long ' * 2_000}"))
    assert "Zanzibar" in everything_of(memory)
    memory.forget(0)
    assert "Zanzibar" not in everything_of(memory)


def test_a_reader_elsewhere_delays_the_last_bytes_and_it_is_said(path: Path) -> None:
    """While another program reads the file its log cannot be emptied: the stats say so."""
    with SQLiteStore(path, timeout=0.01) as store:
        memory = told(store=store)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        memory.forget(0)
        assert {"erase": 1} == dict(memory.stats.fallbacks)
        assert is_tombstone(memory.transcript[0])
        reader.close()
        memory.forget(1)
        for word in WORDS:
            assert word not in files(path)


# -- what is left ---------------------------------------------------------------------------------


def test_a_tombstone_says_when_and_not_what() -> None:
    """It stands in the place of the message, so that all indices stay what they were."""
    memory = told()
    before = wire(memory.transcript)
    memory.forget(0, 3)
    after = wire(memory.transcript)
    pairs = enumerate(zip(before, after, strict=True))
    assert [0, 3] == [i for i, (old, new) in pairs if old != new]
    stone = memory.transcript[0]
    assert datetime.fromisoformat(str(stone.metadata["at"])).tzinfo is not None
    assert stone == memory.transcript[3]
    assert stone.timestamp is None
    assert stone.name is None


def test_a_message_means_all_that_equal_it() -> None:
    """Indices count from either end; a message is forgotten wherever it was said."""
    memory = Memory(10_000)
    said = [Message.user("a"), Message.user("b"), Message.user("a"), Message.user("c")]
    memory.append(*said)
    assert (0, 2, 3) == memory.forget(Message.user("a"), -1)
    assert ["b"] == [m.text for m in memory.context().messages]
    assert () == memory.forget(0, 2)
    assert 1 == memory.stats.erasures
    assert 3 == memory.stats.forgotten


@pytest.mark.parametrize("index", [1, 2, 3])
def test_a_tool_round_is_forgotten_whole(index: int) -> None:
    """A call without its result, or a result without its call, is nothing that may stay."""
    memory = Memory(10_000)
    calls = [ToolCall("1", "look", "{}"), ToolCall("2", "look", "{}")]
    memory.append(Message.user("Look."), Message.assistant(tool_calls=calls))
    memory.append(Message.tool("x", tool_call_id="1"), Message.tool("y", tool_call_id="2"))
    memory.append(Message.assistant("Done."), Message.user("Thanks."))
    assert (1, 2, 3) == memory.forget(index)
    assert ["Look.", "Done.", "Thanks."] == [m.text for m in memory.context().messages]


def test_an_open_round_can_be_forgotten() -> None:
    """Its results are then results of no call."""
    memory = Memory(10_000)
    memory.append(Message.user("Look."))
    calls = [ToolCall("1", "look", "{}"), ToolCall("2", "look", "{}")]
    memory.append(Message.assistant(tool_calls=calls), Message.tool("x", tool_call_id="1"))
    assert (1, 2) == memory.forget(1)
    with pytest.raises(ToolCallError):
        memory.append(Message.tool("y", tool_call_id="2"))
    memory.append(Message.assistant("Well."))
    assert ["Look.", "Well."] == [m.text for m in memory.context().messages]


def test_instructions_and_pinned_messages_go_when_they_are_named() -> None:
    """They never leave by themselves, but can be forgotten."""
    memory = Memory(10_000)
    memory.append(Message.system("Be brief."), Message.user("Keep this.", pinned=True))
    memory.append(Message.user("Go on."))
    memory.forget(0, 1)
    assert ["Go on."] == [m.text for m in memory.context().messages]


def test_the_question_before_stands_in_for_one_that_is_forgotten() -> None:
    """The last user's message that is left is in the context, also if it had left."""
    memory = Memory(300, counter=quarter_bytes)
    memory.append(Message.user("The first question."))
    memory.append(*[Message.assistant(f"Answer {i}. {'word ' * 20}") for i in range(5)])
    memory.append(Message.user("The last question."))
    memory.append(*[Message.assistant(f"Answer {i}. {'word ' * 20}") for i in range(20)])
    assert "The first question." not in [m.text for m in memory.context().messages]
    memory.forget(6)
    context = memory.context()
    assert context.question == Message.user("The first question.")
    assert "The first question." in [m.text for m in context.messages]
    memory.forget(0)
    assert memory.context().question is None


def test_a_question_that_no_longer_fits_is_told_of() -> None:
    """Where pinned blocks took its room, the context has none, and the stats say so."""
    memory = Memory(400, counter=quarter_bytes)
    memory.append(Message.user("The first question. " + "word " * 150))
    pinned = [Message.assistant(f"{i} {'word ' * 40}", pinned=True) for i in range(5)]
    memory.append(pinned[0], Message.user("The last."), *pinned[1:])
    memory.forget(2)
    context = memory.context()
    assert context.question is None
    assert context.token_count <= 400
    assert {"question": 1} == dict(memory.stats.fallbacks)
    memory.append(Message.user("Another."))
    assert "Another." == memory.context().messages[-1].text


def test_what_was_forgotten_cannot_be_pinned() -> None:
    """A tombstone is no message that a context could hold."""
    memory = Memory(10_000)
    memory.append(Message.user("a"), Message.user("b"))
    memory.forget(0)
    with pytest.raises(ConfigError, match="message 0 was forgotten"):
        memory.pin(0)


# -- the summary ----------------------------------------------------------------------------------


class Parrot:
    """A summarizer that repeats everything, or fails."""

    fails = False

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        if self.fails:
            raise RuntimeError("no model at hand")
        return f"{previous} {' '.join(block.text for block in blocks)}".strip()[: 2 * max_tokens]


def test_a_summary_that_cannot_be_made_again_is_dropped_and_it_is_said() -> None:
    """Rather no summary than one that may tell what is forgotten."""
    parrot = Parrot()
    memory = told(summarizer=parrot)
    assert "Zanzibar" in memory.summary
    parrot.fails = True
    memory.forget(0)
    assert "" == memory.summary
    assert memory.stats.fallbacks["summary"] == 1
    assert memory.stats.fallbacks["summarizer"] >= 1


def test_a_summary_of_a_long_archive_is_made_of_its_newest_part() -> None:
    """It costs no more the longer the transcript is, and says what it left out."""
    memory = told(turns=MOST_FOLDED)
    memory.forget(0)
    assert memory.summary
    assert memory.stats.fallbacks["summary"] == 1


def test_nothing_is_summarized_where_there_was_no_summary() -> None:
    """Forgetting asks no model where none had been asked."""
    memory = told(policy="sliding", summarizer=None)
    memory.forget(0)
    assert "" == memory.summary
    assert {} == dict(memory.stats.fallbacks)


# -- whole or not at all --------------------------------------------------------------------------


def test_a_second_writer_is_told() -> None:
    """Where someone else wrote first, nothing is forgotten."""
    store = InMemoryStore()
    one = told(store=store)
    two = Memory.resume(store, "s", counter=quarter_bytes)
    two.append(Message.user("first"))
    before = view(one)
    with pytest.raises(ConflictError):
        one.forget(0)
    assert before == view(one)
    assert SECRET == two.transcript[0].text
    two.forget(0)
    with pytest.raises(ConflictError):
        one.append(Message.user("late"))


def test_it_is_refused_during_a_turn() -> None:
    """What a turn is about cannot be taken from under it."""
    memory = told()
    with memory.turn() as turn:
        turn.append(Message.user("x"))
        with pytest.raises(BusyError):
            memory.forget(0)


class Refusing(InMemoryStore):
    """A store that can erase nothing."""

    erase = Store.erase


class Interrupting(InMemoryStore):
    """A store whose user presses Ctrl-C when it has erased."""

    def erase(self, *arguments: Any) -> bool:
        super().erase(*arguments)
        raise KeyboardInterrupt


def test_a_store_that_cannot_changes_nothing() -> None:
    """The memory is what it was."""
    memory = told(store=Refusing())
    before = state(memory)
    with pytest.raises(StoreError, match="Refusing cannot erase single messages"):
        memory.forget(0)
    assert before == state(memory)


def test_an_interrupt_after_the_store_was_done_leaves_it_forgotten() -> None:
    """What is erased in the store is forgotten by the memory."""
    memory = told(store=Interrupting())
    with pytest.raises(KeyboardInterrupt):
        memory.forget(0)
    assert memory.stats.erasures == 1
    assert "Zanzibar" not in everything_of(memory)


@pytest.mark.parametrize("target", [99, -100, "x", None, Message.user("never said")])
def test_a_message_that_is_not_there_is_refused(target: Any) -> None:
    """Nothing of what else was named is forgotten either."""
    memory = Memory(10_000)
    memory.append(Message.user("a"))
    with pytest.raises(ConfigError):
        memory.forget(0, target)
    assert "a" == memory.transcript[0].text


def test_a_file_that_fails_midway_is_what_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is erased in one transaction, or nothing is."""
    from finite_memory_core.stores import packed_index

    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with SQLiteStore(path) as store:
        memory = told(store=store)
        before = state(memory)
        with monkeypatch.context() as patch:
            patch.setattr(packed_index, "drop", fail)
            with pytest.raises(StoreError):
                memory.forget(0)
        assert before == state(memory)
        assert (0,) == memory.forget(0)


# -- what is told ---------------------------------------------------------------------------------


def test_backends_and_observers_are_told(path: Path) -> None:
    """Contexts count erasures, also after a resume; observers hear which places; no prefix."""
    heard: list[object] = []
    with SQLiteStore(path) as store:
        memory = told(store=store, observers=[heard.append])
        assert 0 == memory.context().erasures
        memory.forget(0)
        assert 1 == memory.context().erasures
        assert [Forgotten("s", (0,))] == [e for e in heard if isinstance(e, Forgotten)]
        memory.forget(1, 2)
        resumed = Memory.resume(store, "s", counter=quarter_bytes)
        assert 2 == resumed.context().erasures
        assert 3 == resumed.stats.forgotten


def test_the_stable_prefix_ends_where_something_was_forgotten() -> None:
    """`stable_tokens` counts what the contexts before and after really share."""
    memory = Memory(10_000, counter=quarter_bytes)
    memory.append(*[Message.user(f"Message {i}.") for i in range(10)])
    memory.context()
    memory.forget(4)
    assert 4 == memory.context().stable_messages
    assert 9 == memory.context().stable_messages


def test_a_checker_lets_nothing_stand_for_a_tombstone() -> None:
    """A transcript with tombstones can be checked, and replayed into another memory."""
    memory = Memory(10_000, counter=quarter)
    memory.append(Message.user("a"), Message.user("b"), Message.assistant("c"))
    memory.forget(0)
    again = Memory(10_000, counter=quarter)
    again.append(*memory.transcript)
    assert memory.context().messages == again.context().messages
    assert wire(memory.transcript) == wire(again.transcript)


# -- whatever happens -----------------------------------------------------------------------------


@settings(CORE, max_examples=some(40))
@given(setup=setups, said=conversations(max_turns=14), data=st.data())
def test_a_memory_that_forgets_keeps_the_rules(
    setup: Setup, said: list[Message], data: st.DataObject
) -> None:
    """Budget, structure and resume hold, and no context shows what was forgotten."""
    memory = setup.memory()
    for message in said:
        take(memory, message)
        count = len(memory.transcript)
        if count and data.draw(st.integers(0, 3)) == 0:
            memory.forget(data.draw(st.integers(0, count - 1)))
        context = memory.context()
        assert context.token_count + setup.reserve <= setup.budget
        stones = {i for i, m in enumerate(memory.transcript) if is_tombstone(m)}
        assert len(stones) == memory.stats.forgotten
        held = {i for b in memory.blocks for i in range(b.index, b.end)}
        assert not stones & held
        assert not any(is_tombstone(m) for m in context.messages)
        resumed = setup.resume(memory.store)
        assert state(memory) == state(resumed)
        assert memory.dry_run().policy == memory.policy.name


@pytest.mark.parametrize("policy", ["sliding", "hybrid", "rolling_summary"])
def test_fuzzed_conversations_with_gaps_keep_their_shape(policy: str) -> None:
    """Long agents' traffic, now and then a message forgotten: every context can be sent."""
    from finite_memory_core.testing.streams import stream

    for seed in range(some(3)):
        subject = MemorySubject(2_000, policy, oversize="clip", recall=Recall(gate=0.0))
        memory = subject.memory
        for number, step in enumerate(stream("agent", seed, 30, 2_000, 0.02)):
            for message in step.messages:
                take(memory, message)
            if number % 7 == 3 and memory.stats.messages:
                memory.forget((number * 31) % memory.stats.messages)
            if step.calls_model:
                check_shape(memory)
        assert memory.stats.erasures > 3


def check_shape(memory: Memory) -> None:
    from finite_memory_core.testing.fuzz import count_context

    context = memory.context()
    checker = Checker(budget=2_000, count=count_context, clip=True)
    for message in memory.transcript:
        checker.append(message)
    wrong = checker.check(context.messages)
    assert [] == [line for line in wrong if not line.startswith(("newest lost", "pinned lost"))]
