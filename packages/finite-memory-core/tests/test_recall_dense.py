"""An embedder for recall: what it finds, when it is asked, and what happens when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import count
from math import nan
from pathlib import Path
from threading import Event, Thread, current_thread, enumerate as enumerate_threads, local
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    CallableBackend,
    Chat,
    ConfigError,
    EmbedderError,
    InMemoryStore,
    Memory,
    Message,
    SQLiteStore,
    Store,
    StoreError,
)
from finite_memory_core.embedding import CallableEmbedder
from finite_memory_core.events import FellBack
from finite_memory_core.policies import base
from finite_memory_core.recall import Recall, dense
from finite_memory_core.recall.dense import BATCH, Dense, Source
from finite_memory_core.recall.vectors import InMemoryVectors, Vectors, cosine, pack
from finite_memory_core.testing import WordEmbedder

from .checks import take, wire
from .examples import some
from .recalling import START, chat, recalled_text, talked
from .strategies import CORE, conversations, quarter_bytes

ALIKE = {"sibling": "sister", "resides": "lives", "puppy": "greyhound", "physician": "doctor"}
QUESTION = "Which sibling resides?"
"""Shares no word with its answer, nor with anything else."""

Embed = Callable[[Sequence[str]], Any]


def words() -> WordEmbedder:
    return WordEmbedder(ALIKE)


def remembering(embedder: Any, turns: int = 60, **more: Any) -> Memory:
    return talked(turns, recall=Recall(0.3, embedder=embedder), **more)


def texts_of(embedder: WordEmbedder) -> list[str]:
    """What was said that it was given, without the probe and the questions."""
    return [
        text for batch in embedder.batches for text in batch if ": " in text and "?:" not in text
    ]


# -- what it finds --------------------------------------------------------------------------------


def test_what_was_said_in_other_words_is_found() -> None:
    """A question that shares no word with its answer finds it by its meaning."""
    assert "Turin" not in recalled_text(talked(recall=Recall(0.3)), QUESTION)
    memory = remembering(words())
    assert "Ada lives in Turin" in recalled_text(memory, QUESTION)
    hit = memory.search(QUESTION, 1)[0]
    assert "Turin" in hit.message.text
    assert hit.parts["similar"] > 0.3
    assert hit.score == pytest.approx(sum(hit.parts.values()))
    assert {} == memory.stats.fallbacks


def test_the_memorys_embedder_serves_recall_too() -> None:
    """Unless recall has its own."""
    shared, own = words(), words()
    memory = talked(recall=Recall(0.3), embedder=shared)
    assert "Turin" in recalled_text(memory, QUESTION)
    assert shared.batches
    memory = talked(recall=Recall(0.3, embedder=own), embedder=(unused := words()))
    assert "Turin" in recalled_text(memory, QUESTION)
    assert own.batches
    assert not unused.batches


def test_a_function_is_an_embedder() -> None:
    """Anything that takes texts and returns a vector each."""
    memory = remembering(words().embed)
    assert "Ada lives in Turin" in recalled_text(memory, QUESTION)
    assert "WordEmbedder.embed" == memory.settings.recall["embedder"]  # type: ignore[index]
    named = CallableEmbedder(lambda texts: [[1.0] for _ in texts], name="ones")
    assert ("ones", "CallableEmbedder(ones)") == (named.name, repr(named))


@pytest.mark.parametrize("thing", ["minilm", 7, WordEmbedder, [words]])
def test_what_is_no_embedder_is_refused_at_once(thing: Any) -> None:
    """A name, or a class that was not called, would fail at the first search."""
    for make in (lambda: Recall(embedder=thing), lambda: Memory(100, embedder=thing)):
        with pytest.raises(ConfigError, match=r"an object with a method embed\(texts\), or a func"):
            make()


def test_small_talk_recalls_nothing() -> None:
    """Words that say nothing are no question, whatever an embedder thinks of them."""
    memory = remembering(words())
    for text in ("", "  ", "and so it is", "🙂", "?!"):
        assert not memory.context(text).recalled


def test_what_is_like_nothing_more_than_anything_else_adds_nothing() -> None:
    """Where all vectors are the same, or zeros, the words alone decide."""
    plain = talked(recall=Recall(0.3))
    for vector in ([1.0, 2.0], [0.0, 0.0]):
        memory = remembering(lambda texts, v=vector: [v for _ in texts])
        for text in ("Where does Ada live?", "walnuts"):
            assert plain.search(text, 20) == memory.search(text, 20)
        assert {} == memory.stats.fallbacks


# -- when it is asked -----------------------------------------------------------------------------


def test_appending_never_asks_it() -> None:
    """Vectors are computed when they are needed, and each once."""
    embedder = words()
    memory = remembering(embedder)
    assert [] == embedder.batches
    memory.search("walnuts")
    assert all(len(batch) <= BATCH for batch in embedder.batches)
    first = texts_of(embedder)
    assert [f"{m.name}: {m.text}" for m in memory.transcript] == first
    memory.search("walnuts")
    memory.context("Ada")
    assert first == texts_of(embedder)
    memory.append(*chat(5))
    memory.search("walnuts")
    assert len(first) + 10 == len(texts_of(embedder))


def test_all_can_be_computed_beforehand() -> None:
    """`index` leaves nothing to do but the question."""
    embedder = words()
    memory = remembering(embedder)
    assert 120 == memory.index()
    assert 0 == memory.index()
    asked = len(embedder.batches)
    memory.search("walnuts")
    assert [["walnuts"]] == embedder.batches[asked:]
    assert 0 == talked().index()


def test_a_search_does_not_compute_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an import it does without, and says what to do; how often it is asked is no matter."""
    monkeypatch.setattr(dense, "MOST_MISSING", 50)
    heard: list[Any] = []
    memory = remembering(embedder := words(), observers=[heard.append])
    for asked in (1, 2):
        assert "Turin" not in recalled_text(memory, QUESTION + "!" * asked)
        assert {"embedder": asked} == memory.stats.fallbacks
    assert [] == texts_of(embedder)
    assert any("call memory.index()" in e.why for e in heard if isinstance(e, FellBack))
    memory.index()
    assert "Turin" in recalled_text(memory, QUESTION)
    assert {"embedder": 2} == memory.stats.fallbacks


