"""What a policy evicts leaves the cache itself, and what stays is not read again."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from finite_memory_core import Message
from finite_memory_local import HuggingFaceBackend
from finite_memory_local.attention import NAME, Recorder, recording
from finite_memory_local.generating import read
from finite_memory_local.importance import _weights
from finite_memory_local.rotation import Rotation

from .families import DEVICE, FAMILIES, context, conversation, count_read, model, tokenizer
from .test_exact import SYSTEM, fresh, prompt, said

SHIFTABLE = [
    name
    for name in FAMILIES
    if name
    not in {
        "GPT-2",
        "GPT BigCode, multi-query",
        "OPT",
        "LFM2, convolutions",
        "Qwen3-Next, linear attention",
        "Mamba",
    }
]


BARE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
"""A template that puts nothing around messages."""


def shifting(family: str = "Llama", **more: Any) -> HuggingFaceBackend:
    """Return a backend that shifts."""
    made = more.pop("model", None) or model(family)
    options = {"max_new_tokens": 6, "tokenizer": tokenizer(), "kv": "shift", **more}
    return HuggingFaceBackend(made, **options)


@torch.no_grad()
def first_layer_error(backend: HuggingFaceBackend, session_id: str = "s") -> float:
    """Return how far layer 0's states are from those of a fresh prefill of the ledger's ids."""
    session = backend._sessions[session_id]
    assert session.length == session.held
    fresh_cache = backend.capability.new_cache(backend.model)
    backend.model(input_ids=torch.tensor([session.ids], device=DEVICE), cache=fresh_cache)
    layer: Any = session.layers[0]
    other: Any = fresh_cache.layers[0]
    return max(
        float((a.float() - b.float()).norm() / b.float().norm())
        for a, b in ((layer.keys, other.keys), (layer.values, other.values))
    )


@torch.no_grad()
def attention_error(made: Any, backend: HuggingFaceBackend) -> float:
    """Return how far the first layer's attention is from that on the keys of a fresh prefill.

    As a total variation: half of what the weights differ by in sum, the most of any query.
    """
    session = backend._sessions["s"]
    fresh_cache = backend.capability.new_cache(made)
    recorder = Recorder(16)
    made.set_attn_implementation(NAME)
    with recording(recorder):
        made(input_ids=torch.tensor([session.ids], device=DEVICE), cache=fresh_cache)
    made.set_attn_implementation("sdpa")
    seen = recorder.queries[0]
    layers: list[Any] = [session.layers[0], fresh_cache.layers[0]]
    ours, theirs = (
        _weights(seen.queries.double(), layer.keys[0].double(), seen.scaling, seen.window)
        for layer in layers
    )
    return float((ours - theirs).abs().sum(-1).max() / 2)


def talk(backend: HuggingFaceBackend, turns: int, seed: int = 3) -> list[Message]:
    """Hold a conversation of some turns and return it."""
    held = [SYSTEM]
    for question in conversation(seed, turns):
        held.append(question)
        held.append(said(backend, *held))
    return held


@pytest.mark.parametrize("family", FAMILIES)
def test_the_probe_says_what_a_family_allows(family: str) -> None:
    """Rotary, position-free and latent states can be moved; learned positions and states not."""
    capability = shifting(family).capability
    assert (family in SHIFTABLE) == capability.shift
    assert (family != "Mamba") == capability.reuse


@pytest.mark.parametrize("family", SHIFTABLE)
def test_what_stays_is_moved_and_not_read_again(family: str) -> None:
    """Evicting in the middle reads the new message only, and layer 0 is that of a fresh prefill."""
    backend = shifting(family)
    held = talk(backend, 4)
    del held[3:7]
    held.append(Message.user("And now?"))
    before, earlier = len(backend._sessions["s"].ids), backend.cache_stats.evicted
    seen, stop = count_read(backend.model)
    usage = list(backend.stream(context(*held)))[-1].usage
    stop()
    assert usage is not None
    reused = usage.cached_tokens or 0
    assert usage.input_tokens - reused + usage.output_tokens - 1 == sum(seen)
    assert 0 < usage.input_tokens - reused < 60
    assert backend.cache_stats.shifted > 0
    assert before - reused == backend.cache_stats.evicted - earlier
    assert first_layer_error(backend) < 1e-5


def test_an_evicted_turn_is_close_to_a_fresh_one_where_nothing_depended_on_it() -> None:
    """With one layer, what stays has seen nothing: shift is exact."""
    backend = shifting(model=model("Llama", num_hidden_layers=1))
    held = talk(backend, 4)
    del held[1:5]
    held.append(Message.user("And now?"))
    ids = prompt(backend, held)
    expected = backend.tokenizer.decode(fresh(backend, ids, 6), skip_special_tokens=True)
    assert expected == said(backend, *held).text
    assert backend.cache_stats.shifted > 0


def test_an_insertion_is_read_where_it_stands() -> None:
    """A new summary in front is read there, and what stands behind it is moved, not read."""
    backend = shifting()
    held = talk(backend, 4)
    held[1:3] = [Message.system("Summary: they talked about plums and Turin.")]
    held.append(Message.user("And now?"))
    usage = list(backend.stream(context(*held)))[-1].usage
    assert usage is not None
    assert usage.input_tokens - (usage.cached_tokens or 0) < 130
    assert first_layer_error(backend) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_insertion_behind_what_left_needs_no_sinks(dtype: torch.dtype) -> None:
    """Where nothing stays in front, what is kept is put into an empty cache, and the new read."""
    backend = shifting(sinks=0, model=model("Llama").to(dtype))
    held = talk(backend, 4)[3:]
    held[2:2] = [Message.user("By the way.")]
    held.append(Message.user("And now?"))
    usage = list(backend.stream(context(*held)))[-1].usage
    assert usage is not None
    assert backend.cache_stats.shifted == usage.cached_tokens
    assert usage.input_tokens - (usage.cached_tokens or 0) < 100
    assert first_layer_error(backend) < (1e-5 if dtype == torch.float32 else 5e-3)


def test_a_deletion_is_read_anew_from_the_first_message_that_differs() -> None:
    """After a forget no state is left that has seen what was forgotten, whenever it left."""
    backend = shifting()
    held = talk(backend, 5)
    forgotten = held[3:5]
    del held[3:5]
    held.append(Message.user("And now?"))
    held.append(said(backend, *held))  # an eviction: what stays has seen it
    held.append(Message.user("Forget it."))
    ids = prompt(backend, held)
    expected = backend.tokenizer.decode(fresh(backend, ids, 6), skip_special_tokens=True)
    usage = list(backend.stream(context(*held, erasures=1)))[-1].usage
    assert usage is not None
    before = prompt(backend, held[:3])
    assert usage.cached_tokens is not None
    assert usage.cached_tokens <= len(before)
    assert forgotten
    assert expected.startswith(said(backend, *held, erasures=1).text[:1])


def test_first_tokens_stay_when_their_message_leaves() -> None:
    """Without instructions the first tokens are kept as sinks, and the ledger says so."""
    backend = shifting()
    held = talk(backend, 3)[1:]
    backend.drop()
    told: list[Message] = []
    for message in held[::2]:
        told.append(message)
        told.append(said(backend, *told))
    first = backend._sessions["s"].ids[:4]
    del told[:2]
    for question in conversation(9, 3):
        told.append(question)
        told.append(said(backend, *told))
        assert first == backend._sessions["s"].ids[:4]
        assert first_layer_error(backend) < 1e-5


def test_sinks_do_not_stay_under_another_conversation() -> None:
    """Where nothing else is kept, the outcome is that of a fresh model."""
    backend = shifting()
    told: list[Message] = []
    for question in conversation(9, 3):
        told.append(question)
        told.append(said(backend, *told))
    told = [*told[2:], Message.user("And now?")]
    said(backend, *told)
    assert backend._sessions["s"]._sink is not None
    other = [Message.user("Good day.")]
    ids = prompt(backend, other)
    expected = backend.tokenizer.decode(fresh(backend, ids, 6), skip_special_tokens=True)
    assert expected.replace("\0", "\ufffd") == said(backend, *other).text
    assert ids == backend._sessions["s"].ids[: len(ids)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_thousand_evictions_do_not_drift(dtype: str) -> None:
    """Keys stay as near to fresh ones as one rounding, however often they are moved."""
    made = model("Llama", max_position_embeddings=8_192).to(getattr(torch, dtype))
    backend = shifting(model=made, max_new_tokens=1)
    held = [SYSTEM, *(Message.user(str(i)) for i in range(12))]
    list(backend.stream(context(*held)))
    session, moved = backend._sessions["s"], 0

    def reads(ids: Sequence[int]) -> None:
        assert session.cache is not None
        read(made, ids, session.cache, 512, Event())

    for i in range(1_000):
        del held[2 + i % 3]
        held.append(Message.user(str(i)))
        if i % 20 == 0:  # a turn in between reads what is new
            list(backend.stream(context(*held)))
            continue
        pieces = backend._renderer.render(held, (), {}).pieces
        moved += session.follow(session.plan(pieces, True, 0), reads).shifted
    assert moved > 20_000
    limit = {"float32": 1e-5, "bfloat16": 5e-3, "float16": 1e-3}[dtype]
    assert first_layer_error(backend) < limit
    assert attention_error(made, backend) < limit


def test_positions_may_be_on_another_device_than_the_frequencies() -> None:
    """The model's are on its accelerator, and positions are counted on the CPU."""
    rotation = Rotation(torch.ones(4), interleaved=False)
    there = torch.arange(3, device="meta")  # a device that every machine has
    assert [torch.Size([3, 4])] * 2 == [made.shape for made in rotation.angles(there, there)]


