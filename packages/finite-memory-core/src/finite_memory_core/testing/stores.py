"""The contract of a store, as tests that a third party's store inherits.

::

    class TestMyStore(DurableStoreContract):
        @pytest.fixture(autouse=True)
        def _place(self, tmp_path):
            self.path = tmp_path / "my.store"

        def open(self):
            return MyStore(self.path)

Needs no pytest itself; call ``pytest.register_assert_rewrite("finite_memory_core.testing.stores")``
before importing it to have failures explained.
"""

from __future__ import annotations

import json
import sys
import threading
import tracemalloc
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from ..errors import ConfigError, ConflictError
from ..messages import Message, ToolCall
from ..stores.base import Counted, Event, Session, Store, Version

EMPTY = Version(0, 0)

SCRIPTS = (
    "Plain ASCII, with \"quotes\", back\\slashes and 'apostrophes'; DROP TABLE message;--",
    "Grüße aus Köln, çà et là, Ñandú, naïve ﬁ ligature, e\u0301 as two code points",
    "Привет, как дела? Їжак",
    "שלום עולם ומה שלומך؟ السَّلامُ عليكم",
    "नमस्ते दुनिया। வணக்கம் สวัสดีครับ ⟨ខ្មែរ⟩",
    "你好，世界。今日は。안녕하세요 𠮷野家 \U0002a6d6",
    "👩\u200d👩\u200d👧\u200d👦 🇺🇳 👍🏽 ☎\ufe0f \U0001f9ff",
    "tabs\tand\r\nline ends\u2028\u2029 \x01\x1b[31m\x7f \ufeff\ufffe \u202eright to left",
    " ",
)


def sample_messages() -> tuple[Message, ...]:
    """Return messages of every kind: roles, tool calls, parts, names, times, scripts."""
    rome = timezone(timedelta(hours=5, minutes=45))
    return (
        Message.system("Be brief.", pinned=True),
        Message("developer", "Answer in French."),
        Message.user("Hello", name="Ada", timestamp=datetime(2024, 2, 29, 23, 59, 59, 999_999)),
        Message.assistant("Hi", timestamp=datetime(1, 1, 1, tzinfo=rome)),
        Message.assistant(
            None,
            tool_calls=(
                ToolCall("call_1", "weather", '{"city": "Zürich",  "days": 3}'),
                ToolCall("call_2", "clock", "not JSON at all", extra={"signature": "abc=="}),
                ToolCall("call_3", "grep", "^a+$", type="custom"),
            ),
        ),
        Message.tool("18 °C", tool_call_id="call_1", name="weather"),
        Message.tool("", tool_call_id="call_2"),
        Message.tool([{"type": "text", "text": "none"}], tool_call_id="call_3"),
        Message.user(
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "x": 1}},
                {"type": "file", "file": {"file_id": "f", "pages": [1, 2.5, None, True]}},
            ],
            metadata={"ключ": {"deep": [{"n": -0.1, "big": 2**70, "none": None}]}},
        ),
        Message.assistant("It is a cat.", extra={"reasoning_content": "whiskers", "refusal": ""}),
        *(Message.user(text) for text in SCRIPTS),
        Message.user("long " * 50_000),
    )


def counted(*texts: str) -> list[Counted]:
    """Return user messages with a token count each."""
    return [Counted(Message.user(text), len(text)) for text in texts]


