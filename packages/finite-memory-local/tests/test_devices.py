"""A model that is spread over devices, or whose weights come when they are needed.

No second device that computes is to be had on most machines. What is checked with the meta device,
which holds shapes and no numbers, is where states are put; what accelerate's hooks bring from disk
is checked in full.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finite_memory_core import BackendError, ConfigError, Message
from finite_memory_local import HuggingFaceBackend

from .families import model, tokenizer
from .test_exact import said
from .test_shift import shifting, talk

META = torch.device("meta")


def on_disk(folder: Path) -> Any:
    """Return the tiny model with half of its weights on disk, brought by hooks."""
    accelerate = pytest.importorskip("accelerate", reason="the cuda extra is not installed")
    parts = ("embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb")
    places = {f"model.{part}": "disk" if i % 2 == 0 else "cpu" for i, part in enumerate(parts)}
    return accelerate.dispatch_model(
        model(), {**places, "lm_head": "disk"}, main_device="cpu", offload_dir=folder,
        force_hooks=True,
    )  # fmt: skip


@pytest.mark.parametrize("kv", ["exact", "shift"])
def test_weights_that_come_from_disk_say_the_same(kv: str, tmp_path: Path) -> None:
    """Turns and evictions are those of the model in memory."""
    made = HuggingFaceBackend(on_disk(tmp_path), tokenizer=tokenizer(), kv=kv, max_new_tokens=6)
    plain = shifting(kv=kv)
    assert (kv == "shift") <= made.capability.shift
    held = talk(plain, 3)
    assert held == talk(made, 3)
    del held[1:3]
    held.append(Message.user("And now?"))
    assert said(plain, *held) == said(made, *held)
    assert plain.cache_stats.reused == made.cache_stats.reused > 0
    with pytest.raises(BackendError, match="offloaded"):
        made.save_cache("s", tmp_path / "cache")


def test_what_is_saved_and_loaded_does_not_follow_pytorchs_default_device(tmp_path: Path) -> None:
    """A thread has one of its own, and turns run in another."""
    first, second = (shifting(model=model().to(torch.bfloat16)) for _ in range(2))
    held = talk(first, 4)
    del held[1:3]
    held.append(Message.user("And now?"))
    held.append(said(first, *held))
    with META:
        first.save_cache("s", tmp_path / "cache")
        second.load_cache("s", tmp_path / "cache")
    del held[1:3]
    held.append(Message.user("Go on."))
    assert said(first, *held) == said(second, *held)
    assert first.cache_stats.shifted > second.cache_stats.shifted > 0


def test_weights_that_are_nowhere_are_refused() -> None:
    """A model that was never loaded has no device that computes."""
    with torch.device("meta"):
        empty = model()
    with pytest.raises(ConfigError, match="never loaded"):
        HuggingFaceBackend(empty, tokenizer=tokenizer())


def test_each_layer_stays_where_the_model_computes_it(tmp_path: Path) -> None:
    """A turn does not gather the layers on the first device, and a loaded cache is spread."""
    made = shifting()
    said(made, Message.user("Hello."))
    assert (torch.device("cpu"),) * 2 == made.capability.devices
    made.save_cache("s", tmp_path / "cache")
    made.capability = replace(made.capability, devices=(torch.device("cpu"), META))
    made.load_cache("s", tmp_path / "cache")
    session = made._sessions["s"]
    made._ready(session)
    assert ["cpu", "meta"] == [layer.keys.device.type for layer in session.layers]
    assert [False, False] == [layer.is_away for layer in session.layers]
    session.layers[0].to(META)  # as if it had had to leave its device
    assert session.is_away
