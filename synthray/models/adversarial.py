"""What the adversarial families share: two networks, a loss, penalties, augmentation."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from synthray.config import Scheduled, Strict, peak, value_at
from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models.augment import Augment, AugmentConfig
from synthray.models.base import Batch, GenerativeModel, Loss, OptimizerConfig, Phase
from synthray.models.losses import ADVERSARIAL, LossName
from synthray.models.regularizers import (
    clip_weights,
    one_centred_gradient_penalty,
    zero_centred_gradient_penalty,
)
from synthray.rng import BatchRandom

PENALTIES = ("r1_gamma", "r2_gamma", "gradient_penalty")


class AdversarialConfig(Strict):
    latent_dim: int = Field(100, ge=1)
    generator: OptimizerConfig = OptimizerConfig()
    critic: OptimizerConfig = OptimizerConfig()
    loss: LossName = "non_saturating"
    r1_gamma: Scheduled = Field(
        0.0, description="weight of the zero-centred gradient penalty on real rows (R1)"
    )
    r2_gamma: Scheduled = Field(0.0, description="the same on generated rows (R2)")
    gradient_penalty: Scheduled = Field(
        0.0, description="weight of the one-centred gradient penalty (WGAN-GP)"
    )
    clip: float = Field(0.0, ge=0, description="bound of the critic's weights; 0: none")
    critic_steps: int = Field(1, ge=1, description="critic updates per generator update")
    augment: AugmentConfig = AugmentConfig()

    @property
    def penalised(self) -> str:
        """The name of a gradient penalty that is in use, or none."""
        return next((name for name in PENALTIES if peak(getattr(self, name)) > 0), "")

    @model_validator(mode="after")
    def _sign_of_wasserstein(self) -> Self:
        if self.augment.adaptive and self.loss == "wasserstein":
            raise ValueError(
                "augment.adaptive follows the sign of the critic's scores, and those of the "
                "wasserstein loss have no zero; set it to false"
            )
        return self


class AdversarialModel(GenerativeModel):
    """A generator against a critic.

    Subclasses build ``generator(z, cond) -> x`` and ``critic(x, cond, rng) -> logits [n]``.
    """

    Config: ClassVar[type[Strict]] = AdversarialConfig
    sampler = ("generator",)
    live = ("loss", *PENALTIES, "clip", "critic_steps")
    critics = ("critic",)
    generator: nn.Module
    critic: nn.Module

    def __init__(self, config: AdversarialConfig, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        if config.augment.kinds and len(spec.shape) != 3:
            raise ConfigError(
                f"model.params.augment.kinds: rows of shape {spec.shape} are no images",
                "leave augment out",
            )
        self.generator = self.build_generator()
        self.critic = self.build_critic()
        self.augment = Augment(config.augment.probability)

    @abstractmethod
    def build_generator(self) -> nn.Module: ...

    @abstractmethod
    def build_critic(self) -> nn.Module: ...

    def phases(self) -> tuple[Phase, ...]:
        config, paired = self.config, ADVERSARIAL[self.config.loss].paired
        return (
            Phase("critic", ("critic",), config.critic, config.critic_steps),
            Phase("generator", ("generator",), config.generator, real=paired),
        )

    def not_private(self) -> tuple[str, str] | None:
        penalty = self.config.penalised
        if penalty:
            return (
                f"model.params.{penalty}: a gradient penalty's own gradient is not had row by row",
                f"set {penalty}: 0",
            )
        if self.config.augment.adaptive:
            return (
                "model.params.augment.adaptive: the strength would follow the scores of real rows",
                "set augment.adaptive: false",
            )
        return None

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        if phase == "critic":
            return self._critic_loss(batch, rng)
        game = ADVERSARIAL[self.config.loss]
        fake = self._scores(self.drawn(phase, batch, rng), batch, rng)
        real = fake
        if game.paired:
            with torch.no_grad():
                real = self._scores(self.real(batch), batch, rng)
        total = game.generator(real, fake)
        return Loss(total, {"loss_generator": total})

    def real(self, batch: Batch) -> Tensor:
        """The real rows of a step in the form that the critic scores."""
        return batch.x

    def drawn(self, phase: str, batch: Batch, rng: BatchRandom) -> Tensor:
        """The generated rows of a phase, in that form."""
        return self.sample(len(batch), rng, batch.cond)

    def _critic_loss(self, batch: Batch, rng: BatchRandom) -> Loss:
        config = self.config
        r1, r2, penalty = (value_at(getattr(config, name), self.progress) for name in PENALTIES)
        with torch.no_grad():
            fake = self.drawn("critic", batch, rng)
        real = self.real(batch).detach()
        if r1:
            real.requires_grad_()
        if r2:
            fake.requires_grad_()
        real_score = self._scores(real, batch, rng)
        fake_score = self._scores(fake, batch, rng)
        total = ADVERSARIAL[config.loss].critic(real_score, fake_score)
        terms = {
            "critic_real": real_score.mean(),
            "critic_fake": fake_score.mean(),
            "critic_sign": (real_score - fake_score).sign().mean(),
        }
        if r1:
            terms["r1"] = zero_centred_gradient_penalty(real_score, real)
            total = total + r1 / 2 * terms["r1"]
        if r2:
            terms["r2"] = zero_centred_gradient_penalty(fake_score, fake)
            total = total + r2 / 2 * terms["r2"]
        if penalty:
            terms["gradient_penalty"] = one_centred_gradient_penalty(
                lambda x: self._scores(x, batch, rng), real, fake, rng.uniform()[: len(real)]
            )
            total = total + penalty * terms["gradient_penalty"]
        if config.augment.adaptive:
            sign = terms["critic_sign"]
            absolute = not ADVERSARIAL[config.loss].paired
            terms["augment_sign"] = real_score.sign().mean() if absolute else sign
            terms["augment_probability"] = self.augment.probability.clone()
        return Loss(total, {"loss_critic": total} | terms)

    def _scores(self, x: Tensor, batch: Batch, rng: BatchRandom) -> Tensor:
        """Logits [n] of rows as the critic sees them."""
        return self._plain_scores(self.augment(x, self.config.augment.kinds, rng), batch, rng)

    def _plain_scores(self, x: Tensor, batch: Batch, rng: BatchRandom) -> Tensor:
        """The same without augmentation."""
        return self.critic(x, batch.cond, rng)

    def after_phase(self, phase: str, terms: dict[str, Tensor], rows: int) -> None:
        if phase == "critic":
            if self.config.clip:
                clip_weights(self.critic, self.config.clip)
            if "augment_sign" in terms:
                self.augment.adapt(self.config.augment, terms["augment_sign"], rows)

    def diagnose(self, batch: Batch, rng: BatchRandom) -> dict[str, Tensor]:
        """How steep the critic is: mean norms of its score's gradient at real and generated rows.

        Nothing is changed: running statistics of batch norm are used, not moved.
        """
        was = self.training
        self.eval()
        try:
            with torch.no_grad():
                fake = self.drawn("generator", batch, rng)
            return {
                "gradient_real": self._steepness(self.real(batch), batch, rng),
                "gradient_fake": self._steepness(fake, batch, rng),
            }
        finally:
            self.train(was)

    def _steepness(self, x: Tensor, batch: Batch, rng: BatchRandom) -> Tensor:
        x = x.detach().requires_grad_()
        score = self._plain_scores(x, batch, rng)
        (gradient,) = torch.autograd.grad(score.sum(), x)
        return gradient.flatten(1).norm(dim=1).mean()

    def sample(self, n: int, rng: BatchRandom, cond: Tensor | None = None) -> Tensor:
        return self.generator(rng.normal(self.config.latent_dim), cond)
