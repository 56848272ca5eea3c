"""What every built-in family keeps to, and what is said when one is named wrongly."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthray import models, rng
from synthray.config import ModelConfig
from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models.base import Batch, GenerativeModel, OptimizerConfig
from synthray.rng import BatchRandom, Rows

SMALL: dict[str, dict[str, Any]] = {
    "gan": {"latent_dim": 5, "generator_widths": [8, 12], "critic_widths": [12, 8]},
    "dcgan": {"latent_dim": 5, "width": 4, "critic_width": 4},
    "wgan": {"latent_dim": 5, "width": 4, "critic_width": 4},
    "wgan_gp": {"latent_dim": 5, "width": 4, "critic_width": 4},
    "sngan": {"latent_dim": 5, "width": 4, "critic_width": 4},
    "sagan": {"latent_dim": 5, "width": 4, "critic_width": 4},
    "rpgan": {"latent_dim": 5, "width": 4, "critic_width": 4},
    "vae": {"latent_dim": 5, "width": 4},
    "cvae": {"latent_dim": 5, "width": 4},
}
CONDITIONS: dict[str, tuple[int, ...]] = {"none": (), "one": (3,), "two": (3, 2)}
COUNT = 6


pytestmark = pytest.mark.usefixtures("one_thread")


def spec_of(side: int, channels: int = 1, conditions: tuple[int, ...] = ()) -> DataSpec:
    return DataSpec(shape=(channels, side, side), rows=100, conditions=conditions)


def build(name: str, spec: DataSpec, **params: Any) -> GenerativeModel:
    torch.manual_seed(0)
    return models.build(ModelConfig(name=name, params=SMALL.get(name, {}) | params), spec)


def random_of(count: int = COUNT) -> BatchRandom:
    return BatchRandom(rng.stream(0, "test"), Rows.all(count))


def batch_of(spec: DataSpec) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(COUNT, *spec.shape, generator=generator) * 2 - 1
    cond = torch.empty(COUNT, len(spec.conditions), dtype=torch.int64)
    for index, size in enumerate(spec.conditions):
        cond[:, index] = torch.arange(COUNT) % size
    return Batch(x, cond)


def still(model: GenerativeModel, key: str) -> bool:
    """Parameters that rightly do not move at first: a constant added to all scores cancels where
    only their differences count (and within the hinge's margin), and attention begins with a
    gain of 0.
    """
    differences = getattr(model.config, "loss", "") in ("wasserstein", "relativistic", "hinge")
    inner = "attention" in key and not key.endswith("gamma")
    return (differences and key == "critic.score.bias") or inner


def cases() -> list[Any]:
    found = []
    for name in SMALL:
        for side, channels in [(8, 1), (28, 1), (31, 3), (32, 3), (48, 1), (64, 3), (128, 3)]:
            for conditions in ["none"] if name == "vae" else list(CONDITIONS):
                if conditions != "two" or side == 28:
                    found.append(pytest.param(name, conditions, side, channels))
    return found


def test_the_issues_families_are_built_in() -> None:
    assert {"gan", "dcgan", "vae", "cvae"} <= set(models.BUILT_IN)
    # adgan stands on a trained artifact: see test_adgan.py.
    tables = {
        name for name in models.BUILT_IN if models.family(name).coding != "numbers"
    }  # elsewhere
    images = set(models.BUILT_IN) - {"adgan"} - tables
    assert images == set(SMALL), "give a new family small settings here"
    assert models.available().keys() >= models.BUILT_IN.keys()


@pytest.mark.parametrize(("name", "conditions", "side", "channels"), cases())
def test_samples_are_images_of_the_spec_within_bounds(
    name: str, conditions: str, side: int, channels: int
) -> None:
    spec = spec_of(side, channels, CONDITIONS[conditions])
    model, batch = build(name, spec), batch_of(spec)
    with torch.no_grad():
        x = model.eval().sample(COUNT, random_of(), batch.cond)
        again = model.sample(COUNT, random_of(), batch.cond)
        if not spec.conditions:
            assert torch.equal(model.sample(COUNT, random_of()), x)
    assert x.shape == (COUNT, channels, side, side)
    assert x.dtype == torch.float32
    assert x.min() >= -1
    assert x.max() <= 1
    assert torch.equal(x, again)
    assert not torch.equal(x[0], x[1])


@pytest.mark.parametrize(("name", "conditions", "side", "channels"), cases())
def test_the_gradients_of_a_phase_reach_all_its_parameters(
    name: str, conditions: str, side: int, channels: int
) -> None:
    spec = spec_of(side, channels, CONDITIONS[conditions])
    model, batch = build(name, spec).train(), batch_of(spec)
    seen: list[nn.Parameter] = []
    for phase in model.phases():
        named = {
            f"{module}.{key}": parameter
            for module in phase.modules
            for key, parameter in getattr(model, module).named_parameters()
        }
        loss = model.loss(phase.name, batch, random_of())
        assert loss.total.shape == ()
        assert loss.total.dtype == torch.float32
        assert all(term.shape == () for term in loss.terms.values())
        gradients = torch.autograd.grad(loss.total, list(named.values()))
        for key, gradient in zip(named, gradients, strict=True):
            assert gradient.isfinite().all(), key
            assert gradient.any() or still(model, key), key
        seen += named.values()
    assert len(seen) == len(set(seen)), "a parameter belongs to two phases"
    assert set(seen) == set(model.parameters()), "a parameter belongs to no phase"


@pytest.mark.parametrize("name", ["gan", "dcgan", "cvae"])
def test_conditions_change_the_samples(name: str) -> None:
    model = build(name, spec_of(8, 1, (3,))).eval()
    with torch.no_grad():
        drawn = [model.sample(2, random_of(2), torch.full((2, 1), k)) for k in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


@pytest.mark.parametrize("name", list(SMALL))
def test_what_sampling_needs_is_named_and_suffices(name: str) -> None:
    spec = spec_of(8)
    source, target = build(name, spec).eval(), build(name, spec).eval()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
        for key, module in source.sampler_modules():
            getattr(target, key).load_state_dict(module.state_dict())
        assert torch.equal(source.sample(COUNT, random_of()), target.sample(COUNT, random_of()))


@pytest.mark.parametrize("name", list(SMALL))
def test_rows_of_a_sample_do_not_depend_on_each_other_in_evaluation(name: str) -> None:
    model = build(name, spec_of(8)).eval()
    with torch.no_grad():
        whole = model.sample(COUNT, random_of())
        part = BatchRandom(rng.stream(0, "test"), Rows(COUNT, 2, 4))
        torch.testing.assert_close(model.sample(2, part), whole[2:4])


def widths(module: nn.Module) -> list[int]:
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def test_the_classic_gan_has_its_classic_layers() -> None:
    model = build_default("gan", spec_of(28))
    assert widths(model.generator) == [100, 256, 512, 1024, 784]
    assert widths(model.critic) == [784, 1024, 512, 1]
    assert [norm.weight.numel() for norm in model.generator.norms] == [256, 512, 1024]
    assert model.config.dropout > 0


def test_the_classic_gan_sees_its_conditions_in_both_networks() -> None:
    model = build_default("gan", spec_of(28, 1, (10,)))
    assert widths(model.generator) == [110, 256, 512, 1024, 784]
    assert widths(model.critic) == [794, 1024, 512, 1]


def build_default(name: str, spec: DataSpec) -> Any:
    return models.build(ModelConfig(name=name), spec)


def test_dropout_keeps_the_mean_and_rests_in_evaluation() -> None:
    model: Any = build("gan", spec_of(8), critic_widths=[4096], dropout=0.5)
    x = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        still = model.eval().critic(x, None, random_of())
        assert torch.equal(still, model.critic(x, None, random_of()))
        random = BatchRandom(rng.stream(0, "dropout"), Rows.all(COUNT))
        noisy = torch.stack([model.train().critic(x, None, random) for _ in range(100)])
    error = noisy.std(dim=0) / 10
    assert (error > 0).all()
    assert ((noisy.mean(dim=0) - still).abs() < 5 * error).all()


@pytest.mark.parametrize("name", ["dcgan", "vae", "cvae"])
@pytest.mark.parametrize("shape", [(5,), (1, 8, 9), (1, 7, 7)])
def test_an_impossible_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=f"{name} draws square images of at least 8 pixels"):
        build(name, DataSpec(shape=shape, rows=10))


def test_the_images_of_the_smallest_side_pass_a_convolution() -> None:
    """A map of 8 pixels is halved at least once: without that the networks are linear."""
    model: Any = build("dcgan", spec_of(8))
    assert len(model.critic.encoder.downs) == 1
    assert len(model.generator.decoder.ups) == 1


# --- the config -------------------------------------------------------------------------------


def test_an_unknown_parameter_is_answered_with_the_known_one() -> None:
    with pytest.raises(ConfigError) as caught:
        build("dcgan", spec_of(8), latent_dims=3, width="wide")
    text = str(caught.value)
    assert "family dcgan: 2 problems" in text
    assert "model.params.latent_dims: unknown key; did you mean 'latent_dim'?" in text
    assert "model.params.width: " in text
    assert "(got 'wide')" in text


@pytest.mark.parametrize(
    ("name", "params", "key"),
    [
        ("gan", {"latent_dim": 0}, "latent_dim"),
        ("gan", {"dropout": 1.0}, "dropout"),
        ("gan", {"generator_widths": []}, "generator_widths"),
        ("gan", {"generator_widths": [8, 0]}, "generator_widths.1"),
        ("gan", {"critic": {"lr": -1}}, "critic.lr"),
        ("gan", {"critic": {"name": "adamw"}}, "critic.name"),
        ("vae", {"likelihood": "poisson"}, "likelihood"),
        ("vae", {"optimizer": {"rate": 1}}, "optimizer.rate"),
    ],
)
def test_a_bad_parameter_is_named(name: str, params: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"model.params.{key}: "):
        build(name, spec_of(8), **params)


def test_conditions_are_refused_by_a_family_that_has_none() -> None:
    with pytest.raises(ConfigError, match="vae does not model conditions") as caught:
        build("vae", spec_of(8, 1, (10,)))
    assert "data.conditions: []" in caught.value.remedy


def test_an_unknown_family_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown family 'dcgann'") as caught:
        models.family("dcgann")
    assert caught.value.remedy == "did you mean 'dcgan'?"
    with pytest.raises(ConfigError) as caught:
        models.family("zzz")
    assert caught.value.remedy.startswith("known: adgan, ctgan, cvae, dcgan, gan, nade, ")


class Constant(GenerativeModel):
    """A third party's family: one grey for all."""

    from synthray.models.adversarial import AdversarialConfig as Config

    sampler = ("level",)

    def __init__(self, config: Any, spec: DataSpec) -> None:
        super().__init__()
        self.spec, self.level = spec, nn.Linear(1, 1)

    def phases(self) -> Any:
        return ()

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Any:
        raise NotImplementedError

    def sample(self, n: int, rng: BatchRandom, cond: Tensor | None = None) -> Tensor:
        return torch.zeros(n, *self.spec.shape)


def test_a_family_of_a_third_party_comes_by_its_name() -> None:
    name = f"{__name__}:Constant"
    assert models.family(name) is Constant
    assert isinstance(build(name, spec_of(8, 1, (3,))), Constant)


@pytest.mark.parametrize("name", ["json:JSONDecoder", "json:dumps", "synthray.rng:Rows"])
def test_what_is_not_a_family_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model.name: {name} is not a GenerativeModel"):
        models.family(name)


@pytest.mark.parametrize(
    "name", ["no_such_package:A", "json:Nothing", ":A", "json:", ".json:A", "broken_family:A"]
)
def test_what_cannot_be_imported_is_refused(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_family.py").write_text("raise RuntimeError('its GPU is missing')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_family", raising=False)
    with pytest.raises(ConfigError, match="cannot be imported") as caught:
        models.family(name)
    assert "module:Class" in caught.value.remedy


# --- optimizers -------------------------------------------------------------------------------


def test_optimizers_follow_the_config() -> None:
    model: Any = build(
        "gan",
        spec_of(8),
        critic={"name": "sgd", "lr": 0.1, "momentum": 0.9},
        generator={"lr": 3e-4, "beta1": 0, "beta2": 0.99, "weight_decay": 0.01},
    )
    critic, generator = model.phases()
    sgd = critic.optimizer.build(model.critic.parameters())
    adam = generator.optimizer.build(model.generator.parameters())
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (0.1, 0.9)
    assert isinstance(adam, torch.optim.Adam)
    assert (adam.defaults["lr"], adam.defaults["betas"]) == (3e-4, (0.0, 0.99))
    assert adam.defaults["weight_decay"] == 0.01


def test_the_critic_may_move_more_often() -> None:
    critic, generator = build("dcgan", spec_of(8), critic_steps=3).phases()
    assert (critic.repeats, generator.repeats) == (3, 1)


@pytest.mark.parametrize("progress", [0, 0.25, 0.5, 0.9, 1])
def test_the_cosine_schedule_falls_from_the_rate_to_its_final_share(progress: float) -> None:
    rate = OptimizerConfig(lr=0.2, schedule="cosine", final=0.1).rate(progress)
    assert rate == pytest.approx(0.02 + 0.18 * 0.5 * (1 + math.cos(math.pi * progress)))
    assert OptimizerConfig(lr=0.2).rate(progress) == 0.2


def test_the_cosine_schedule_at_its_ends() -> None:
    settings = OptimizerConfig(lr=0.2, schedule="cosine", final=0.1)
    assert settings.rate(0) == pytest.approx(0.2)
    assert settings.rate(1) == pytest.approx(0.02)


def test_a_gradient_penalty_needs_a_critic_without_batch_norm() -> None:
    with pytest.raises(ConfigError, match="r1_gamma needs critic_norm: none"):
        models.check_params(ModelConfig(name="dcgan", params={"r1_gamma": 0.1}))


def test_dcgan_with_a_gradient_penalty_moves_every_weight_of_the_critic() -> None:
    params = {**SMALL["dcgan"], "critic_norm": "none", "r1_gamma": 0.1}
    spec = DataSpec(shape=(1, 28, 28), rows=COUNT, conditions=(3,))
    torch.manual_seed(0)
    model = models.build(ModelConfig(name="dcgan", params=params), spec)
    batch = Batch(torch.rand(COUNT, 1, 28, 28) * 2 - 1, torch.arange(COUNT)[:, None] % 3)
    random = BatchRandom(rng.stream(0, "test"), Rows.all(COUNT))
    loss = model.loss("critic", batch, random)
    plain = loss.total - loss.terms["r1"] * 0.05
    assert loss.terms["r1"] > 0 and plain > 0
    gradients = torch.autograd.grad(loss.total, list(model.critic.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