def test_instructions_and_silent_messages_are_not_embedded() -> None:
    """What cannot be recalled needs no vector; an empty text would make a service refuse all."""
    embedder = words()
    memory = Memory(1_000, recall=Recall(embedder=embedder), counter=quarter_bytes)
    memory.append(Message.system("Be kind."), Message.user(" "), Message.user("Ada is here."))
    memory.index()
    assert ["user: Ada is here."] == texts_of(embedder)


def test_of_a_long_text_the_beginning_is_embedded() -> None:
    """Models and services have limits."""
    embedder = words()
    memory = remembering(embedder, budget=4_000)
    memory.append(Message.user("word " * 1_000))
    memory.search("word " * 1_000)
    assert max(len(text) for batch in embedder.batches for text in batch) <= 2_010


# -- always the same ------------------------------------------------------------------------------


@settings(CORE, max_examples=some(25))
@given(said=conversations(max_turns=14), asked=st.sets(st.integers(0, 30)), gate=st.booleans())
def test_contexts_do_not_depend_on_what_was_asked_before(
    said: list[Message], asked: set[int], gate: bool
) -> None:
    """Searches in between, a resume, a store of another kind: the same in the end."""
    recall = Recall(0.5, 0.2 * gate, embedder=words())
    settings = {"budget": 300, "recall": recall, "counter": quarter_bytes, "oversize": "clip"}
    with SQLiteStore(":memory:") as store:
        quiet, busy = Memory(**settings), Memory(**settings, store=store)  # type: ignore[arg-type]
        for i, message in enumerate(said):
            assert take(quiet, message) == take(busy, message)
            if i in asked:
                busy.context("Turin 1998" if i % 2 else None)
                busy.index()
        resumed = Memory.resume(store, busy.session_id, counter=quarter_bytes, embedder=words())
        for query in (None, QUESTION, "Turin 1998"):
            expected = quiet.context(query)
            for memory in (busy, resumed):
                context = memory.context(query)
                assert wire(expected.messages) == wire(context.messages)
                assert [h.parts for h in expected.recalled] == [h.parts for h in context.recalled]
        assert {} == busy.stats.fallbacks == quiet.stats.fallbacks == resumed.stats.fallbacks


