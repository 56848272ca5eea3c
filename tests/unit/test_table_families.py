"""The families of tables: rows of codes and offsets in, rows of codes and offsets out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from synthray import models, rng
from synthray.config import ModelConfig, TrainConfig
from synthray.data.codec import DataSpec
from synthray.data.layout import Layout, Slot
from synthray.errors import ConfigError
from synthray.models.base import Batch, GenerativeModel
from synthray.models.ctgan import CTGAN
from synthray.models.nade import NADE
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine

FAMILIES = ["nade", "ctgan", "tvae", "rptgan"]
SMALL: dict[str, dict[str, Any]] = {
    "nade": {"embedding": 16, "hidden": 16},
    "ctgan": {"latent_dim": 8, "generator_widths": [32], "critic_widths": [32], "pack": 4},
    "tvae": {"latent_dim": 8, "encoder_widths": [32], "decoder_widths": [32]},
    "rptgan": {"latent_dim": 8, "generator_widths": [32], "critic_widths": [32]},
}
ROWS = 64

pytestmark = pytest.mark.usefixtures("one_thread")


def toy(count: int, seed: int = 0) -> Tensor:
    """Compact rows: a category of 3, another that mostly repeats it, and a number whose mode
    depends on the first.
    """
    generator = torch.Generator().manual_seed(seed)
    a = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), count, True, generator=generator)
    same = torch.rand(count, generator=generator) < 0.9
    b = torch.where(same, a, torch.randint(3, (count,), generator=generator))
    mode = torch.where(a == 0, 0, 1)
    offset = torch.rand(count, generator=generator) * 2 - 1
    return LAYOUT.pack(torch.stack([a, b, mode], dim=1), offset[:, None])


LAYOUT = Layout(
    slots=(
        Slot(name="a", counts=(600, 300, 100)),
        Slot(name="b", counts=(600, 300, 95, 5), hidden=3),
        Slot(name="n", counts=(600, 400, 0), centres=(-1, 1, 0), spreads=(0.3, 0.3, 0), missing=2),
    )
)


def spec_of(conditions: tuple[int, ...] = ()) -> DataSpec:
    return DataSpec(shape=(LAYOUT.width,), rows=1000, conditions=conditions, layout=LAYOUT)


def build(name: str, conditions: tuple[int, ...] = (), **params: Any) -> GenerativeModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, params=SMALL[name] | params)
    return models.build(config, spec_of(conditions))


def random_of(count: int, *address: int) -> BatchRandom:
    return BatchRandom(rng.stream(0, "test", *address), Rows.all(count))


def batch_of(conditions: tuple[int, ...] = ()) -> Batch:
    cond = torch.zeros((ROWS, len(conditions)), dtype=torch.int64)
    for index, size in enumerate(conditions):
        cond[:, index] = torch.arange(ROWS) % size
    return Batch(toy(ROWS), cond)


def trained(name: str, steps: int, **params: Any) -> GenerativeModel:
    model = build(name, **params)
    config = TrainConfig(steps=steps, batch_size=200, ema_decay=0.99)
    engine = Engine(model, config, seed=0, rows=Rows.all(200))
    for step in range(steps):
        engine.train_step(Batch(toy(200, step), torch.empty((200, 0), dtype=torch.int64)))
    return engine.ema.model.eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_trains_in_bfloat16(name: str) -> None:
    """Products alone are rounded: the first losses are float32's to its eight bits."""
    told = {}
    for precision in ("float32", "bfloat16"):
        config = TrainConfig(steps=10, batch_size=ROWS, precision=precision)
        engine = Engine(build(name, (3,)), config, seed=0, rows=Rows.all(ROWS))
        told[precision] = engine.train_step(batch_of((3,)))
        assert all(p.dtype == torch.float32 for p in engine.model.parameters())
    for key, value in told["float32"].items():
        torch.testing.assert_close(told["bfloat16"][key], value, rtol=0.02, atol=0.02)


@torch.no_grad()
def drawn(model: GenerativeModel, count: int = 4000, **given: Any) -> Tensor:
    return model.sample(count, random_of(count), None, **given)


