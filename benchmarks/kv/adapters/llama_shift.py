"""llama-cpp-python at a full budget: llama.cpp's context shift. Runs in its own environment.

The shift is what llama.cpp's server does: the first tokens stay, and half of the others, the
oldest, leave (`llama_memory_seq_rm`, `llama_memory_seq_add`). `Llama.create_chat_completion` does
none and raises where a prompt is too long, so the calls are made here.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import gguf  # type: ignore[import-not-found, unused-ignore]
import llama_cpp  # type: ignore[import-not-found, unused-ignore]
import numpy as np

KEPT = 4
"""First tokens that stay."""


def write_model(path: Path, shape: dict[str, Any], window: int) -> None:
    """Write a Llama with random weights in float32."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, shape, window)
    _add_weights(writer, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, shape: dict[str, Any], window: int) -> None:
    width, heads = shape["hidden_size"], shape["num_attention_heads"]
    writer.add_context_length(window)
    writer.add_embedding_length(width)
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(shape["num_key_value_heads"])
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(shape.get("rope_parameters", {}).get("rope_theta", 10_000.0))
    writer.add_layer_norm_rms_eps(1e-6)
    words = [f"w{i}" for i in range(shape["vocab_size"] - 3)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["a", "b", "ab", *words])
    writer.add_token_types([gguf.TokenType.NORMAL] * shape["vocab_size"])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def _add_weights(writer: Any, shape: dict[str, Any]) -> None:
    width, hidden = shape["hidden_size"], shape["intermediate_size"]
    kv_width = width // shape["num_attention_heads"] * shape["num_key_value_heads"]
    rng = np.random.default_rng(0)

    def add(name: str, *size: int) -> None:
        made = rng.standard_normal(size, np.float32) * 0.02 if len(size) > 1 else np.ones(size)
        writer.add_tensor(f"{name}.weight", made.astype(np.float32))

    add("token_embd", shape["vocab_size"], width)
    for i in range(shape["num_hidden_layers"]):
        add(f"blk.{i}.attn_q", width, width)
        add(f"blk.{i}.attn_k", kv_width, width)
        add(f"blk.{i}.attn_v", kv_width, width)
        add(f"blk.{i}.attn_output", width, width)
        add(f"blk.{i}.ffn_gate", hidden, width)
        add(f"blk.{i}.ffn_up", hidden, width)
        add(f"blk.{i}.ffn_down", width, hidden)
        add(f"blk.{i}.attn_norm", width)
        add(f"blk.{i}.ffn_norm", width)
    add("output_norm", width)
    if not shape.get("tie_word_embeddings"):
        add("output", shape["vocab_size"], width)


class Context:
    """A sequence in llama.cpp's cache.

    Args:
        path: the model.
        asked: what `benchmarks.kv.peers.Asked` says.
    """

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        self._made = llama_cpp.Llama(
            str(path), n_ctx=asked["budget"] + asked["turn"] + asked["reply"], n_batch=512,
            n_threads=asked["threads"], n_threads_batch=asked["threads"], verbose=False,
        )  # fmt: skip
        self._memory = llama_cpp.llama_get_memory(self._made.ctx)
        self.held = 0

    def read(self, ids: list[int]) -> int:
        """Read ids behind what is held; returns the likeliest next one."""
        self._made.n_tokens = self.held
        self._made.eval(ids)
        self.held += len(ids)
        logits = llama_cpp.llama_get_logits_ith(self._made.ctx, -1)
        return int(np.ctypeslib.as_array(logits, shape=(self._made.n_vocab(),)).argmax())

    def shift(self) -> None:
        """Drop the oldest half behind the first tokens; the keys are turned at the next reading."""
        gone = (self.held - KEPT) // 2
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, KEPT, KEPT + gone):
            raise RuntimeError("llama.cpp could not drop tokens from its cache")
        llama_cpp.llama_memory_seq_add(self._memory, 0, KEPT + gone, self.held, -gone)
        self.held -= gone

    def clear(self) -> None:
        """Drop everything."""
        llama_cpp.llama_memory_clear(self._memory, True)
        self.held = 0


def turns(context: Context, asked: dict[str, Any]) -> dict[str, Any]:
    """Hold the conversation and return what its turns cost."""
    rng, budget = random.Random(0), asked["budget"]
    most = asked["shape"]["vocab_size"] - 1

    def ids(count: int) -> list[int]:
        return [rng.randint(3, most) for _ in range(count)]

    context.read(ids(budget - asked["turn"] - asked["reply"]))
    first, whole, sizes = [], [], []
    for _ in range(asked["turns"]):
        began = time.perf_counter()
        if context.held + asked["turn"] + asked["reply"] > budget:
            context.shift()
        sizes.append(context.held + asked["turn"])
        token = context.read(ids(asked["turn"]))
        first.append(1e3 * (time.perf_counter() - began))
        for _ in range(asked["reply"]):
            token = context.read([token])
        whole.append(1e3 * (time.perf_counter() - began))
    anew = []
    for _ in range(3):
        context.clear()
        began = time.perf_counter()
        context.read(ids(int(median(sizes))))
        anew.append(1e3 * (time.perf_counter() - began))
    return {
        "first": median(first),
        "whole": median(anew),
        "worst": max(whole) / median(whole),
        "note": "only the oldest half can leave",
    }


def main() -> None:
    """Read what is asked from standard input and print what was found."""
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_model(path, asked["shape"], 2 * asked["budget"])
        found = turns(Context(path, asked), asked)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
