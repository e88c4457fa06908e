"""Server-sent events: nothing is missed, nothing comes twice, whoever drops off when."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, strategies as st

from finite_memory_api.page.feed import MOST_KEPT, Feed


def events(pieces: list[bytes]) -> list[tuple[str, object, str]]:
    """Kind, data and name of each event."""
    found = []
    for piece in pieces:
        fields = dict(line.split(": ", 1) for line in piece.decode().strip("\n").split("\n"))
        found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return found


async def take(feed: Feed, last: str, count: int) -> list[tuple[str, object, str]]:
    """Follow a feed for so many events, then drop off."""
    stream = feed.follow(last)
    pieces = [await anext(stream) for _ in range(count)]
    await stream.aclose()  # type: ignore[attr-defined]
    return events(pieces)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_whoever_comes_back_misses_nothing(steps: list[tuple[int, int]]) -> None:
    """Between any two connections any number of things may happen."""

    async def run() -> None:
        feed = Feed()
        heard: list[object] = []
        last, told = feed.last, 0
        for published, taken in steps:
            for _ in range(published):
                feed.publish("update", told)
                told += 1
            waiting = told - len(heard)
            got = await take(feed, last, 1 + min(taken, waiting))
            assert "hello" == got[0][0]
            for _, data, name in got[1:]:
                heard.append(data)
                last = name
        assert [*range(len(heard))] == heard

    asyncio.run(run())


def test_what_is_too_long_ago_begins_anew() -> None:
    """So does what another process told, and what nobody ever told."""

    async def run() -> None:
        feed = Feed()
        first = feed.last
        for number in range(MOST_KEPT + 1):
            feed.publish("update", number)
        for last in (first, "", "-", "other-1", feed.last + "0", "x" * 9_000):
            [(kind, _, name)] = await take(feed, last, 1)
            assert ("reset", feed.last) == (kind, name)

    asyncio.run(run())


def test_streams_end_when_the_server_does() -> None:
    """Those that wait for something too."""

    async def run() -> None:
        feed = Feed()

        async def follow() -> int:
            return len([piece async for piece in feed.follow(feed.last)])

        waiting = asyncio.create_task(follow())
        await asyncio.sleep(0)
        feed.publish("update", {})
        await asyncio.sleep(0)
        feed.close()
        assert 2 == await waiting
        assert 0 == feed.followers

    asyncio.run(run())


def test_text_cannot_end_an_event() -> None:
    """Line ends of every kind are escaped."""

    async def run() -> None:
        feed = Feed()
        name = feed.last
        feed.publish("update", "a\n\nevent: gone\r\ndata: \u2028 x")
        got = await take(feed, name, 2)
        assert ("update", "a\n\nevent: gone\r\ndata: \u2028 x") == got[1][:2]

    asyncio.run(run())