# -- kept, and not mixed --------------------------------------------------------------------------


class Plain(InMemoryStore):
    """Keeps no vectors."""

    def vectors(self, session_id: str) -> Vectors | None:
        return None


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store that keeps vectors."""
    return InMemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "s.db")


def resumed(store: Store, embedder: Any = None, **more: Any) -> Memory:
    return Memory.resume(store, "s", counter=quarter_bytes, embedder=embedder, **more)


def test_a_resumed_session_computes_nothing_again(store: Store) -> None:
    """Its vectors are in the store."""
    with store:
        remembering(words(), store=store).index()
        memory = resumed(store, again := words())
        assert 0 == memory.index()
        assert "Turin" in recalled_text(memory, QUESTION)
        assert [] == texts_of(again)


def test_a_store_without_vectors_will_do() -> None:
    """They are computed again then."""
    store = Plain()
    assert 120 == remembering(words(), store=store).index()
    memory = resumed(store, words())
    assert 120 == memory.index()
    assert "Turin" in recalled_text(memory, QUESTION)


@pytest.mark.parametrize(
    "other",
    [
        WordEmbedder(ALIKE, name="others"),
        WordEmbedder(ALIKE, dimension=480),
        WordEmbedder({**ALIKE, "adopted": "took"}),
    ],
    ids=["name", "dimension", "model"],
)
def test_another_embedder_is_noticed(store: Store, other: WordEmbedder) -> None:
    """By its name, its dimension, or how it embeds a text; vectors of two are not mixed."""
    with store:
        remembering(words(), store=store).index()
        memory = resumed(store, other)
        before = len(texts_of(other))
        assert "Turin" in recalled_text(memory, QUESTION)
        memory.index()
        assert before + 120 == len(texts_of(other))
        assert {} == memory.stats.fallbacks
        assert 120 == resumed(store, words()).index()


def test_without_its_embedder_a_session_searches_words(store: Store) -> None:
    """Which is told when it is resumed, each time, but not where recall was changed on purpose."""
    with store:
        remembering(words(), store=store).index()
        for _ in range(2):
            heard: list[Any] = []
            memory = Memory.resume(store, "s", counter=quarter_bytes, observers=[heard.append])
            assert ["embedder"] == [e.what for e in heard if isinstance(e, FellBack)]
            assert "Turin" not in recalled_text(memory, QUESTION)
            assert "Turin" in recalled_text(memory, "Where does Ada live?")
        memory = Memory.resume(store, "s", counter=quarter_bytes, recall=Recall(0.3))
        assert {} == memory.stats.fallbacks


def test_reset_drops_the_vectors(store: Store) -> None:
    """Nothing of what was said is left, in numbers either."""
    with store:
        memory = remembering(embedder := words(), store=store)
        memory.index()
        memory.reset()
        memory.append(Message.user("Hello there."))
        assert 1 == memory.index()
        assert "user: Hello there." == texts_of(embedder)[-1]


def test_two_memories_of_one_session_do_not_disturb_each_other(store: Store) -> None:
    """What one computed the other finds, and where both do, one goes without for once."""
    with store:
        first = remembering(words(), store=store)
        second = resumed(store, embedder := words())
        first.index()
        assert "Turin" in recalled_text(second, QUESTION)
        assert [] == texts_of(embedder)


def test_what_is_forgotten_is_not_compared() -> None:
    """Its vector is gone, and the bits that were remembered of it."""
    said = chat(300)
    vectors = InMemoryVectors()
    found = Dense(Source(words()), vectors, lambda start, stop: iter(said[start:stop]))
    place = next(iter(found.compare(QUESTION, 600, base.Deadline()).best([])))
    vectors.forget([place])
    assert place not in found.compare(QUESTION, 600, base.Deadline()).best([place])
    fresh = Dense(found._source, vectors, found._read)
    near = [d.nearest(QUESTION, 600, base.Deadline(), 600, 16) for d in (fresh, found)]
    assert near[0] == near[1]
    assert place not in near[1]


# -- when it fails --------------------------------------------------------------------------------


def failing(error: BaseException) -> Embed:
    def embed(texts: Sequence[str]) -> Any:
        raise error

    return embed


FAILURES: dict[str, Embed] = {
    "raises": failing(ConnectionError("no route")),
    "runs out of memory": failing(MemoryError()),
    "NaN": lambda texts: [[nan, 1.0] for _ in texts],
    "infinity": lambda texts: [[float("inf")] for _ in texts],
    "too few": lambda texts: [[1.0]] * (len(texts) - 1),
    "too many": lambda texts: [[1.0]] * (len(texts) + 1),
    "uneven": lambda texts: (
        [[1.0] * (1 + i % 2) for i in range(len(texts) + 1)][: len(texts)]
        if len(texts) > 1
        else [[1.0, 2.0]]
    ),
    "no dimension": lambda texts: [[] for _ in texts],
    "no vectors": lambda texts: None,
    "text": lambda texts: ["ab" for _ in texts],
}


@pytest.mark.parametrize("embed", FAILURES.values(), ids=FAILURES)
def test_where_it_fails_words_are_searched(embed: Embed) -> None:
    """No exception, the contexts of a memory without it, and a word about it."""
    heard: list[Any] = []
    plain = talked(recall=Recall(0.3))
    memory = remembering(embed, observers=[heard.append])
    for asked, text in enumerate(("Where does Ada live?", "walnuts"), 1):
        assert plain.context(text).messages == memory.context(text).messages
        assert plain.search(text) == memory.search(text)
        assert {"embedder": 2 * asked} == memory.stats.fallbacks
    told = [e for e in heard if isinstance(e, FellBack)]
    assert {"embedder"} == {e.what for e in told}
    assert all("words alone were searched" in e.why for e in told)
    with pytest.raises(EmbedderError):
        memory.index()


def test_an_interrupt_passes_through() -> None:
    """Ctrl-C is no failure of the embedder."""
    memory = remembering(failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        memory.context("walnuts")
    assert {} == memory.stats.fallbacks


def test_a_changed_dimension_is_noticed() -> None:
    """Vectors that cannot be compared are not; the next search begins anew."""
    dimension = [512]

    def embed(texts: Sequence[str]) -> list[list[float]]:
        return WordEmbedder(ALIKE, dimension=dimension[0]).embed(texts)

    memory = remembering(embed)
    assert "Turin" in recalled_text(memory, QUESTION)
    dimension[0] = 480
    assert "Turin" not in recalled_text(memory, f"{QUESTION}!")
    assert {"embedder": 1} == memory.stats.fallbacks
    assert "Turin" in recalled_text(memory, QUESTION + "?")
    assert {"embedder": 1} == memory.stats.fallbacks


def test_after_a_failure_it_is_asked_again() -> None:
    """And what was computed before stays."""
    good, calls = words(), count(1)

    def embed(texts: Sequence[str]) -> list[list[float]]:
        if next(calls) == 3:
            raise TimeoutError("busy")
        return good.embed(texts)

    memory = remembering(embed)
    memory.search("walnuts")
    assert {"embedder": 1} == memory.stats.fallbacks
    assert BATCH == len(texts_of(good))
    assert "Turin" in recalled_text(memory, QUESTION)
    memory.index()
    assert 120 == len(texts_of(good))


def test_what_takes_too_long_is_left_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch by batch the time is looked at; what was computed by then stays."""
    now = [0.0]
    monkeypatch.setattr(base, "perf_counter", lambda: now[0])
    good = words()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        now[0] += 0.02
        return good.embed(texts)

    memory = remembering(embed, max_policy_ms=50, policy="sliding")
    assert "Turin" not in recalled_text(memory, QUESTION)
    assert {"embedder": 1} == memory.stats.fallbacks
    assert 118 == len(texts_of(good))
    assert "Turin" in recalled_text(memory, QUESTION + "?")
    assert {"embedder": 1} == memory.stats.fallbacks