class StoreContract:
    """What every store does. Subclass it as ``Test...`` and give `open`."""

    def open(self) -> Store:
        """Open the store of this test, which is empty when first opened."""
        raise NotImplementedError("a store's tests give open()")

    def test_a_new_store_is_empty(self) -> None:
        """A store that nothing was put in has no sessions."""
        with self.open() as store:
            assert store.sessions() == []

    def test_created_session_is_empty(self) -> None:
        """A session begins at version (0, 0) with the settings that it was given."""
        with self.open() as store:
            store.create("s", '{"budget": 1}')
            assert Session("s", '{"budget": 1}', EMPTY) == store.session("s")
            assert list(store.messages("s")) == []
            assert list(store.events("s")) == []
            assert None is store.last_event("s", "pin")

    def test_creating_twice_is_refused(self) -> None:
        """A session that exists is not begun again, and stays as it was."""
        with self.open() as store:
            store.create("s", "1")
            store.append("s", EMPTY, counted("hello"), [])
            _refused(ConflictError, store.create, "s", "2")
            assert Session("s", "1", Version(1, 0)) == store.session("s")

    def test_any_text_names_a_session(self) -> None:
        """Ids of every script, with spaces, slashes and quotes, are kept apart."""
        ids = [*SCRIPTS, "../etc", "a/b", "'", '"', "%", "_", "A", "a", "é", "e\u0301", "x" * 5_000]
        with self.open() as store:
            for id_ in ids:
                store.create(id_, json.dumps(id_))
            assert [(id_, json.dumps(id_)) for id_ in ids] == [s[:2] for s in store.sessions()]
            assert ids == [s.id for id_ in ids if (s := store.session(id_))]

    def test_a_bad_session_id_is_refused(self) -> None:
        """An id that is empty, or that not every store can hold, raises ConfigError."""
        with self.open() as store:
            for id_ in ("", "a\0b", "\ud800"):
                _refused(ConfigError, store.create, id_, "{}")
            assert store.sessions() == []

    def test_every_message_comes_back_equal(self) -> None:
        """All kinds of messages, in every script, are read as they were written."""
        written = [Counted(message, i) for i, message in enumerate(sample_messages())]
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, written, [])
            read = list(store.messages("s"))
        assert written == read
        assert [c.message.to_dict() for c in written] == [c.message.to_dict() for c in read]

    def test_every_event_comes_back_equal(self) -> None:
        """Events keep their order, kind, place and text."""
        written = [Event(f"kind {i % 3}", i, json.dumps(text)) for i, text in enumerate(SCRIPTS)]
        written.append(Event("ключ", 2**40, json.dumps(SCRIPTS, ensure_ascii=False)))
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, [], written[:4])
            store.append("s", Version(0, 4), [], written[4:])
            assert written == list(store.events("s"))
            assert written[3:] == list(store.events("s", 3))
            assert list(store.events("s", len(written))) == []

    def test_slices(self) -> None:
        """A range of messages is [start, stop), cut off at the end of the session."""
        written = counted(*(f"message {i}" for i in range(1_700)))
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, written[:1_000], [])
            store.append("s", Version(1_000, 0), written[1_000:], [])
            for start, stop in ((0, 0), (0, 1), (3, 7), (900, 1_100), (1_699, 9_999), (9, 3)):
                assert written[start:stop] == list(store.messages("s", start, stop))
            assert written[5:] == list(store.messages("s", 5))
            assert list(store.messages("s", 1_700)) == []
            assert list(store.messages("s", 5_000)) == []

    def test_versions_grow_with_both_logs(self) -> None:
        """The version counts messages and events, and an empty append changes nothing."""
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, counted("a", "b"), [Event("pin", 2, "[0]")])
            assert Version(2, 1) == _version(store, "s")
            store.append("s", Version(2, 1), [], [])
            assert Version(2, 1) == _version(store, "s")
            store.append("s", Version(2, 1), [], [Event("pin", 2, "[1]")])
            assert Version(2, 2) == _version(store, "s")

    def test_last_event(self) -> None:
        """The newest event of a kind is found with its index, whatever came after it."""
        events = [Event("checkpoint" if i in (3, 700) else "usage", i, str(i)) for i in range(999)]
        with self.open() as store:
            store.create("s", "{}")
            store.create("other", "{}")
            store.append("other", EMPTY, [], [Event("checkpoint", 0, "other")])
            store.append("s", EMPTY, [], events)
            assert (700, events[700]) == store.last_event("s", "checkpoint")
            assert (998, events[998]) == store.last_event("s", "usage")
            assert None is store.last_event("s", "check")
            assert None is store.last_event("s", "")

    def test_a_stale_append_is_refused_and_writes_nothing(self) -> None:
        """An append that names another version than the session's raises ConflictError."""
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, counted("a", "b"), [Event("pin", 2, "[0]")])
            for stale in (EMPTY, Version(1, 1), Version(2, 0), Version(3, 1), Version(2, 2)):
                lost = counted("lost"), [Event("lost", 0, "1")]
                _refused(ConflictError, store.append, "s", stale, *lost)
            assert counted("a", "b") == list(store.messages("s"))
            assert [Event("pin", 2, "[0]")] == list(store.events("s"))
            assert None is store.last_event("s", "lost")
            store.append("s", Version(2, 1), counted("c"), [])
            assert counted("a", "b", "c") == list(store.messages("s"))

    def test_an_unknown_session(self) -> None:
        """Where there is no session there is nothing to read, and appending raises."""
        with self.open() as store:
            for id_ in ("none", "", "a\0b", "\ud800"):
                assert None is store.session(id_)
                assert list(store.messages(id_)) == []
                assert list(store.events(id_, 3)) == []
                assert None is store.last_event(id_, "pin")
                store.delete(id_)
            _refused(ConflictError, store.append, "none", EMPTY, counted("a"), [])
            assert store.sessions() == []

    def test_delete(self) -> None:
        """A deleted session is gone whole, the others stay, and its id may be used again."""
        with self.open() as store:
            for id_ in ("a", "b", "c"):
                store.create(id_, id_)
                store.append(id_, EMPTY, counted(id_, id_), [Event("pin", 1, "[0]")])
            store.delete("b")
            assert [session.id for session in store.sessions()] == ["a", "c"]
            assert list(store.messages("b")) + list(store.events("b")) == []
            _refused(ConflictError, store.append, "b", Version(2, 1), counted("x"), [])
            store.create("b", "again")
            assert Session("b", "again", EMPTY) == store.session("b")
            assert list(store.messages("b")) + list(store.events("b")) == []
            assert None is store.last_event("b", "pin")
            assert [session.id for session in store.sessions()] == ["a", "c", "b"]
            assert counted("c", "c") == list(store.messages("c"))

    def test_erasing(self) -> None:
        """What is erased is replaced in its place, the rest stays, and the version goes on."""
        written = counted(*(f"message {i}" for i in range(1_700)))
        events = [Event("pin", i, f'"{i}"') for i in range(5)]
        stone = Counted(Message.assistant("gone", metadata={"at": "now"}), 0)
        with self.open() as store:
            for id_ in ("s", "other"):
                store.create(id_, "{}")
                store.append(id_, EMPTY, written, events)
            version = Version(1_700, 5)
            blank = Event("erased", 0, "null")
            more = [Event("checkpoint", 1_700, "{}")]
            for stale in (Version(1_700, 4), Version(1_699, 5), EMPTY):
                _refused(ConflictError, store.erase, "s", stale, {3: stone}, {}, more)
            _refused(ConflictError, store.erase, "none", EMPTY, {}, {}, more)
            assert written == list(store.messages("s"))
            gone = store.erase("s", version, {3: stone, 1_699: stone}, {4: blank}, more)
            assert gone in (True, False)
            assert [*written[:3], stone, *written[4:-1], stone] == list(store.messages("s"))
            assert [*events[:4], blank, *more] == list(store.events("s"))
            assert (3, events[3]) == store.last_event("s", "pin")
            assert (5, more[0]) == store.last_event("s", "checkpoint")
            assert Version(1_700, 6) == _version(store, "s")
            store.append("s", Version(1_700, 6), counted("new"), [])
            assert counted("new") == list(store.messages("s", 1_700))
            assert (written, events) == (list(store.messages("other")), list(store.events("other")))

    def test_picking(self) -> None:
        """Messages are picked by index, in any order and number; those not there are left out."""
        written = counted(*(f"message {i}" for i in range(1_700)))
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, written, [])
            for wanted in ([], [5], [1_699, 0, 3, 3], list(range(0, 1_700, 7))):
                assert {i: written[i] for i in wanted} == store.pick("s", wanted)
            assert {2: written[2]} == store.pick("s", [2, 1_700, 9_999])
            assert {} == store.pick("none", [0])

    def test_scopes(self) -> None:
        """The sessions of a scope are those that were put in it, by exactly its name."""
        near = ("user:ada", "user:adam", "user:", "USER:ADA", "user:ada ", "%", "' OR 1=1")
        names = [*SCRIPTS, *near]
        with self.open() as store:
            for number, name in enumerate(names):
                for id_ in (f"{number}", f"{number}-"):
                    store.create(id_, "{}")
                    store.set_scope(id_, name)
                store.create(f"{number} without", "{}")
            for number, name in enumerate(names):
                assert [f"{number}", f"{number}-"] == [s.id for s in store.scoped(name, 9)]
                assert [f"{number}-"] == [s.id for s in store.scoped(name, 1)]
            assert [] == store.scoped("nobody's", 9)
            store.set_scope("0", "user:ada")
            store.set_scope("0-", None)
            store.append("0", EMPTY, counted("a"), [])
            ada = names.index("user:ada")
            heads = [store.session(id_) for id_ in ("0", f"{ada}", f"{ada}-")]
            assert heads == store.scoped("user:ada", 9)
            assert [] == store.scoped(names[0], 9)
            store.delete(f"{ada}")
            store.create(f"{ada}", "{}")
            assert ["0", f"{ada}-"] == [s.id for s in store.scoped("user:ada", 9)]
            _refused(ConflictError, store.set_scope, "none", "user:ada")

    def test_sessions_are_listed_oldest_first(self) -> None:
        """The order is that of creation, not of names or of use."""
        with self.open() as store:
            for id_ in ("z", "a", "m"):
                store.create(id_, "{}")
            store.append("a", EMPTY, counted("used"), [])
            assert [(session.id, session.version.messages) for session in store.sessions()] == [
                ("z", 0),
                ("a", 1),
                ("m", 0),
            ]

    def test_appending_while_reading(self) -> None:
        """A reader that pauses blocks no writer and still reads all that there was."""
        written = counted(*(f"{i} " * 500 for i in range(2_000)))
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, written, [Event("a", 0, "0")] * 3)
            messages, events = store.messages("s"), store.events("s")
            head, first = [next(messages) for _ in range(10)], next(events)
            store.append("s", Version(2_000, 3), counted("new"), [Event("b", 0, "0")])
            assert written == (head + list(messages))[:2_000]
            assert [Event("a", 0, "0")] * 3 == [first, *events][:3]

    def test_reading_takes_bounded_memory(self) -> None:
        """Reading a long session holds a small part of it at a time."""
        size, count = 2_000, 3_000
        with self.open() as store:
            store.create("s", "{}")
            store.append("s", EMPTY, counted(*(f"{i:0{size}}" for i in range(count))), [])
            tracemalloc.start()
            try:
                read = sum(1 for _ in store.messages("s"))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert count == read
        assert peak < size * count / 4, f"reading {size * count} characters took {peak} bytes"

    def test_closing_twice(self) -> None:
        """A second close does nothing."""
        store = self.open()
        store.create("s", "{}")
        store.close()
        store.close()

    def test_racing_threads_never_interleave(self) -> None:
        """Threads that race on one session write whole turns, each exactly once."""
        with self.open() as store:
            store.create("s", "{}")
            acknowledged = race([store] * 4, turns=25)
            _check_race(store, acknowledged)


