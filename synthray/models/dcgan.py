"""DCGAN: convolutional generator and critic (Radford et al. 2015, 1511.06434).

Conditional on labels: the generator sees the one-hot label beside z; the critic adds the inner
product of its features with an embedding of the label (Miyato & Koyama 2018, 1802.05637).
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from synthray.data.codec import DataSpec
from synthray.models.adversarial import AdversarialConfig, AdversarialModel
from synthray.models.base import one_hot
from synthray.models.convolution import Decoder, Encoder, image_side, init_dcgan, init_kaiming
from synthray.rng import BatchRandom


class DCGANConfig(AdversarialConfig):
    width: int = Field(32, ge=1, description="channels of the generator's largest map")
    critic_width: int = Field(32, ge=1, description="channels of the critic's largest map")
    critic_norm: Literal["batch", "none"] = Field(
        "batch", description="none goes with r1_gamma, for a penalty sees rows one by one"
    )

    @model_validator(mode="after")
    def _penalty_without_norm(self) -> Self:
        if self.penalised and self.critic_norm == "batch":
            raise ValueError(f"{self.penalised} needs critic_norm: none; batch norm mixes the rows")
        return self


class Generator(nn.Module):
    def __init__(self, config: DCGANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.decoder = Decoder(config.latent_dim, config.width, spec)
        init_dcgan(self)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        return torch.tanh(self.decoder(z, cond).float())


class Critic(nn.Module):
    def __init__(self, config: DCGANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        normed = config.critic_norm == "batch"
        self.encoder = Encoder(config.critic_width, spec, normed)
        self.score = nn.Linear(self.encoder.features, 1)
        self.embedding: nn.Linear | None = None
        if spec.conditions:
            hot = sum(spec.conditions)
            self.embedding = nn.Linear(hot, self.encoder.features, bias=False)
        if normed:
            init_dcgan(self)
        else:
            init_kaiming(self)

    def forward(self, x: Tensor, cond: Tensor | None, rng: BatchRandom) -> Tensor:
        h = self.encoder(x)
        score = self.score(h).squeeze(1)
        if self.embedding is not None:
            hot = one_hot(cond, self.spec)
            score = score + (self.embedding(hot) * h).sum(dim=1)
        return score.float()


class DCGAN(AdversarialModel):
    Config = DCGANConfig
    config: DCGANConfig

    def build_generator(self) -> nn.Module:
        image_side(self.spec, "dcgan")
        return Generator(self.config, self.spec)

    def build_critic(self) -> nn.Module:
        return Critic(self.config, self.spec)
