"""Importance from attention: what the model last looked at stays.

The last queries of each layer are remembered as they pass by; when an eviction is due they are
asked again, against the keys in the cache (SnapKV: Li et al., 2024, which does it once, at the end
of a prompt). No attention matrix of a whole prompt is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finite_memory_core import Block, CannotDecide, Message

from .attention import Recorder, recording

if TYPE_CHECKING:
    from torch import Tensor

    from .backend import HuggingFaceBackend
    from .probe import Capability
    from .session import Session

PATIENCE = 0.2
"""Seconds that a scorer waits for its session; it may be asked on an event loop."""


class AttentionScorer:
    """A scorer for core's `Importance` and `Hybrid`, made by `HuggingFaceBackend.scorer`.

    A block's score is the attention that its tokens got from the last queries, on average over
    queries, heads and layers; all tokens of the cache together got 1. A block that the model has
    not read yet gets the mean of the others.
    """

    def __init__(self, backend: HuggingFaceBackend, session_id: str | None, queries: int) -> None:
        self._backend = backend
        self._session_id = session_id
        self.queries = queries

    def __call__(self, blocks: Sequence[Block]) -> list[float]:
        """Return a score a block.

        Raises:
            CannotDecide: no cache holds the blocks, nothing was read since it was changed, or a
                reply of its session goes on.
        """
        session = self._holder(blocks)
        if session is None:
            raise CannotDecide(f"no cache holds any of the {len(blocks)} blocks")
        if not session.lock.acquire(timeout=PATIENCE):
            raise CannotDecide("a reply of the session goes on, or one that was left still ends")
        try:
            found = _places(session, blocks)
            weights = attention(session, self.queries).tolist()
        finally:
            session.lock.release()
        if not found:
            raise CannotDecide(f"no cache holds any of the {len(blocks)} blocks any more")
        scores = {i: sum(sum(weights[a:b]) for a, b in where) for i, where in found.items()}
        mean = sum(scores.values()) / len(scores)
        return [scores.get(i, mean) for i in range(len(blocks))]

    def _holder(self, blocks: Sequence[Block]) -> Session | None:
        """Return the session that holds the blocks, most of them where several do."""
        sessions = self._backend._held()
        if self._session_id is not None:
            sessions = {n: s for n, s in sessions.items() if n == self._session_id}
        places = {name: len(_places(s, blocks)) for name, s in sessions.items()}
        name = max(places, key=lambda n: places[n], default="")
        return sessions[name] if places.get(name) else None


def watchable(model: Any, capability: Capability) -> bool:
    """Whether the queries that pass by can be asked against the keys in the cache.

    Latent attention keeps other things than keys, which it makes anew from them. The caller lets
    the model attend by our function.
    """
    import torch

    from .loading import device_of

    if any(kind.slot == "values" for kind in capability.layers):
        return False
    recorder, cache = Recorder(1), capability.new_cache(model)
    with torch.no_grad(), recording(recorder):
        model(input_ids=torch.tensor([[0]], device=device_of(model)), cache=cache, use_cache=True)
    layers: list[Any] = cache.layers
    return bool(recorder.queries) and all(
        seen.queries.shape[-1] == layers[number].keys.shape[-1]
        for number, seen in recorder.queries.items()
    )


def _places(session: Session, blocks: Sequence[Block]) -> dict[int, list[tuple[int, int]]]:
    """Return where the cache holds each block, by the block's number; latest where it is twice."""
    held: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for span in session.spans:
        if span.message is not None:
            held.setdefault(_key(span.message), []).append((span.start, span.end))
    found: dict[int, list[tuple[int, int]]] = {}
    for i in range(len(blocks) - 1, -1, -1):
        for message in reversed(blocks[i].messages):
            if places := held.get(_key(message)):
                found.setdefault(i, []).append(places.pop())
    return found


def _key(message: Message) -> tuple[str, str]:
    return message.role.value, message.text


def attention(session: Session, count: int) -> Tensor:
    """Return the attention that each token of the cache got, (tokens,) in float32; it sums to 1.

    Args:
        session: its recorder has seen queries since the cache last lost tokens.
        count: how many of the last queries to ask, at most.

    Raises:
        CannotDecide: no queries were seen.
    """
    import torch

    seen = session.recorder.queries if session.recorder is not None else {}
    layers = session.layers
    if not seen or not layers:
        raise CannotDecide("no query was seen since the cache was last changed")
    total = torch.zeros(session.held, device="cpu")
    with torch.no_grad():
        for number, last in seen.items():
            keys = layers[number].keys[0]
            queries = last.queries[:, -count:].to(keys.device)  # a cache may wait on the CPU
            weights = _weights(queries, keys, last.scaling, last.window)
            total += weights.mean((0, 1)).cpu()
    return total / len(seen)


def _weights(queries: Tensor, keys: Tensor, scaling: float, window: int | None) -> Tensor:
    """Return the attention of the last queries, (heads, queries, tokens), in float32.

    Args:
        queries: (heads, queries, dim); the last belongs to the last token.
        keys: (key heads, tokens, dim).
        scaling: what products are multiplied by.
        window: how many keys a query sees; None for all up to its own.
    """
    import torch

    heads, count, dim = queries.shape
    kv_heads, tokens, _ = keys.shape
    packed = queries.reshape(kv_heads, heads // kv_heads * count, dim)
    products = (packed @ keys.transpose(1, 2)).float().view(heads, count, tokens) * scaling
    at = torch.arange(tokens - count, tokens, device=keys.device)[:, None]
    key = torch.arange(tokens, device=keys.device)
    hidden = key > at
    if window is not None:
        hidden |= key <= at - window
    return products.masked_fill(hidden, float("-inf")).softmax(-1)
