"""Weights of codes, of which neighbours share what they learn where the codes are numbers.

A column of numbers is a few dozen codes, ascending. Were each to learn by itself, as categories
must, a small table would tell little of any, and nothing of its neighbours. So the weights of a
code have a part of its own and a smooth one, a sum of waves over the ranks of the column:

    weight[code] = own[code] + sum over m of cos(pi m rank[code]) wave[m]

with the share of the rows below, and half of those with the code, as its rank. Once trained it is
one table, so drawing costs no more.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from synthray.data.layout import Layout, Slot

WAVES = 8
"""Waves of a column: more do not help (docs/experiments.md)."""
OWN = 0.5
"""How much of its first weights a number has for its own."""


class Waves(nn.Module):
    """The weights of all codes of a layout, slot by slot.

    Args:
        own: first weights, [codes, width].
        wave: first deviation of the waves' weights.
    """

    basis: Tensor
    number: Tensor
    place: Tensor

    def __init__(self, layout: Layout, own: Tensor, wave: float) -> None:
        super().__init__()
        starts = [0, *accumulate(slot.codes for slot in layout.slots)]
        slots = [(start, s) for start, s in zip(starts, layout.slots, strict=False) if s.number]
        most = max((slot.codes for _, slot in slots), default=0)
        basis = torch.zeros(len(slots), most, WAVES)
        for row, (_, slot) in enumerate(slots):
            basis[row, : slot.codes] = _waves(slot)
        # Where the codes of numbers are, among all and in the basis.
        places = [
            (start + c, row * most + c)
            for row, (start, s) in enumerate(slots)
            for c in range(s.codes)
        ]
        at = torch.tensor(places, dtype=torch.int64).view(-1, 2)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("number", at[:, 0], persistent=False)
        self.register_buffer("place", at[:, 1], persistent=False)
        own = own.clone()
        own[self.number] *= OWN
        self.own = nn.Parameter(own)
        self.wave = (
            nn.Parameter(torch.randn(len(slots), WAVES, own.shape[1]) * wave) if slots else None
        )

    def forward(self) -> Tensor:
        """[codes, width]."""
        if self.wave is None:
            return self.own
        smooth = torch.bmm(self.basis, self.wave).flatten(0, 1)
        # Where products are bfloat16's, the sum is still float32's.
        return self.own.index_add(0, self.number, smooth[self.place].to(self.own.dtype))


def _waves(slot: Slot) -> Tensor:
    """[codes, waves]; a missing or hidden cell has no rank, and no waves."""
    ranked = [c for c in range(slot.codes) if c not in (slot.missing, slot.hidden)]
    ranked.sort(key=lambda code: slot.centres[code])
    counts = torch.tensor([slot.counts[code] for code in ranked], dtype=torch.float64) + 0.5
    rank = (counts.cumsum(dim=0) - counts / 2) / counts.sum()
    waves = torch.zeros(slot.codes, WAVES)
    angle = torch.pi * rank[:, None] * torch.arange(1, WAVES + 1)
    waves[ranked] = angle.cos().float()
    return waves
