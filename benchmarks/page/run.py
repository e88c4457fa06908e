"""Measure the page in headless Chromium, print the table, and write it into ``docs/page.md``.

::

    python benchmarks/page/run.py               # some two minutes
    python benchmarks/page/run.py --no-write    # print only

Needs ``finite-memory-api[server]``, playwright and a Chromium on PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.machine import describe  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402
from finite_memory_api.page._running import chat_app  # noqa: E402
from finite_memory_api.page.chatting import ChatPage  # noqa: E402
from finite_memory_api.server._running import EndingServer  # noqa: E402
from finite_memory_core import CallableBackend, Chat, Memory, Message  # noqa: E402

DOCUMENT = ROOT / "docs" / "page.md"
BLOCKS, PAINTS, TURNS, SCROLLS = 10_000, 9, 60, 150
BLOCKING = 50  # milliseconds
TOKEN = "benchmark"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]

WATCH = """
window.seen = { ready: null, times: {} };
new MutationObserver(() => {
  const count = document.documentElement.dataset.ready;
  if (count === undefined) return;
  requestAnimationFrame(() => setTimeout(() => {
    window.seen.ready ??= performance.now();
    window.seen.times[count] ??= Date.now();
  }));
}).observe(document, { subtree: true, attributeFilter: ["data-ready"] });
"""
"""What the page shows is painted after the next frame has begun."""


@contextmanager
def served(messages: int) -> Iterator[tuple[Chat, str]]:
    """Serve the page of a chat in which so much was said."""
    page = ChatPage()
    memory = Memory(8_000, "sliding", observers=[page])
    said = "Boat {} lies in berth {}, and its owner has paid {} euros for it. "
    memory.append(
        *(
            (Message.assistant if i % 2 else Message.user)(
                (said * (1 + i % 4)).format(*[i % 97] * 12)
            )
            for i in range(messages)
        )
    )
    chat = Chat(CallableBackend(lambda _: "Noted."), memory)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        chat_app(page, chat, title="benchmark", token=TOKEN),
        ws="none",
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = EndingServer(config)
    thread = Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield chat, f"http://127.0.0.1:{listening.getsockname()[1]}/#token={TOKEN}"
    finally:
        server.should_exit = True
        thread.join()


def opened(browser: Browser, address: str) -> Page:
    """Open the page anew, and wait until it shows something."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    page.locator("html[data-ready]").wait_for(state="attached")
    page.locator("article .text").first.wait_for()
    page.wait_for_timeout(300)
    return page


def first_paints(browser: Browser, address: str) -> tuple[list[float], list[float]]:
    """Return, in milliseconds since the navigation, when something and when the rows were shown."""
    first, ready = [], []
    for _ in range(PAINTS):
        page = opened(browser, address)
        first.append(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        )
        ready.append(page.evaluate("window.seen.ready"))
        page.context.close()
    return first, ready


def scrolled(browser: Browser, address: str) -> tuple[float, float]:
    """Return the longest task of the page's main thread while its list was scrolled.

    In milliseconds of CPU, and of the clock, in which other processes of the machine have a share.
    """
    page = opened(browser, address)
    page.wait_for_timeout(1_000)
    browser.start_tracing(
        page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"]
    )
    page.mouse.move(400, 500)
    for step in range(SCROLLS):
        page.mouse.wheel(0, -700 if step % 3 else 400)
        page.wait_for_timeout(16)
    for where in (0, 0.25, 0.9, 0.5, 1):
        page.evaluate(
            "where => { const list = document.getElementById('list');"
            " list.scrollTop = where * list.scrollHeight }",
            where,
        )
        page.wait_for_timeout(250)
    traced = json.loads(browser.stop_tracing())["traceEvents"]
    page.context.close()
    mains = {
        (one["pid"], one["tid"])
        for one in traced
        if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        one
        for one in traced
        if one["name"].endswith("RunTask") and (one["pid"], one["tid"]) in mains
    ]
    return tuple(max(one.get(name, 0) for one in tasks) / 1_000 for name in ("tdur", "dur"))


def live_updates(browser: Browser, chat: Chat, address: str) -> list[float]:
    """Return how long after a turn had ended it was shown, in milliseconds."""
    page = opened(browser, address)
    waits = []
    for turn in range(TURNS):
        chat.send(f"Boat {turn} has left.")
        ended = 1_000 * time.time()
        count = chat.memory.stats.messages
        page.locator(f'html[data-ready="{count}"]').wait_for(state="attached")
        page.wait_for_timeout(60)
        waits.append(page.evaluate(f"window.seen.times['{count}']") - ended)
    page.context.close()
    return waits


def weight() -> int:
    """Return the bytes of all files of the page."""
    folder = files("finite_memory_api.page") / "static"
    return sum(len(file.read_bytes()) for file in folder.iterdir())


def violations(browser: Browser, address: str) -> int:
    """Return how many rules of axe the page breaks, light and dark together."""
    script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    found = 0
    for scheme in ("light", "dark"):
        context: Any = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        page.locator("article .text").first.wait_for()
        page.evaluate(script)
        found += len(page.evaluate("axe.run()")["violations"])
        context.close()
    return found


def measured() -> Table:
    """Return the table."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium on PATH")
    with sync_playwright() as playwright, served(BLOCKS) as (chat, address):
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        first, ready = first_paints(browser, address)
        cpu, clock = scrolled(browser, address)
        broken = violations(browser, address)
        waits = sorted(live_updates(browser, chat, address))
        version = browser.version
        browser.close()
    rows = [
        ["first paint, median", f"{median(first):,.0f} ms", "1,000 ms"],
        ["the messages are there, median", f"{median(ready):,.0f} ms", "1,000 ms"],
        ["the messages are there, slowest", f"{max(ready):,.0f} ms", ""],
        ["longest block while scrolling, CPU", f"{cpu:,.0f} ms", f"{BLOCKING} ms"],
        ["longest block while scrolling, clock", f"{clock:,.0f} ms", ""],
        ["a turn is shown after, median", f"{median(waits):,.0f} ms", "100 ms"],
        ["a turn is shown after, 95 of 100", f"{waits[int(0.95 * len(waits))]:,.0f} ms", "100 ms"],
        ["weight of all files", f"{weight() / 1_000:,.0f} KB", "150 KB"],
        ["violations that axe finds", str(broken), "0"],
    ]
    note = (
        f"Chromium {version}, headless, without a graphics processor; a chat with {BLOCKS:,} "
        f"messages on the same machine, opened {PAINTS} times, scrolled by {SCROLLS} turns of the "
        f"wheel and five jumps, and {TURNS} further turns. Nothing is compressed. Other work had "
        f"its share of the machine, whose load was {os.getloadavg()[0]:.1f}: times of the clock "
        "grow with it."
    )
    return Table("The page", ["", "measured", "target"], rows, [note])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args(arguments)
    table = measured()
    print(table.text())
    if asked.write:
        told = describe("python benchmarks/page/run.py")
        write_between(DOCUMENT, "page", f"{told}\n\n{table.markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
