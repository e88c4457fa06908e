"""What must not harm the page, or whoever looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from finite_memory_core import Message, SQLiteStore

from ..pages import Starter, harbour
from .conftest import Show

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "</div></article><h1>owned</h1><style>* { display: none }</style>",
    "\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x9b2J \x7f",
    "javascript:alert(1) {{constructor.constructor('return 1')()}} ${1+1}",
    "\u202edesrever\u202c and \u2066isolated",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_and_terminal_escapes_are_shown_as_text(
    chat_page: Starter, show: Show, text: str
) -> None:
    """In the list, whole, in a hit of the search, and as a speaker's name."""
    said = [Message.user(text, name="<b>Ada</b>"), *harbour(40)[1:]]
    shown = show(chat_page(said, budget=300))
    shown.ready(81)
    page = shown.page
    page.get_by_role("feed").focus()
    page.keyboard.press("Home")
    first = page.locator('article[aria-posinset="1"]')
    seen = text.replace("\x1b", "␛").replace("\x07", "␇").replace("\x7f", "␡")
    seen = seen.replace("\x9b", "\\x9b")
    expect(first.locator(".text")).to_have_text(seen, use_inner_text=True)
    expect(first).to_contain_text("user <b>Ada</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#one pre")).to_have_text(seen, use_inner_text=True)
    expect(page).to_have_title("Finite Memory")
    assert 0 == page.locator("article h1, article img, article script, article b b").count()


def test_a_message_of_a_hundred_thousand_characters(chat_page: Starter, show: Show) -> None:
    """The list shows its beginning and says how much is missing; a click shows all of it."""
    text = "Ein langer Satz. " * 5_883
    shown = show(chat_page([Message.user(text)], budget=100_000))
    shown.ready(1)
    row = shown.page.get_by_role("article")
    expect(row).to_contain_text("98,811 more characters")
    row.click()
    expect(shown.page.locator("#one pre")).to_have_text(text, use_inner_text=False)


def test_a_session_that_vanishes(chat_page: Starter, show: Show) -> None:
    """The page says so, keeps what it had, and goes on where the session comes back."""
    served = chat_page(harbour(20))
    shown = show(served)
    shown.ready(41)
    memory = served.chat.memory
    memory.store.delete(memory.session_id)
    shown.page.get_by_label("Your message").fill("Still there?")
    shown.page.keyboard.press("Enter")
    expect(shown.page.get_by_role("alert")).to_contain_text("store")
    assert 41 == shown.page.evaluate("Number(document.documentElement.dataset.ready)")
    memory.reset()
    shown.page.reload()
    shown.ready(0)
    shown.say("Here again.", 2)


def test_a_dropped_connection_is_taken_up(chat_page: Starter, show: Show) -> None:
    """What was missed while it was down is shown, and nothing twice."""
    served = chat_page(harbour(5))
    shown = show(served)
    shown.ready(11)
    expect(shown.page.locator("#status")).to_have_text("Live")
    shown.page.context.set_offline(True)
    served.chat.send("While nobody listened.")
    shown.page.context.set_offline(False)
    shown.ready(13)
    served.chat.send("And now.")
    shown.ready(15)
    shown.page.get_by_role("feed").focus()
    shown.page.keyboard.press("End")
    expect(shown.page.get_by_text("While nobody listened.", exact=True)).to_have_count(1)


def test_a_connection_that_falls_silent_is_given_up(chat_page: Starter, show: Show) -> None:
    """As one through a tunnel that is no longer there: no end of it ever arrives."""
    served = chat_page()  # with nothing that is worked out, after which it connects anew
    shown = show(served)
    shown.page.clock.install()
    shown.page.reload()
    shown.ready(0)
    expect(shown.page.locator("#status")).to_have_text("Live")
    with shown.page.expect_request("**/api/events?*"):
        shown.page.clock.fast_forward(46_000)
    expect(shown.page.locator("#status")).to_have_text("Live")
    served.chat.send("Still there?")
    shown.ready(2)


def test_two_who_write_into_one_store(chat_page: Starter, show: Show, tmp_path: Path) -> None:
    """Another program wrote first: the turn is undone, and the page says why."""
    with SQLiteStore(tmp_path / "a.db") as store, SQLiteStore(tmp_path / "a.db") as other:
        served = chat_page(harbour(5), store=store, session_id="one")
        shown = show(served)
        shown.ready(11)
        version = store.session("one")
        assert version is not None
        from finite_memory_core.stores.base import Counted

        other.append("one", version.version, [Counted(Message.user("From elsewhere."), 9)], [])
        shown.page.get_by_label("Your message").fill("Hello?")
        shown.page.keyboard.press("Enter")
        expect(shown.page.get_by_role("alert")).to_contain_text("another writer")
        shown.ready(12)
        expect(shown.page.get_by_text("From elsewhere.")).to_be_visible()
