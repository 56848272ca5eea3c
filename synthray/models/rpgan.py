"""The default: relativistic pairing with zero-centred gradient penalties on both sides.

Huang et al. 2024, "The GAN is dead; long live the GAN!" (2501.05441): the relativistic pairing
loss leaves no basin for dropped modes, and R1 with R2 makes it converge. No normalisation; penalty,
Adam's beta2 and the learning rates burn in over the training. Residual networks for images,
perceptrons for rows of numbers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthray.config import Ramp, Scheduled, ShareRamp
from synthray.models.base import OptimizerConfig
from synthray.models.composed import ComposedConfig, ComposedGAN
from synthray.models.losses import LossName

PENALTY = Ramp(first=2.0, last=0.2)
ADAM = OptimizerConfig(
    lr=5e-4,
    beta1=0.0,
    beta2=ShareRamp(first=0.9, last=0.99),
    schedule="cosine",
    final=0.1,
)


class RpGANConfig(ComposedConfig):
    latent_dim: int = Field(64, ge=1)
    loss: LossName = "relativistic"
    r1_gamma: Scheduled = PENALTY
    r2_gamma: Scheduled = PENALTY
    generator_norm: Literal["batch", "none"] = "none"
    generator: OptimizerConfig = ADAM
    critic: OptimizerConfig = ADAM


class RpGAN(ComposedGAN):
    Config = RpGANConfig
