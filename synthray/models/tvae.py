"""TVAE: the variational autoencoder for tables (Xu et al. 2019, 1907.00503, section 4.5)."""

from __future__ import annotations

from typing import Annotated, ClassVar

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
    table_layout,
)
from synthray.models.perceptron import Perceptron
from synthray.models.table_networks import gumbel
from synthray.rng import BatchRandom

Width = Annotated[int, Field(ge=1)]
DEVIATIONS = (0.01, 1.0)
"""Bounds of the deviation of an offset given z."""


class TVAEConfig(Strict):
    latent_dim: int = Field(128, ge=1)
    encoder_widths: tuple[Width, ...] = Field((128, 128), min_length=1)
    decoder_widths: tuple[Width, ...] = Field((128, 128), min_length=1)
    reconstruction: float = Field(2.0, gt=0, description="weight of the reconstruction")
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, beta1=0.9, weight_decay=1e-5)


class Decoder(nn.Module):
    """z to the parameters of an expanded row, and the log-deviation of every offset."""

    def __init__(self, widths: list[int], offsets: int) -> None:
        super().__init__()
        self.network = Perceptron(widths)
        self.log_deviation = nn.Parameter(torch.full((offsets,), -2.0))

    @property
    def deviation(self) -> Tensor:
        return self.log_deviation.exp().clamp(*DEVIATIONS)


class TVAE(GenerativeModel):
    Config: ClassVar[type[Strict]] = TVAEConfig
    config: TVAEConfig
    sampler = ("decoder",)
    live = ("reconstruction",)
    coding = "modes"

    def __init__(self, config: TVAEConfig, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.layout = layout = table_layout(spec, "tvae")
        self.spans = layout.spans
        # The offset of a slot of numbers lies just before its codes.
        numbers = [slot.number for slot in layout.slots]
        self.offsets = [
            s.start - 1 for s, number in zip(self.spans, numbers, strict=True) if number
        ]
        hot = sum(spec.conditions)
        inputs = [layout.expanded_width + hot, *config.encoder_widths, 2 * config.latent_dim]
        outputs = [config.latent_dim + hot, *config.decoder_widths, layout.expanded_width]
        self.encoder = Perceptron(inputs)
        self.decoder = Decoder(outputs, len(self.offsets))

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("tvae", ("encoder", "decoder"), self.config.optimizer),)

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        """The negative evidence lower bound, nats per row, with its reconstruction weighted."""
        x = self.layout.expand(batch.x)
        posterior = self.encoder(join_condition(x, batch.cond, self.spec)).float()
        mean, log_variance = posterior.chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * rng.normal(self.config.latent_dim)
        output = self._decoded(z, batch.cond)
        reconstruction = self.reconstruction(output, batch.x).mean()
        kl = losses.gaussian_kl(mean, log_variance).mean()
        total = self.config.reconstruction * reconstruction + kl
        return Loss(total, {"loss": total, "reconstruction": reconstruction, "kl": kl})

    def reconstruction(self, output: Tensor, x: Tensor) -> Tensor:
        """-log p(x | z) in nats, [n]: Gaussian offsets (without constants), categorical codes.

        Args:
            output: of the decoder, [n, expanded_width]; x: compact rows.
        """
        deviation = self.decoder.deviation
        off = (torch.tanh(output[:, self.offsets]) - self.layout.offsets(x)) / deviation
        nats = (off.square() / 2 + deviation.log()).sum(dim=1)
        codes = self.layout.codes(x)
        for slot, span in enumerate(self.spans):
            nats = nats + F.cross_entropy(output[:, span], codes[:, slot], reduction="none")
        return nats

    def sample(
        self, n: int, rng: BatchRandom, cond: Tensor | None = None, held: Tensor | None = None
    ) -> Tensor:
        """Compact rows [n, width] of p(x | z). What is held has no influence: such rows are sorted
        out.
        """
        output = self._decoded(rng.normal(self.config.latent_dim), cond)
        noise = rng.normal(len(self.offsets)) * self.decoder.deviation
        # The largest of the scores with Gumbel noise is a draw of their softmax.
        expanded = output + gumbel(self.layout, rng)
        expanded[:, self.offsets] = torch.tanh(output[:, self.offsets]) + noise
        return self.layout.harden(expanded)

    def _decoded(self, z: Tensor, cond: Tensor | None) -> Tensor:
        return self.decoder.network(join_condition(z, cond, self.spec)).float()
