"""Losses against values that were worked out in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from synthray import models, rng
from synthray.config import ModelConfig
from synthray.data.codec import DataSpec
from synthray.models import losses
from synthray.models.base import Batch
from synthray.models.regularizers import zero_centred_gradient_penalty
from synthray.models.vae import VAE
from synthray.rng import BatchRandom, Rows


def sigmoid(score: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-score))


@pytest.fixture
def scores() -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.normal(0, 3, 64)), torch.from_numpy(random.normal(0, 3, 64))


def test_the_critics_loss_is_minus_log_d_real_minus_log_one_minus_d_fake(
    scores: tuple[torch.Tensor, torch.Tensor],
) -> None:
    real, fake = scores
    d_real, d_fake = sigmoid(real.numpy()), sigmoid(fake.numpy())
    by_hand = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    assert losses.non_saturating_critic(real, fake).item() == pytest.approx(by_hand, rel=1e-12)


def test_the_critics_loss_is_binary_cross_entropy(
    scores: tuple[torch.Tensor, torch.Tensor],
) -> None:
    real, fake = scores
    entropy = torch.nn.BCEWithLogitsLoss()
    expected = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(losses.non_saturating_critic(real, fake), expected)


def test_the_generators_loss_is_minus_log_d_fake(
    scores: tuple[torch.Tensor, torch.Tensor],
) -> None:
    _, fake = scores
    by_hand = -np.log(sigmoid(fake.numpy())).mean()
    assert losses.non_saturating_generator(fake, fake).item() == pytest.approx(by_hand, rel=1e-12)


def test_an_undecided_critic_costs_two_log_two() -> None:
    zero = torch.zeros(3)
    assert losses.non_saturating_critic(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert losses.non_saturating_generator(zero, zero).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_extreme_scores_give_finite_losses_and_gradients(size: float) -> None:
    for sign in (-1, 1):
        score = torch.tensor([sign * size, -sign * size], requires_grad=True)
        for loss in (
            losses.non_saturating_critic(score, score),
            losses.non_saturating_generator(score, score),
        ):
            (gradient,) = torch.autograd.grad(loss, score)
            assert math.isfinite(loss.item())
            assert gradient.isfinite().all()
    # A fake that the critic is sure of still teaches the generator: the loss does not saturate.
    score = torch.tensor([-1e4], requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.non_saturating_generator(score, score), score)
    assert gradient.item() == pytest.approx(-1.0)


def test_gaussian_kl_is_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    log_variance = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = kl_divergence(posterior, prior).sum(dim=1)
    torch.testing.assert_close(losses.gaussian_kl(mean, log_variance), expected)


def test_gaussian_kl_by_hand() -> None:
    # N(1, e^2) in one dimension: (1 + e^2 - 1 - 2) / 2. The prior itself: 0.
    got = losses.gaussian_kl(torch.tensor([[1.0], [0.0]]), torch.tensor([[2.0], [0.0]]))
    assert got.tolist() == pytest.approx([(math.e**2 - 2) / 2, 0.0])


SPEC = DataSpec(shape=(1, 8, 8), rows=100, conditions=(3,))
COND = torch.tensor([[0], [1], [2], [0]])


def autoencoder(**params: object) -> VAE:
    torch.manual_seed(0)
    config = ModelConfig(name="cvae", params={"width": 4, "latent_dim": 3, **params})
    model = models.build(config, SPEC)
    assert isinstance(model, VAE)
    return model


def elbo(model: VAE, x: torch.Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """The terms that the model tells, and the same from torch.distributions."""
    rows = Rows.all(len(x))
    told = model.loss("vae", Batch(x, COND), BatchRandom(rng.stream(0, "t"), rows))
    hot = torch.nn.functional.one_hot(COND[:, 0], 3).to(x.dtype)
    with torch.no_grad():
        out = model.posterior(torch.cat([model.encoder(x), hot], dim=1))
        mean, log_variance = out.chunk(2, dim=1)
        posterior = Normal(mean, (0.5 * log_variance).exp())
        z = mean + posterior.scale * BatchRandom(rng.stream(0, "t"), rows).normal(3)
        logits = model.decoder(z, COND)
    kl = kl_divergence(posterior, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    if model.config.likelihood == "bernoulli":
        # Grey levels have no probability under a Bernoulli; its log density extends to them.
        likelihood = Independent(Bernoulli(logits=logits, validate_args=False), 3)
        log_p = likelihood.log_prob((x + 1) / 2)
    else:
        log_p = Independent(Normal(torch.tanh(logits), 1.0), 3).log_prob(x)
        log_p = log_p + x[0].numel() * 0.5 * math.log(2 * math.pi)
    expected = {"reconstruction": -log_p.mean().item(), "kl": kl.sum(dim=1).mean().item()}
    expected["loss"] = expected["reconstruction"] + model.config.beta * expected["kl"]
    assert told.total is told.terms["loss"]
    return {name: term.item() for name, term in told.terms.items()}, expected


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_the_terms_of_the_evidence_lower_bound(likelihood: str, beta: float) -> None:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    model = autoencoder(likelihood=likelihood, beta=beta)
    told, expected = elbo(model, x)
    assert told == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_a_vae_stays_finite_on_saturated_pixels() -> None:
    x = torch.tensor([-1.0, 1.0]).repeat(32).view(1, 1, 8, 8).repeat(4, 1, 1, 1)
    model = autoencoder()
    with torch.no_grad():
        model.decoder.output.bias.fill_(1e4)
    loss = model.loss("vae", Batch(x, COND), BatchRandom(rng.stream(0, "t"), Rows.all(4)))
    assert loss.total.isfinite()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_vae_samples_the_mean_of_its_likelihood(likelihood: str) -> None:
    model = autoencoder(likelihood=likelihood).eval()
    random = BatchRandom(rng.stream(0, "t"), Rows.all(4))
    z = BatchRandom(rng.stream(0, "t"), Rows.all(4)).normal(3)
    with torch.no_grad():
        logits = model.decoder(z, COND)
        sample = model.sample(4, random, COND)
    mean = 2 * torch.sigmoid(logits) - 1 if likelihood == "bernoulli" else torch.tanh(logits)
    torch.testing.assert_close(sample, mean)


def test_the_gradient_penalty_is_the_squared_norm_of_the_gradient() -> None:
    # score = a . x + b |x|^2 has the gradient a + 2 b x, known without autograd.
    rng = np.random.default_rng(3)
    a, b, x = rng.normal(size=6), 0.7, rng.normal(size=(5, 6))
    tensor = torch.tensor(x, requires_grad=True)
    score = tensor @ torch.tensor(a) + b * tensor.square().sum(dim=1)
    expected = np.mean(np.sum((a + 2 * b * x) ** 2, axis=1))
    assert zero_centred_gradient_penalty(score, tensor).item() == pytest.approx(expected, rel=1e-12)
