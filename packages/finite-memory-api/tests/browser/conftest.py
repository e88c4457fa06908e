"""A headless Chromium for all tests of this folder, and pages in it.

The nox session ``browser`` installs what they need; without it they skip, and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs the group 'browser'")

from ..pages import Served, chat_page  # noqa: E402  (it needs the extra)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAM = os.environ.get("FINITE_MEMORY_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    if PROGRAM is None:
        pytest.skip("there is no Chromium; the nox session 'browser' installs it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Shown:
    """A page that is open, and what it complained of and asked for."""

    page: Page
    served: Served
    problems: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def ready(self, messages: int) -> None:
        """Wait until so many messages are shown."""
        self.page.locator(f'html[data-ready="{messages}"]').wait_for(state="attached")

    def say(self, text: str, messages: int) -> None:
        """Say something, and wait for the reply."""
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")
        self.ready(messages)

    def tab(self, name: str) -> None:
        """Open one of the panel's tabs."""
        self.page.get_by_role("tab", name=name).click()


Show = Callable[..., Shown]


@pytest.fixture
def show(chromium: Browser) -> Iterator[Show]:
    """Open the page of a server; a page that complains fails its test."""
    contexts: list[Any] = []
    shown: list[Shown] = []

    def open_page(served: Served, **context: Any) -> Shown:
        context.setdefault("viewport", {"width": 1280, "height": 800})
        made = chromium.new_context(**context)
        contexts.append(made)
        one = Shown(made.new_page(), served)
        shown.append(one)
        one.page.on("pageerror", lambda error: one.problems.append(str(error)))
        one.page.on("request", lambda request: one.asked.append(request.url))
        one.page.on(
            "console",
            lambda told: one.problems.append(told.text) if "Refused" in told.text else None,
        )
        one.page.goto(served.address)
        return one

    yield open_page
    for context in contexts:
        context.close()
    assert [] == [problem for one in shown for problem in one.problems]


__all__ = ["chat_page"]