def joint(x: Tensor) -> Tensor:
    """How often each pair of codes of a and b occurs, and each of a and the number: shares [21]."""
    codes = LAYOUT.codes(x)
    pairs = torch.bincount(codes[:, 0] * 4 + codes[:, 1], minlength=12)
    modes = torch.bincount(codes[:, 0] * 3 + codes[:, 2], minlength=9)
    return torch.cat([pairs, modes]) / len(x)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("conditions", [(), (3, 2)])
def test_rows_keep_their_form(name: str, conditions: tuple[int, ...]) -> None:
    model = build(name, conditions).eval()
    batch = batch_of(conditions)
    cond = batch.cond if conditions else None
    with torch.no_grad():
        x = model.sample(ROWS, random_of(ROWS), cond)
    assert x.shape == (ROWS, LAYOUT.width) and x.dtype == torch.float32
    codes, offsets = LAYOUT.codes(x), LAYOUT.offsets(x)
    assert torch.equal(x[:, LAYOUT.code_columns], codes.float())
    for index, slot in enumerate(LAYOUT.slots):
        assert codes[:, index].min() >= 0 and codes[:, index].max() < slot.codes
    assert (codes[:, 1] != 3).all(), "a hidden code was drawn"
    assert offsets.abs().max() <= 1


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("conditions", [(), (3, 2)])
def test_every_parameter_learns(name: str, conditions: tuple[int, ...]) -> None:
    model = build(name, conditions)
    for phase in model.phases():
        loss = model.loss(phase.name, batch_of(conditions), random_of(ROWS))
        modules = [getattr(model, module) for module in phase.modules]
        parameters = [p for module in modules for p in module.parameters()]
        gradients = torch.autograd.grad(loss.total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter.numel():
                assert gradient is not None and torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_conditions_have_a_say(name: str) -> None:
    model = build(name, (3,)).eval()
    with torch.no_grad():
        a, b = (model.sample(500, random_of(500), torch.full((500, 1), c)) for c in (0, 2))
    assert not torch.equal(a, b)


@pytest.mark.parametrize(
    ("name", "steps", "tolerance"),
    # Of the shares of 21 cells: four standard errors of the largest, 0.54, in 4,000 rows are 0.03;
    # the game and the ELBO stop short of the maximum of the likelihood.
    [("nade", 300, 0.03), ("tvae", 1000, 0.08), ("rptgan", 1000, 0.08), ("ctgan", 1200, 0.15)],
)
def test_learns_how_columns_go_together(name: str, steps: int, tolerance: float) -> None:
    rates = {
        "nade": {"optimizer": {"lr": 1e-2}},
        "tvae": {"optimizer": {"lr": 3e-3}},
        "rptgan": {"generator": {"lr": 2e-3}, "critic": {"lr": 2e-3}},
        "ctgan": {"generator": {"lr": 1e-3}, "critic": {"lr": 1e-3}},
    }[name]
    model = trained(name, steps, **rates)
    real, fake = joint(toy(4000, 999)), joint(drawn(model))
    assert (real - fake).abs().max() < tolerance
    untrained = joint(drawn(build(name).eval()))
    assert (real - untrained).abs().max() > tolerance


def test_nade_gives_any_column_given_any_others() -> None:
    model = trained("nade", 300, optimizer={"lr": 1e-2, "weight_decay": 0})
    held = torch.full((4000, LAYOUT.width), torch.nan)
    held[:, LAYOUT.code_columns[1]] = 2  # the last category but the hidden one
    x = drawn(model, held=held)
    codes = LAYOUT.codes(x)
    assert (codes[:, 1] == 2).all()
    real = LAYOUT.codes(toy(100_000, 5))
    real = real[real[:, 1] == 2]
    for slot in (0, 2):
        shares = [torch.bincount(c[:, slot], minlength=3) / len(c) for c in (real, codes)]
        assert (shares[0] - shares[1]).abs().max() < 0.05


def test_nade_takes_the_offset_of_a_held_number() -> None:
    held = torch.full((8, LAYOUT.width), torch.nan)
    held[:, 2:] = torch.tensor([1.0, 0.25])
    x = drawn(build("nade").eval(), 8, held=held)
    assert torch.equal(x[:, 2:], held[:, 2:])


def test_nade_loss_is_the_likelihood_of_independent_columns_at_the_start() -> None:
    """Output layers start so small that each column's own shares are what it predicts."""
    model, batch = build("nade"), batch_of()
    loss = float(model.loss("columns", batch, random_of(ROWS)).total.detach())
    codes, expected = LAYOUT.codes(batch.x), 0.0
    for index, slot in enumerate(LAYOUT.slots):
        counts = torch.tensor(slot.counts, dtype=torch.float64) + 0.5
        expected -= float((counts / counts.sum()).log()[codes[:, index]].mean())
    assert loss == pytest.approx(expected, abs=0.05)


def test_nade_draws_each_code_as_often_as_it_says() -> None:
    model = build("nade").eval()
    assert isinstance(model, NADE)
    x = drawn(model, 20_000)
    counts = torch.bincount(LAYOUT.codes(x)[:, 0], minlength=3) / 20_000
    # Untrained, it says the shares of the source; four standard errors are 0.014.
    assert (counts - torch.tensor([0.6, 0.3, 0.1])).abs().max() < 0.02


def test_ctgan_trains_on_rows_that_have_what_they_are_conditioned_on() -> None:
    model, batch = build("ctgan"), Batch(toy(2000), torch.empty((2000, 0), dtype=torch.int64))
    assert isinstance(model, CTGAN)
    chosen = model.choose(batch, random_of(2000))
    codes = LAYOUT.codes(chosen.x)
    assert torch.equal(codes[torch.arange(2000), chosen.slot], chosen.code)
    assert torch.equal(chosen.vector.sum(dim=1), torch.ones(2000))
    # Categories are chosen evenly, their codes by the log of how often they occur.
    assert float((chosen.slot == 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    wanted = torch.tensor([601.0, 301.0, 101.0]).log()
    seen = torch.bincount(chosen.code[chosen.slot == 0], minlength=3).float()
    assert torch.allclose(seen / seen.sum(), wanted / wanted.sum(), atol=0.06)


def test_ctgan_needs_whole_packs() -> None:
    with pytest.raises(ConfigError, match=r"train.batch_size.* 64 rows make no whole packs of 7"):
        model = build("ctgan", pack=7)
        model.loss("critic", batch_of(), random_of(ROWS))
    with pytest.raises(ConfigError, match=r"pairs rows.*use rptgan"):
        build("ctgan", loss="relativistic")


@pytest.mark.parametrize("name", ["nade", "tvae", "rptgan"])
def test_two_workers_see_what_one_sees(name: str) -> None:
    """The mean of the shares' losses is the loss of the whole; ctgan chooses within a share."""
    model, batch = build(name), batch_of()
    phase = model.phases()[-1].name
    whole = model.loss(phase, batch, random_of(ROWS)).total
    halves = []
    for rank in range(2):
        rows = Rows.share(ROWS, rank, 2)
        part = Batch(batch.x[rows.start : rows.stop], batch.cond[rows.start : rows.stop])
        halves.append(model.loss(phase, part, BatchRandom(rng.stream(0, "test"), rows)).total)
    assert torch.allclose(whole, torch.stack(halves).mean(), rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_of_images_are_refused(name: str) -> None:
    spec = DataSpec(shape=(1, 28, 28), rows=100)
    with pytest.raises(ConfigError, match=r"models tables, and the rows have shape"):
        models.build(ModelConfig(name=name), spec)


def test_expanding_and_hardening_are_inverse() -> None:
    x = toy(200)
    assert torch.equal(LAYOUT.harden(LAYOUT.expand(x)), x)
    assert LAYOUT.expand(x).shape == (200, LAYOUT.expanded_width)


def test_features_measure_numbers_in_deviations() -> None:
    codes = torch.tensor([[0, 0, 0], [1, 0, 1], [1, 0, 2]])
    x = LAYOUT.pack(codes, torch.tensor([[0.5], [-1.0], [0.0]]))
    assert torch.allclose(LAYOUT.numbers(x)[:, 0], torch.tensor([-0.85, 0.7, 0.0]))
    features = LAYOUT.features(x)
    # The categories of the last two rows agree: the number, and that it is missing, differ.
    assert float((features[1] - features[2]).norm()) == pytest.approx((0.7**2 + 1) ** 0.5)
    assert float((features[0] - features[1])[1:].norm()) == pytest.approx(1.0)
