"""Turning rotary states from the positions that they were computed for to others.

A rotary embedding turns pairs of a state's numbers by position times frequency, so a state is
moved by turning it further by the difference. The model rounds its angles to float32; taking the
difference of those rounded angles ("matched") gives the state that the model itself would have
computed, to the last bits, at any length. Knows nothing of models: a `Rotation` says it all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rotation:
    """How positions stand in a state.

    Attributes:
        frequencies: radians a position, one a pair, float32, (pairs,).
        interleaved: whether a pair is two neighbours (2i, 2i + 1), or half the rotated part apart.
    """

    frequencies: Tensor
    interleaved: bool

    @property
    def width(self) -> int:
        """How many leading numbers of a state are rotated."""
        return 2 * len(self.frequencies)

    def angles(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosine and sine that bring states from positions `old` to `new`.

        Args:
            old, new: whole numbers, (tokens,), on any device.

        Returns:
            Two float32 tensors, (tokens, pairs).
        """
        angle = self._angle(new).double() - self._angle(old).double()
        return angle.cos().float(), angle.sin().float()

    def _angle(self, positions: Tensor) -> Tensor:
        """Return the model's own angles, rounded as it rounds them: (tokens, pairs), float32."""
        return positions[:, None].float() * self.frequencies.to(positions.device)

    def turn(self, states: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
        """Write the states turned to `out`, computed in float32 and rounded once.

        Args:
            states: (1, heads, tokens, dim).
            cos, sin: as `angles` gives them.
            out: of their shape, and no part of their memory.
        """
        precise = out if out.dtype == torch.float32 else torch.empty_like(out, dtype=torch.float32)
        first, second = self._pairs(states.float())
        left, right = self._pairs(precise)
        torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1)
        torch.mul(second, cos, out=right).addcmul_(first, sin)
        if precise is not out:
            out[..., : self.width] = precise[..., : self.width]
        out[..., self.width :] = states[..., self.width :]

    def _pairs(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return views of the first and of the second number of each pair."""
        part = states[..., : self.width]
        if self.interleaved:
            return part[..., 0::2], part[..., 1::2]
        first, second = part.chunk(2, -1)
        return first, second


class Turns:
    """The cosines and sines of moved tokens, computed once a rotation and once a device.

    Args:
        old: where their states were computed, (tokens,).
        new: where they come to, (tokens,).
    """

    def __init__(self, old: Tensor, new: Tensor) -> None:
        self._old, self._new = old, new
        self._known: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def angles(self, rotation: Rotation, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return `Rotation.angles` of all tokens, on `device`.

        Computed there where it is CUDA; others lack the double precision that this takes.
        """
        known = self._known.get((id(rotation), device))
        if known is None:
            where = device if device.type == "cuda" else "cpu"
            cos, sin = rotation.angles(self._old.to(where), self._new.to(where))
            known = self._known[id(rotation), device] = cos.to(device), sin.to(device)
        return known
