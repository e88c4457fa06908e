"""What the page looks like to a browser: who can use it, what it loads, how much of it there is."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from finite_memory_core import Message, Recall

from ..pages import Starter, harbour
from .conftest import Show, Shown

WEIGHT = 150_000
TABS = ("Turns", "Preview", "Search", "Message")


def violations(page: Page) -> list[tuple[str, Any]]:
    """What axe finds wrong with the page as it stands."""
    page.evaluate(SCRIPT)
    found = page.evaluate("axe.run()")
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]]


SCRIPT = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(chat_page: Starter, show: Show, scheme: str, width: int) -> None:
    """In light and dark, wide and narrow, with every tab, a preview, a search and a message."""
    served = chat_page(harbour(60), recall=Recall(), policy="rolling_summary")
    shown = show(served, color_scheme=scheme, viewport={"width": width, "height": 800})
    shown.ready(121)
    shown.say("What does boat 35 owe?", 123)
    page = shown.page
    assert [] == violations(page)
    if width < 860:
        page.get_by_role("button", name="Memory").click()
    for name in TABS:
        shown.tab(name)
        if name == "Preview":
            page.get_by_label("Policy", exact=True).select_option("importance")
            expect(page.locator("#dry")).to_contain_text("An eviction now")
        if name == "Search":
            page.get_by_label("Search the archive").fill("boat 35")
            page.keyboard.press("Enter")
            expect(page.locator("#hits li").first).to_be_visible()
        assert [] == violations(page)
    if width < 860:
        page.get_by_role("button", name="Conversation").click()
    page.get_by_role("article").last.click()
    expect(page.locator("#one")).to_be_visible()
    page.get_by_role("button", name="Forget…").click()
    assert [] == violations(page)


def test_an_empty_page_and_a_locked_one(chat_page: Starter, show: Show) -> None:
    """Axe finds nothing there either, and the token opens the page."""
    served = chat_page()
    shown = show(served)
    shown.ready(0)
    assert [] == violations(shown.page)
    locked = show(served)
    locked.ready(0)
    locked.page.evaluate("sessionStorage.clear()")
    locked.page.goto("about:blank")
    locked.page.goto(served.url)
    expect(locked.page.get_by_role("dialog")).to_be_visible()
    assert [] == violations(locked.page)
    locked.page.get_by_role("textbox", name="Token").fill("tok")
    locked.page.keyboard.press("Enter")
    locked.ready(0)
    expect(locked.page.get_by_text("Nothing has been said yet.")).to_be_visible()


def test_nothing_comes_from_another_host(chat_page: Starter, show: Show) -> None:
    """All that the page asks for is its own server's."""
    served = chat_page(harbour(10))
    shown = show(served)
    shown.ready(21)
    shown.say("And now?", 23)
    assert {served.url} == {"/".join(url.split("/")[:3]) for url in shown.asked}


def test_it_weighs_little() -> None:
    """All its files together."""
    folder = files("finite_memory_api.page") / "static"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) <= WEIGHT


def test_no_more_rows_than_are_in_sight_are_in_the_document(chat_page: Starter, show: Show) -> None:
    """Of ten thousand messages, wherever one scrolls; and the one that is looked for is found."""
    shown = show(chat_page(harbour(5_000)))
    shown.ready(10_001)
    page = shown.page
    for where in (0.0, 0.3, 0.77, 1.0):
        page.evaluate(
            "where => { const list = document.getElementById('list');"
            " list.scrollTop = where * list.scrollHeight }",
            where,
        )
        expect(page.locator("article .text", has_text="…")).to_have_count(0)
        assert 0 < page.locator("article").count() < 60
    page.get_by_role("feed").focus()
    page.keyboard.press("End")
    expect(page.locator('article[aria-posinset="10001"]')).to_be_focused()
    expect(page.locator('article[aria-posinset="10001"]')).to_contain_text("boat 93 owes 14997")


def test_rows_do_not_overlap(chat_page: Starter, show: Show) -> None:
    """Of whatever length their texts are, and after the window has become narrower."""
    said = [Message.user("word " * (7**turn % 331)) for turn in range(1, 80)]
    shown = show(chat_page(said, budget=50_000))
    shown.ready(79)
    for width in (1280, 500):
        shown.page.set_viewport_size({"width": width, "height": 700})
        for where in (0.0, 0.5, 1.0):
            shown.page.evaluate(
                "where => { const list = document.getElementById('list');"
                " list.scrollTop = where * list.scrollHeight }",
                where,
            )
            expect(shown.page.locator("article .text", has_text="…")).to_have_count(0)
            assert_apart(shown)


def assert_apart(shown: Shown) -> None:
    boxes = shown.page.evaluate(
        "() => [...document.querySelectorAll('article')]"
        ".map(row => row.getBoundingClientRect()).map(box => [box.top, box.bottom])"
    )
    boxes.sort()
    assert all(abs(low - top) < 1 for (_, low), (top, _) in pairwise(boxes))


def test_the_theme_can_be_chosen(chat_page: Starter, show: Show) -> None:
    """Whatever the system's is, and it stays after a reload."""
    shown = show(chat_page(harbour(3)), color_scheme="light")
    shown.ready(7)
    background = "getComputedStyle(document.body).backgroundColor"
    light = shown.page.evaluate(background)
    shown.page.get_by_role("button", name="Theme: auto").click()
    shown.page.get_by_role("button", name="Theme: light").click()
    dark = shown.page.evaluate(background)
    assert light != dark
    shown.page.reload()
    shown.ready(7)
    expect(shown.page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert dark == shown.page.evaluate(background)
