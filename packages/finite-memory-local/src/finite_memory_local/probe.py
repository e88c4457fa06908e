"""What a model's cache allows, found by asking the model: no list of names.

One token, alone, attends to itself only, so that no layer's input depends on where the token
stands. Read once at one position and once at another, its cached states show per layer how
positions get into them: not at all, by a rotation that can be repeated, or in a way that cannot be
undone. A few more tokens, read in one piece and in several, show whether a cache can be continued.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

from finite_memory_core import ConfigError

from .layers import KeptLayer
from .loading import device_of, window_of
from .rotation import Rotation

_NEAR, _FAR = 5, (131, 37, 11)
"""Positions that are compared; nearer ones for a model whose frequencies soon change."""

_PIECES = (5, 4, 1, 3)
"""Tokens of the pieces in which a cache is continued."""


@dataclass(frozen=True, slots=True)
class LayerKind:
    """How positions stand in a layer's states.

    Attributes:
        slot: what carries them: ``"keys"``, ``"values"``, or ``""`` for neither.
        rotation: how they stand there; None where there are none.
    """

    slot: str = ""
    rotation: Rotation | None = None

    def __str__(self) -> str:
        if self.rotation is None:
            return "position-free"
        pairs = "interleaved" if self.rotation.interleaved else "halves"
        return f"rotary {self.slot}, {self.rotation.width} wide, {pairs}"


@dataclass(frozen=True, slots=True)
class Capability:
    """What the cache of one model allows.

    Attributes:
        kept: whether our own layers can hold it: attention in every layer.
        reuse: whether a cache can be continued at all with the outcome of one forward.
        cut: whether its tail can be dropped.
        layers: how to move each layer's states; empty where `why_not` says why they cannot be.
        why_not: why tokens in the middle cannot leave; None where they can.
        limit: positions up to which states hold; None for no limit. Beyond, this model computes
            all of them anew.
        count: layers that hold something.
        devices: where the model computes each of `layers`.
    """

    kept: bool
    reuse: bool
    cut: bool
    layers: tuple[LayerKind, ...] = ()
    why_not: str | None = None
    limit: int | None = None
    count: int = 0
    devices: tuple[torch.device, ...] = ()

    @property
    def shift(self) -> bool:
        """Whether tokens in the middle can leave."""
        return self.reuse and self.why_not is None

    def new_cache(self, model: Any) -> Cache:
        """Return an empty cache of the right kind."""
        if self.kept:
            return Cache(layers=[KeptLayer() for _ in range(self.count)])
        return DynamicCache(config=model.config)


@dataclass(slots=True)
class _Probe:
    """The model under examination."""

    model: Any
    device: torch.device
    vocabulary: int
    window: int | None
    count: int
    kept: bool
    places: bool = field(init=False)

    def __post_init__(self) -> None:
        self.places = "position_ids" in inspect.signature(self.model.forward).parameters

    def empty(self) -> Cache:
        if self.kept:
            return Cache(layers=[KeptLayer() for _ in range(self.count)])
        return DynamicCache(config=self.model.config)

    def read(self, ids: Tensor, cache: Cache, position: int | None = None) -> Tensor:
        """Read ids, (1, tokens), into the cache; returns the last logits."""
        where = {} if position is None else {"position_ids": self._at(position)}
        out = self.model(input_ids=ids, cache=cache, use_cache=True, **where)
        last: Tensor = out.logits[0, -1].float()
        return last

    def devices(self) -> tuple[torch.device, ...]:
        """Return where each layer's states are: a model may be spread over several."""
        cache = self.empty()
        self.read(self.ids(1), cache)
        layers: list[Any] = cache.layers
        return tuple(layer.keys.device for layer in layers)

    def _at(self, position: int) -> Tensor:
        return torch.tensor([[position]], device=self.device)

    def ids(self, count: int) -> Tensor:
        """Return token ids that are all different, as far as the vocabulary goes."""
        rng = torch.Generator().manual_seed(0)
        return torch.randperm(self.vocabulary, generator=rng)[None, :count].to(self.device)

    def states(self, position: int) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's keys and values of one token at that position."""
        cache = self.empty()
        self.read(self.ids(1), cache, position)
        layers: list[Any] = cache.layers
        return [(layer.keys.clone(), layer.values.clone()) for layer in layers]


