"""SAGAN: self-attention, spectral norm in both networks, hinge loss and two learning rates.

Zhang et al. 2018 (1805.08318), section 4: Adam with betas 0 and 0.9, the critic at 4e-4 and the
generator at 1e-4, one update each.
"""

from __future__ import annotations

from typing import Literal

from synthray.models.base import OptimizerConfig
from synthray.models.composed import ComposedConfig, ComposedGAN
from synthray.models.losses import LossName


class SAGANConfig(ComposedConfig):
    loss: LossName = "hinge"
    spectral_norm: Literal["none", "critic", "both"] = "both"
    attention: bool = True
    generator: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9)
    critic: OptimizerConfig = OptimizerConfig(lr=4e-4, beta1=0.0, beta2=0.9)


class SAGAN(ComposedGAN):
    Config = SAGANConfig
