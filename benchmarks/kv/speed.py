"""What a kept cache saves: each figure beside what it is compared with, in turn, in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import DynamicCache
from transformers.generation.streamers import BaseStreamer

from benchmarks.kv import shapes
from benchmarks.tables import Table
from finite_memory_core import Context, Message
from finite_memory_local import HuggingFaceBackend
from finite_memory_local.importance import attention

PER_MESSAGE = 64
"""Tokens of a message, with what the template puts around it."""
NEW = 32
"""Tokens of a new turn."""
TURNS = 3
"""New turns for each context that is read anew: a conversation has more than one."""


def context(*messages: Message) -> Context:
    """Return a context of exactly these messages."""
    return Context(
        messages, session_id="s", token_count=1, counted_tokens=1, stable_tokens=0,
        stable_messages=0, budget=10**6, reserve=0, tools=(), query=None, question=messages[-1],
        recalled=(), eviction=None,
    )  # fmt: skip


def history(tokens: int) -> list[Message]:
    """Return messages that come to so many tokens."""
    count = tokens // PER_MESSAGE
    text = "All work and no play makes a dull conversation about plums. " * 2
    return [Message.user(f"{i:04d} {text}"[: PER_MESSAGE - 2]) for i in range(count)]


QUESTION = Message.user("And what of the plums, my dear?"[: NEW - 3])


class _First(BaseStreamer):
    """Notes when tokens arrive."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:  # noqa: ARG002  # the time is enough
        """Note the time; the prompt comes first."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing follows."""


