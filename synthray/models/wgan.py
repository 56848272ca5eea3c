"""WGAN: the Wasserstein loss, with clipped weights (Arjovsky et al. 2017, 1701.07875).

Algorithm 1's settings: RMSProp at 5e-5, weights within 0.01, five critic updates a generator
update.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthray.models.base import OptimizerConfig
from synthray.models.composed import ComposedConfig, ComposedGAN
from synthray.models.losses import LossName


class WGANConfig(ComposedConfig):
    loss: LossName = "wasserstein"
    clip: float = Field(0.01, ge=0, description="bound of the critic's weights; 0: none")
    critic_steps: int = Field(5, ge=1, description="critic updates per generator update")
    critic_norm: Literal["batch", "none"] = "batch"
    generator: OptimizerConfig = OptimizerConfig(name="rmsprop", lr=5e-5)
    critic: OptimizerConfig = OptimizerConfig(name="rmsprop", lr=5e-5)


class WGAN(ComposedGAN):
    Config = WGANConfig
    image_architecture = "convolutional"
