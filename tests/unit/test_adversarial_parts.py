"""Losses, penalties, schedules and augmentation of the adversarial families, against values that
were worked out in another way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthray import models, rng
from synthray.config import ModelConfig, Ramp, TrainConfig
from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models import losses
from synthray.models.adversarial import AdversarialModel
from synthray.models.augment import KINDS, Augment, AugmentConfig
from synthray.models.base import Batch
from synthray.models.regularizers import (
    clip_weights,
    one_centred_gradient_penalty,
    spectrally_normed,
    zero_centred_gradient_penalty,
)
from synthray.models.residual import SelfAttention
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine
from synthray.training.settings import Relief

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"latent_dim": 5, "width": 4, "critic_width": 4}
IMAGES = DataSpec(shape=(1, 16, 16), rows=64)


def random_of(count: int = 8) -> BatchRandom:
    return BatchRandom(rng.stream(0, "test"), Rows.all(count))


def build(name: str, spec: DataSpec = IMAGES, **params: Any) -> AdversarialModel:
    torch.manual_seed(0)
    model = models.build(ModelConfig(name=name, params=SMALL | params), spec)
    assert isinstance(model, AdversarialModel)
    return model


def engine_of(model: AdversarialModel, steps: int = 100, **settings: Any) -> Engine:
    config = TrainConfig.model_validate({"steps": steps, "batch_size": 8, **settings})
    return Engine(model, config, seed=0, rows=Rows.all(8))


def batch_of(spec: DataSpec = IMAGES) -> Batch:
    x = torch.rand(8, *spec.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(x, torch.empty(8, 0, dtype=torch.int64))


# --- losses ------------------------------------------------------------------------------------


def by_hand(name: str, real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """(critic, generator), of probabilities and maxima as the papers write them."""

    def d(score: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-score))

    if name == "minimax":
        game = np.log(d(real)).mean() + np.log(1 - d(fake)).mean()
        return -game, np.log(1 - d(fake)).mean()
    if name == "hinge":
        critic = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
        return critic, -fake.mean()
    if name == "wasserstein":
        return -(real.mean() - fake.mean()), -fake.mean()
    assert name == "relativistic"
    return -np.log(d(real - fake)).mean(), -np.log(d(fake - real)).mean()


@pytest.mark.parametrize("name", ["minimax", "hinge", "wasserstein", "relativistic"])
def test_losses_are_those_of_their_papers(name: losses.LossName) -> None:
    random = np.random.default_rng(0)
    real, fake = random.normal(0, 2, 64), random.normal(0, 2, 64)
    critic, generator = by_hand(name, real, fake)
    loss = losses.ADVERSARIAL[name]
    given = torch.from_numpy(real), torch.from_numpy(fake)
    assert loss.critic(*given).item() == pytest.approx(critic, rel=1e-12)
    assert loss.generator(*given).item() == pytest.approx(generator, rel=1e-12)


@pytest.mark.parametrize("name", ["wgan", "wgan_gp", "sngan", "sagan", "rpgan"])
def test_a_family_trains_with_the_loss_it_names(name: str) -> None:
    model = build(name)
    terms = engine_of(model).train_step(batch_of())
    expected = {"wgan": "wasserstein", "wgan_gp": "wasserstein", "rpgan": "relativistic"}
    assert model.config.loss == expected.get(name, "hinge")
    assert ("gradient_penalty" in terms) == (name == "wgan_gp")
    assert ("r1" in terms and "r2" in terms) == (name == "rpgan")
    assert -1 <= terms["critic_sign"] <= 1


# --- penalties ---------------------------------------------------------------------------------


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2 over each row: its gradient is a x."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.5 * x.square().flatten(1).sum(dim=1) / 2


def test_the_penalties_of_a_known_critic() -> None:
    real = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fake, mix = real.flip(0), torch.linspace(0, 0.9, 16, dtype=torch.float64)
    x = real.clone().requires_grad_()
    zero = zero_centred_gradient_penalty(Quadratic()(x), x)
    assert zero.item() == pytest.approx((1.5 * real).square().sum(dim=1).mean().item())
    one = one_centred_gradient_penalty(Quadratic(), real, fake, mix)
    between = mix[:, None] * real + (1 - mix[:, None]) * fake
    expected = ((1.5 * between).norm(dim=1) - 1).square().mean()
    assert one.item() == pytest.approx(expected.item(), rel=1e-6)


def test_clipping_bounds_every_parameter_after_every_critic_update() -> None:
    model = build("wgan")
    clip_weights(model.critic, 10.0)
    assert max(p.abs().max().item() for p in model.critic.parameters()) > 0.01
    engine_of(model).train_step(batch_of())
    assert max(p.abs().max().item() for p in model.critic.parameters()) <= 0.01


def test_spectral_norm_divides_by_the_largest_singular_value() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 7)
    raw = layer.weight.detach().clone()
    spectrally_normed(layer)
    for _ in range(200):  # power iteration gets there by and by
        layer(torch.zeros(1, 12))
    largest = torch.linalg.matrix_norm(raw, 2)
    torch.testing.assert_close(layer.weight, raw / largest, rtol=1e-4, atol=1e-5)


def test_averaged_spectral_norm_keeps_unit_directions() -> None:
    model = build("sagan")
    engine = engine_of(model)
    for _ in range(3):
        engine.train_step(batch_of())
    vectors = [v for k, v in engine.sampler_state().items() if k.endswith(("._u", "._v"))]
    assert vectors
    for vector in vectors:
        assert vector.norm().item() == pytest.approx(1, abs=1e-4)


def test_batch_norm_and_gradient_penalties_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="r2_gamma needs critic_norm: none"):
        build("wgan", r2_gamma={"first": 0.0, "last": 1.0})


# --- attention ---------------------------------------------------------------------------------


def test_attention_begins_as_the_identity_and_then_looks_everywhere() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(attention(x), x)
    with torch.no_grad():
        attention.gamma.fill_(1.0)
    moved = x.clone()
    moved[:, :, 0, 0] += 1
    change = (attention(moved) - attention(x)).abs().sum(dim=1)
    assert (change[:, 5, 5] > 0).all()


# --- schedules ---------------------------------------------------------------------------------


def test_a_ramp_is_half_a_cosine_then_flat() -> None:
    ramp = Ramp(first=2.0, last=0.0, until=0.5)
    assert [ramp.at(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([2, 1, 0, 0])


def test_penalty_beta_and_average_follow_their_ramps() -> None:
    model = build(
        "rpgan",
        r1_gamma={"first": 4.0, "last": 1.0},
        r2_gamma=0.0,
        critic={"lr": 1e-9, "beta2": {"first": 0.5, "last": 0.9}},
        generator={"lr": 1e-9},
    )
    seen = []
    engine = engine_of(model, steps=4)
    game = losses.ADVERSARIAL["relativistic"]
    for _ in range(4):
        engine.train_step(batch_of())
        seen.append(engine.optimizers["critic"].param_groups[0]["betas"][1])
    ramp = Ramp(first=0.5, last=0.9)
    assert seen == pytest.approx([ramp.at(s / 4) for s in range(4)])
    # The weight of the penalty is what is left of the loss.
    for progress, weight in ((0.0, 4.0), (0.5, 2.5)):
        model.progress = progress
        terms = model.loss("critic", batch_of(), random_of()).terms
        with torch.no_grad():
            random = random_of()
            fake = model.sample(8, random)
            plain = game.critic(
                model.critic(batch_of().x, None, random), model.critic(fake, None, random)
            )
        left = (terms["loss_critic"] - plain) / terms["r1"]
        assert left.item() == pytest.approx(weight / 2, rel=1e-3)


def test_a_section_keeps_the_familys_defaults_beside_what_is_given() -> None:
    config = build("rpgan", critic={"lr": 1e-3}).config
    assert (config.critic.lr, config.critic.beta1) == (1e-3, 0.0)
    assert config.critic.schedule == "cosine"
    assert config.generator == models.family("rpgan").Config().generator


def test_settings_change_in_mid_training_and_structure_does_not() -> None:
    model = build("rpgan")
    changes = [
        {"step": 1, "set": {"generator.lr": 1e-6, "r1_gamma": 7.0}},
        {"step": 2, "set": {"r1_gamma": 3.0}},
    ]
    engine = engine_of(model, schedule=changes)
    engine.train_step(batch_of())
    assert engine.optimizers["generator"].param_groups[0]["lr"] > 1e-6
    engine.train_step(batch_of())
    assert engine.optimizers["generator"].param_groups[0]["lr"] <= 1e-6
    assert model.config.r1_gamma == 7.0
    engine.relief = Relief(slow=0.1, more=2.0)
    engine.train_step(batch_of())
    assert model.config.generator.lr == pytest.approx(1e-7)
    assert model.config.r1_gamma == 6.0
    engine.step = 0  # as a return to an early checkpoint makes it
    engine.train_step(batch_of())
    assert model.config.generator.lr == pytest.approx(
        0.1 * models.family("rpgan").Config().generator.lr
    )
    for settings, told in (
        ({"width": 8}, "width: cannot change in mid-training"),
        ({"generator.name": "sgd"}, r"generator\.name: cannot change"),
        ({"generator": {"lr": 1e-3}}, "generator: cannot change"),
        ({"augment.probability": 0.5}, "cannot change"),
        ({"generator.speed": 8}, "no such setting"),
        ({"generator.lr": -1.0}, r"generator\.lr"),
    ):
        with pytest.raises(ConfigError, match=told):
            models.with_settings(model, settings)


def test_every_setting_of_an_optimizer_but_its_kind_moves_when_a_schedule_says_so() -> None:
    told = {"weight_decay": 5.0, "momentum": 0.5, "beta1": 0.3, "beta2": 0.6, "lr": 1e-3}
    for name, keys in (("adam", ("weight_decay", "betas", "lr")), ("sgd", ("momentum", "lr"))):
        changes = [{"step": 1, "set": {f"critic.{key}": value for key, value in told.items()}}]
        engine = engine_of(build("rpgan", critic={"name": name}), schedule=changes)
        engine.train_step(batch_of())
        (group,) = engine.optimizers["critic"].param_groups
        before = [group[key] for key in keys]
        engine.train_step(batch_of())
        assert all(group[key] != was for key, was in zip(keys, before, strict=True))


# --- augmentation ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_changes_pictures_and_lets_gradients_through(kind: str) -> None:
    shape = (8, 3, 16, 16)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x.requires_grad_()
    y = KINDS[kind](x, random_of())
    assert y.shape == x.shape
    assert not torch.equal(y, x)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert gradient.flatten(1).any(dim=1).all()


def test_translation_moves_by_whole_pixels_within_an_eighth() -> None:
    x = torch.zeros(64, 1, 16, 16)
    x[:, :, 8, 8] = 1
    y = KINDS["translation"](x, random_of(64))
    places = y.flatten(1).argmax(dim=1)
    rows, columns = places // 16 - 8, places % 16 - 8
    assert torch.equal(y.flatten(1).sum(dim=1), torch.ones(64))
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}


def test_the_probability_is_the_share_of_rows_that_change() -> None:
    x = torch.rand(2000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = Augment(0.3)(x, ("flip",), random_of(2000))
    share = (y != x).flatten(1).any(dim=1).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.04)  # 4 standard deviations


def test_the_strength_follows_the_critic_and_is_kept_in_checkpoints() -> None:
    augment, config = Augment(0.5), AugmentConfig(kinds=("flip",), adaptive=True, rows=100)
    augment.adapt(config, torch.tensor(0.9), 10)
    assert augment.probability.item() == pytest.approx(0.6)
    for _ in range(20):
        augment.adapt(config, torch.tensor(-0.2), 10)
    assert augment.probability.item() == 0
    model = build("rpgan", augment={"kinds": ["flip"], "adaptive": True})
    assert "model.augment.probability" in engine_of(model).state()


def test_rows_of_numbers_cannot_be_augmented() -> None:
    with pytest.raises(ConfigError, match="no images"):
        build("rpgan", DataSpec(shape=(2,), rows=10), augment={"kinds": ["flip"]})


# --- what the guard asks for -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dcgan", "rpgan"])
def test_diagnosis_moves_nothing(name: str) -> None:
    engine = engine_of(build(name))
    engine.train_step(batch_of())
    before = {k: v.clone() for k, v in engine.state().items()}
    told = engine.diagnose(batch_of())
    assert set(told) == {"gradient_real", "gradient_fake"}
    assert all(value > 0 for value in told.values())
    after = engine.state()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_perceptrons_draw_rows_of_numbers_beyond_one() -> None:
    spec = DataSpec(shape=(2,), rows=64)
    model = build("rpgan", spec, widths=[16, 16])
    with torch.no_grad():
        model.generator.network.layers[-1].bias.fill_(5.0)
        x = model.sample(64, random_of(64))
    assert x.shape == (64, 2)
    assert x.max() > 3
