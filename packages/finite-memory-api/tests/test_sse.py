"""Events come out the same, however their bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_api.sse import Event, EventDecoder, EventTooLarge

STREAM = (
    "\ufeff: comment\n"
    'event: first\ndata: {"a": "Ça 👩‍🚀\u2028"}\n\n'
    "data: one\ndata: two\nid: 4\nretry: 10\n\n"
    "event: empty\n\n"
    "data\n\n"
    ":\n\n"
    "data:no space\n\n"
    "data: cut off"
)
EVENTS = [
    Event("first", '{"a": "Ça 👩‍🚀\u2028"}'),
    Event("", "one\ntwo"),
    Event("", ""),
    Event("", "no space"),
]


@settings(max_examples=150, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 200), max_size=12),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_cut_gives_the_same_events(cuts: list[int], line_end: str) -> None:
    """Inside a character, between CR and LF, at every place."""
    data = STREAM.replace("\n", line_end).encode()
    decoder, found, start = EventDecoder(), [], 0
    for cut in sorted(min(cut, len(data)) for cut in [*cuts, len(data)]):
        found += decoder.feed(data[start:cut])
        start = cut
    assert EVENTS == found
    assert decoder.comments == 2


def test_an_endless_event_is_refused() -> None:
    """On one line, and on many."""
    with pytest.raises(EventTooLarge, match="more than 100"):
        EventDecoder(100).feed(b"data: " + b"x" * 200)
    decoder = EventDecoder(100)
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: xxxxxxxxxx\n" * 30 + b"data: ")


def test_bytes_that_are_no_utf8_stop_nothing() -> None:
    """They are shown as replaced."""
    assert [Event("", "\ufffd")] == EventDecoder().feed(b"data: \xff\n\n")
