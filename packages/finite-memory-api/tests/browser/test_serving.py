"""``serve --ui`` in a real browser: texts with a store, numbers without, as requests come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ..page.test_serving import started, talk
from ..servers import Server
from ..serving import Starter, proxy

__all__ = ["proxy"]


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that complains of nothing."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    problems: list[str] = []
    made = context.new_page()
    made.on("pageerror", lambda error: problems.append(str(error)))
    yield made
    context.close()
    assert [] == problems


def ready(page: Page, messages: int) -> None:
    page.locator(f'html[data-ready="{messages}"]').wait_for(state="attached")


def test_requests_are_shown_as_they_come(
    serve: Callable[..., Server], proxy: Starter, page: Page, tmp_path: Path
) -> None:
    """An open page that has nothing to show finds the first conversation by itself."""
    server = started(serve, proxy, store=f"sqlite:{tmp_path / 'a.db'}")
    page.goto(f"{server.url}/_memory/#token=page")
    expect(page.get_by_text("Nothing has been said yet.")).to_be_visible()
    talk(server, range(20))
    ready(page, 39)
    talk(server, range(20, 30))
    ready(page, 59)
    expect(page.get_by_role("article").last).to_contain_text("Boat 29 came to berth 2.")
    expect(page.locator("#legend")).not_to_contain_text("archived 0")
    expect(page.locator("figure", has_text="Cached share")).to_contain_text("80.0%")
    expect(page.get_by_label("Your message")).to_be_hidden()
    page.get_by_role("article").last.click()
    expect(page.get_by_role("heading", name="user #58")).to_be_visible()
    expect(page.get_by_role("button", name="Forget…")).to_be_hidden()


def test_one_conversation_of_several_is_chosen(
    serve: Callable[..., Server], proxy: Starter, page: Page, tmp_path: Path
) -> None:
    """The newest is shown first; one that was deleted meanwhile is said to be gone."""
    server = started(serve, proxy, store=f"sqlite:{tmp_path / 'a.db'}")
    for name, turns in (("ada", 3), ("eve", 5)):
        said: dict[str, Any] = {
            "messages": [
                {"role": "assistant" if turn % 2 else "user", "content": f"{name} says {turn}"}
                for turn in range(turns)
            ]
        }
        server.post("/v1/chat/completions", said, headers={"x-session-id": name})
    page.goto(f"{server.url}/_memory/#token=page")
    ready(page, 5)
    expect(page.get_by_role("article").last).to_contain_text("eve says 4")
    page.get_by_label("Session").select_option(label="ada says 0 (3)")
    ready(page, 3)
    expect(page.get_by_role("article").last).to_contain_text("ada says 2")
    store = server.proxy.store
    assert store is not None
    for session in store.sessions():
        store.delete(session.id)
    expect(page.get_by_role("alert")).to_contain_text("gone from the store")
    expect(page.get_by_role("article").last).to_contain_text("ada says 2")


def test_without_a_store_there_are_numbers(
    serve: Callable[..., Server], proxy: Starter, page: Page
) -> None:
    """And the page says what texts need."""
    server = started(serve, proxy)
    talk(server, range(20, 40))
    page.goto(f"{server.url}/_memory/#token=page")
    ready(page, 79)
    expect(page.locator("#title")).to_contain_text("texts need --store")
    expect(page.locator("#legend")).not_to_contain_text("archived 0")
    expect(page.get_by_role("button", name="Export")).to_be_disabled()
    page.get_by_role("article").last.click()
    expect(page.locator("#one")).to_contain_text("--store")
