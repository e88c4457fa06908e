"""What cursors and an installation take, and what an upstream's cache serves."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
from contextlib import closing
from hashlib import blake2b
from importlib.metadata import distribution
from pathlib import Path
from threading import Thread
from typing import Any

from packaging.requirements import Requirement

from ..hosted.caches import server as llama_server
from ..machine import resident_bytes
from ..tables import Table

CURSORS = 300_000
STANDING = range(280, 400)
BUDGETS = (4_000, 2_000)
TURNS = 200
SYSTEM = "You are a patient guide to the harbour of Genoa. " * 4


def cursors_table() -> Table:
    """Measure the memory of many cursors."""
    from finite_memory_api.server.cursors import Cursor, Cursors

    gc.collect()
    before, held = resident_bytes(), Cursors(CURSORS)
    for i in range(CURSORS):
        key = blake2b(b"%d" % i, digest_size=16).digest()
        held.put(key, Cursor(400, 6_000, key[::-1], (0, *STANDING)))
    gc.collect()
    each = (resident_bytes() - before) / CURSORS
    rows = [["bytes a cursor", f"{each:.0f}"], ["cursors at 1 GB", f"{1e9 / each:,.0f}"]]
    note = (
        f"Growth of the process with {CURSORS:,} sessions of 400 messages, two runs of which "
        "stand. "
        "Target: at least 1,000,000 at 1 GB."
    )
    return Table("Cursors", ("", "measured"), rows, [note])


def size_table() -> Table:
    """Add up what is installed here for the server, byte code left out."""
    core = _size({"finite-memory-core"})
    whole = _size(_closure("finite-memory-api[server]", set()))
    rows = [
        ["finite-memory-core", f"{core / 1e6:.1f}"],
        ["finite-memory-api[server] with all that it needs", f"{whole / 1e6:.1f}"],
        ["over core", f"{(whole - core) / 1e6:.1f}"],
    ]
    note = "Bytes on disk, byte code left out, no torch. Target: at most 15 MB over core."
    return Table("Installation", ("", "MB"), rows, [note])


def _closure(line: str, seen: set[str]) -> set[str]:
    wanted = Requirement(line)
    name = re.sub(r"[-_.]+", "-", wanted.name).lower()
    if line in seen:
        return seen
    seen |= {line, name}
    for more in distribution(name).requires or ():
        needed = Requirement(more)
        extras = [*wanted.extras, ""]
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            suffix = f"[{','.join(sorted(needed.extras))}]" if needed.extras else ""
            _closure(f"{needed.name}{suffix}", seen)
    return seen


def _size(names: set[str]) -> int:
    total = 0
    for name in {name for name in names if "[" not in name}:
        for path in distribution(name).files or ():
            found = Path(str(path.locate()))
            if path.suffix != ".pyc" and found.is_file():
                total += found.stat().st_size
    return total


def cache_table() -> Table:
    """Hold long chats with the openai SDK through the server, in front of llama.cpp's."""
    rows = []
    with llama_server() as url:
        for budget in BUDGETS:
            for low_water, name in ((0.75, "0.75"), (1.0, "1.0, cut at every turn")):
                largest, share = _converse(url, budget, low_water)
                rows.append(
                    [f"budget {budget:,}, low water {name}", f"{share:.3f}", f"{largest:,}"]
                )
    note = (
        f"{TURNS} turns of the openai SDK, some 55 tokens each; tokens as llama.cpp's server "
        "reports them, once the budget is full. Target: a cached share of at "
        "least 0.92; it depends on how long a turn is beside the budget."
    )
    return Table("Cached share upstream", ("", "cached share", "largest prompt"), rows, [note])


def _converse(upstream: str, budget: int, low_water: float) -> tuple[int, float]:
    import openai
    import uvicorn

    from finite_memory_api.server import ServeSettings
    from finite_memory_api.server._running import config_of

    listening = socket.create_server(("127.0.0.1", 0))
    made = ServeSettings(budget, upstream=upstream, low_water=low_water, grace_seconds=2)
    running = uvicorn.Server(config_of(made, level="error"))
    thread = Thread(target=lambda: asyncio.run(running.serve(sockets=[listening])), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    messages: list[Any] = [{"role": "system", "content": SYSTEM}]
    largest = total = cached = 0
    full = False
    with closing(openai.OpenAI(base_url=url, api_key="k", max_retries=0)) as client:
        for turn in range(TURNS):
            messages.append({"role": "user", "content": f"Tell me about ship {turn} and its crew."})
            raw = client.chat.completions.with_raw_response.create(
                model="tiny", messages=messages, max_tokens=12, temperature=0
            )
            reply = raw.parse()
            full = full or int(raw.headers["x-finite-memory-dropped"]) > 0
            usage = reply.usage
            if usage is None or usage.prompt_tokens_details is None:
                raise RuntimeError("the server reported no usage")
            largest = max(largest, usage.prompt_tokens)
            if full:
                total += usage.prompt_tokens
                cached += usage.prompt_tokens_details.cached_tokens or 0
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
    running.should_exit = True
    thread.join(30)
    return largest, cached / total