def test_a_question_that_takes_too_long_is_searched_by_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where nothing but the question had to be embedded."""
    now = [0.0]
    monkeypatch.setattr(base, "perf_counter", lambda: now[0])
    good = words()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        now[0] += 1.0
        return good.embed(texts)

    memory = remembering(embed, max_policy_ms=50)
    memory.index()
    memory.search(QUESTION)
    assert {"embedder": 1} == memory.stats.fallbacks


def test_vectors_that_cannot_be_kept_are_done_without(tmp_path: Path) -> None:
    """A damaged row costs one search its vectors; then they are computed again."""
    with SQLiteStore(tmp_path / "s.db") as store:
        memory = remembering(words(), store=store)
        memory.index()
        with store._file.borrowed() as db:
            db.execute("UPDATE vector SET packed = x'00'")
        assert "Turin" not in recalled_text(memory, QUESTION)
        assert {"embedder": 1} == memory.stats.fallbacks
        assert "Turin" in recalled_text(memory, QUESTION + "?")


# -- bounded --------------------------------------------------------------------------------------


class Counting(InMemoryVectors):
    """Counts what is compared exactly."""

    read_places = 0

    def read(self, places: Any) -> dict[int, bytes]:
        found = super().read(places)
        self.read_places += len(found)
        return found


def searched(turns: int, vectors: Vectors) -> tuple[Dense, list[Message]]:
    said = chat(turns)
    found = Dense(Source(words()), vectors, lambda start, stop: iter(said[start:stop]))
    found.catch_up(len(said), None, base.Deadline())
    return found, said


def test_of_a_long_archive_few_vectors_are_compared() -> None:
    """The nearest by their bits, and what the words found."""
    vectors = Counting()
    found, _ = searched(1_000, vectors)
    best = found.compare(QUESTION, 2_000, base.Deadline()).best(range(50))
    assert vectors.read_places <= dense.MOST_COMPARED + 50
    assert max(best.values()) == 1.0
    assert all(0.0 < value <= 1.0 for value in best.values())


def test_the_bits_find_what_the_cosines_find() -> None:
    """Of a long archive the nearest by bits hold the nearest by cosine."""
    found, _ = searched(600, vectors := InMemoryVectors())
    for text in (QUESTION, "puppy adopted", "allergic to walnuts"):
        asked = WordEmbedder(ALIKE).embed([text])
        exact = {i: cosine(pack(asked[0]), v) for i, v in vectors.read(range(1_200)).items()}
        top = max(exact.values())
        near = found.compare(text, 1_200, base.Deadline()).best([])
        assert max(near.values()) == 1.0
        assert top == pytest.approx(max(exact[i] for i in near))


def test_only_the_newest_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the archive is, and whatever was searched before; the words find the others."""
    monkeypatch.setattr(dense, "MOST_SCANNED", 300)
    monkeypatch.setattr(dense, "MOST_COMPARED", 20)
    found, _ = searched(600, InMemoryVectors())
    fresh, _ = searched(600, InMemoryVectors())
    for stop in (400, 1_200, 700, 1_190, 500, 1_200):
        best = found.compare(QUESTION, stop, base.Deadline()).best([0])
        assert best == Dense.compare(
            Dense(Source(words()), fresh.vectors, fresh._read), QUESTION, stop, base.Deadline()
        ).best([0])
        assert set(best) <= {0, *range(stop - 300, stop)}
        assert 0 in best
    assert len(found._bits) <= 600


