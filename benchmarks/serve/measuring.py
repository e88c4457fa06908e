"""Time to the first byte and streams a second: directly, bare, and through the server."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ..tables import Table

HERE = Path(__file__).resolve().parent
WORDS = (
    "the",
    "keeper",
    "of",
    "lighthouse",
    "winds",
    "brass",
    "clocks",
    "before",
    "trams",
    "leave",
)
BUDGET = 8_000
STREAMS, EVENTS = 200, 50
REQUESTS = 400
SECONDS = 12.0
LENGTHS = (20, 200)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the upstream."""

    name: str
    port: int
    pid: int


def request(messages: int) -> bytes:
    """Return a request with a history of so many messages, of some 65 tokens each."""
    random = Random(messages)
    said = [
        {
            "role": ("user", "assistant")[i % 2],
            "content": " ".join(random.choice(WORDS) for _ in range(60)),
        }
        for i in range(messages | 1)
    ]
    body = json.dumps({"model": "m", "stream": True, "messages": said}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
    return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def ways(events: int) -> Iterator[list[Way]]:
    """Run an upstream that sends so many events, and what stands before it on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    upstream, bare, ours = (_free_port() for _ in range(3))
    url = f"http://127.0.0.1:{upstream}"
    serve = [str(Path(sys.executable).with_name("finite-memory")), "serve", "--upstream", url]
    serve += ["--port", str(ours), "--budget", str(BUDGET)]
    with ExitStack() as stack:

        def start(name: str, port: int, core: int, command: Sequence[str]) -> Way:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(_stop, process)
            os.sched_setaffinity(process.pid, {core})
            _await_port(port)
            return Way(name, port, process.pid)

        python = sys.executable
        yield [
            start(
                "direct",
                upstream,
                cores[-1],
                [python, str(HERE / "upstream.py"), str(upstream), str(events)],
            ),
            start(
                "bare pass-through", bare, cores[0], [python, str(HERE / "bare.py"), str(bare), url]
            ),
            start("finite-memory serve", ours, cores[0], serve),
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


def cpu_seconds(pid: int) -> float:
    """Return what a process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def latency_table(found: Sequence[Way], messages: int = 200) -> Table:
    """Measure the time to the first byte, one request at a time, the ways in turns."""
    asked = request(messages)
    times: dict[str, list[float]] = {way.name: [] for way in found}
    links = {way.name: socket.create_connection(("127.0.0.1", way.port)) for way in found}
    before = {way.name: cpu_seconds(way.pid) for way in found}
    for _ in range(REQUESTS):
        for way in found:
            times[way.name].append(_first_byte(links[way.name], asked))
    used = {way.name: cpu_seconds(way.pid) - before[way.name] for way in found}
    for link in links.values():
        link.close()
    rows = []
    for way in found:
        cut = statistics.quantiles([1e3 * t for t in times[way.name]], n=100)
        rows.append(
            [way.name, f"{cut[49]:.2f}", f"{cut[98]:.2f}", f"{1e3 * used[way.name] / REQUESTS:.2f}"]
        )
    base = statistics.quantiles([1e3 * t for t in times["direct"]], n=100)
    last = statistics.quantiles([1e3 * t for t in times["finite-memory serve"]], n=100)
    rows.append(["added by us", f"{last[49] - base[49]:.2f}", f"{last[98] - base[98]:.2f}", ""])
    note = (
        f"{REQUESTS} requests with {messages} messages of history, one at a time, the ways in "
        f"turns; one event comes back. The budget of {BUDGET:,} tokens is exceeded, so messages "
        "are left out each time. CPU is that of the process that was asked. Target: at most 3 ms "
        "added at p50 and 15 ms at p99."
    )
    heads = ("way", "p50, ms", "p99, ms", "CPU a request, ms")
    return Table("Time to the first byte", heads, rows, [note])


def _first_byte(link: socket.socket, asked: bytes) -> float:
    start = time.perf_counter()
    link.sendall(asked)
    answer = link.recv(65_536)
    took = time.perf_counter() - start
    while not answer.endswith(b"0\r\n\r\n"):
        answer += link.recv(65_536)
    return took


def throughput_table(found: Sequence[Way]) -> Table:
    """Measure whole streams a second with many of them open."""
    rows = []
    for messages in LENGTHS:
        asked = request(messages)
        rates = {}
        for way in found[1:]:
            before = cpu_seconds(way.pid)
            done = asyncio.run(_load(way.port, asked))
            busy = (cpu_seconds(way.pid) - before) / SECONDS
            rates[way.name] = done / SECONDS
            rows.append(
                [f"{way.name}, {messages} messages", f"{done / SECONDS:.0f}", f"{busy:.0%}"]
            )
        ratio = rates["finite-memory serve"] / rates["bare pass-through"]
        rows.append([f"ours beside it, {messages} messages", f"{ratio:.2f}", ""])
    note = (
        f"{STREAMS} streams of {EVENTS} events at one time for {SECONDS:g} s; what stands before "
        "the upstream has one core. The bare pass-through is Starlette, uvicorn and httpx2 with "
        "nothing in it (`benchmarks/serve/bare.py`). Target: at least 0.6 of it."
    )
    return Table("Streams", ("way", "streams a second", "core busy"), rows, [note])


async def _load(port: int, asked: bytes) -> int:
    done = 0
    end = time.monotonic() + SECONDS

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while time.monotonic() < end:
            writer.write(asked)
            await reader.readuntil(b"\r\n0\r\n\r\n")
            done += time.monotonic() < end
        writer.close()

    await asyncio.gather(*(one() for _ in range(STREAMS)))
    return done
