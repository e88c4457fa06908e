"""One session in one file: whole or refused, and never half written."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from finite_memory_core import CorruptError, Memory, Message, StoreError, VersionError

from .checks import say, state, wire
from .examples import some
from .strategies import CORE, messages, prose, quarter


@pytest.fixture
def memory() -> Memory:
    """A memory with evictions, a pin and tools behind it."""
    made = Memory(400, counter=quarter, session_id="s", tools=[{"name": "f"}])
    for i in range(40):
        made.append(Message.user(prose(i, 80)))
    made.pin(3)
    return made


def test_a_file_holds_the_session(memory: Memory, tmp_path: Path) -> None:
    """It is JSON that says what it is, with every message in it."""
    path = tmp_path / "session.json"
    memory.save(path)
    document = json.loads(path.read_text("utf-8"))
    assert ("finite-memory-session", 1, "s") == (
        document["format"],
        document["version"],
        document["id"],
    )
    assert wire(memory.transcript) == [
        json.dumps(message, ensure_ascii=False) for _, message in document["messages"]
    ]
    assert state(memory) == state(Memory.load(path, counter=quarter))
    assert [path] == list(tmp_path.iterdir())


@settings(CORE, max_examples=some(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(messages, max_size=5))
def test_every_kind_of_message_is_saved(tmp_path: Path, said: list[Message]) -> None:
    """What is loaded is byte for byte what was said."""
    memory = Memory(1_000_000)
    said = say(memory, said)
    memory.save(tmp_path / "session.json")
    assert wire(said) == wire(Memory.load(tmp_path / "session.json").transcript)


def test_a_long_session_is_loaded_in_batches(tmp_path: Path) -> None:
    """More messages than one batch come back."""
    memory = Memory(400, counter=quarter)
    memory.append(*(Message.user(prose(i, 12)) for i in range(2_500)))
    memory.save(tmp_path / "long.json")
    assert memory.transcript == Memory.load(tmp_path / "long.json", counter=quarter).transcript


@settings(CORE, max_examples=some(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused(memory: Memory, tmp_path: Path, data: st.DataObject) -> None:
    """Cut short anywhere or changed anywhere, a file is refused with its name."""
    path = tmp_path / "session.json"
    memory.save(path)
    whole = path.read_bytes()
    where = data.draw(st.integers(0, len(whole) - 2))
    if data.draw(st.booleans()):
        damaged = whole[:where]
    else:
        new = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[where]))
        damaged = whole[:where] + bytes([new]) + whole[where + 1 :]
    path.write_bytes(damaged)
    with pytest.raises((CorruptError, VersionError), match=r"session\.json"):
        Memory.load(path, counter=quarter)
    assert damaged == path.read_bytes()


def sealed(body: str) -> bytes:
    """Return `body` with a right checksum."""
    return f'{body}\n"sha256": "{sha256(body.encode()).hexdigest()}"}}\n'.encode()


HEAD = '{"format": "finite-memory-session", "version": 1, '
FOREIGN: list[tuple[type[Exception], str, bytes]] = [
    (CorruptError, "does not begin as a session", b""),
    (CorruptError, "does not begin as a session", b"\x89PNG"),
    (CorruptError, "does not begin as a session", b'{"messages": []}'),
    (CorruptError, "its version reads b'x'", b'{"format": "finite-memory-session", "version": x,'),
    (
        VersionError,
        "version 2, this release reads up to 1; upgrade",
        sealed(HEAD.replace("1", "2")),
    ),
    (CorruptError, "was cut short", HEAD.encode()),
    (CorruptError, "not JSON", sealed(HEAD + "...,")),
    (CorruptError, "right checksum but not the right content", sealed(HEAD + '"id": "s",')),
    (
        CorruptError,
        "right checksum but not the right content",
        sealed(HEAD + '"id": "s", "settings": {}, "messages": [[1, {"role": "x"}]], "events": [],'),
    ),
]


@pytest.mark.parametrize(("error", "expected", "data"), FOREIGN)
def test_a_foreign_file_is_refused(
    error: type[Exception], expected: str, data: bytes, tmp_path: Path
) -> None:
    """What this package did not write is named as what it is."""
    path = tmp_path / "session.json"
    path.write_bytes(data)
    with pytest.raises(error, match=expected):
        Memory.load(path)
    assert data == path.read_bytes()


@pytest.mark.parametrize("path", ["", "/", "a\0b", None, 5])
def test_what_is_no_path_is_refused(path: Any, memory: Memory) -> None:
    """Something that names no file is refused, for saving and for loading."""
    before = state(memory)
    for use in (memory.save, Memory.load):
        with pytest.raises(StoreError, match=r"names no file|to a path"):
            use(path)
    assert before == state(memory)


def test_a_place_that_cannot_be_written_is_named(memory: Memory, tmp_path: Path) -> None:
    """No directory, or a directory in its place: the error says where and nothing is left."""
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "nowhere" / "x.json", tmp_path / "there"):
        with pytest.raises(StoreError, match=r"cannot write the session to .* is unchanged"):
            memory.save(path)
    assert [tmp_path / "there"] == list(tmp_path.iterdir())
    with pytest.raises(StoreError, match="cannot read a session from"):
        Memory.load(tmp_path / "missing.json")


def test_a_save_that_fails_leaves_the_old_file(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong on the way, what stood there is untouched and nothing lies about."""
    path = tmp_path / "session.json"
    memory.save(path)
    before = path.read_bytes()
    memory.append(Message.user("more"))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        memory.save(path)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_deleted_session_cannot_be_saved(memory: Memory, tmp_path: Path) -> None:
    """A session that is gone from its store is not written as an empty one."""
    memory.store.delete("s")
    with pytest.raises(StoreError, match="no longer in the store; nothing was written"):
        memory.save(tmp_path / "x.json")
    assert [] == list(tmp_path.iterdir())


def test_a_system_without_directory_handles_saves_too(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a directory cannot be opened, the file is written all the same."""
    monkeypatch.delattr(os, "O_DIRECTORY")
    memory.save(tmp_path / "x.json")
    assert state(memory) == state(Memory.load(tmp_path / "x.json", counter=quarter))
