"""WGAN-GP: the Wasserstein loss with a gradient penalty (Gulrajani et al. 2017, 1704.00028).

Algorithm 1's settings: penalty 10, five critic updates, Adam at 1e-4 with betas 0 and 0.9.
"""

from __future__ import annotations

from pydantic import Field

from synthray.config import Scheduled
from synthray.models.base import OptimizerConfig
from synthray.models.composed import ComposedConfig, ComposedGAN
from synthray.models.losses import LossName

ADAM = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9)


class WGANGPConfig(ComposedConfig):
    loss: LossName = "wasserstein"
    gradient_penalty: Scheduled = 10.0
    critic_steps: int = Field(5, ge=1, description="critic updates per generator update")
    generator: OptimizerConfig = ADAM
    critic: OptimizerConfig = ADAM


class WGANGP(ComposedGAN):
    Config = WGANGPConfig
    image_architecture = "convolutional"