class DurableStoreContract(StoreContract):
    """What a store adds that others can open: calling `open` again reaches the same sessions."""

    def test_reopening_finds_everything(self) -> None:
        """What was acknowledged is there when the store is closed and opened again."""
        written = [Counted(message, i) for i, message in enumerate(sample_messages())]
        events = [Event("pin", i, str(i)) for i in range(5)]
        with self.open() as store:
            store.create("s", '{"é": 1}')
            store.append("s", EMPTY, written, events)
        with self.open() as store:
            assert [Session("s", '{"é": 1}', Version(len(written), 5))] == store.sessions()
            assert written == list(store.messages("s"))
            assert events == list(store.events("s"))
            assert (4, events[4]) == store.last_event("s", "pin")
            store.append("s", Version(len(written), 5), counted("more"), [])
            assert counted("more") == list(store.messages("s", len(written)))

    def test_a_second_handle_sees_what_the_first_wrote(self) -> None:
        """What one handle acknowledged the other reads at once."""
        with self.open() as one, self.open() as two:
            one.create("s", "{}")
            _refused(ConflictError, two.create, "s", "{}")
            one.append("s", EMPTY, counted("a"), [])
            assert counted("a") == list(two.messages("s"))
            two.append("s", Version(1, 0), counted("b"), [])
            assert Version(2, 0) == _version(one, "s")

    def test_two_handles_on_one_session_conflict(self) -> None:
        """Of two writers at the same version one wins, the other gets ConflictError."""
        with self.open() as one, self.open() as two:
            one.create("s", "{}")
            seen = _version(two, "s")
            one.append("s", seen, counted("one"), [])
            _refused(ConflictError, two.append, "s", seen, counted("two"), [])
            assert counted("one") == list(two.messages("s"))

    def test_a_session_deleted_by_another_handle_is_gone(self) -> None:
        """Appending to a session that another handle deleted raises ConflictError."""
        with self.open() as one, self.open() as two:
            one.create("s", "{}")
            one.append("s", EMPTY, counted("one"), [])
            two.delete("s")
            _refused(ConflictError, one.append, "s", Version(1, 0), counted("two"), [])
            assert None is one.session("s")

    def test_racing_handles_never_interleave(self) -> None:
        """Handles that race on one session write whole turns, each exactly once."""
        with self.open() as one, self.open() as two, self.open() as three:
            one.create("s", "{}")
            acknowledged = race([one, two, three], turns=10)
            _check_race(one, acknowledged)


