"""Losses, each written as its paper's equation. Scores are logits, [n]."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def non_saturating_critic(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), D = sigmoid of the score.

    Goodfellow et al. 2014 (1406.2661), equation 1.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-E log D(G(z)): the same fixed point as minimax, with stronger early gradients.

    Goodfellow et al. 2014 (1406.2661), section 3.
    """
    return F.softplus(-fake).mean()


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats, summed over the last dimension: [n].

    Kingma & Welling 2014 (1312.6114), appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)
