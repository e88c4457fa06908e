"""The attention function: packed for a group, it comes to what PyTorch's own does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import (
    causal_mask_function,
    sdpa_mask,
    sliding_window_causal_mask_function,
)

from finite_memory_core import Message
from finite_memory_local import attention
from finite_memory_local.attention import attend, causal, is_plain, mask

from .test_exact import said
from .test_shift import shifting, talk


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
    for one in masks:
        for change in (False, False, True, False):
            if change:
                one[..., 3] = 0 if one.dtype == torch.bool else -1e9
            for group_heads in (heads, 2 * heads):
                query = torch.randn(1, group_heads, count, dim)
                key, value = torch.randn(2, 1, kv_heads, tokens, dim)
                made, _ = attend(module, query, key, value, one)
                torch.testing.assert_close(made, expected(query, key, value, one))


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 2), (4, 4)])
def test_queries_behind_many_keys_see_all_before_them(
    heads: int, kv_heads: int, count: int
) -> None:
    """Without a mask, what a mask would have come to."""
    tokens, dim = 20, 16
    query = torch.randn(1, heads, count, dim)
    key, value = torch.randn(2, 1, kv_heads, tokens, dim)
    seen = torch.ones(count, tokens, dtype=torch.bool).tril(tokens - count)
    made = causal(query, key, value, None).transpose(1, 2)
    torch.testing.assert_close(made, expected(query, key, value, seen[None, None]))


def test_only_a_mask_that_hides_nothing_but_later_keys_says_so() -> None:
    """Not one of a sliding window, of a padded text, of a cache with room, or that was changed."""
    asked: dict[str, Any] = {
        "batch_size": 1, "q_length": 3, "kv_length": 9, "q_offset": 6, "kv_offset": 0,
        "mask_function": causal_mask_function, "allow_is_causal_skip": True,
    }  # fmt: skip
    padded = torch.ones(1, 9, dtype=torch.bool)
    plain = mask(**asked, attention_mask=padded.clone())
    padded[0, 0] = False
    window = sliding_window_causal_mask_function(4)
    assert plain is not None
    assert is_plain(plain)
    others = [
        plain[..., :5],
        mask(**asked, attention_mask=padded),
        mask(**{**asked, "mask_function": window}, local_size=4),
        mask(**{**asked, "kv_length": 12}),
        mask(**{**asked, "q_offset": torch.tensor(6)}),
    ]
    for other in others:
        assert other is not None
        assert not is_plain(other)
    plain[..., 0] = False
    assert not is_plain(plain)


def test_such_a_mask_is_what_it_was() -> None:
    """Whoever looks at it finds transformers' own."""
    asked: dict[str, Any] = {"batch_size": 1, "q_length": 3, "kv_length": 9, "q_offset": 6}
    made, own = mask(**asked), sdpa_mask(**asked)
    assert made is not None
    assert own is not None
    assert torch.equal(made, own)


def test_a_new_turn_behind_a_kept_cache_has_such_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the fastest function would never be called, and nothing but time would say so."""
    seen: list[tuple[int, bool]] = []
    plain = attention._is_causal

    def watched(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
    ) -> bool:
        if mask is not None:
            seen.append((query.shape[2], is_plain(mask) and mask.shape[3] == key.shape[2]))
        return plain(query, key, value, mask, kwargs)

    backend = shifting()
    held = talk(backend, 3)
    monkeypatch.setattr(attention, "_is_causal", watched)
    del held[1:3]
    said(backend, *held, Message.user("And now?"))
    assert backend.cache_stats.shifted > 0
    assert seen
    assert all(count > 1 and is_the_plain_one for count, is_the_plain_one in seen)


@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 2), (4, 1)])
@pytest.mark.parametrize(("count", "scaling"), [(2, None), (31, 0.3)])
@torch.no_grad()
def test_few_rows_behind_many_keys_come_to_the_same(
    heads: int, kv_heads: int, count: int, scaling: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whole products where the mask hides nothing but later keys, else by the fused function."""
    tokens, dim, called = 2_100, 16, []
    whole = attention.few

    def watched(*args: Any) -> Tensor:
        called.append(args[0].shape)
        return whole(*args)

    monkeypatch.setattr(attention, "few", watched)
    asked: dict[str, Any] = {
        "batch_size": 1, "q_length": count, "kv_length": tokens, "q_offset": tokens - count,
        "kv_offset": 0, "allow_is_causal_skip": True,
    }  # fmt: skip
    window = sliding_window_causal_mask_function(50)
    plain = mask(**asked, mask_function=causal_mask_function)
    narrow = mask(**asked, mask_function=window, local_size=50)
    module = SimpleNamespace(layer_idx=0)
    with torch.inference_mode():
        uncounted = mask(**asked, mask_function=causal_mask_function)
    for seen, takes in ((plain, True), (plain, True), (narrow, False), (uncounted, False)):
        assert seen is not None
        query = torch.randn(1, heads, count, dim)
        # as a cache hands them over: the beginning of a buffer with room to grow
        key, value = torch.randn(2, 1, kv_heads, tokens + 40, dim)[..., :tokens, :]
        called.clear()
        made, _ = attend(module, query, key, value, seen, scaling=scaling)
        scale = 1.0 if scaling is None else scaling * dim**0.5
        torch.testing.assert_close(made, expected(scale * query, key, value, seen))
        assert called == [(1, kv_heads, heads // kv_heads * count, dim)] * takes


def test_a_model_that_is_trained_gets_gradients() -> None:
    """Products that are written in place have none, so they are not used there."""
    tokens, count = 2_100, 3
    seen = mask(
        batch_size=1, q_length=count, kv_length=tokens, q_offset=tokens - count, kv_offset=0,
        mask_function=causal_mask_function, allow_is_causal_skip=True,
    )  # fmt: skip
    query = torch.randn(1, 4, count, 16, requires_grad=True)
    key, value = torch.randn(2, 1, 2, tokens, 16)
    attend(SimpleNamespace(layer_idx=0), query, key, value, seen)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert query.grad is not None
