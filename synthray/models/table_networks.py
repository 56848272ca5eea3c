"""Networks on the expanded rows of tables, and what gives their outputs the form of rows.

Widths, residual joins and activations are those of CTGAN and TVAE (Xu et al. 2019, 1907.00503,
section 4.4 and appendix).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.data.layout import Layout
from synthray.models.norm import BatchNorm
from synthray.rng import BatchRandom


class ResidualPerceptron(nn.Module):
    """Layers whose output is joined to their input: [n, inputs] to [n, outputs].

    Args:
        norm: batch norm before each ReLU, as in CTGAN's generator.
    """

    def __init__(self, inputs: int, widths: Sequence[int], outputs: int, norm: bool) -> None:
        super().__init__()
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for width in widths:
            self.layers.append(nn.Linear(inputs, width))
            self.norms.append(BatchNorm(width) if norm else nn.Identity())
            inputs += width
        self.output = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.cat([torch.relu(norm(layer(x))), x], dim=1)
        return self.output(x)


class PackedCritic(nn.Module):
    """Several rows of a pack at once to one score: PacGAN (Lin et al. 2018, 1712.04086).

    Leaky ReLU and dropout between the layers.
    """

    def __init__(self, inputs: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(sizes[-1], 1)
        self.dropout = dropout

    def forward(self, packs: Tensor, rng: BatchRandom) -> Tensor:
        """[packs, inputs] to scores [packs]."""
        for layer in self.layers:
            packs = F.leaky_relu(layer(packs), 0.2)
            if self.training and self.dropout:
                keep = rng.uniform(packs.shape[1])[: len(packs)] >= self.dropout
                packs = packs * keep / (1 - self.dropout)
        return self.output(packs).squeeze(1).float()


def softened(output: Tensor, layout: Layout, noise: Tensor, temperature: float) -> Tensor:
    """A network's output as soft expanded rows, [n, expanded_width].

    Offsets through tanh; codes through a softmax at a temperature, with Gumbel noise (Jang et al.
    2017, 1611.01144, equation 2).

    Args:
        noise: standard Gumbel, [n, expanded_width].
    """
    parts = []
    scores = output + noise
    for slot, span in zip(layout.slots, layout.spans, strict=True):
        if slot.number:
            parts.append(torch.tanh(output[:, span.start - 1 : span.start]))
        parts.append((scores[:, span] / temperature).softmax(dim=1))
    return torch.cat(parts, dim=1)


def gumbel(layout: Layout, rng: BatchRandom) -> Tensor:
    """Standard Gumbel noise, [n, expanded_width]."""
    # The smallest step away from 0 keeps both logarithms finite.
    uniform = rng.uniform(layout.expanded_width).clamp(1e-7, 1 - 1e-7)
    return -(-uniform.log()).log()
