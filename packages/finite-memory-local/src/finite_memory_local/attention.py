"""Attention as transformers lets it be plugged in: fast on a kept cache, and watched when asked.

With grouped queries, PyTorch's fused attention is slow on a CPU in half precision. Seen from the
other side, the queries of a group are just more rows against the same keys: packed so, the same
function is fast. On CUDA a few queries behind many keys come with a mask, with which PyTorch's
fastest function cannot be had, and with copies of the keys for every query head; where the mask is
the plain causal one, that function knows it by itself. The second use: the queries that pass by can
be remembered, for `importance`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "finite_memory"
"""Under which transformers knows it."""


class Seen(NamedTuple):
    """The last queries of a layer.

    Attributes:
        queries: (heads, queries, dim), positions and all.
        scaling: what their products with keys are multiplied by.
        window: how many keys a query sees; None for all before it.
    """

    queries: Tensor
    scaling: float
    window: int | None


class Recorder:
    """Remembers the last queries of each layer.

    Attributes:
        width: how many queries.
        queries: by layer.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.queries: dict[int, Seen] = {}

    def see(self, layer: int, query: Tensor, scaling: float, window: int | None) -> None:
        """Remember the last of `query`, (1, heads, tokens, dim)."""
        seen = query[0, :, -self.width :].detach()
        known = self.queries.get(layer)
        if known is not None and seen.shape[1] < self.width:
            seen = torch.cat([known.queries[:, seen.shape[1] - self.width :], seen], 1)
        self.queries[layer] = Seen(seen.clone(), scaling, window)


