"""Seeking few rows: each pulls at the nearest of what the generator draws.

Implicit maximum likelihood estimation (Li & Malik 2018, 1809.09087). Every row is sought, so none
is left out, and no critic is needed; but what lies between two rows comes out as a mixture of both.
AD-GAN therefore only begins so, and leaves the rest to the critic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthray.rng import BatchRandom

CANDIDATES = 3
"""What is drawn for each row of a batch; every row looks among those of all others too."""


def seeking_loss(
    generator: nn.Module, latent_dim: int, rows: Tensor, cond: Tensor, rng: BatchRandom
) -> Tensor:
    """Mean squared difference of rows to their nearest among drawn ones of the same conditions.

    Args:
        rows: [n, *shape].
        cond: int64 [n, conditions].
    """
    z = rng.shared_normal(CANDIDATES * rng.rows.total, latent_dim)
    flat = rows.flatten(1)
    nearest = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    with torch.no_grad():
        for value in {tuple(c.tolist()): c for c in cond}.values():
            mine = (cond == value).all(dim=1)
            drawn = generator(z, value.expand(len(z), -1)).flatten(1)
            nearest[mine] = torch.cdist(flat[mine], drawn).argmin(dim=1)
    found = generator(z[nearest], cond).flatten(1)
    return (found - flat).square().mean()
