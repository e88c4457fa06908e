"""The store in this process's memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from finite_memory_core.messages import Message
from finite_memory_core.stores import Counted, Event, InMemoryStore, Store, Version
from finite_memory_core.testing.stores import StoreContract, counted, sample_messages


class TestInMemoryStore(StoreContract):
    """The in-memory store keeps the contract."""

    def open(self) -> Store:
        return InMemoryStore()


def test_packed_messages_come_back_equal() -> None:
    """Old messages, which are packed, are the same as when they were objects."""
    samples = sample_messages()
    written = [Counted(samples[i % len(samples)], i) for i in range(5_000)]
    store = InMemoryStore()
    store.create("s", "{}")
    for i in range(0, len(written), 100):
        store.append("s", Version(i, 0), written[i : i + 100], [])
    assert written == list(store.messages("s"))
    assert written[10:20] == list(store.messages("s", 10, 20))


def test_one_append_of_many_is_packed_later() -> None:
    """A batch larger than what is kept as objects is read back in order, before and after."""
    written = counted(*(str(i) for i in range(4_001)))
    store = InMemoryStore()
    store.create("s", "{}")
    store.append("s", Version(0, 0), written[:4_000], [])
    assert written[:4_000] == list(store.messages("s"))
    store.append("s", Version(4_000, 0), written[4_000:], [])
    assert written == list(store.messages("s"))


def test_reading_while_another_thread_packs() -> None:
    """A reader sees the right message at every index while a writer moves them."""
    store = InMemoryStore()
    store.create("s", "{}")
    wrong: list[tuple[int, str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for i, (message, _) in enumerate(store.messages("s")):
                if message.text != str(i):
                    wrong.append((i, message.text))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(6_000):
        store.append("s", Version(i, i), [Counted(Message.user(str(i)), 1)], [Event("e", i, "0")])
    done.set()
    reader.join()
    assert wrong == []


def test_a_closed_store_stays_readable() -> None:
    """There is nothing to release, so closing loses nothing."""
    with InMemoryStore() as store:
        store.create("s", "{}")
        store.append("s", Version(0, 0), counted("hello"), [])
    assert counted("hello") == list(store.messages("s"))


class _Interrupted(list[Event]):
    """Events whose second one never comes."""

    def __iter__(self) -> Iterator[Event]:
        yield self[0]
        raise KeyboardInterrupt


def test_an_interrupted_append_leaves_nothing() -> None:
    """A turn whose append was broken off is not there, and the next one takes its place."""
    store = InMemoryStore()
    store.create("s", "{}")
    store.append("s", Version(0, 0), counted("a"), [Event("pin", 0, "a")])
    with pytest.raises(KeyboardInterrupt):
        store.append("s", Version(1, 1), counted("lost", "too"), _Interrupted([Event("x", 0, "")]))
    assert Version(1, 1) == store.sessions()[0].version
    assert counted("a") == list(store.messages("s"))
    assert None is store.last_event("s", "x")
    store.append("s", Version(1, 1), counted("b"), [Event("pin", 0, "b")])
    assert counted("a", "b") == list(store.messages("s"))
    assert [Event("pin", 0, "a"), Event("pin", 0, "b")] == list(store.events("s"))
    assert (1, Event("pin", 0, "b")) == store.last_event("s", "pin")
