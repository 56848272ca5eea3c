"""Differentiable augmentation of what the critic sees, real and generated alike.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training" (2006.10738): with
the same random changes on both sides, the generator does not learn them. The strength adapts as in
Karras et al. 2020 (2006.06676): more when the critic is too sure of real rows.

Our own few lines and no library: augmentation libraries draw from global random state, and a step
must be a function of its address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from synthray.config import Strict
from synthray.rng import BatchRandom

Kind = Literal["translation", "cutout", "brightness", "contrast", "saturation", "flip"]


class AugmentConfig(Strict):
    """Each kind is applied to a row with the current probability."""

    kinds: tuple[Kind, ...] = Field((), description="none switches augmentation off")
    probability: float = Field(1.0, ge=0, le=1, description="where it starts, if adaptive")
    adaptive: bool = Field(False, description="follow the critic's sureness of real rows")
    target: float = Field(
        0.6, gt=0, lt=1, description="mean sign of the critic on real rows to hold (2006.06676)"
    )
    rows: int = Field(
        100_000, ge=1, description="rows in which the probability can move by 1 (2006.06676: 500k)"
    )


def translation(x: Tensor, rng: BatchRandom) -> Tensor:
    """Shift by up to an eighth of the side, in whole pixels; the rim is the edge's colour."""
    side = x.shape[-1]
    reach = side // 8
    shift = (rng.uniform(2) * (2 * reach + 1)).floor().long() - reach
    grid = torch.arange(side, device=x.device)
    rows = (grid + shift[:, :1]).clamp(0, side - 1)
    columns = (grid + shift[:, 1:]).clamp(0, side - 1)
    n, channels = x.shape[:2]
    index = torch.arange(n, device=x.device).view(n, 1, 1, 1)
    channel = torch.arange(channels, device=x.device).view(1, channels, 1, 1)
    return x[index, channel, rows.view(n, 1, side, 1), columns.view(n, 1, 1, side)]


def cutout(x: Tensor, rng: BatchRandom) -> Tensor:
    """Black out a square of half the side."""
    side = x.shape[-1]
    centre = (rng.uniform(2) * side).floor()
    grid = torch.arange(side, device=x.device)
    near = (grid - centre.unsqueeze(2)).abs() < side / 4
    hole = near[:, 0].unsqueeze(2) & near[:, 1].unsqueeze(1)
    return x.masked_fill(hole.unsqueeze(1), -1.0)


def brightness(x: Tensor, rng: BatchRandom) -> Tensor:
    """Add up to half the range, either way."""
    return x + (rng.uniform(1, 1, 1) - 0.5)


def contrast(x: Tensor, rng: BatchRandom) -> Tensor:
    """Scale about the row's mean by 0.5 … 1.5."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (rng.uniform(1, 1, 1) + 0.5) + mean


def saturation(x: Tensor, rng: BatchRandom) -> Tensor:
    """Scale about the pixel's grey by 0 … 2."""
    grey = x.mean(dim=1, keepdim=True)
    return (x - grey) * (rng.uniform(1, 1, 1) * 2) + grey


def flip(x: Tensor, rng: BatchRandom) -> Tensor:
    """Mirror left to right."""
    return x.flip(-1)


KINDS: dict[str, Callable[[Tensor, BatchRandom], Tensor]] = {
    "translation": translation,
    "cutout": cutout,
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "flip": flip,
}


class Augment(nn.Module):
    """[n, c, side, side] to the same shape. The probability is state: checkpoints keep it."""

    probability: Tensor

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.register_buffer("probability", torch.tensor(float(probability)))

    def forward(self, x: Tensor, kinds: Sequence[Kind], rng: BatchRandom) -> Tensor:
        for kind in kinds:
            chosen = rng.uniform(1, 1, 1) < self.probability
            x = torch.where(chosen, KINDS[kind](x, rng), x)
        return x

    @torch.no_grad()
    def adapt(self, config: AugmentConfig, sign: Tensor, rows: int) -> None:
        """One step towards ``config.target``.

        Args:
            sign: mean sign of the critic on the real rows of all workers.
            rows: how many they were.
        """
        step = torch.sign(sign - config.target) * rows / config.rows
        self.probability.add_(step.to(self.probability)).clamp_(0, 1)
