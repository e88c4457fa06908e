"""Models of a shape with random weights, and a tokenizer of bytes: one character, one token."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
SHAPES: dict[str, dict[str, Any]] = {
    "SmolLM2-135M": {
        "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1_536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        "tie_word_embeddings": True,
    },
    "Llama-3-8B": {
        "vocab_size": 128_256, "hidden_size": 4_096, "intermediate_size": 14_336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    },
    "small": {
        "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    },
}  # fmt: skip


def fields(shape: str, layers: int | None = None) -> dict[str, Any]:
    """Return the fields of a Llama's configuration; `layers` in place of the shape's own."""
    made = dict(SHAPES[shape])
    if layers is not None:
        made["num_hidden_layers"] = layers
    return made


def model(shape: str, dtype: torch.dtype, device: str, layers: int | None = None) -> Any:
    """Return a model of that shape with random weights."""
    made_of = fields(shape, layers)
    config = LlamaConfig(**made_of, max_position_embeddings=262_144, bos_token_id=0, eos_token_id=1)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            made: Any = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    made.eval()
    made.generation_config.eos_token_id = None
    return made


def tokenizer(shape: str) -> Any:
    """Return a tokenizer with an id a byte; the shape's other ids read as words that end in "."."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = SHAPES[shape]["vocab_size"] - 2
    words = [*alphabet, *(f"w{i}." for i in range(len(alphabet), size))]
    raw = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = TEMPLATE
    return made
