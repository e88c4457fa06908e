"""A conversation at a full budget: what its turns cost under each `kv` mode, evictions included."""

from __future__ import annotations

from statistics import median

import torch

from benchmarks.kv import shapes
from benchmarks.machine import resident_bytes
from benchmarks.tables import Table
from finite_memory_core import Chat, Memory
from finite_memory_local import HuggingFaceBackend


def table(
    shape: str, budget: int, turns: int, policy: str, device: str, layers: int | None = None
) -> Table:
    """Hold the same conversation in each mode; only the turns at a full budget count."""
    model = shapes.model(shape, torch.float32, device, layers)
    coder = shapes.tokenizer(shape)
    chats: dict[str, tuple[Chat, HuggingFaceBackend, list[tuple[float, float]]]] = {}
    for kv in ("off", "exact", "shift"):
        backend = HuggingFaceBackend(
            model, tokenizer=coder, kv=kv, max_new_tokens=8, min_new_tokens=8, do_sample=False
        )
        memory = Memory(budget, policy=policy, reserve=16, recall=None, low_water=0.75,
                        counter=lambda text: len(text.encode()))  # fmt: skip
        chats[kv] = (Chat(backend, memory), backend, [])
    said = "Tell me more of the plums of Turin, of Ada and of the rain in the year {:04d}."
    full = False
    for i in range(turns):
        full = full or chats["off"][0].memory.stats.evictions > 0
        for chat, backend, times in chats.values():
            before = backend.cache_stats
            chat.send(said.format(i))
            after = backend.cache_stats
            first = after.prefill_ms - before.prefill_ms
            if full:
                times.append((first, first + after.decode_ms - before.decode_ms))
    rows = []
    off = median(t[0] for t in chats["off"][2])
    for kv, (_, backend, times) in chats.items():
        first, whole = median(t[0] for t in times), [t[1] for t in times]
        stats = backend.cache_stats
        rows.append(
            [f'`kv="{kv}"`', f"{first:,.0f} ms", f"{off / first:.1f}x",
             f"{max(whole) / median(whole):.2f}", f"{stats.hit_share:.0%}",
             f"{stats.prefilled / stats.turns:,.0f}",
             f"{stats.evict_ms / max(1, len(times)):.1f} ms"]
        )  # fmt: skip
    return Table(
        f"A full budget of {budget:,} tokens, {shape} shape"
        f"{'' if layers is None else f' with {layers} layers'}, policy {policy}, "
        f"{len(chats['off'][2])} turns",
        ["mode", "time to first token, median", "against off", "worst turn over median",
         "hits", "tokens read a turn", "moving, a turn"],
        rows,
        [(f"float32, {device}, 8 tokens a reply; the three take turns. Resident at the end: "
         f"{resident_bytes() / 2**20:,.0f} MiB for all three.")],
    )  # fmt: skip
