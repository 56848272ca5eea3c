"""A relativistic GAN for tables, on the expanded rows of the tabular codec.

The game of `rpgan` (Huang et al. 2024, 2501.05441) with the outputs of CTGAN (1907.00503): offsets
and softened codes. Neither packs nor a conditional vector: relativistic pairing with R1 and R2
drops no modes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from synthray.config import Scheduled
from synthray.data.layout import Layout
from synthray.models.adversarial import AdversarialConfig, AdversarialModel
from synthray.models.base import Batch, OptimizerConfig, join_condition, table_layout
from synthray.models.losses import LossName
from synthray.models.rpgan import ADAM, PENALTY
from synthray.models.table_networks import PackedCritic, ResidualPerceptron, gumbel, softened
from synthray.rng import BatchRandom

Width = Annotated[int, Field(ge=1)]


class TableGANConfig(AdversarialConfig):
    latent_dim: int = Field(128, ge=1)
    generator_widths: tuple[Width, ...] = Field((256, 256), min_length=1)
    critic_widths: tuple[Width, ...] = Field((256, 256), min_length=1)
    temperature: float = Field(0.2, gt=0, description="of the softened codes")
    dropout: float = Field(0.0, ge=0, lt=1, description="in the critic")


class TableGAN(AdversarialModel):
    """A generator of soft expanded rows against a critic of expanded ones."""

    Config = TableGANConfig
    config: TableGANConfig
    coding = "modes"

    @property
    def layout(self) -> Layout:
        return table_layout(self.spec, type(self).__name__.lower())

    def build_generator(self) -> nn.Module:
        config, inputs = self.config, self.config.latent_dim + sum(self.spec.conditions)
        outputs = self.layout.expanded_width
        return ResidualPerceptron(inputs, config.generator_widths, outputs, norm=False)

    def build_critic(self) -> nn.Module:
        inputs = self.layout.expanded_width + sum(self.spec.conditions)
        return PackedCritic(inputs, self.config.critic_widths, self.config.dropout)

    def real(self, batch: Batch) -> Tensor:
        return self.layout.expand(batch.x)

    def drawn(self, phase: str, batch: Batch, rng: BatchRandom) -> Tensor:
        return self.soft(self.generator(self._latent(rng, batch.cond)), rng)

    def soft(self, output: Tensor, rng: BatchRandom) -> Tensor:
        """A generator's output as soft expanded rows."""
        return softened(output, self.layout, gumbel(self.layout, rng), self.config.temperature)

    def _plain_scores(self, x: Tensor, batch: Batch, rng: BatchRandom) -> Tensor:
        return self.critic(join_condition(x, batch.cond, self.spec), rng)

    def sample(
        self, n: int, rng: BatchRandom, cond: Tensor | None = None, held: Tensor | None = None
    ) -> Tensor:
        """Compact rows [n, width]. What is held has no influence: such rows are sorted out."""
        return self.layout.harden(self.soft(self.generator(self._latent(rng, cond)), rng))

    def _latent(self, rng: BatchRandom, cond: Tensor | None) -> Tensor:
        return join_condition(rng.normal(self.config.latent_dim), cond, self.spec)


class RpTGANConfig(TableGANConfig):
    loss: LossName = "relativistic"
    r1_gamma: Scheduled = PENALTY
    r2_gamma: Scheduled = PENALTY
    generator: OptimizerConfig = ADAM
    critic: OptimizerConfig = ADAM


class RpTGAN(TableGAN):
    Config = RpTGANConfig
