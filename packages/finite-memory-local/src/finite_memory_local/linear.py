"""One row through a linear layer, on a CPU, at the speed of memory.

The matrix product that PyTorch calls for a single row in float32 reads the weights at half the
speed that memory has. The batched product, given the halves of the same weights, reads them at
the whole of it. A token of a reply is one row through every weight there is, so this is most of
its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_PARTS = 2
"""Into which the weights are cut; as many threads as there are share the work all the same."""


@contextmanager
def single_rows(model: Any) -> Iterator[None]:
    """Let the model's plain linear layers take a single row our way, in the block.

    What is quantised, adapted or hooked in some other way is left alone. The caller holds the
    model's lock.
    """
    changed = [module for module in model.modules() if _is_plain(module)]
    for module in changed:
        module.forward = partial(_forward, module)
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


def _forward(module: nn.Linear, input: Tensor) -> Tensor:  # noqa: A002  # as PyTorch calls it
    """Return what the layer returns for `input`, (..., features)."""
    weight = module.weight
    outputs, inputs = weight.shape
    if input.numel() != inputs or input.dtype != weight.dtype:
        return linear(input, weight, module.bias)
    column = input.reshape(1, inputs, 1).expand(_PARTS, inputs, 1)
    made = torch.bmm(weight.view(_PARTS, outputs // _PARTS, inputs), column)
    made = made.view(*input.shape[:-1], outputs)
    return made if module.bias is None else made + module.bias
