"""Multilayer perceptrons without normalisation, for rows of numbers and for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from synthray.data.codec import DataSpec
from synthray.models.base import join_condition
from synthray.models.bounded import bounded
from synthray.rng import BatchRandom


class Perceptron(nn.Module):
    """[n, widths[0]] to [n, widths[-1]], ReLU between: on mixtures of Gaussians it draws far fewer
    rows between the modes than leaky ReLU (docs/experiments.md).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class PerceptronGenerator(nn.Module):
    def __init__(self, latent_dim: int, widths: Sequence[int], spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        inputs = latent_dim + sum(spec.conditions)
        self.network = Perceptron([inputs, *widths, math.prod(spec.shape)])

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        x = self.network(join_condition(z, cond, self.spec)).float().view(-1, *self.spec.shape)
        return bounded(x) if len(self.spec.shape) == 3 else x  # numbers lie anywhere


class PerceptronCritic(nn.Module):
    def __init__(self, widths: Sequence[int], spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        inputs = math.prod(spec.shape) + sum(spec.conditions)
        self.network = Perceptron([inputs, *widths, 1])

    def forward(self, x: Tensor, cond: Tensor | None, rng: BatchRandom) -> Tensor:
        h = join_condition(x.flatten(1), cond, self.spec)
        return self.network(h).squeeze(1).float()
