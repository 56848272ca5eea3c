"""Penalties on the critic, each written as its paper's equation."""

from __future__ import annotations

import torch
from torch import Tensor


def zero_centred_gradient_penalty(score: Tensor, x: Tensor) -> Tensor:
    """E ||grad of the score with respect to x||^2: R1 on real rows, R2 on generated ones.

    Mescheder et al. 2018 (1801.04406), equation 9, without the factor gamma / 2.

    Args:
        score: logits [n]; each must depend on its own row of ``x`` alone, so no batch norm.
        x: [n, *shape], with ``requires_grad``.
    """
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()
