"""What cannot be loaded and what cannot be set is refused when the backend is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from finite_memory_core import BackendError, ConfigError, Message
from finite_memory_local import HuggingFaceBackend

from .families import VOCABULARY, context, model, tokenizer
from .test_backend import backend
from .test_exact import said

_HELLO = Message.user("Hello")


def saved(folder: Path, **fields: Any) -> Path:
    """Write the tiny model and its tokenizer; returns the file of its weights."""
    model(**fields).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder / "model.safetensors"


def bert(**fields: Any) -> Any:
    """Return a tiny BERT with the head of a language model."""
    config = tf.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, bos_token_id=None, eos_token_id=None, **fields,
    )  # fmt: skip
    torch.manual_seed(0)
    made = tf.BertLMHeadModel(config).eval()  # type: ignore[no-untyped-call]
    for weight in made.parameters():
        if weight.ndim == 2:
            weight.data.mul_(4.0)
    return made


def test_a_model_whose_earlier_logits_see_later_tokens_is_refused(tmp_path: Path) -> None:
    """Whatever it is called; the same architecture as a decoder is taken."""
    with pytest.raises(ConfigError, match=r"BertLMHeadModel.*later"):
        backend(model=bert())
    bert().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="later"):
        HuggingFaceBackend(str(tmp_path), tokenizer=tokenizer())
    backend(model=bert(is_decoder=True))


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    """A file that ends too early, with the error of ours."""
    file = saved(tmp_path)
    for length in (file.stat().st_size - 500, 1_000, 4):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(BackendError, match=r"cannot be loaded.*again"):
            HuggingFaceBackend(str(tmp_path))


def test_weights_that_the_file_lacks_are_refused(tmp_path: Path) -> None:
    """They would be random; such as are tied to others are not missing."""
    file = saved(tmp_path / "whole")
    weights = load_file(file)
    some = {name: weight for name, weight in weights.items() if "layers.1" not in name}
    save_file(some, file, metadata={"format": "pt"})
    with pytest.raises(BackendError, match=r"9 of its weights.*model\.layers\.1"):
        HuggingFaceBackend(str(tmp_path / "whole"))
    tied = saved(tmp_path / "tied", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(tied)
    said(HuggingFaceBackend(str(tmp_path / "tied"), max_new_tokens=2), _HELLO)


NOWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "no device": ({"device": "gpu"}, "device='gpu'"),
    "no word": ({"device": None}, "device=None"),
    "no dtype": ({"dtype": "float17"}, "dtype='float17'"),
    "no dtype of weights": ({"dtype": torch.int8}, r"dtype=torch\.int8"),
    "no dtype at all": ({"dtype": 16}, "dtype=16"),
}


@pytest.mark.parametrize("case", NOWHERE)
def test_a_device_or_a_dtype_that_is_none_is_refused(case: str, tmp_path: Path) -> None:
    """With the value, as a setting."""
    saved(tmp_path)
    options, message = NOWHERE[case]
    with pytest.raises(ConfigError, match=message):
        HuggingFaceBackend(str(tmp_path), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_is_refused(tmp_path: Path) -> None:
    """Before the weights are read."""
    with pytest.raises(ConfigError, match="device='cuda'"):
        HuggingFaceBackend(str(saved(tmp_path).parent), device="cuda")


def test_a_device_and_a_dtype_are_torchs_own_words(tmp_path: Path) -> None:
    """Objects and names alike."""
    saved(tmp_path)
    for dtype in ("bfloat16", torch.bfloat16):
        made = HuggingFaceBackend(str(tmp_path), device=torch.device("cpu"), dtype=dtype)  # type: ignore[arg-type]
        assert torch.bfloat16 == made.model.dtype


def test_a_model_in_training_is_taken_out_of_it() -> None:
    """Else dropout would make of a greedy reply another one each time."""
    loaded = model("GPT-2")
    expected = said(backend(model=loaded), _HELLO)
    loaded.train()
    made = backend(model=loaded)
    assert not loaded.training
    assert expected == said(made, _HELLO)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no generation config": ({"generation": {"do_sample": True}}, r"GenerationConfig.*do_sample"),
    "a stop string that is none": ({"stop_strings": 5}, "stop_strings=5"),
    "stop strings that are none": ({"stop_strings": ["a", 5]}, r"stop_strings=\['a', 5\]"),
    "an empty stop string": ({"stop_strings": ["a", ""]}, r"stop_strings=\['a', ''\]"),
    "an empty string": ({"stop_strings": ""}, "stop_strings=''"),
    "tokens in words": ({"max_new_tokens": "5"}, "max_new_tokens='5'"),
    "half a token": ({"max_new_tokens": 2.5}, r"max_new_tokens=2\.5"),
    "true tokens": ({"max_new_tokens": True}, "max_new_tokens=True"),
    "least tokens": ({"min_new_tokens": "5"}, "min_new_tokens='5'"),
    "a word for a seed": ({"seed": "x"}, "seed='x'"),
    "half a seed": ({"seed": 1.5}, r"seed=1\.5"),
    "a seed too large": ({"seed": 2**64}, f"seed={2**64}"),
    "a penalty": ({"repetition_penalty": -1.0}, r"penalty.*-1\.0"),
    "no bad words": ({"bad_words_ids": []}, "bad_words_ids"),
    "no bias": ({"sequence_bias": {}}, "sequence_bias"),
    "typical": ({"do_sample": True, "typical_p": -1.0}, "typical_p"),
    "top p": ({"do_sample": True, "top_p": -1.0}, "top_p"),
    "top k": ({"do_sample": True, "top_k": -3}, "top_k"),
    "a time": ({"max_time": "soon"}, "max_time"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_setting_that_no_turn_could_use_is_refused(case: str) -> None:
    """When the backend is built, with the value."""
    options, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        backend(**options)


def test_settings_of_every_kind_are_taken() -> None:
    """What is checked is not what would be refused in the turn alone; nothing is read for it."""
    made = backend(
        do_sample=True, temperature=0.7, top_k=5, top_p=0.9, min_p=0.05, typical_p=0.9,
        repetition_penalty=1.1, no_repeat_ngram_size=3, bad_words_ids=[[7]], seed=-1,
        sequence_bias=[[[8], 1.0]], exponential_decay_length_penalty=(2, 1.1),
        generation=GenerationConfig(max_time=60.0),  # type: ignore[no-untyped-call]
    )  # fmt: skip
    assert said(made, _HELLO) == said(made, _HELLO)


@pytest.mark.parametrize("window", [1, 4, 16, 24])
def test_a_model_with_a_window_of_few_tokens_is_examined_within_it(window: int) -> None:
    """Learned positions end there."""
    made = backend(model=model("GPT-2", n_positions=window), tokenizer=tokenizer(None))
    assert made.window == window
    assert (window > 13) == made.capability.reuse
    if window == 24:
        assert list(made.stream(context(Message.user("a"))))[-1].finish in ("length", "stop")
