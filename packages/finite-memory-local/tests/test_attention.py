"""The attention function: packed for a group, it comes to what PyTorch's own does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from finite_memory_local.attention import attend


def expected(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return the attention, by the plain way."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    made = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return made.transpose(1, 2)


@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 2), (4, 1)])
@pytest.mark.parametrize("window", [None, 5])
def test_a_mask_serves_all_layers_and_is_looked_at_again_when_it_changes(
    heads: int, kv_heads: int, window: int | None
) -> None:
    """Whether it says what is seen or what is added, for the same group or another."""
    count, tokens, dim = 4, 20, 16
    module = SimpleNamespace(layer_idx=0)
    seen = torch.ones(count, tokens, dtype=torch.bool).tril(tokens - count)
    if window is not None:
        seen &= torch.ones_like(seen).triu(tokens - count - window)
    masks = [seen[None, None], torch.zeros(1, 1, count, tokens).masked_fill(~seen, -1e9)]
    for mask in masks:
        for change in (False, False, True, False):
            if change:
                mask[..., 3] = 0 if mask.dtype == torch.bool else -1e9
            for group_heads in (heads, 2 * heads):
                query = torch.randn(1, group_heads, count, dim)
                key, value = torch.randn(2, 1, kv_heads, tokens, dim)
                made, _ = attend(module, query, key, value, mask)
                torch.testing.assert_close(made, expected(query, key, value, mask))
