"""Tiny models of many families, with random weights, and a tokenizer of bytes for all of them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from finite_memory_core import Context, Message

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}<tool_call>\n{{ c['function'] | tojson }}\n</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 264
DEVICE = os.environ.get("FINITE_MEMORY_DEVICE", "cpu")
"""Where the tests' models are; set to ``cuda`` on a machine that has one."""


@lru_cache
def _raw() -> str:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    text: str = raw.to_str()
    return text


def tokenizer(template: str | None = CHATML) -> Any:
    """Return a tokenizer of bytes: an id a byte, and four special ones."""
    made = tf.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(_raw()),
        pad_token="<|pad|>",
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = template
    return made


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **more}}


_BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2_048,
    "pad_token_id": 0,
}
_LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LONG = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2_048}
_MLA = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
_NEXT = {
    "num_hidden_layers": 4,
    "head_dim": 8,
    "shared_expert_intermediate_size": 16,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    **_MOE,
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", {}),
    "Llama, linear scaling": ("Llama", _rope("linear", factor=2.0)),
    "Llama 3 scaling": ("Llama", _rope("llama3", **_LLAMA3, original_max_position_embeddings=256)),
    "Llama, YaRN": ("Llama", _rope("yarn", factor=4.0, original_max_position_embeddings=512)),
    "Llama, dynamic NTK": ("Llama", _rope("dynamic", factor=2.0)),
    "Qwen2": ("Qwen2", {}),
    "Qwen3": ("Qwen3", {"head_dim": 8}),
    "Mistral, sliding window": ("Mistral", {"sliding_window": 24}),
    "Gemma 2": ("Gemma2", {"head_dim": 8, "sliding_window": 24}),
    "Gemma 3": ("Gemma3", {"head_dim": 8, "sliding_window": 24, "num_hidden_layers": 6}),
    "Phi": ("Phi", {}),
    "Phi-3, LongRoPE": (
        "Phi3",
        {**_rope("longrope", **_LONG, original_max_position_embeddings=1_024),
         "original_max_position_embeddings": 1_024, "eos_token_id": 1, "bos_token_id": 1},
    ),
    "StableLM": ("StableLm", {}),
    "GLM": ("Glm", {"head_dim": 8}),
    "Cohere": ("Cohere", {"bos_token_id": 1, "eos_token_id": 1}),
    "Cohere 2": ("Cohere2", {"sliding_window": 24, "num_hidden_layers": 4, "eos_token_id": 1}),
    "SmolLM3": ("SmolLM3", {"num_hidden_layers": 4, "bos_token_id": 1, "eos_token_id": 1}),
    "OLMo 2": ("Olmo2", {"eos_token_id": 1}),
    "GPT-2": ("GPT2", _GPT2),
    "GPT-J": ("GPTJ", {**_GPT2, "rotary_dim": 4}),
    "GPT-NeoX": ("GPTNeoX", {k: v for k, v in _BASE.items() if k != "num_key_value_heads"}),
    "GPT BigCode, multi-query": ("GPTBigCode", _GPT2),
    "OPT": ("OPT", {**_BASE, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "BLOOM, ALiBi": ("Bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2,
                               "n_head": 4}),
    "Falcon, multi-query": ("Falcon", {"multi_query": True}),
    "Mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "Qwen3 MoE": ("Qwen3Moe", {"head_dim": 8, **_MOE}),
    "gpt-oss": ("GptOss", {"head_dim": 8, "sliding_window": 24, "num_local_experts": 4,
                           "num_experts_per_tok": 2, "eos_token_id": 1}),
    "DeepSeek-V3, latent attention": ("DeepseekV3", _MLA),
    "LFM2, convolutions": ("Lfm2", {"layer_types": ["conv", "full_attention"]}),
    "Qwen3-Next, linear attention": ("Qwen3Next", _NEXT),
    "Mamba": ("Mamba", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2,
                        "state_size": 8}),
}  # fmt: skip
"""What it is, by transformers' name and the fields that differ."""

_HEADS = {"GPT2": "GPT2LMHeadModel"}
_CONFIGS = {"Gemma3": "Gemma3TextConfig"}


def model(family: str = "Llama", seed: int = 0, **fields: Any) -> Any:
    """Return a tiny model of that family; the same each time."""
    name, more = FAMILIES[family]
    config_class = getattr(tf, _CONFIGS.get(name, f"{name}Config"))
    own = more if {"n_layer", "state_size"} & more.keys() else {**_BASE, **more}
    config = config_class(**{**own, **fields})
    for end in ("bos_token_id", "eos_token_id"):
        if getattr(config, end, None) is not None:
            setattr(config, end, 259)
    torch.manual_seed(seed)
    made = getattr(tf, _HEADS.get(name, f"{name}ForCausalLM"))(config).eval()
    made = made if made.device.type == "meta" else made.to(DEVICE)
    for weight in made.parameters():  # random weights say the same whatever they read: louder
        if weight.ndim == 2:
            weight.data.mul_(4.0)
    made.generation_config.eos_token_id = None
    return made


def context(
    *messages: Message,
    session_id: str = "s",
    erasures: int = 0,
    tools: Any = (),
    reserve: int = 0,
) -> Context:
    """Return a context of exactly these messages."""
    return Context(
        messages,
        session_id=session_id,
        token_count=1,
        counted_tokens=1,
        stable_tokens=0,
        stable_messages=0,
        budget=100_000,
        reserve=reserve,
        tools=tuple(tools),
        query=None,
        question=messages[-1] if messages else None,
        recalled=(),
        eviction=None,
        erasures=erasures,
    )


def words(rng: random.Random, count: int) -> str:
    """Return some words."""
    pool = ("Ada", "Turin", "plum", "rain", "the", "sings", "7", "42", "é", "漢", "red", "why?")
    return " ".join(rng.choice(pool) for _ in range(count))


def conversation(seed: int, turns: int) -> list[Message]:
    """Return what a user says, turn by turn."""
    rng = random.Random(seed)
    return [Message.user(words(rng, rng.randint(1, 8))) for _ in range(turns)]


def count_read(model: Any) -> tuple[list[int], Callable[[], None]]:
    """Count the tokens that go through the model from now on; returns the counts and an end."""
    seen: list[int] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        seen.append(int(args[0].numel()))

    handle = model.get_input_embeddings().register_forward_hook(hook)
    return seen, handle.remove