@pytest.mark.parametrize("first", [" ", "Shall we begin, then?"])
def test_a_short_session_is_compared_with_its_own_average(first: str) -> None:
    """Of what there is in it by then, however short it was when it was searched first."""
    said = [Message.user(first)] * 30 + chat(200)
    source, vectors = Source(WordEmbedder(dimension=16)), InMemoryVectors()  # words share them

    def read(start: int, stop: int) -> Iterator[Message]:
        return iter(said[start:stop])

    known = Dense(source, vectors, read)
    for stop in (30, 60, 100, 250, 400, 100):
        known.catch_up(stop, None, base.Deadline())
        fresh = Dense(source, vectors, read)
        assert fresh.nearest(QUESTION, stop, base.Deadline(), stop, 16) == known.nearest(
            QUESTION, stop, base.Deadline(), stop, 16
        )


def test_a_search_in_the_past_sees_nothing_newer() -> None:
    """A question is answered as of its place in the transcript."""
    found, _ = searched(300, InMemoryVectors())
    assert max(found.compare(QUESTION, 100, base.Deadline()).best([])) < 100
    assert max(found.compare(QUESTION, 400, base.Deadline()).best([])) < 400


def test_neighbours_are_alike_too() -> None:
    """What stands beside what is alike gets some of it, within its session."""
    said = [Message.user(f"filler {i}", timestamp=START + timedelta(minutes=i)) for i in range(60)]
    said[20] = Message.user("Which doctor?", timestamp=said[20].timestamp)
    memory = Memory(300, recall=Recall(0.3, embedder=words()), counter=quarter_bytes)
    memory.append(*said)
    parts = {hit.index: hit.parts for hit in memory.search("physician", 60)}
    assert parts[20]["similar"] > parts[21]["similar"] > parts[19]["similar"] > 0


