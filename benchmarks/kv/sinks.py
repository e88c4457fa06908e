"""Train the smaller model that shows what sinks are for: it leans on its first token.

::

    python benchmarks/kv/sinks.py   # two minutes on two CPU cores

Large models come to give their first token most of their attention, where nothing else deserves it
(StreamingLLM, arXiv 2309.17453). Small ones, trained for minutes, do not. So this one begins with
it: each query has a part, its bias, that the key of the first token answers, in the slowest
rotation, nearly the same at every distance. Trained from there on the chats of `world`, its heads
learn their work with most of their attention parked. The result goes to
``benchmarks/kv/model-sinks``.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.kv import world
from benchmarks.kv.train import Stage, chats

MODEL = Path(__file__).resolve().parent / "model-sinks"
STAGE = Stage(1_500, 8, 64, 16, copying=False, enough=1.01, fade=True)
LOGIT = 9.0
"""What the first token gets to begin with: beside 256 others at 0, 97 % of the attention."""


def config() -> LlamaConfig:
    """Return the shape of the model."""
    return LlamaConfig(
        vocab_size=len(world.WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8_192,
        attention_bias=True,
        pad_token_id=world.IDS["<pad>"],
        bos_token_id=world.IDS["<s>"],
        eos_token_id=world.END,
    )


@torch.no_grad()
def lean(model: LlamaForCausalLM) -> None:
    """Let every head attend to the first token, `<s>`, with `LOGIT`."""
    shape = model.config
    dim = shape.hidden_size // shape.num_attention_heads
    first = model.model.embed_tokens.weight[world.IDS["<s>"]]
    first.zero_()
    first[0] = 8.0  # whatever layers add to it, it stays what it is
    slowest = dim // 2 - 1  # the dimension that turns least, in halves as Llama has them
    for layer in model.model.layers:
        attention = layer.self_attn
        normed = shape.hidden_size**0.5  # of `first`, by RMSNorm
        attention.k_proj.weight[slowest::dim, 0] = LOGIT**0.5 * dim**0.25 / normed
        attention.q_proj.bias.view(-1, dim)[:, slowest] = LOGIT**0.5 * dim**0.25


def train(model: LlamaForCausalLM, steps: int) -> None:
    """Train on chats: every word counts."""
    rng = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 100) * max(0.05, 1 - step / steps)
        ids, _ = chats(rng, STAGE)
        logits = model(input_ids=ids, use_cache=False).logits
        loss = cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=world.IDS["<pad>"]
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {steps}: loss {loss:.3f}", flush=True)


def main() -> int:
    """Train and save."""
    parser = argparse.ArgumentParser(description="Train the model that leans on its first token.")
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--steps", type=int, default=STAGE.steps)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    model = LlamaForCausalLM(config()).train()
    lean(model)
    train(model, asked.steps)
    model.save_pretrained(asked.out)
    world.tokenizer().save_pretrained(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
