"""The classic GAN: multilayer perceptrons (Goodfellow et al. 2014, 1406.2661).

Conditional on labels as in Mirza & Osindero 2014 (1411.1784): both networks see the one-hot label.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.data.codec import DataSpec
from synthray.models.adversarial import AdversarialConfig, AdversarialModel
from synthray.models.base import join_condition
from synthray.models.norm import BatchNorm
from synthray.rng import BatchRandom

Width = Annotated[int, Field(ge=1)]


class GANConfig(AdversarialConfig):
    generator_widths: tuple[Width, ...] = Field((256, 512, 1024), min_length=1)
    critic_widths: tuple[Width, ...] = Field((1024, 512), min_length=1)
    dropout: float = Field(0.3, ge=0, lt=1, description="in the critic")


class Generator(nn.Module):
    """z 100 - 256 - 512 - 1024 - pixels, batch norm and leaky ReLU between, tanh at the end."""

    def __init__(self, config: GANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = [config.latent_dim + sum(spec.conditions), *config.generator_widths]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(width) for width in widths[1:])
        self.output = nn.Linear(widths[-1], math.prod(spec.shape))

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        h = join_condition(z, cond, self.spec)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            h = F.leaky_relu(norm(linear(h)), 0.2)
        x: Tensor = self.output(h).view(-1, *self.spec.shape)
        return torch.tanh(x) if len(self.spec.shape) == 3 else x  # numbers lie anywhere


class Critic(nn.Module):
    """pixels - 1024 - 512 - 1, leaky ReLU and dropout between."""

    def __init__(self, config: GANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.spec, self.dropout = spec, config.dropout
        widths = [math.prod(spec.shape) + sum(spec.conditions), *config.critic_widths]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor, cond: Tensor | None, rng: BatchRandom) -> Tensor:
        h = join_condition(x.flatten(1), cond, self.spec)
        for linear in self.hidden:
            h = F.leaky_relu(linear(h), 0.2)
            if self.training and self.dropout:
                keep = rng.uniform(h.shape[1]) >= self.dropout
                h = h * keep / (1 - self.dropout)
        return self.output(h).squeeze(1).float()


class GAN(AdversarialModel):
    Config = GANConfig
    config: GANConfig

    def build_generator(self) -> nn.Module:
        return Generator(self.config, self.spec)

    def build_critic(self) -> nn.Module:
        return Critic(self.config, self.spec)