@pytest.mark.parametrize("template", [BARE, "<|endoftext|>" + BARE])
def test_first_tokens_stay_however_short_their_messages_are(template: str) -> None:
    """The sink grows over messages that leave, behind what begins every text; nothing is reread."""
    backend = shifting(tokenizer=tokenizer(template), max_new_tokens=1)
    held = [Message.user(text) for text in ("a", "b", "c", "d", "long enough", "and more")]
    list(backend.stream(context(*held)))
    first = backend._sessions["s"].ids[:4]
    for i in range(6):
        del held[0]
        held.append(Message.user(f"new {i}"))
        usage = list(backend.stream(context(*held)))[-1].usage
        assert usage is not None
        assert usage.input_tokens - (usage.cached_tokens or 0) == len(f"new {i}")
        assert first == backend._sessions["s"].ids[:4]
        assert first_layer_error(backend) < 1e-5


def test_an_eviction_computes_each_rotations_angles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once a layer: layers share them."""
    backend = shifting()
    held = talk(backend, 3)
    computed: list[Rotation] = []
    angles = Rotation.angles

    def counted(rotation: Rotation, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        computed.append(rotation)
        return angles(rotation, old, new)

    monkeypatch.setattr(Rotation, "angles", counted)
    del held[1:3]
    said(backend, *held, Message.user("And now?"))
    assert backend.cache_stats.shifted > 0
    assert len(backend.capability.layers) > 1
    assert len(computed) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("width", [8, 12])
def test_turning_is_a_product_of_complex_numbers(
    width: int, interleaved: bool, dtype: torch.dtype
) -> None:
    """Rounded once; what is not rotated is copied, and what is turned stays as it was."""
    rotation = Rotation(torch.rand(width // 2), interleaved)
    states = torch.randn(1, 3, 5, 12).to(dtype)
    before, made = states.clone(), torch.full_like(states, 7)
    old, new = torch.arange(5), torch.arange(5) * 3
    rotation.turn(states, *rotation.angles(old, new), made)
    part = states[..., :width].double()
    shape = (*part.shape[:-1], -1, 2) if interleaved else (*part.shape[:-1], 2, -1)
    part = part.view(shape) if interleaved else part.view(shape).mT
    by = torch.polar(
        torch.tensor(1.0).double(), (new - old)[:, None] * rotation.frequencies.double()
    )
    turned = torch.view_as_real(torch.view_as_complex(part.contiguous()) * by)
    turned = turned.flatten(-2) if interleaved else turned.mT.flatten(-2)
    expected = torch.cat([turned, states[..., width:].double()], -1)
    tolerance = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(made.double(), expected, rtol=tolerance, atol=tolerance)
    assert torch.equal(before, states)
