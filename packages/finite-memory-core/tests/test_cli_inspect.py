"""``finite-memory inspect``: it shows what is in a store, and changes nothing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from finite_memory_core import Block, Memory, Message, SQLiteStore, TokenCounter

from .cli_program import as_json, run, talk


class Shortener:
    """A summarizer that no store can hold."""

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """Count what left."""
        return f"{previous}{len(blocks)} left. "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a long session, a short one and one that needs something passed."""
    path = tmp_path / "s.db"
    with SQLiteStore(path) as store:
        long = Memory(700, "sliding", low_water=0.5, store=store, session_id="long")
        long.append(*map(Message.from_dict, talk(40)))
        Memory(900, store=store, session_id="short\x1b[2J").append(Message.user("Hi \x1b[1m!"))
        Memory(900, store=store, session_id="own", summarizer=Shortener())
    return path


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the name, content and time of each file of a folder."""
    return {
        file.name: (sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
    }


def looks(path: Path) -> Iterator[int]:
    """Look at everything there is to see, and yield the statuses."""
    for arguments in ([], ["long"], ["long", "--transcript"], ["own"], ["missing"]):
        for form in ([], ["--json"]):
            yield run("inspect", path, *arguments, *form).returncode


def test_nothing_is_changed(path: Path) -> None:
    """Neither the file nor what lies beside it, not even a log of the database."""
    before = files(path.parent)
    assert [0] * 8 + [2] * 2 == list(looks(path))
    assert before == files(path.parent)


def test_a_store_in_use_is_shown_as_it_is(path: Path) -> None:
    """What another program has just written is seen, and its files are left alone."""
    with SQLiteStore(path) as store:
        Memory(300, store=store, session_id="new").append(Message.user("Hello."))
        before = {name: of for name, of in files(path.parent).items() if name != "s.db-shm"}
        assert "s.db-wal" in before
        assert 1 == as_json("inspect", path, "new")["messages"]
        after = {name: of for name, of in files(path.parent).items() if name != "s.db-shm"}
        assert before == after


def test_sessions_are_listed(path: Path) -> None:
    """Each with its length, policy and budget; names cannot reach the terminal."""
    done = run("inspect", path)
    assert [
        ["session", "messages", "policy", "budget"],
        ["long", "81", "sliding", "700"],
        [r"short\x1b[2J", "1", "sliding", "900"],
        ["own", "0", "sliding", "900"],
    ] == [line.split() for line in done.stdout.splitlines()]
    found = as_json("inspect", path)["sessions"]
    assert [("long", 81), ("short\x1b[2J", 1), ("own", 0)] == [
        (session["id"], session["messages"]) for session in found
    ]
    assert 0.5 == found[0]["settings"]["low_water"]


def test_a_session_is_shown_as_it_would_go_on(path: Path) -> None:
    """Settings, figures, the context, and what the next eviction would do."""
    found, text = as_json("inspect", path, "long"), run("inspect", path, "long").stdout
    with SQLiteStore(path) as store:
        memory = Memory.resume(store, "long")
        assert memory.context().to_dict()["messages"] == found["context"]["messages"]
        assert memory.stats.evictions == found["stats"]["evictions"] > 0
    assert "session long: 81 messages" in text
    assert "sliding, budget 700 tokens, low water 50.0 %" in text
    assert len(found["context"]["messages"]) == len(
        re.findall(r"(?m)^#\d+ +(?:\w+) +\w", text)
    ) - len(found["next_eviction"]["decisions"])
    assert "\nan eviction now, at message 81, by sliding: " in text


def test_a_policy_that_would_take_too_long_is_told(path: Path) -> None:
    """Where the sliding window would stand in, the reason is given."""
    with SQLiteStore(path) as store:
        hurried = Memory(900, "hybrid", max_policy_ms=1e-6, store=store, session_id="hurried")
        hurried.append(*map(Message.from_dict, talk(5)))
    assert "the sliding window decided, because of hybrid: it took longer than" in (
        run("inspect", path, "hurried").stdout
    )


def test_the_transcript_is_whole(path: Path) -> None:
    """All that was said, what left the context too, word for word."""
    found = as_json("inspect", path, "long", "--transcript")["transcript"]
    assert talk(40) == found
    text = run("inspect", path, "long", "--transcript").stdout
    assert [str(n) for n in range(81)] == re.findall(r"(?m)^#(\d+) \w+, \d+ tokens$", text)
    assert all(message["content"] in text for message in talk(40))


def test_the_transcript_cannot_reach_the_terminal(path: Path) -> None:
    """Escape sequences are shown, not obeyed; times are told."""
    with SQLiteStore(path) as store:
        data = {"role": "user", "content": "Later.", "timestamp": "2025-02-03T06:12:00+00:00"}
        Memory.resume(store, "short\x1b[2J").append(Message.from_dict(data))
    text = run("inspect", path, "short\x1b[2J", "--transcript").stdout
    assert "Hi \\x1b[1m!" in text
    assert "#1 user, 2025-02-03 06:12, " in text
    assert "\x1b" not in text


def test_what_must_be_passed_again_is_named(path: Path) -> None:
    """A session that cannot go on by itself still shows its settings."""
    text = run("inspect", path, "own").stdout
    assert "sliding, budget 900 tokens" in text
    assert "its context cannot be shown" in text
    assert "Shortener" in text
    assert "Shortener" in as_json("inspect", path, "own")["problem"]


def test_a_saved_session_is_shown_too(tmp_path: Path) -> None:
    """A file of `Memory.save` is a store with one session."""
    memory = Memory(700, session_id="kept")
    memory.append(*map(Message.from_dict, talk(3)))
    memory.save(tmp_path / "kept.json")
    assert 7 == as_json("inspect", tmp_path / "kept.json")["sessions"][0]["messages"]
    assert "session kept: 7 messages" in run("inspect", tmp_path / "kept.json", "kept").stdout


def test_an_empty_store_has_no_sessions(tmp_path: Path) -> None:
    """It is listed as such."""
    SQLiteStore(tmp_path / "empty.db").close()
    assert "no sessions\n" == run("inspect", tmp_path / "empty.db").stdout
    done = run("inspect", tmp_path / "empty.db", "a")
    assert (2, True) == (done.returncode, "the latest: none" in done.stderr)


@pytest.mark.parametrize(
    ("name", "content", "status", "told"),
    [
        ("missing.db", None, 2, "No such file"),
        (".", None, 2, "Is a directory"),
        ("zero.db", b"", 1, "is an empty database"),
        ("text.db", b"These are notes, and no database at all. " * 99, 1, "no SQLite database"),
        ("cut.json", b'{"format": "finite-memory-session", "version": 1, "id"', 1, "cut short"),
        ("other.json", b'{"a": 1}', 1, "does not begin as a session"),
    ],
)
def test_what_is_no_store(
    tmp_path: Path, name: str, content: bytes | None, status: int, told: str
) -> None:
    """Each gets its reason, nothing is made, and nothing is changed."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    done = run("inspect", name, cwd=tmp_path)
    assert (status, "") == (done.returncode, done.stdout)
    assert told in done.stderr
    assert before == files(tmp_path)


def test_databases_of_others_and_newer_ones(tmp_path: Path, path: Path) -> None:
    """Another application's file is left alone; a newer release's asks to upgrade."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE note (text TEXT)")
        db.execute("PRAGMA application_id = 7")
    assert "another application's database" in run("inspect", tmp_path / "other.db").stderr
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    done = run("inspect", path)
    assert (1, True) == (done.returncode, "newer release" in done.stderr)


def test_a_damaged_row_is_told(path: Path) -> None:
    """What was altered behind our back is no transcript."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE message SET body = replace(body, 'Shelf 3 ', 'Shelf 4 ')")
    done = run("inspect", path, "long", "--transcript")
    assert (1, True) == (done.returncode, "is not what was written" in done.stderr)


def test_a_transcript_needs_a_session(path: Path) -> None:
    """Of many sessions none is printed by chance."""
    done = run("inspect", path, "--transcript")
    assert (2, True) == (done.returncode, "name it behind the store" in done.stderr)
