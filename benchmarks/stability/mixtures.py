"""The mixtures of Gaussians that mode collapse is measured on, exactly as in PacGAN.

Lin et al. 2018 (1712.04086), section 4.1, after Srivastava et al. 2017 (VEEGAN, 1705.07761):
a ring of 8 with radius 1 and standard deviation 0.01, and a grid of 5 x 5 with step 2 and standard
deviation 0.05.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixture:
    """Equal weights; isotropic Gaussians of standard deviation ``std`` at ``centres`` [k, 2]."""

    name: str
    centres: np.ndarray
    std: float

    def sample(self, rows: int, random: np.random.Generator) -> np.ndarray:
        """float64 [rows, 2]."""
        chosen = random.integers(len(self.centres), size=rows)
        return self.centres[chosen] + self.std * random.standard_normal((rows, 2))

    def judge(self, x: np.ndarray) -> dict[str, float]:
        """PacGAN's three scores of samples [n, 2].

        modes: that have at least one sample of high quality, one within 3 standard deviations.
        high_quality: the share of such samples; 1 - exp(-4.5) = 98.89 % of the real ones.
        kl: KL(samples || uniform) in nats over the nearest modes.
        """
        square = ((x[:, None] - self.centres[None]) ** 2).sum(axis=2)
        nearest, good = square.argmin(axis=1), square.min(axis=1) < (3 * self.std) ** 2
        share = np.bincount(nearest, minlength=len(self.centres)) / len(x)
        seen = share[share > 0]
        return {
            "modes": len(np.unique(nearest[good])),
            "high_quality": float(good.mean()),
            "kl": float((seen * np.log(seen * len(self.centres))).sum()),
        }


_angles = 2 * math.pi * np.arange(8) / 8
RING = Mixture("ring", np.stack([np.cos(_angles), np.sin(_angles)], axis=1), 0.01)
_steps = np.arange(-4.0, 5.0, 2.0)
GRID = Mixture("grid", np.stack(np.meshgrid(_steps, _steps), axis=2).reshape(-1, 2), 0.05)
MIXTURES = {mixture.name: mixture for mixture in (RING, GRID)}