@torch.no_grad()
def examine(model: Any, vocabulary: int, window: int | None) -> Capability:
    """Find out what the cache of `model` allows.

    Args:
        model: a causal language model, ready to run.
        vocabulary: how many token ids it knows.
        window: the most positions that it has; None for no end.

    Raises:
        ConfigError: it is none: what it says depends on what comes later.
    """
    native = DynamicCache(config=model.config)
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    kept = bool(native.layers) and all(type(layer) in plain for layer in native.layers)
    probe = _Probe(model, device_of(model), vocabulary, window, len(native.layers), kept)
    if _sees_later(probe):
        raise ConfigError(
            f"{type(model).__name__} is no causal language model: with another token behind the "
            "first one its logits at the first one change, so a reply would depend on what comes "
            "later; load a model that was trained to go on with a text (BERT and its like have "
            "is_decoder=True for that)"
        )
    reuse = _continues(probe)
    if not kept:
        kinds = {type(layer).__name__ for layer in native.layers if type(layer) not in plain}
        why = f"its layers hold more than keys and values ({', '.join(sorted(kinds)) or 'unknown'})"
        return Capability(False, reuse, False, why_not=why, count=len(native.layers))
    if not reuse:
        why = "its cache cannot be continued"
        return Capability(True, False, True, why_not=why, count=probe.count)
    return _shifting(probe)


def _sees_later(probe: _Probe) -> bool:
    """Whether logits depend on later ids. Logits that are no numbers say nothing about it."""
    if probe.window == 1:
        return False
    ids = probe.ids(3)
    first, other = (
        probe.model(input_ids=ids[:, [0, later]], use_cache=False).logits[0, 0].float()
        for later in (1, 2)
    )
    tolerance = 1e-4 if probe.model.dtype == torch.float32 else 2e-2
    return bool((first - other).norm() > tolerance * first.norm())


def _continues(probe: _Probe) -> bool:
    """Whether reading in pieces comes to what reading at once does."""
    if probe.window is not None and probe.window < sum(_PIECES):
        return False  # beyond its window a model has no positions; on CUDA nothing runs after that
    ids = probe.ids(sum(_PIECES))
    try:
        whole, cache = probe.read(ids, probe.empty()), probe.empty()
        last, done = whole, 0
        for count in _PIECES:
            last = probe.read(ids[:, done : done + count], cache)
            done += count
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # said by the backend, as a fallback
    tolerance = 1e-3 if whole.dtype == probe.model.dtype else 0.1
    return bool((last - whole).abs().max() <= tolerance * whole.abs().max().clamp(min=1.0))


def _shifting(probe: _Probe) -> Capability:
    """Find how each layer's states can be moved."""

    def found(layers: tuple[LayerKind, ...], why: str | None, limit: int | None) -> Capability:
        return Capability(True, True, True, layers, why, limit, probe.count, probe.devices())

    if not probe.places:
        free = _is_position_free(probe)
        kinds = (LayerKind(),) * probe.count if free else ()
        why = None if free else "its positions cannot be chosen, and its keys depend on them"
        return found(kinds, why, None)
    before, candidates, unknown = probe.states(_NEAR), list(_candidates(probe.model)), 0
    for far in _FAR:
        far = far if probe.window is None else min(far, probe.window - 1)
        after = probe.states(far)
        seen = [
            _kind(old, new, _NEAR, far, candidates) for old, new in zip(before, after, strict=True)
        ]
        known = tuple(kind for kind in seen if kind is not None)
        if len(known) == len(seen):
            return found(known, None, _limit(probe, known, before, far))
        unknown = seen.index(None)
    return found((), f"layer {unknown}'s states depend on positions, by no known rotation", None)