def race(stores: list[Store], turns: int) -> list[str]:
    """Append `turns` turns to session ``s`` by one thread per store; return those acknowledged."""
    acknowledged: list[str] = []
    failures: list[BaseException] = []
    ready = threading.Barrier(len(stores))

    def write(store: Store, writer: int) -> None:
        try:
            ready.wait()
            for turn in range(turns):
                name = f"{writer}/{turn}"
                while not _attempt(store, name):
                    pass
                acknowledged.append(name)
        except BaseException as error:  # reported by the thread that joins
            failures.append(error)

    threads = [threading.Thread(target=write, args=pair[::-1]) for pair in enumerate(stores)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if failures:
        raise failures[0]
    return acknowledged


def _attempt(store: Store, name: str) -> bool:
    version = _version(store, "s")
    try:
        store.append("s", version, counted(f"ask {name}", f"answer {name}"), [Event(name, 0, "1")])
    except ConflictError:
        return False
    return True


def _check_race(store: Store, acknowledged: list[str]) -> None:
    texts = [message.text for message, _ in store.messages("s")]
    turns = [text.removeprefix("ask ") for text in texts[::2]]
    assert [f"answer {turn}" for turn in turns] == texts[1::2], "turns are interleaved"
    assert sorted(acknowledged) == sorted(turns), "not every turn is there exactly once"
    assert turns == [event.kind for event in store.events("s")], "events are out of order"
    assert Version(len(texts), len(turns)) == _version(store, "s")


def _version(store: Store, session_id: str) -> Version:
    session = store.session(session_id)
    assert session is not None, f"session {session_id!r} is gone"
    return session.version


def _refused(kind: type[Exception], call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__} for {arguments!r:.200}; nothing was raised")