def test_a_conversation_may_begin_in_silence() -> None:
    """Without a vector among the first hundreds there is no average to compare with."""
    said = [Message.user(" ")] * 300 + chat(20)
    found = Dense(Source(words()), InMemoryVectors(), lambda start, stop: iter(said[start:stop]))
    best = found.compare(QUESTION, len(said), base.Deadline()).best([])
    assert "Turin" in said[max(best, key=best.__getitem__)].text


def test_a_question_need_not_be_valid_text() -> None:
    """Lone surrogates, which models and services refuse, are replaced."""
    embedder = words()
    memory = remembering(lambda texts: embedder.embed([text.encode().decode() for text in texts]))
    assert "Turin" in recalled_text(memory, f"\ud800 {QUESTION}")
    assert {} == memory.stats.fallbacks


# -- after a reply --------------------------------------------------------------------------------


class Noting(WordEmbedder):
    """Notes in which thread each text was embedded, and can be made to wait or fail."""

    def __init__(self) -> None:
        super().__init__(ALIKE)
        self.done: dict[str, str] = {}
        self.gate = Event()
        self.gate.set()
        self.waiting = Event()
        self.fail_in = ""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `WordEmbedder.embed`."""
        name = current_thread().name
        if name == LATER:
            self.waiting.set()
            assert self.gate.wait(60)
        if name == self.fail_in:
            raise ConnectionError("no route")
        self.done |= dict.fromkeys(texts, name)
        return super().embed(texts)


LATER = "finite-memory-vectors"


def chatting(embedder: Noting, **more: Any) -> Chat:
    backend = CallableBackend(lambda context: f"Reply to {context.messages[-1].text}")
    return Chat(backend, remembering(embedder, **more))


def join_later() -> None:
    """Wait for the thread that computes vectors."""
    for thread in enumerate_threads():
        if thread.name == LATER:
            thread.join(60)
            assert not thread.is_alive()


def test_a_chat_has_vectors_made_after_the_reply() -> None:
    """So the next search embeds its question and nothing else."""
    embedder = Noting()
    made = chatting(embedder)
    made.send("Hello, how are you?")
    join_later()
    assert "assistant: Reply to Hello, how are you?" in embedder.done
    assert {LATER} == {t for text, t in embedder.done.items() if text.startswith("assistant")}
    embedder.done.clear()
    reply = made.send(QUESTION)
    assert "Turin" in reply.context.messages[-2].text
    assert [QUESTION] == [text for text, thread in embedder.done.items() if thread != LATER]
    join_later()
    assert 0 == made.memory.index()
    assert {} == made.memory.stats.fallbacks


async def all_of(pieces: AsyncIterator[Any]) -> None:
    async for _ in pieces:
        pass


@pytest.mark.parametrize("way", ["stream", "asend", "astream"])
def test_every_way_of_chatting_makes_them(way: str) -> None:
    """Streamed and asynchronous turns too."""
    embedder = Noting()
    made = chatting(embedder)
    if way == "stream":
        assert [*made.stream("Hello?")]
    elif way == "asend":
        asyncio.run(made.asend("Hello?"))
    else:
        asyncio.run(all_of(made.astream("Hello?")))
    join_later()
    assert LATER == embedder.done["assistant: Reply to Hello?"]


def test_without_an_embedder_no_thread_is_begun() -> None:
    """Nor where nothing was said."""
    assert not talked(recall=Recall(0.3)).index_later()
    assert not Memory(600, recall=Recall(0.3, embedder=words())).index_later()
    assert not talked(recall=None, embedder=words()).index_later()


def test_one_thread_at_a_time() -> None:
    """A slow embedder gathers no threads."""
    embedder = Noting()
    embedder.gate.clear()
    memory = remembering(embedder)
    assert memory.index_later()
    assert not memory.index_later()
    embedder.gate.set()
    join_later()
    assert memory.index_later()
    join_later()


class Slow:
    """Is slow to go."""

    going, on = Event(), Event()

    def __del__(self) -> None:
        self.going.set()
        self.on.wait(60)


def test_a_thread_that_has_done_its_work_holds_nothing_up() -> None:
    """It may be slow to end, where an embedder has something of its own in each thread."""
    own, of_first, embedder = local(), [Slow()], words()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        if current_thread().name == LATER and not hasattr(own, "connection"):
            own.connection = of_first.pop() if of_first else None
        return embedder.embed(texts)

    memory = remembering(embed)
    assert memory.index_later()
    assert Slow.going.wait(60)
    memory.append(*chat(2))
    assert memory.index_later()
    Slow.on.set()
    join_later()
    assert 0 == memory.index()


class CutOff(InMemoryStore):
    """Cannot be reached for what is no transcript."""

    def index(self, session_id: str) -> Any:
        raise StoreError("no route")


def test_a_reply_is_one_whatever_becomes_of_the_vectors() -> None:
    """It is written by then; what failed is said."""
    recall = Recall(0.3, embedder=words())
    memory = Memory(4_000, recall=recall, store=CutOff())
    made = Chat(CallableBackend(lambda context: "Here."), memory)
    assert "Here." == made.send("Hello?").text
    assert 2 == len(list(memory.transcript))
    assert {"embedder": 1} == memory.stats.fallbacks


def test_what_fails_after_the_reply_is_said() -> None:
    """And the next search computes what is missing."""
    embedder = Noting()
    heard: list[object] = []
    memory = remembering(embedder, observers=[heard.append])
    embedder.fail_in = LATER
    assert memory.index_later()
    join_later()
    assert {"embedder": 1} == memory.stats.fallbacks
    assert "Turin" in recalled_text(memory, QUESTION)
    (told,) = [event for event in heard if isinstance(event, FellBack)]
    assert "no route" in told.why
    assert "next search" in told.why


def test_a_reset_leaves_no_vector_of_what_was_said_before(store: Store) -> None:
    """Not of a batch either that was under way."""
    with store:
        embedder = Noting()
        memory = remembering(embedder, store=store)
        embedder.gate.clear()
        assert memory.index_later()
        assert embedder.waiting.wait(60)
        opening = Thread(target=embedder.gate.set)
        opening.start()
        memory.reset()
        join_later()
        memory.append(Message.user("Hello there."))
        assert 1 == memory.index()
        assert "user: Hello there." in embedder.done
        assert {} == memory.stats.fallbacks
