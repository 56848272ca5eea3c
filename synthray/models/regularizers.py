"""What keeps a critic in bounds, each written as its paper's equation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def zero_centred_gradient_penalty(score: Tensor, x: Tensor) -> Tensor:
    """E ||grad of the score with respect to x||^2: R1 on real rows, R2 on generated ones.

    Mescheder et al. 2018 (1801.04406), equation 9, without the factor gamma / 2.

    Args:
        score: logits [n]; each must depend on its own row of ``x`` alone, so no batch norm.
        x: [n, *shape], with ``requires_grad``.
    """
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def one_centred_gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """E (||grad D(mix x + (1 - mix) G(z))|| - 1)^2. Gulrajani et al. 2017 (1704.00028), equation 3.

    Args:
        critic: rows to logits [n], without batch norm.
        real, fake: [n, *shape].
        mix: uniform in [0, 1), [n].
    """
    weight = mix.view(-1, *[1] * (real.dim() - 1))
    between = (weight * real + (1 - weight) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    # The root of zero has no gradient.
    norm = (gradient.square().flatten(1).sum(dim=1) + 1e-12).sqrt()
    return (norm - 1).square().mean()


@torch.no_grad()
def clip_weights(module: nn.Module, limit: float) -> None:
    """Every parameter into [-limit, limit]. Arjovsky et al. 2017 (1701.07875), algorithm 1."""
    for parameter in module.parameters():
        parameter.clamp_(-limit, limit)


def spectrally_normed(module: nn.Module) -> nn.Module:
    """Divide the weights of all linear and convolutional layers by their largest singular value.

    Miyato et al. 2018 (1802.05957), by one step of power iteration per forward pass.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            parametrizations.spectral_norm(layer)
    return module