_RECORDER: ContextVar[Recorder | None] = ContextVar("finite_memory_recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Let `recorder` see the queries of what is computed in the block, in this thread."""
    token = _RECORDER.set(recorder)
    try:
        yield
    finally:
        _RECORDER.reset(token)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention, (1, queries, heads, dim), as transformers' own function would.

    Args:
        query: (1, heads, queries, dim).
        key, value: (1, key heads, tokens, dim).
        attention_mask: broadcast to (1, 1, queries, tokens), or None.
    """
    recorder = _RECORDER.get()
    if recorder is not None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        recorder.see(module.layer_idx, query, scale, kwargs.get("sliding_window"))
    if _is_causal(query, key, value, attention_mask, kwargs):
        return causal(query, key, value, scaling).transpose(1, 2).contiguous(), None
    if not _is_packable(query, key, attention_mask, kwargs):
        return _plain(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    batch, heads, count, dim = query.shape
    kv_heads = key.shape[1]
    packed = query.reshape(batch, kv_heads, heads // kv_heads * count, dim)
    if attention_mask is not None and _are_few(packed, key, attention_mask):
        made = few(packed, key, value, attention_mask, scaling)
        return made.view(batch, heads, count, -1).transpose(1, 2).contiguous(), None
    if attention_mask is not None:
        attention_mask = _tiled(attention_mask, heads // kv_heads, query.dtype)
    made = scaled_dot_product_attention(
        packed, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
    )
    made = made.reshape(batch, heads, count, value.shape[-1])
    return made.transpose(1, 2).contiguous(), None


def _are_few(packed: Tensor, key: Tensor, mask: Tensor) -> bool:
    """Whether `few` comes to the same, and sooner, by what was measured.

    It does one key head after the other: many threads have more of the fused function, which shares
    heads and rows between them.
    """
    rows, tokens = packed.shape[2], key.shape[2]
    return (
        packed.dtype == torch.float32
        and packed.shape[0] == 1
        and not torch.is_grad_enabled()  # products that are written in place have no gradient
        and rows <= _FEW
        and _MANY <= tokens <= _PRODUCTS // rows
        and mask.shape[3] == tokens
        and is_plain(mask)
        and torch.get_num_threads() <= _THREADS
    )


_FEW = 128
"""Rows: from some more on, the fused function works in larger tiles."""
_MANY = 2_048
"""Keys: what they cost with fewer is hardly to be seen."""
_PRODUCTS = 2**20
"""Products of a key head with its rows that stay in a core's cache, 4 MiB."""
_THREADS = 4


def few(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    """Return the attention of a few rows behind many keys, in float32 on a CPU.

    The fused function works in tiles of 32 rows. Whole products take all rows of a key head at
    once, and are faster where they fit into caches.

    Args:
        query: (1, key heads, rows, dim), the rows those of `mask` for each query head of a group.
        key, value: (1, key heads, tokens, dim).
        mask: (1, 1, queries, tokens), which hides nothing but later keys.

    Returns:
        (1, key heads, rows, dim).
    """
    rows, tokens, count = query.shape[2], key.shape[2], mask.shape[2]
    hidden = _tiled(mask, rows // count, query.dtype, last=count)[0, 0]
    query = query * (query.shape[3] ** -0.5 if scaling is None else scaling)
    made = query.new_empty(*query.shape[:3], value.shape[3])
    products = query.new_empty(rows, tokens)
    for head in range(key.shape[1]):
        torch.mm(query[0, head], key[0, head].t(), out=products)
        products[:, tokens - count :] += hidden
        torch.softmax(products, -1, out=products)
        torch.mm(products, value[0, head], out=made[0, head])
    return made


_TILED = "_finite_memory_tiled"


def _tiled(mask: Tensor, group: int, dtype: torch.dtype, last: int | None = None) -> Tensor:
    """Return the mask for a whole group, as what is added to products; of the `last` keys or all.

    All layers get the same mask, and the fused attention would make this of it in each of them:
    the mask itself keeps it for the next.
    """
    wanted = (group, dtype, last, _version(mask))
    known: tuple[Any, Tensor] | None = getattr(mask, _TILED, None)
    if known is None or known[0] != wanted:
        added = seen = mask if last is None else mask[..., -last:]
        if mask.dtype == torch.bool:
            added = torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, float("-inf"))
        known = wanted, added.repeat(1, 1, group, 1)
        setattr(mask, _TILED, known)
    return known[1]


def _is_packable(query: Tensor, key: Tensor, mask: Tensor | None, kwargs: dict[str, Any]) -> bool:
    """Whether packing changes nothing but the speed."""
    count, tokens = query.shape[2], key.shape[2]
    if query.shape[1] == key.shape[1] or query.device.type != "cpu":
        return False
    if kwargs.get("position_bias") is not None or kwargs.get("softcap") is not None:
        return False
    if mask is None:
        return count == 1
    return mask.shape[1] == 1 and mask.shape[2] == count and tokens > 2 * count


_CAUSAL = "_finite_memory_causal"


def mask(**asked: Any) -> Tensor | None:
    """Return the mask that transformers makes for its own fused attention.

    One that hides nothing but later keys says so, see `is_plain`.
    """
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    made: Tensor | None = sdpa_mask(**asked)
    padding = asked.get("attention_mask")
    plain = asked.get("mask_function") is causal_mask_function and asked.get("local_size") is None
    if made is None or not plain or not _ends_together(**asked):
        return made
    version = _version(made)
    if version is not None and (padding is None or bool(padding.all())):
        setattr(made, _CAUSAL, version)
    return made


def _ends_together(
    *, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: int = 0, **_: Any
) -> bool:
    """Whether the last query stands at the last key: caches with room to spare have more keys."""
    return isinstance(q_offset, int) and q_offset + q_length == kv_offset + kv_length


def is_plain(mask: Tensor) -> bool:
    """Whether a mask hides nothing but later keys: this very tensor, which nobody has changed."""
    return hasattr(mask, _CAUSAL) and getattr(mask, _CAUSAL) == _version(mask)


def _version(mask: Tensor) -> int | None:
    """Return what grows with each change of a mask; None where PyTorch does not count them."""
    return None if mask.is_inference() else mask._version


def _is_causal(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
) -> bool:
    """Whether `causal` comes to the same, by the fastest function there is."""
    if not query.is_cuda or query.dtype not in (torch.float16, torch.bfloat16):
        return False
    if any(kwargs.get(name) is not None for name in ("position_bias", "softcap", "s_aux")):
        return False
    if mask is None:
        plain = query.shape[2] == 1
    else:
        plain = is_plain(mask) and mask.shape[2:] == (query.shape[2], key.shape[2])
    return plain and _is_flash(query, key, value)


def _is_flash(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether this card and PyTorch have the function for these."""
    from torch.backends.cuda import SDPAParams, can_use_flash_attention

    grouped = query.shape[1] != key.shape[1]
    asked = SDPAParams(query, key, value, None, 0.0, False, grouped)
    return key.shape[-1] == value.shape[-1] and bool(can_use_flash_attention(asked))


def causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Return the attention of queries that stand behind all keys but as many as they are.

    Also for a single query, which sees all keys: cuDNN's function, which PyTorch prefers on some
    cards, makes a plan for every number of keys anew, in every thread. On an H200 that was 50 ms
    a token.

    Args:
        query: (1, heads, queries, dim).
        key, value: (1, key heads, tokens, dim).

    Returns:
        (1, heads, queries, dim).
    """
    from torch.nn.attention.bias import causal_lower_right

    grouped = query.shape[1] != key.shape[1]
    hidden = causal_lower_right(query.shape[2], key.shape[2])
    made: Tensor = scaled_dot_product_attention(
        query, key, value, attn_mask=hidden, scale=scaling, enable_gqa=grouped
    )
    return made


def _plain(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    made: tuple[Tensor, None] = sdpa_attention_forward(*args, **kwargs)
    return made


def register() -> None:
    """Make it known to transformers, with its masks."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)
