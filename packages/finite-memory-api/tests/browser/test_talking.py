"""What one does with the page of a chat, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from playwright.sync_api import expect

from finite_memory_core import Delta, Recall
from finite_memory_core.cli import main
from finite_memory_core.context import Context

from ..pages import Starter, harbour
from .conftest import Show


def test_a_turn_shows_where_every_message_is(chat_page: Starter, show: Show) -> None:
    """The reply appears, what stands and what left is told in words, and how many of each."""
    served = chat_page(harbour(60), recall=Recall())
    shown = show(served)
    shown.ready(121)
    shown.say("How much does boat 35 owe?", 123)
    page = shown.page
    expect(page.get_by_role("article").last).to_contain_text("boat 35 owes")
    standing = sum(len(block.messages) for block in served.chat.memory.blocks)
    expect(page.locator("#legend")).to_contain_text(f"in the window {standing - 1}")
    expect(page.locator("#legend")).to_contain_text("pinned 1")
    expect(page.locator("#legend")).not_to_contain_text("recalled 0")
    expect(page.locator("figure").first).to_contain_text("context")


def test_the_reason_is_told_where_one_points_or_focuses(chat_page: Starter, show: Show) -> None:
    """By mouse and by keyboard."""
    shown = show(chat_page(harbour(60)))
    shown.ready(121)
    shown.say("And now?", 123)
    page = shown.page
    last = page.get_by_role("article").last
    last.hover()
    expect(last.locator(".why")).to_be_visible()
    page.get_by_role("feed").focus()
    page.keyboard.press("Home")
    first = page.locator('article[aria-posinset="1"]')
    expect(first).to_be_focused()
    told = re.compile("never leaves|always stay")  # before the replay of earlier turns, and after
    expect(first.locator(".why")).to_contain_text(told)
    page.keyboard.press("ArrowDown")
    second = page.locator('article[aria-posinset="2"]')
    expect(second).to_be_focused()
    expect(second.locator(".why")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="archived user #1")).to_be_visible()


class Slowly:
    """A backend that waits before its second word."""

    name = "slowly"

    def __init__(self) -> None:
        self.go_on = Event()

    def stream(self, context: Context) -> Iterator[Delta]:
        """Reply."""
        yield Delta("first ")
        self.go_on.wait(60)
        yield Delta("second", finish="stop")


def test_a_reply_is_shown_as_it_comes(chat_page: Starter, show: Show) -> None:
    """Its beginning is there before its end."""
    backend = Slowly()
    shown = show(chat_page(backend=backend))
    shown.ready(0)
    expect(shown.page.get_by_text("Nothing has been said yet.")).to_be_visible()
    shown.page.get_by_label("Your message").fill("Go on")
    shown.page.keyboard.press("Enter")
    expect(shown.page.get_by_role("article").last).to_have_text("assistantreplyingfirst ")
    backend.go_on.set()
    shown.ready(2)
    expect(shown.page.get_by_role("article").last).to_contain_text("first second")


def test_stopping_a_reply_undoes_the_turn(chat_page: Starter, show: Show) -> None:
    """Nothing of it stays, and what was typed can be sent again."""
    backend = Slowly()
    served = chat_page(backend=backend)
    shown = show(served)
    shown.ready(0)
    shown.page.get_by_label("Your message").fill("Go on")
    shown.page.keyboard.press("Enter")
    expect(shown.page.get_by_role("article").last).to_contain_text("first")
    shown.page.get_by_role("button", name="Stop").click()
    backend.go_on.set()
    expect(shown.page.get_by_role("alert")).to_contain_text("undone")
    expect(shown.page.get_by_label("Your message")).to_have_value("Go on")
    assert 0 == served.chat.memory.stats.messages


def test_pinning_and_forgetting(chat_page: Starter, show: Show) -> None:
    """A message that left comes back for good; a forgotten one is nowhere."""
    served = chat_page(harbour(60))
    shown = show(served)
    shown.ready(121)
    page = shown.page
    page.get_by_role("feed").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#one h2")).to_contain_text("archived")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator("#one h2")).to_contain_text("pinned")
    assert served.chat.memory.blocks[1].pinned
    page.get_by_role("button", name="Forget…").click()
    page.get_by_role("button", name="Keep it").click()
    assert "Boat 0" in served.chat.memory.transcript[1].text
    page.get_by_role("button", name="Forget…").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#one h2")).to_contain_text("forgotten")
    expect(page.locator('article[aria-posinset="2"]')).not_to_contain_text("Boat 0")
    assert "Boat 0" not in served.chat.memory.transcript[1].text


def test_a_forgotten_hit_is_not_shown_any_longer(chat_page: Starter, show: Show) -> None:
    """The search found it before."""
    shown = show(chat_page(harbour(60)))
    shown.ready(121)
    shown.tab("Search")
    page = shown.page
    page.get_by_label("Search the archive").fill("boat 35 owes")
    page.keyboard.press("Enter")
    best = page.locator("#hits li").first
    expect(best).to_contain_text("boat 35 owes")
    best.get_by_role("button").click()
    page.locator("article[aria-current]").click()
    page.get_by_role("button", name="Forget…").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#one h2")).to_contain_text("forgotten")
    expect(page.locator("#hits")).not_to_contain_text("boat 35 owes")


def test_searching_shows_the_parts_of_scores(chat_page: Starter, show: Show) -> None:
    """A hit leads to its message."""
    shown = show(chat_page(harbour(60)))
    shown.ready(121)
    shown.tab("Search")
    page = shown.page
    page.get_by_label("Search the archive").fill("boat 35 owes")
    page.keyboard.press("Enter")
    best = page.locator("#hits li").first
    expect(best).to_contain_text("boat 35 owes")
    expect(best).to_contain_text("words")
    best.get_by_role("button").click()
    expect(page.locator("article[aria-current]")).to_contain_text("boat 35 owes")


def test_what_is_exported_can_be_replayed(chat_page: Starter, show: Show, tmp_path: Path) -> None:
    """The file is read by ``finite-memory replay``, and holds every message."""
    served = chat_page(harbour(10))
    shown = show(served)
    shown.ready(21)
    with shown.page.expect_download() as waiting:
        shown.page.get_by_role("button", name="Export").click()
    place = tmp_path / "said.json"
    waiting.value.save_as(place)
    written = json.loads(place.read_text(encoding="utf-8"))["messages"]
    assert [m.text for m in served.chat.memory.transcript] == [m["content"] for m in written]
    assert main(["replay", str(place), "--budget", "500"]) == 0


def test_a_preview_changes_nothing(chat_page: Starter, show: Show) -> None:
    """The dry run tells who would leave at once; a replay, where all would be from the start."""
    served = chat_page(harbour(40))
    shown = show(served)
    shown.ready(81)
    shown.tab("Preview")
    page = shown.page
    before = served.chat.memory.stats
    page.get_by_label("Budget").focus()
    for _ in range(30):
        page.keyboard.press("PageDown")
    expect(page.locator("#dry")).to_contain_text("An eviction now would let")
    expect(page.locator("article.leaves").first).to_contain_text("would leave")
    page.get_by_role("button", name="Replay from the start").click()
    expect(page.locator("#compared")).to_contain_text("Tokens sent")
    expect(page.get_by_text("from the start", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Stop previewing").click()
    expect(page.locator("#previewing")).to_be_hidden()
    assert before == served.chat.memory.stats
