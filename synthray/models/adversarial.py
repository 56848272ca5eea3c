"""What the adversarial families share: two networks, two phases, the non-saturating loss."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from synthray.config import Strict
from synthray.data.codec import DataSpec
from synthray.models import losses
from synthray.models.base import Batch, GenerativeModel, Loss, OptimizerConfig, Phase
from synthray.models.regularizers import zero_centred_gradient_penalty
from synthray.rng import BatchRandom


class AdversarialConfig(Strict):
    latent_dim: int = Field(100, ge=1)
    generator: OptimizerConfig = OptimizerConfig()
    critic: OptimizerConfig = OptimizerConfig()
    r1_gamma: float = Field(
        0.0, ge=0, description="weight of the gradient penalty on real rows (R1)"
    )
    critic_steps: int = Field(1, ge=1, description="critic updates per generator update")


class AdversarialModel(GenerativeModel):
    """A generator against a critic.

    Subclasses build ``generator(z, cond) -> x`` and ``critic(x, cond, rng) -> logits [n]``.
    """

    Config: ClassVar[type[Strict]] = AdversarialConfig
    sampler = ("generator",)
    generator: nn.Module
    critic: nn.Module

    def __init__(self, config: AdversarialConfig, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.generator = self.build_generator()
        self.critic = self.build_critic()

    @abstractmethod
    def build_generator(self) -> nn.Module: ...

    @abstractmethod
    def build_critic(self) -> nn.Module: ...

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("critic", ("critic",), self.config.critic, self.config.critic_steps),
            Phase("generator", ("generator",), self.config.generator),
        )

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        if phase == "critic":
            return self._critic_loss(batch, rng)
        fake = self.sample(len(batch), rng, batch.cond)
        score = self.critic(fake, batch.cond, rng)
        total = losses.non_saturating_generator(score)
        return Loss(total, {"loss_generator": total})

    def _critic_loss(self, batch: Batch, rng: BatchRandom) -> Loss:
        with torch.no_grad():
            fake = self.sample(len(batch), rng, batch.cond)
        gamma = self.config.r1_gamma
        real = batch.x.detach().requires_grad_(gamma > 0)
        real_score = self.critic(real, batch.cond, rng)
        fake_score = self.critic(fake, batch.cond, rng)
        total = losses.non_saturating_critic(real_score, fake_score)
        terms = {
            "loss_critic": total,
            "critic_real": real_score.mean(),
            "critic_fake": fake_score.mean(),
        }
        if gamma:
            penalty = zero_centred_gradient_penalty(real_score, real)
            total = total + gamma / 2 * penalty
            terms |= {"loss_critic": total, "r1": penalty}
        return Loss(total, terms)

    def sample(self, n: int, rng: BatchRandom, cond: Tensor | None = None) -> Tensor:
        return self.generator(rng.normal(self.config.latent_dim), cond)
