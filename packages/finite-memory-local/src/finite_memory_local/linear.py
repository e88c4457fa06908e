"""One row through a linear layer, on a CPU, at the speed of memory.

A token of a reply is one row through every weight there is, so this is most of its time. The
matrix product that PyTorch calls for a single row in float32 may read weights that are in no cache
at half the speed that memory has, where the batched product, given the halves of the same weights,
reads them at the whole of it. That depends on the library behind PyTorch and on who else keeps the
machine busy, so it is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_PARTS = 2
"""Into which the weights are cut; the library shares the work between its threads anyway."""
_TRIED = 2**27
"""Bytes of weights that are tried: more than caches hold."""


_Product = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def slow_on_rows(model: Any) -> list[nn.Linear]:
    """Return the model's plain linear layers, if our way is much faster for single rows here.

    What is quantised, adapted or hooked in some other way is left alone.
    """
    found = [module for module in model.modules() if _is_plain(module)]
    tried, size = [], 0
    for module in found:
        if size < _TRIED:
            size += 4 * module.weight.numel()
            tried.append((module.weight, torch.ones(1, module.in_features)))
    if size < _TRIED:
        return []
    theirs, ours = [], []
    for _ in range(5):
        theirs.append(_seconds(_usual, tried))
        ours.append(_seconds(_product, tried))
    return found if median(ours) < 0.8 * median(theirs) else []


def _seconds(product: _Product, tried: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the seconds that all products take.

    Ours is shared between threads, and the usual one is not: where others keep the machine busy,
    waiting for threads costs more than it gains, and that is to count.
    """
    began = perf_counter()
    for weight, row in tried:
        product(weight, row)
    return perf_counter() - began


_SLOW: WeakKeyDictionary[Any, list[nn.Linear]] = WeakKeyDictionary()


@contextmanager
def single_rows(model: Any) -> Iterator[None]:
    """Let the model's layers that are slow on single rows take them our way, in the block.

    The caller holds the model's lock. The first time, it is found out which they are.
    """
    torch.get_num_threads()  # a new thread learns how many when it asks, the library behind it too
    if model not in _SLOW:
        _SLOW[model] = slow_on_rows(model)
    with taking_rows(_SLOW[model]):
        yield


@contextmanager
def taking_rows(modules: Sequence[nn.Linear]) -> Iterator[None]:
    """Let plain linear layers take a single row our way, in the block."""
    changed = [module for module in modules if _is_plain(module)]
    for module in changed:
        module.forward = partial(_forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _is_plain(module: Any) -> bool:
    if type(module) is not nn.Linear or "forward" in module.__dict__:
        return False
    weight = module.weight
    return (
        type(weight) is nn.Parameter  # quantised ones are other kinds of tensors
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and weight.shape[0] % _PARTS == 0
    )


def _forward(module: nn.Linear, input: Tensor) -> Tensor:  # as PyTorch calls it
    """Return what the layer returns for `input`, (..., features)."""
    weight = module.weight
    outputs, inputs = weight.shape
    bias: Tensor | None = module.bias
    if input.numel() != inputs or input.dtype != weight.dtype:
        return linear(input, weight, bias)
    made = _product(weight, input).view(*input.shape[:-1], outputs)
    return made if bias is None else made + bias


def _usual(weight: Tensor, row: Tensor) -> Tensor:
    return linear(row, weight)


def _product(weight: Tensor, row: Tensor) -> Tensor:
    """Return the row times the weights, in parts.

    The strides of the column matter: with others, the same product is six times as slow.
    """
    outputs, inputs = weight.shape
    column = row.reshape(1, inputs).t().expand(_PARTS, inputs, 1)
    return torch.bmm(weight.view(_PARTS, outputs // _PARTS, inputs), column)