def _candidates(model: Any) -> Iterator[Rotation]:
    """Yield the rotations that the model may use: its own frequencies, in both pairings."""
    seen: list[Tensor] = []
    for name, buffer in model.named_buffers():
        if name.endswith("inv_freq") and "original" not in name and buffer.ndim == 1:
            seen.append(buffer.detach().float().clone())
    width = getattr(model.config, "rotary_dim", None)
    if not seen and isinstance(width, int):
        steps = torch.arange(0, width, 2, dtype=torch.float32, device=device_of(model))
        seen.append(10_000.0 ** -(steps / width))
    for i, frequencies in enumerate(seen):
        if not any(torch.equal(frequencies, other) for other in seen[:i]):
            yield Rotation(frequencies, interleaved=False)
            yield Rotation(frequencies, interleaved=True)


def _kind(
    old: tuple[Tensor, Tensor],
    new: tuple[Tensor, Tensor],
    near: int,
    far: int,
    candidates: list[Rotation],
) -> LayerKind | None:
    """Return how one layer's states depend on the position; None if in no way that is known."""
    same = [_alike(a, b) for a, b in zip(old, new, strict=True)]
    if all(same):
        return LayerKind()
    for slot, moved, other in (("keys", 0, 1), ("values", 1, 0)):
        if not same[other]:
            continue
        for rotation in candidates:
            if _alike(_turned(old[moved], rotation, near, far), new[moved]):
                return LayerKind(slot, rotation)
    return None


def _turned(states: Tensor, rotation: Rotation, old: int, new: int) -> Tensor:
    if rotation.width > states.shape[-1]:
        return states
    device = states.device
    angles = rotation.angles(torch.tensor([old], device=device), torch.tensor([new], device=device))
    turned = torch.empty_like(states)
    rotation.turn(states, *angles, turned)
    return turned


def _alike(a: Tensor, b: Tensor) -> bool:
    tolerance = 1e-4 if a.dtype == torch.float32 else 2e-2
    return bool((a.float() - b.float()).norm() <= tolerance * b.float().norm())


def _limit(
    probe: _Probe, kinds: tuple[LayerKind, ...], before: list[tuple[Tensor, Tensor]], far: int
) -> int | None:
    """Return the most tokens for which the rotations hold; None for no end.

    Some scalings of rotary positions change their frequencies with the length. Their buffers
    change with it, so what was there before is put back.
    """
    named = probe.model.named_buffers()
    buffers = [(buffer, buffer.clone()) for name, buffer in named if name.endswith("inv_freq")]
    if not buffers or probe.window is None:
        return None

    def holds(position: int) -> bool:
        return all(
            kind.rotation is None or _kind(old, new, _NEAR, position, [kind.rotation]) is not None
            for kind, old, new in zip(kinds, before, probe.states(position), strict=True)
        )

    try:
        low, high = far, 4 * probe.window
        if holds(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if holds(middle) else (low, middle)
        return high
    finally:
        probe.states(_NEAR)
        for buffer, kept in buffers:
            if buffer.shape == kept.shape:
                buffer.copy_(kept)


def _is_position_free(probe: _Probe) -> bool:
    """Whether the first layer's keys are the same with a token missing before them."""
    ids = probe.ids(6)
    whole, fewer = probe.empty(), probe.empty()
    probe.read(ids, whole)
    probe.read(torch.cat([ids[:, :2], ids[:, 3:]], 1), fewer)
    first: Any = whole.layers[0]
    second: Any = fewer.layers[0]
    one_kind = len({type(m) for m in _attentions(probe.model)}) <= 1
    return one_kind and _alike(first.keys[:, :, 3:], second.keys[:, :, 2:])


def _attentions(model: Any) -> Iterator[torch.nn.Module]:
    for module in model.modules():
        if hasattr(module, "layer_idx"):
            yield module


@torch.no_grad()
def same_with_ours(model: Any, vocabulary: int) -> bool:
    """Whether the model takes our attention function, and comes to the same with it."""
    from .generating import attending

    rng = torch.Generator().manual_seed(0)
    count = min(24, window_of(model) or 24)
    ids = torch.randint(vocabulary, (1, count), generator=rng).to(device_of(model))
    whole = model(input_ids=ids, use_cache=False).logits[0].float()
    try:
        with attending(model, is_ours=True):
            ours = model(input_ids=ids, use_cache=False).logits[0].float()
    except ValueError:
        return False
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((ours - whole).abs().max() <= tolerance * whole.abs().max().clamp(min=1.0))
