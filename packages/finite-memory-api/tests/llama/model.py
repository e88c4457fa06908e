"""A tiny model for llama.cpp's server: random weights, a tokenizer trained on the spot.

It says nothing sensible, but the server counts, caches and overflows with it as with any other.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from finite_memory_core.testing.streams import stream

WIDTH, HEADS, HIDDEN = 64, 4, 128
CONTEXT = 8_192
SPECIAL = ["<|im_start|>", "<|im_end|>"]
CALL = "<tool_call>\n"
"""What a tool call begins with: one token."""
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n<tools>"
    "{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    'Call one so:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call><|im_end|>\n{% endif %}"
    "{% for message in messages %}"
    "{% if message.role == 'tool' %}"
    "<|im_start|>user\n<tool_response>\n{{ message.content }}\n</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{% if message.tool_calls %}{% for tool_call in message.tool_calls %}"
    '\n<tool_call>\n{"name": "{{ tool_call.function.name }}", "arguments": '
    "{{ tool_call.function.arguments | tojson }}}\n</tool_call>{% endfor %}{% endif %}"
    "<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_model(path: Path) -> None:
    """Write the model to `path`; the same bytes every time."""
    tokenizer = _trained()
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer)
    _add_tokens(writer, tokenizer)
    _add_weights(writer, *_unsaid(tokenizer))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _trained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1_200,
        special_tokens=[*SPECIAL, CALL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (m.text for step in stream("chat", 7, 300, 10_000, 0.0) for m in step.messages)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)


def _add_tokens(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    import json

    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    types = dict.fromkeys(SPECIAL, gguf.TokenType.CONTROL) | {CALL: gguf.TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([types.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in model["merges"]])
    end = tokens.index(SPECIAL[1])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _unsaid(tokenizer: Tokenizer) -> tuple[int, list[int]]:
    """Return how many tokens there are, and which the model must not say.

    The end of a message, so that replies are as long as asked for, and single bytes, which would
    make no text.
    """
    alphabet = {*pre_tokenizers.ByteLevel.alphabet(), *SPECIAL, CALL}
    vocabulary = tokenizer.get_vocab()
    return len(vocabulary), [vocabulary[token] for token in sorted(alphabet & set(vocabulary))]


def _add_weights(writer: gguf.GGUFWriter, tokens: int, unsaid: list[int]) -> None:
    random = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        made = random.normal(0, 0.3, shape) if len(shape) > 1 else np.ones(shape)
        if name == "output":
            made[unsaid] = 0.0  # the best of hundreds of others is far above nothing
        writer.add_tensor(f"{name}.weight", made.astype(np.float32))

    add("token_embd", tokens, WIDTH)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{name}", WIDTH, WIDTH)
    for name in ("ffn_gate", "ffn_up"):
        add(f"blk.0.{name}", HIDDEN, WIDTH)
    add("blk.0.ffn_down", WIDTH, HIDDEN)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        add(name, WIDTH)
    add("output", tokens, WIDTH)
