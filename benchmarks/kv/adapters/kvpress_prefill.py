"""kvpress at a full budget. Runs in its own environment: it needs an older transformers.

A press compresses while a cache that is empty is filled. At a later turn it does nothing (checked
here), so that a conversation with a bounded cache reads its whole context at every turn.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import Any

import torch
from kvpress import KeyRerotationPress, SnapKVPress  # type: ignore[import-not-found, unused-ignore]
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

MOST = 5
"""Turns that are measured: each reads everything, and costs what the one before did."""


def turns(model: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Hold the conversation and return what its turns cost."""
    budget, turn = asked["budget"] - asked["reply"], asked["turn"]
    vocabulary = asked["shape"]["vocab_size"]
    torch.manual_seed(0)

    def read(count: int, cache: Any, press: Any = None) -> float:
        ids = torch.randint(3, vocabulary, (1, count))
        began = time.perf_counter()
        if press is None:
            model(ids, past_key_values=cache, logits_to_keep=1)
        else:
            with press(model):
                model(ids, past_key_values=cache, logits_to_keep=1)
        return 1e3 * (time.perf_counter() - began)

    first, anew, whole = [], [], []
    for _ in range(min(MOST, asked["turns"])):
        anew.append(read(budget, DynamicCache()))
        cache = DynamicCache()
        first.append(read(budget, cache, KeyRerotationPress(SnapKVPress(compression_ratio=0.5))))
        held = cache.get_seq_length()
        whole.append(first[-1] + sum(read(1, cache) for _ in range(asked["reply"])))
    if held >= budget:
        raise RuntimeError("the press compressed nothing")
    before = cache.get_seq_length()
    late: Any = None
    try:
        read(turn, cache, KeyRerotationPress(SnapKVPress(compression_ratio=0.5)))
        late = cache.get_seq_length() < before + turn
    except (AssertionError, RuntimeError, ValueError) as error:
        late = f"raises {type(error).__name__}"
    note = "compresses at the first turn only" if late is False else f"at a later turn: {late}"
    return {
        "first": median(first),
        "whole": median(anew),
        "worst": max(whole) / median(whole),
        "note": note,
    }


def main() -> None:
    """Read what is asked from standard input and print what was found."""
    asked = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    fields = {name: value for name, value in asked["shape"].items() if name != "rope_parameters"}
    rope = asked["shape"].get("rope_parameters")
    config = LlamaConfig(**fields, max_position_embeddings=262_144)
    if rope is not None:
        config.rope_parameters = rope
    torch.manual_seed(0)
    with torch.no_grad():
        print(json.dumps(turns(LlamaForCausalLM(config).eval(), asked)))


if __name__ == "__main__":
    main()
