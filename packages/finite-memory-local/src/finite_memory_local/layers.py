"""One layer of a cache that is kept: a buffer that grows, is cut and is gathered in place.

transformers' own dynamic layer makes a new tensor for every token and can only drop a tail. This
one writes into a buffer with room to spare, and knows how to lose any of its tokens. It knows
nothing of ids, positions and models; the turning of keys is handed in as a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

ROOM = 256
"""Buffers grow to a multiple of this many tokens, and by an eighth at least."""


class Lifted(NamedTuple):
    """States that were taken out of a layer, (1, heads, tokens, dim) each."""

    keys: Tensor
    values: Tensor


Turn = Callable[[Tensor, Tensor], None]
"""Writes the first states, (1, heads, tokens, dim), to the second, turned to new positions."""


class KeptLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # its subclass hook
    """Keys and values of one layer, for one sequence.

    `keys` and `values` are views of the buffers, (1, heads, tokens, dim).

    Attributes:
        home: the device that the model computes them on; None before it has.
        source: the states as the model computed them, for the tokens from `source_start` on that
            were moved; None where the states themselves are precise enough to be moved again.
        source_start: the position of the first of them.
    """

    keys: Tensor
    values: Tensor
    is_sliding = False
    is_croppable = True
    is_compileable = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys = self._values = torch.empty(0)
        self._length = 0
        self.home: torch.device | None = None
        self.source: Tensor | None = None
        self.source_start = 0

    # -- what transformers asks for --------------------------------------------------------------

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make empty buffers for states of these shapes."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.home = self.device
        self._keys, self._values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,  # noqa: ARG002  # what other layers take
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Append states and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self._length, self._length + key_states.shape[-2]
        self._make_room(start, end)
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self._set_length(end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return how many tokens it holds."""
        return self._length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length and the offset of the keys that a mask must cover."""
        return self._length + query_length, 0

    def get_max_length(self) -> int:
        """Return -1: it grows."""
        return -1

    def crop(self, tokens_to_remove: int) -> None:
        """Drop the last tokens; the number is negative or 0, as transformers has it."""
        self.cut(max(0, self._length + tokens_to_remove))

    def reset(self) -> None:
        """Drop all tokens."""
        self.cut(0)

    # -- what we ask for -------------------------------------------------------------------------

    def cut(self, length: int) -> None:
        """Keep the first `length` tokens only."""
        if self.is_initialized:
            self._set_length(min(length, self._length))
        if self.source is not None:
            self.source = self.source[:, :, : max(0, length - self.source_start)]

    def lift(self, kept: Tensor, slot: str, exact: bool) -> Lifted:
        """Return copies of the states of the tokens at the positions `kept`.

        Args:
            kept: ascending positions.
            slot: ``"keys"``, ``"values"`` or ``""``, for what carries positions.
            exact: whether turned states are precise enough to be turned again. If not, they are
                copied as the model computed them.
        """
        lifted = Lifted(_taken(self._keys, kept), _taken(self._values, kept))
        if slot and not exact and self.source is not None and self.source.shape[2]:
            known = kept - self.source_start
            at = ((known >= 0) & (known < self.source.shape[2])).nonzero().flatten()
            getattr(lifted, slot)[:, :, at] = self.source.index_select(2, known[at])
        return lifted

    def place(self, lifted: Lifted, slot: str, exact: bool, turn: Turn) -> None:
        """Append what was lifted, its positions brought up to date by `turn`."""
        if slot and not exact:
            self._remember(getattr(lifted, slot), slot)
        start, end = self._length, self._length + lifted.keys.shape[2]
        self._make_room(start, end)
        for name, buffer in (("keys", self._keys), ("values", self._values)):
            states, there = getattr(lifted, name), buffer[:, :, start:end]
            if name == slot:
                turn(states, there)
            else:
                there.copy_(states)
        self._set_length(end)

    def _remember(self, states: Tensor, slot: str) -> None:
        """Keep the sources of states that are about to be appended."""
        if self.source is None or not self.source.shape[2]:
            self.source, self.source_start = states, self._length
            return
        unmoved = getattr(self, slot)[:, :, self.source_start + self.source.shape[2] :]
        self.source = torch.cat([self.source, unmoved, states], 2)

    def nbytes(self) -> int:
        """Return the bytes of its buffers, room to spare included."""
        held = [t for t in (self._keys, self._values, self.source) if t is not None]
        return sum(t.numel() * t.element_size() for t in held)

    def to(self, device: torch.device | str) -> None:
        """Move everything to a device."""
        if self.is_initialized:
            self._keys, self._values = self._keys.to(device), self._values.to(device)
            self.device = self._keys.device
            self._set_length(self._length)
        if self.source is not None:
            self.source = self.source.to(device)

    def bring_home(self) -> None:
        """Move everything back to where the model computes it."""
        if self.home is not None and self.is_away:
            self.to(self.home)

    @property
    def is_away(self) -> bool:
        """Whether it waits somewhere else than where the model computes it."""
        return self.home is not None and self.device != self.home

    def load(self, keys: Tensor, values: Tensor) -> None:
        """Take over the states of a saved layer, which are where the model computes them."""
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.home = self.device
        self._keys, self._values = keys, values
        self._set_length(keys.shape[2])

    def _make_room(self, held: int, wanted: int) -> None:
        self._keys = _with_room(self._keys, held, wanted)
        self._values = _with_room(self._values, held, wanted)

    def _set_length(self, length: int) -> None:
        self._length = length
        self.keys = self._keys[:, :, :length]
        self.values = self._values[:, :, :length]


def _taken(buffer: Tensor, kept: Tensor) -> Tensor:
    """Return copies of the states at the positions `kept`; by rows, which is the fastest way."""
    _, heads, room, dim = buffer.shape
    rows = torch.arange(0, heads * room, room, device=kept.device)[:, None] + kept
    return buffer.reshape(-1, dim).index_select(0, rows.flatten()).view(1, heads, -1, dim)


def _with_room(buffer: Tensor, held: int, wanted: int) -> Tensor:
    """Return a buffer that has room for `wanted` tokens and holds the first `held`."""
    room = buffer.shape[2]
    if wanted <= room:
        return buffer
    room = -(-max(wanted, room + room // 8) // ROOM) * ROOM
    made = buffer.new_empty((*buffer.shape[:2], room, buffer.shape[3]))
    made[:, :, :held] = buffer[:, :, :held]
    return made
