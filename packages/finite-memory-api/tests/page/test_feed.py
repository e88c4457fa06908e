"""Server-sent events: nothing is missed, nothing comes twice, whoever drops off when."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, strategies as st

from finite_memory_api.page.feed import MOST_BYTES, MOST_KEPT, Feed


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


def test_who_reads_too_slowly_begins_anew() -> None:
    """Nothing is left out in silence: what was missed may be a move, which nobody would notice."""

    async def run() -> None:
        feed = Feed()
        stream = feed.follow(feed.last)
        assert "hello" == events([await anext(stream)])[0][0]
        feed.publish("update", 0)
        assert 0 == events([await anext(stream)])[0][1]
        for number in range(MOST_KEPT + 1):
            feed.publish("update", number)
        [(kind, _, name)] = events([await anext(stream)])
        assert ("reset", feed.last) == (kind, name)
        feed.publish("update", "next")
        assert "next" == events([await anext(stream)])[0][1]
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_after_a_reset_nothing_from_before_is_told() -> None:
    """It may tell of what was forgotten; to who was away, and to who is behind."""

    async def run() -> None:
        feed = Feed()
        before = feed.last
        behind = feed.follow(before)
        await anext(behind)
        feed.publish("update", "secret")
        middle = feed.last
        feed.reset()
        feed.publish("update", "after")
        for last in (before, middle):
            stream = feed.follow(last)
            told = await anext(stream)
            feed.publish("update", "later")  # or there may be nothing more to tell
            told += await anext(stream)
            assert b"secret" not in told
            assert b"reset" in told
            await stream.aclose()  # type: ignore[attr-defined]
        assert b"secret" not in await anext(behind)
        await behind.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_what_is_kept_is_bounded_in_bytes() -> None:
    """Large events push out others, and the newest is always there."""

    async def run() -> None:
        feed = Feed()
        first = feed.last
        for _ in range(5):
            first = feed.last
            feed.publish("update", "x" * (MOST_BYTES // 2))
        assert 1 == len(feed._kept)
        assert "x" in (await take(feed, first, 2))[1][1]  # type: ignore[operator]

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
