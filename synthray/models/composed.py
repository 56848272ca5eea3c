"""Adversarial families put together from parts: a loss, penalties and two networks.

A named family is a choice of defaults, and every one of them can be set under model.params.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models.adversarial import AdversarialConfig, AdversarialModel
from synthray.models.base import one_hot
from synthray.models.bounded import bounded
from synthray.models.convolution import Decoder, Encoder, image_side, init_dcgan, init_kaiming
from synthray.models.perceptron import PerceptronCritic, PerceptronGenerator
from synthray.models.regularizers import spectrally_normed
from synthray.models.residual import ResidualDecoder, ResidualEncoder
from synthray.rng import BatchRandom

Width = Annotated[int, Field(ge=1)]
Architecture = Literal["auto", "perceptron", "convolutional", "residual"]


class ComposedConfig(AdversarialConfig):
    architecture: Architecture = Field(
        "auto", description="auto: the family's own for images, perceptrons for rows of numbers"
    )
    widths: tuple[Width, ...] = Field((128, 128, 128), min_length=1, description="of perceptrons")
    width: int = Field(32, ge=1, description="channels of the generator's largest map")
    critic_width: int = Field(32, ge=1, description="channels of the critic's largest map")
    generator_norm: Literal["batch", "none"] = "batch"
    critic_norm: Literal["batch", "none"] = Field(
        "none", description="batch: in convolutional critics only, and without gradient penalties"
    )
    spectral_norm: Literal["none", "critic", "both"] = "none"
    attention: bool = Field(False, description="self-attention in residual networks")

    @model_validator(mode="after")
    def _penalty_without_norm(self) -> Self:
        if self.critic_norm == "batch" and self.penalised:
            raise ValueError(f"{self.penalised} needs critic_norm: none; batch norm mixes the rows")
        return self


class ImageGenerator(nn.Module):
    """z and conditions to images in [-1, 1]: by tanh after batch norm, else by `bounded`."""

    def __init__(self, decoder: nn.Module, normed: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.bound = torch.tanh if normed else bounded

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        return self.bound(self.decoder(z, cond).float())


class ProjectionCritic(nn.Module):
    """Features to a score, plus their inner product with an embedding of the conditions
    (Miyato & Koyama 2018, 1802.05637, equation 3).
    """

    def __init__(self, encoder: nn.Module, features: int, spec: DataSpec) -> None:
        super().__init__()
        self.spec, self.encoder = spec, encoder
        self.score = nn.Linear(features, 1)
        hot = sum(spec.conditions)
        self.embedding = nn.Linear(hot, features, bias=False) if hot else None

    def forward(self, x: Tensor, cond: Tensor | None, rng: BatchRandom) -> Tensor:
        h = self.encoder(x)
        score = self.score(h).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(one_hot(cond, self.spec)) * h).sum(dim=1)
        return score.float()


class ComposedGAN(AdversarialModel):
    """Build the networks that the config names."""

    Config = ComposedConfig
    config: ComposedConfig
    image_architecture: ClassVar[Architecture] = "residual"

    @property
    def architecture(self) -> Architecture:
        if self.config.architecture != "auto":
            return self.config.architecture
        return "perceptron" if len(self.spec.shape) == 1 else self.image_architecture

    def build_generator(self) -> nn.Module:
        config, spec, norm = self.config, self.spec, self.config.generator_norm == "batch"
        asked = "attention" in config.model_fields_set and config.attention
        if asked and self.architecture != "residual":
            raise ConfigError(
                f"model.params.attention: {self.architecture} networks have none",
                "set attention: false, or architecture: residual (images)",
            )
        generator: nn.Module
        if self.architecture == "perceptron":
            generator = PerceptronGenerator(config.latent_dim, config.widths, spec)
        elif self.architecture == "convolutional":
            self._check_images()
            if not norm:
                raise ConfigError(
                    "model.params.generator_norm: the convolutional generator needs batch norm",
                    "set generator_norm: batch, or architecture: residual",
                )
            generator = ImageGenerator(Decoder(config.latent_dim, config.width, spec), norm)
            init_dcgan(generator)
        else:
            self._check_images()
            generator = ImageGenerator(
                ResidualDecoder(
                    config.latent_dim, config.width, spec, norm=norm, attention=config.attention
                ),
                norm,
            )
        return spectrally_normed(generator) if config.spectral_norm == "both" else generator

    def build_critic(self) -> nn.Module:
        config, spec, normed = self.config, self.spec, self.config.critic_norm == "batch"
        if normed and self.architecture != "convolutional":
            raise ConfigError(
                f"model.params.critic_norm: {self.architecture} critics have no batch norm",
                "set critic_norm: none, or architecture: convolutional",
            )
        critic: nn.Module
        if self.architecture == "perceptron":
            critic = PerceptronCritic(config.widths, spec)
        elif self.architecture == "convolutional":
            plain = Encoder(config.critic_width, spec, normed)
            critic = ProjectionCritic(plain, plain.features, spec)
            (init_dcgan if normed else init_kaiming)(critic)
        else:
            deep = ResidualEncoder(config.critic_width, spec, attention=config.attention)
            critic = ProjectionCritic(deep, deep.features, spec)
        return critic if config.spectral_norm == "none" else spectrally_normed(critic)

    def _check_images(self) -> None:
        image_side(self.spec, type(self).__name__.lower())