class Bench:
    """A model of a shape and a context of a length.

    Args:
        shape: of `shapes.SHAPES`.
        dtype: of the weights.
        tokens: of the context.
        repeats: how often each thing is measured; medians are told.
        device: where.
        layers: fewer layers than the shape has; None for all.
    """

    def __init__(
        self,
        shape: str,
        dtype: torch.dtype,
        tokens: int,
        repeats: int,
        device: str,
        layers: int | None = None,
    ) -> None:
        self.model = shapes.model(shape, dtype, device, layers)
        self.tokens, self.repeats, self.shape, self.dtype = tokens, repeats, shape, dtype
        self.held = history(tokens)
        self.backend = self._backend(max_new_tokens=1)
        list(self.backend.stream(context(*self.held)))
        self.session = self.backend._sessions["s"]
        self.committed = self.session.length
        self.pieces = list(self.session.pieces)

    def _backend(self, **options: Any) -> HuggingFaceBackend:
        return HuggingFaceBackend(
            self.model,
            tokenizer=shapes.tokenizer(self.shape),
            kv="shift",
            do_sample=False,
            **options,
        )

    def _sync(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()

    def _time(self, what: Callable[[], object]) -> float:
        self._sync()
        began = time.perf_counter()
        what()
        self._sync()
        return time.perf_counter() - began

    def _plain(self, ids: list[int], count: int, cache: Any = None) -> list[float]:
        """Return the seconds to each token of transformers' own `generate`."""
        whole = torch.tensor([ids], device=self.model.device)
        heard = _First()
        more = {} if cache is None else {"cache": cache}
        self._sync()
        began = time.perf_counter()
        self.model.generate(
            whole, attention_mask=torch.ones_like(whole), max_new_tokens=count,
            do_sample=False, streamer=heard, pad_token_id=0, **more,
        )  # fmt: skip
        return [at - began for at in heard.times[1:]]

    def _ours(self, count: int) -> tuple[float, float]:
        """Return the seconds to the first token of a new turn, and of the tokens after it."""
        self.backend._settings.max_new_tokens = count
        before = self.backend.cache_stats
        list(self.backend.stream(context(*self.held, QUESTION)))
        after = self.backend.cache_stats
        self.session.cut(self.committed)
        self.session.pieces = list(self.pieces)
        first = (after.prefill_ms - before.prefill_ms) / 1e3
        return first, (after.decode_ms - before.decode_ms) / 1e3

    def possible(self) -> tuple[float, float, float]:
        """Return what the hardware would allow.

        Returns:
            How many times as much arithmetic a whole reading is as a new turn; GB that a token of
            decoding reads, weights and cache; the milliseconds that summing so much memory takes.
        """
        layers = self.model.config.num_hidden_layers
        pair = 4 * layers * self.model.config.hidden_size  # operations for a query and a key
        token = 2 * sum(p.numel() for p in self.model.model.layers.parameters())
        whole = self.tokens * token + pair * self.tokens**2 / 2
        head = self.model.lm_head.weight
        read = sum(p.nbytes for p in self.model.model.layers.parameters()) + head.nbytes
        read += self.session.nbytes
        memory = torch.ones(max(read, 2**30) // 4, device=self.model.device)
        seconds = median(self._time(memory.sum) for _ in range(5)) * read / memory.nbytes
        return whole / (NEW * token + pair * NEW * self.tokens), read / 1e9, 1e3 * seconds

    def turns(self, out: int) -> dict[str, float]:
        """Measure a new turn, ours beside transformers' without reuse."""
        ids = [*self.session.ids[: self.committed], *self.session.ids[:NEW]]
        self._ours(2)
        seen: dict[str, list[float]] = {k: [] for k in ("plain", "plain turn", "ours", "turn")}
        for _ in range(self.repeats):
            seen["plain"].append(self._plain(ids, 1)[0])
            for _ in range(TURNS):
                first, rest = self._ours(out)
                seen["ours"].append(first)
                seen["turn"].append(first + rest)
        seen["plain turn"].append(self._plain(ids, out)[-1])
        return {name: median(values) for name, values in seen.items()}

    def decode(self, count: int) -> dict[str, float]:
        """Measure seconds a token, ours beside `generate` with its own cache and attention."""
        ids = [*self.session.ids[: self.committed], *self.session.ids[:NEW]]
        plain, ours = [], []
        for _ in range(self.repeats):
            cache = DynamicCache(config=self.model.config)
            for i, layer in enumerate(self.session.layers):
                cache.update(layer.keys.clone(), layer.values.clone(), i)
            times = self._plain(ids, count + 1, cache)
            plain.append((times[-1] - times[0]) / count)
            ours.append(self._ours(count + 1)[1] / count)
        return {"plain": median(plain), "ours": median(ours)}

    def evict(self) -> dict[str, float]:
        """Measure taking every second message out, beside reading what stays."""
        stays = [piece for i, piece in enumerate(self.pieces) if i % 2 == 0 or i < 2]
        kept = [i for piece in stays for i in piece.ids]
        saved = [(layer.keys.clone(), layer.values.clone()) for layer in self.session.layers]
        evicting, reading = [], []
        for round_ in range(max(3, self.repeats)):
            plan = self.session.plan(stays, True, 0)
            evicting.append(self._time(partial(self.session.follow, plan, lambda _: None)))
            if round_ < self.repeats:
                reading.append(self._plain(kept, 1)[0])
            for layer, (keys, values) in zip(self.session.layers, saved, strict=True):
                layer.cut(0)
                layer.source = None
                layer.update(keys, values)
            self.session.restore(
                {"pieces": [], "phases": [], "pure": None, "erasures": 0, "sink": None,
                 "replies": {}}, [],
            )  # fmt: skip
            self.session.pieces = list(self.pieces)
        return {"evict": median(evicting), "read": median(reading)}

    def resume(self) -> dict[str, float]:
        """Measure loading a saved cache of half the context, beside reading that."""
        half = self.committed // 2
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cache"
            ids = self.session.ids[:half]
            self.session.cut(half)
            self.backend.save_cache("s", path)
            other = self._backend(max_new_tokens=1)
            loading = [self._time(lambda: other.load_cache("t", path)) for _ in range(self.repeats)]
            same = all(
                torch.equal(a.keys, b.keys) and torch.equal(a.values, b.values)
                for a, b in zip(self.session.layers, other._sessions["t"].layers, strict=True)
            )
        if not same:
            raise SystemExit("a loaded cache differs from the saved one")
        reading = [self._plain(ids, 1)[0] for _ in range(self.repeats)]
        return {"load": median(loading), "read": median(reading)}


def importance(shape: str, tokens: int, repeats: int, device: str) -> dict[str, float]:
    """Measure scores from attention beside eager attention, for two layers of the shape."""
    bench = Bench(shape, torch.float32, tokens, repeats, device, layers=2)
    bench.backend.scorer()
    bench.backend.drop()
    list(bench.backend.stream(context(*bench.held)))
    session = bench.backend._sessions["s"]
    ids = torch.tensor([session.ids], device=bench.model.device)
    ours = [bench._time(lambda: attention(session, 32)) for _ in range(max(3, repeats))]
    scores = attention(session, 32)
    bench.model.set_attn_implementation("eager")
    eager, out = [], None
    with torch.no_grad():
        for _ in range(repeats):
            bench._sync()
            began = time.perf_counter()
            out = bench.model(input_ids=ids, output_attentions=True, logits_to_keep=1)
            bench._sync()
            eager.append(time.perf_counter() - began)
    assert out is not None
    wanted = torch.stack([a[0, :, -32:].mean((0, 1)) for a in out.attentions]).mean(0).cpu()
    return {
        "ours": median(ours),
        "eager": median(eager),
        "error": float((scores - wanted).abs().max() / wanted.max()),
    }


def _ratio(slow: float, fast: float) -> str:
    return f"{slow / fast:.1f}x"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def table(shape: str, tokens: int, dtype: str, repeats: int, device: str) -> Table:
    """Measure one context length in one dtype."""
    bench = Bench(shape, getattr(torch, dtype), tokens, repeats, device)
    arithmetic, read, reading = bench.possible()
    rows: list[list[str]] = []

    def add(what: str, slow: float, fast: float, ratio: str | None = None) -> None:
        rows.append([what, _ms(slow), _ms(fast), ratio or _ratio(slow, fast)])
        print(*rows[-1], flush=True)

    turn = bench.turns(64)
    add("time to first token, 32 new tokens, beside `generate` without reuse", turn["plain"],
        turn["ours"])  # fmt: skip
    add("whole turn, 32 in and 64 out, beside the same", turn["plain turn"], turn["turn"])
    decode = bench.decode(16)
    share = f"{decode['ours'] / decode['plain']:.2f} of its time"
    add("a token of decoding, beside `generate` with its own cache", decode["plain"],
        decode["ours"], share)  # fmt: skip
    evict = bench.evict()
    add("evicting half in the cache, beside reading what stays", evict["read"], evict["evict"])
    steps = f"{evict['evict'] / decode['ours']:.2f} steps"
    add("the same eviction, in steps of decoding", decode["ours"], evict["evict"], steps)
    resume = bench.resume()
    add("resuming a saved half, beside reading it", resume["read"], resume["load"])
    return Table(
        f"{shape} shape, context {tokens:,}, {dtype}",
        ["what", "compared with", "here", "ratio"],
        rows,
        [(f"Random weights; medians of {repeats}, in turn; {device}, "
         f"{torch.get_num_threads()} threads. The whole reading is {arithmetic:.0f} times the "
         "arithmetic of the new turn; a token of decoding reads "
         f"{read:.2f} GB of weights and cache, which takes {reading:.0f} ms here.")],
    )  # fmt: skip


def importance_table(shape: str, tokens: int, repeats: int, device: str) -> Table:
    """Measure importance."""
    found = importance(shape, tokens, repeats, device)
    return Table(
        f"Importance from attention, context {tokens:,}, two layers of the {shape} shape",
        ["what", "eager `output_attentions`", "here", "ratio"],
        [["scores of the last 32 queries", _ms(found["eager"]), _ms(found["ours"]),
          _ratio(found["eager"], found["ours"])]],
        [(f"Largest difference of a score from eager attention's: {found['error']:.1e} of the "
         "largest score.")],
    )  # fmt: skip
