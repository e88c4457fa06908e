"""Vectors over HTTP in a memory: it finds by meaning, and no turn fails for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finite_memory_core import Chat, Memory, Message, Recall, Reply, Semantic, SQLiteStore
from finite_memory_core.testing import ScriptedBackend

from .servers import JSON, Answer, Asked, Server
from .turns import DRIVES
from .vectors import by_words, embedder, told

Serve = Callable[..., Server]
EACH_DRIVE = pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))
ALIKE = {"sibling": "sister", "resides": "lives"}
QUESTION = "Which sibling resides?"
"""Shares no word with its answer, nor with anything else."""


def filled(**settings: Any) -> Memory:
    """A memory in which the answer to the question has left."""
    memory = Memory(600, session_id="s", **settings)
    memory.append(Message.user("My sister Ada lives in Turin."), Message.assistant("Noted."))
    for number in range(60):
        said = Message.user(f"Loaf {number} came out fine.")
        memory.append(said, Message.assistant(f"Good, {number}."))
    return memory


def remembering(url: str, **settings: Any) -> Memory:
    """One that recalls with an embedder at `url`."""
    return filled(recall=Recall(0.3, embedder=embedder(url)), **settings)


def recalled(memory: Memory) -> str:
    """What is brought back for the question."""
    return " ".join(hit.message.text for hit in memory.context(QUESTION).recalled)


def texts(server: Server) -> list[str]:
    """All that a server was sent to embed."""
    return [text for asked in server.asked for text in asked.json["input"]]


@EACH_DRIVE
def test_a_chat_finds_by_meaning(serve: Serve, drive: Callable[..., Reply]) -> None:
    """A question without a word of its answer finds it, by every way to take a turn."""
    backend = ScriptedBackend("In Turin.")
    reply = drive(Chat(backend, remembering(serve(by_words(ALIKE)).url)), QUESTION)
    assert reply.text == "In Turin."
    assert "Ada lives in Turin" in " ".join(m.text for m in backend.contexts[0].messages)
    words_alone = filled(recall=Recall(0.3))
    assert "Turin" not in recalled(words_alone)


def test_each_message_is_sent_once(serve: Serve, tmp_path: Path) -> None:
    """What a store has of this embedder is not computed again, in another process neither."""
    server = serve(by_words(ALIKE))
    with SQLiteStore(tmp_path / "chats.db") as store:
        memory = remembering(server.url, store=store)
        assert "Turin" in recalled(memory)
        assert memory.stats.fallbacks == {}
        sent = texts(server)
        assert len(sent) == len(set(sent))
        assert max(len(asked.json["input"]) for asked in server.asked) <= 64
        again = Memory.resume(store, "s", recall=Recall(0.3, embedder=embedder(server.url)))
        assert "Turin" in recalled(again)
        assert again.stats.fallbacks == {}
        probe, question = texts(server)[len(sent) :]
        assert (sent[0], QUESTION) == (probe, question)


@pytest.mark.parametrize(
    "other", [{"model": "other"}, {"dimensions": 64}, {"profile": "mistral"}], ids=str
)
def test_another_embedder_is_noticed(serve: Serve, tmp_path: Path, other: dict[str, Any]) -> None:
    """Everything is embedded again: vectors of two are never mixed."""
    server = serve(by_words(ALIKE))
    with SQLiteStore(tmp_path / "chats.db") as store:
        assert "Turin" in recalled(remembering(server.url, store=store))
        before = len(texts(server))
        recall = Recall(0.3, embedder=embedder(server.url, **other))
        again = Memory.resume(store, "s", recall=recall)
        assert "Turin" in recalled(again)
        assert len(texts(server)) == 2 * before


def test_another_model_behind_the_same_name_is_noticed(serve: Serve, tmp_path: Path) -> None:
    """Whoever serves another one under the old name and address gives the probe away."""
    server = serve(by_words(ALIKE))
    with SQLiteStore(tmp_path / "chats.db") as store:
        assert "Turin" in recalled(remembering(server.url, store=store))
        before = len(texts(server))
        server.answers = [by_words(ALIKE, dimension=32)]
        recall = Recall(0.3, embedder=embedder(server.url))
        assert "Turin" in recalled(Memory.resume(store, "s", recall=recall))
        assert len(texts(server)) == 2 * before


FAILING: dict[str, Answer] = {
    "a failure": told({"error": {"message": "busy"}}, 503, retry_after="3600"),
    "no key": told({"error": {"message": "who?"}}, 401),
    "an HTML page": Answer([b"<!DOCTYPE html><html>"], kind="text/html"),
    "NaN": told({"data": [{"index": 0, "embedding": [float("nan")]}]}),
    "too few": told({"data": []}),
    "a redirect": Answer(status=302, headers={"location": "http://elsewhere.invalid/"}),
    "a broken answer": Answer([b'{"data'], kind=JSON, end="abort"),
    "silence": Answer(end="silent"),
    "a stall": Answer([b'{"data'], kind=JSON, end="stall"),
}


@EACH_DRIVE
@pytest.mark.parametrize("what", list(FAILING))
def test_a_turn_does_without_it_when_it_fails(
    serve: Serve, what: str, drive: Callable[..., Reply]
) -> None:
    """By words alone, as if there were none, and the stats and an event say so."""
    heard: list[Any] = []
    failing = embedder(serve(FAILING[what]).url, timeout=0.3)
    memory = filled(recall=Recall(0.3, embedder=failing), observers=[heard.append])
    shown = []
    for one in (memory, filled(recall=Recall(0.3))):
        backend = ScriptedBackend("In Turin.")
        assert drive(Chat(backend, one), "Where does Ada live?").text == "In Turin."
        shown.append(backend.contexts[0].to_dicts())
    assert shown[0] == shown[1]
    assert "Ada lives in Turin" in str(shown[0])
    assert memory.stats.fallbacks["embedder"] >= 1
    assert any("openai:some-model@" in getattr(event, "why", "") for event in heard)


def test_it_comes_back(serve: Serve) -> None:
    """What was computed before a failure stays; the next search asks for the rest."""
    gives = by_words(ALIKE)
    failed: list[Asked] = []

    def fails_once(asked: Asked) -> Answer:
        if len(asked.json["input"]) > 1 and len(server.asked) == 3 and not failed:
            failed.append(asked)
            return told({"error": {"message": "busy"}}, 503)
        return gives(asked)

    server = serve(fails_once)
    memory = remembering(server.url)
    assert "Turin" not in recalled(memory)
    assert memory.stats.fallbacks == {"embedder": 1}
    memory.append(Message.user("Loaf 60 came out fine."), Message.assistant("Oh."))
    assert "Turin" in recalled(memory)
    sent = texts(server)
    assert len(sent) - len(failed[0].json["input"]) == len(set(sent))


def test_a_policy_decides_with_it(serve: Serve) -> None:
    """`Semantic` sends each block once; blocks without text cost no request."""
    server = serve(by_words(ALIKE))
    memory = filled(policy=Semantic(embedder(server.url)))
    assert memory.stats.evictions > 0
    assert memory.stats.fallbacks == {}
    sent = texts(server)
    assert len(sent) == len(set(sent))
    assert any("Ada lives in Turin" in text for text in sent)
