"""Losses, each written as its paper's equation. Scores are logits, [n]; a loss is a scalar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F


def non_saturating_critic(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), D = sigmoid of the score.

    Goodfellow et al. 2014 (1406.2661), equation 1.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(G(z)): the same fixed point as minimax, with stronger early gradients.

    Goodfellow et al. 2014 (1406.2661), section 3.
    """
    return F.softplus(-fake).mean()


def minimax_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E log(1 - D(G(z))): the game as stated. Goodfellow et al. 2014 (1406.2661), equation 1."""
    return -F.softplus(fake).mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))). Miyato et al. 2018 (1802.05957), equation 16."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) - E D(x). Arjovsky et al. 2017 (1701.07875), equation 2, negated."""
    return fake.mean() - real.mean()


def linear_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E D(G(z)), of the hinge and the Wasserstein loss. 1802.05957, equation 17; 1701.07875."""
    return -fake.mean()


def relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(D(x) - D(G(z)))): every real row is paired with a generated one.

    Jolicoeur-Martineau 2018 (1807.00734), equation 3; Huang et al. 2024 (2501.05441), equation 2.
    """
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(D(G(z)) - D(x))). 2501.05441, equation 2, the generator's turn."""
    return F.softplus(real - fake).mean()


LossName = Literal["non_saturating", "minimax", "hinge", "wasserstein", "relativistic"]


@dataclass(frozen=True)
class AdversarialLoss:
    """``critic(real, fake)`` and ``generator(real, fake)``, both minimised.

    paired: the generator's loss needs the scores of real rows too.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False


ADVERSARIAL: dict[LossName, AdversarialLoss] = {
    "non_saturating": AdversarialLoss(non_saturating_critic, non_saturating_generator),
    "minimax": AdversarialLoss(non_saturating_critic, minimax_generator),
    "hinge": AdversarialLoss(hinge_critic, linear_generator),
    "wasserstein": AdversarialLoss(wasserstein_critic, linear_generator),
    "relativistic": AdversarialLoss(relativistic_critic, relativistic_generator, paired=True),
}


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats, summed over the last dimension: [n].

    Kingma & Welling 2014 (1312.6114), appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)
