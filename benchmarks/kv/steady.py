"""A conversation at a full budget: what its turns cost under each `kv` mode, evictions included."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import torch

from benchmarks.kv import peers, shapes
from benchmarks.machine import resident_bytes
from benchmarks.tables import Table
from finite_memory_core import Chat, Memory, Message
from finite_memory_local import HuggingFaceBackend

REPLY = 8
SAID = "And the plums of Turin, {:05d}?"
"""32 tokens, with what the template puts around it."""
ANSWER = "So, so. "
MODES = ("off", "exact", "shift")
LOW_WATER = 0.95
"""Where evictions stop: a full budget is to be full, and leaving little costs little in a cache."""
TURNS = 10
"""In a row, before another mode has its own: none finds caches full of what the others left."""
PEERS = 40
"""Turns of a peer, at most: one of them takes seconds for each."""
_TOKEN = re.compile(r"w\d+\.|.", re.DOTALL)


def _count(text: str) -> int:
    """Count as `shapes.tokenizer` does, words that a random model says among them."""
    return len(_TOKEN.findall(text))


@dataclass(slots=True)
class _Turns:
    """A conversation, and what its turns at a full budget cost.

    Attributes:
        first: milliseconds from the question to the first token, the memory's own work included.
        whole: milliseconds of the turn.
        busy: milliseconds of CPU time of the turn: what the neighbours do not disturb.
        evicting: whether something left the memory in the turn.
    """

    chat: Chat
    backend: HuggingFaceBackend
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    evicting: list[bool] = field(default_factory=list)

    @property
    def evictions(self) -> int:
        """How often something left the memory."""
        return self.chat.memory.stats.evictions

    def fill(self, tokens: int) -> int:
        """Let the memory hold so many tokens of turns that nobody waits for; returns how many."""
        memory, number = self.chat.memory, 0
        while memory.stats.tokens_held < tokens:
            memory.append(Message.user(SAID.format(number)), Message.assistant(ANSWER))
            number += 1
        return number

    def take(self, said: str, counts: bool) -> None:
        """Take a turn."""
        decoded, gone = self.backend.cache_stats.decode_ms, self.evictions
        began, busy = time.perf_counter(), time.process_time()
        self.chat.send(said)
        whole = 1e3 * (time.perf_counter() - began)
        busy = 1e3 * (time.process_time() - busy)
        if counts:
            self.first.append(whole - (self.backend.cache_stats.decode_ms - decoded))
            self.whole.append(whole)
            self.busy.append(busy)
            self.evicting.append(self.evictions > gone)

    def more(self) -> str:
        """Return what an evicting turn takes beside the median of the others, in CPU time."""
        parts = [[b for b, e in zip(self.busy, self.evicting, strict=True) if e is way]
                 for way in (True, False)]  # fmt: skip
        return f"{median(parts[0]) / median(parts[1]):.2f}" if all(parts) else "-"


def tables(
    shape: str,
    budget: int,
    turns: int,
    policy: str,
    device: str,
    layers: int | None = None,
    dtype: str = "float32",
) -> Iterator[Table]:
    """Hold the same conversation in each mode; only the turns at a full budget count."""
    model = shapes.model(shape, getattr(torch, dtype), device, layers)
    coder = shapes.tokenizer(shape)
    held: dict[str, _Turns] = {}
    for kv in MODES:
        backend = HuggingFaceBackend(
            model, tokenizer=coder, kv=kv, max_new_tokens=REPLY, min_new_tokens=REPLY,
            do_sample=False,
        )  # fmt: skip
        memory = Memory(budget, policy=policy, reserve=16, recall=None, low_water=LOW_WATER,
                        counter=_count)  # fmt: skip
        held[kv] = _Turns(Chat(backend, memory), backend)
    number = max(one.fill(budget - 200) for one in held.values())
    while not held["off"].evictions:  # the memory fills up; that is not counted
        for one in held.values():
            one.take(SAID.format(number), counts=False)
        number += 1
    for start in range(number, number + turns, TURNS):
        for one in held.values():
            for i in range(start, min(start + TURNS, number + turns)):
                one.take(SAID.format(i), counts=True)
    name = f"{shape} shape{'' if layers is None else f' with {layers} layers'}"
    title = (
        f"A full budget of {budget:,} tokens, down to {LOW_WATER:.0%} at an eviction, {name}, "
        f"policy {policy}, {turns} turns"
    )
    yield _ours(held, title, f"{dtype}, {device}")
    asked = peers.Asked(
        shape=shapes.fields(shape, layers), budget=budget, reply=REPLY, turns=min(turns, PEERS),
        turn=len(coder(SAID.format(0)).input_ids) + 2, threads=torch.get_num_threads(),
    )  # fmt: skip
    if device == "cpu" and dtype == "float32":
        yield _beside(held, peers.measure(asked), budget)


def _ours(held: dict[str, _Turns], title: str, where: str) -> Table:
    rows = []
    off = median(held["off"].first)
    for kv, one in held.items():
        stats = one.backend.cache_stats
        rows.append(
            [f'`kv="{kv}"`', f"{median(one.first):,.0f} ms", f"{off / median(one.first):.1f}x",
             _worst(one.whole), _worst(one.busy), one.more(), f"{stats.hit_share:.0%}",
             f"{stats.prefilled / stats.turns:,.0f}",
             f"{stats.evict_ms / max(1, one.evictions):.1f} ms"]
        )  # fmt: skip
    return Table(
        title,
        ["mode", "time to first token, median", "against off", "worst turn over median",
         "the same in CPU time", "an evicting turn beside others", "hits", "tokens read a turn",
         "moving, an eviction"],
        rows,
        [(f"{where}, {REPLY} tokens a reply; {TURNS} turns of each in turn. Times are the whole "
         "turn's, the memory's own work included. Resident at the end: "
         f"{resident_bytes() / 2**20:,.0f} MiB for all three.")],
    )  # fmt: skip


def _beside(held: dict[str, _Turns], found: Iterator[peers.Found], budget: int) -> Table:
    off, shift = (median(held[kv].first) for kv in ("off", "shift"))
    rows = [_row("finite-memory-local, `kv=\"shift\"`", off, shift, _worst(held["shift"].whole),
                 "any spans, by any policy")]  # fmt: skip
    for peer in found:
        if peer.why_not is not None:
            rows.append([peer.title, "-", "-", "-", "-", f"not here: {peer.why_not}"])
        else:
            rows.append(_row(peer.title, peer.whole, peer.first, f"{peer.worst:.2f}", peer.note))
    return Table(
        f"Beside others, a full budget of {budget:,} tokens",
        ["who", "reads all", "time to first token, median", "ratio", "worst turn over median",
         "what can leave"],
        rows,
        [("Each against its own reading of the whole context, in the same run: same shape, random "
         "weights, float32, the same lengths of turns and replies, each in its own environment; "
         f"of the others at most {PEERS} turns.")],
    )  # fmt: skip


def _row(who: str, whole: float, first: float, worst: str, note: str) -> list[str]:
    return [who, f"{whole:,.0f} ms", f"{first:,.0f} ms", f"{whole / first:.1f}x", worst, note]


def _worst(times: list[float]) -> str:
    return f"{max(times) / median(times):.2f}"
