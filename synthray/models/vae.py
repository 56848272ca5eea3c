"""The variational autoencoder (Kingma & Welling 2014, 1312.6114), convolutional."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.config import Strict
from synthray.data.codec import DataSpec
from synthray.models import losses
from synthray.models.base import (
    Batch,
    GenerativeModel,
    Loss,
    OptimizerConfig,
    Phase,
    join_condition,
)
from synthray.models.convolution import Decoder, Encoder, image_side
from synthray.rng import BatchRandom


class VAEConfig(Strict):
    latent_dim: int = Field(32, ge=1)
    width: int = Field(32, ge=1, description="channels of the largest maps")
    beta: float = Field(1.0, ge=0, description="weight of the KL term (beta-VAE)")
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        "bernoulli", description="of a pixel given z: grey levels in [0, 1], or unit variance"
    )
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, beta1=0.9)


class VAE(GenerativeModel):
    Config: ClassVar[type[Strict]] = VAEConfig
    sampler = ("decoder",)
    live = ("beta",)
    conditional = False

    def __init__(self, config: VAEConfig, spec: DataSpec) -> None:
        super().__init__()
        image_side(spec, type(self).__name__.lower())
        self.config, self.spec = config, spec
        self.encoder = Encoder(config.width, spec)
        hidden = self.encoder.features + sum(spec.conditions)
        self.posterior = nn.Linear(hidden, 2 * config.latent_dim)
        self.decoder = Decoder(config.latent_dim, config.width, spec)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("vae", ("encoder", "posterior", "decoder"), self.config.optimizer),)

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        """The negative evidence lower bound, nats per row (equation 10)."""
        h = join_condition(self.encoder(batch.x), batch.cond, self.spec)
        mean, log_variance = self.posterior(h).float().chunk(2, dim=1)
        noise = rng.normal(self.config.latent_dim)
        z = mean + (0.5 * log_variance).exp() * noise
        logits = self.decoder(z, batch.cond).float()
        reconstruction = self.reconstruction(logits, batch.x).mean()
        kl = losses.gaussian_kl(mean, log_variance).mean()
        total = reconstruction + self.config.beta * kl
        return Loss(total, {"loss": total, "reconstruction": reconstruction, "kl": kl})

    def reconstruction(self, logits: Tensor, x: Tensor) -> Tensor:
        """-log p(x | z) in nats, [n]; constants left out for the Gaussian."""
        if self.config.likelihood == "bernoulli":
            target = (x + 1) / 2
            nats = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        else:
            nats = 0.5 * (torch.tanh(logits) - x).square()
        return nats.flatten(1).sum(dim=1)

    def sample(self, n: int, rng: BatchRandom, cond: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) with z from the prior."""
        logits = self.decoder(rng.normal(self.config.latent_dim), cond).float()
        # The sigmoid of a logit, moved to [-1, 1], is the tanh of half of it.
        return torch.tanh(logits / 2 if self.config.likelihood == "bernoulli" else logits)
