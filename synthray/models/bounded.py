"""Pixels in [-1, 1], of networks without normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Bounded(torch.autograd.Function):
    """x cut off at -1 and 1, with the gradient of x itself where that leads back inside.

    Tanh has no gradient where it saturates. A generator without normalisation is soon there, where
    images have much background: one that has once drawn the background everywhere never drew
    anything again (docs/experiments.md). Bounds by gradients: Hausknecht & Stone 2015 (1511.04143),
    section 5, "zeroing gradients".
    """

    generate_vmap_rule = True  # gradients of rows one by one, for differential privacy

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(-1, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        # Descending, x moves against its gradient.
        outward = ((x < -1) & (gradient > 0)) | ((x > 1) & (gradient < 0))
        return gradient.masked_fill(outward, 0)


def bounded(x: Tensor) -> Tensor:
    result: Tensor = Bounded.apply(x)
    return result
