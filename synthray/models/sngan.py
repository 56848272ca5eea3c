"""SNGAN: the hinge loss and a spectrally normalised critic (Miyato et al. 2018, 1802.05957).

Residual networks, Adam at 2e-4 with betas 0 and 0.9, five critic updates (table 1, setting F).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthray.models.base import OptimizerConfig
from synthray.models.composed import ComposedConfig, ComposedGAN
from synthray.models.losses import LossName

ADAM = OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9)


class SNGANConfig(ComposedConfig):
    loss: LossName = "hinge"
    spectral_norm: Literal["none", "critic", "both"] = "critic"
    critic_steps: int = Field(5, ge=1, description="critic updates per generator update")
    generator: OptimizerConfig = ADAM
    critic: OptimizerConfig = ADAM


class SNGAN(ComposedGAN):
    Config = SNGANConfig
