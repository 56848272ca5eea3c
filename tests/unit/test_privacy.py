"""Differential privacy: bounded rows, honest noise, a budget that is kept, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from gloo import run_workers
from torch import Tensor

import synthray
from synthray import models, rng
from synthray.config import Config, PrivacyConfig, TrainConfig, parse
from synthray.data.batches import PoissonBatches, poisson_sample
from synthray.data.codec import DataSpec, Encoded
from synthray.data.layout import Layout, Slot
from synthray.errors import (
    ArtifactError,
    ConfigError,
    MissingDependencyError,
    OutputTakenError,
    TrainingError,
)
from synthray.models.base import Batch, GenerativeModel, Phase
from synthray.rng import BatchRandom, Rows
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan
from synthray.sampling.findings import Findings
from synthray.training import accounting, loop
from synthray.training.accounting import Account
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.ledger import Ledger
from synthray.training.privacy import account_of
from synthray.training.private import Mechanism, clipped_sums, row_gradients

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUT = Layout(
    slots=(
        Slot(name="a", counts=(1, 1, 1)),
        Slot(name="b", counts=(1, 1, 1, 1), hidden=3),
        Slot(name="n", counts=(1, 1, 1), centres=(-1, 1, 0), spreads=(0.3, 0.3, 0), missing=2),
    )
)
SPEC = DataSpec(shape=(LAYOUT.width,), rows=1000, layout=LAYOUT)
IMAGES = DataSpec(shape=(1, 16, 16), rows=1000)
NUMBERS = DataSpec(shape=(5,), rows=1000)
PLAIN_GAN = {
    "latent_dim": 4,
    "generator_widths": [8],
    "critic_widths": [8],
    "loss": "non_saturating",
    "r1_gamma": 0,
    "r2_gamma": 0,
}
PLAIN_RPGAN = {
    "latent_dim": 4,
    "widths": [8],
    "loss": "wasserstein",
    "r1_gamma": 0,
    "r2_gamma": 0,
    "critic_steps": 2,
}
SMALL_IMAGES = {
    "width": 4,
    "critic_width": 4,
    "generator_norm": "none",
    "attention": True,
    "augment": {"kinds": ["brightness"]},
}
PRIVATE: dict[str, tuple[str, dict[str, Any], DataSpec]] = {
    "nade": ("nade", {"embedding": 6, "hidden": 5}, SPEC),
    "tvae": ("tvae", {"latent_dim": 4, "encoder_widths": [8], "decoder_widths": [8]}, SPEC),
    "rptgan": ("rptgan", PLAIN_GAN | {"dropout": 0.3}, SPEC),
    "relativistic": ("rptgan", PLAIN_GAN | {"loss": "relativistic"}, SPEC),
    "rpgan": ("rpgan", PLAIN_RPGAN, NUMBERS),
    "images": ("rpgan", PLAIN_RPGAN | SMALL_IMAGES, IMAGES),
}
ROWS = 12


def config_of(name: str, params: dict[str, Any] | None = None, **train: Any) -> Config:
    settings = {"steps": 20, "batch_size": 100, "privacy": {"epsilon": 3}}
    tree = {
        "data": {"source": "unused", "rare": 10},
        "model": {"name": name, "params": params or {}},
        "train": settings | train,
        "output": "unused",
    }
    return parse(tree, where="test")


def model_of(key: str) -> tuple[GenerativeModel, DataSpec]:
    name, params, spec = PRIVATE[key]
    torch.manual_seed(0)
    return models.build(config_of(name, params).model, spec), spec


def batch_of(spec: DataSpec, count: int = ROWS, seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, *spec.shape))
    if spec.layout is not None:
        codes = [random.integers(0, slot.codes, count) for slot in spec.layout.slots]
        x = np.stack([*codes, random.uniform(-1, 1, count)], axis=1)
    return Batch(torch.from_numpy(x).float(), torch.zeros((count, 0), dtype=torch.int64))


def moved(model: GenerativeModel, phase: Phase) -> dict[str, torch.nn.Parameter]:
    return {
        f"{name}.{key}": p
        for name in phase.modules
        for key, p in getattr(model, name).named_parameters()
    }


def norm_of(parts: list[Tensor]) -> float:
    return float(torch.cat([part.reshape(-1) for part in parts]).norm())


def account(noise: float = 1.0, bound: float = 1.0, releases: int = 1) -> Account:
    return Account(1.0, 1e-5, bound, 0.1, 20, releases, noise)


REAL_PHASES = [
    (key, phase.name) for key in PRIVATE for phase in model_of(key)[0].phases() if phase.real
]


@pytest.fixture
def fixed_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system's entropy, the same each time."""
    random = np.random.default_rng(7)

    def words(count: int) -> np.ndarray:
        return random.integers(0, 2**64, count, dtype=np.uint64)

    monkeypatch.setattr(rng, "_secret_words", words)


# --- a row's gradient -------------------------------------------------------------------------


def test_the_phases_that_read_real_rows_are_known() -> None:
    assert REAL_PHASES == [
        ("nade", "columns"),
        ("tvae", "tvae"),
        ("rptgan", "critic"),
        ("relativistic", "critic"),
        ("relativistic", "generator"),
        ("rpgan", "critic"),
        ("images", "critic"),
    ]


@pytest.mark.parametrize(("key", "name"), REAL_PHASES)
def test_row_gradients_are_those_of_rows_alone(key: str, name: str) -> None:
    model, spec = model_of(key)
    phase = next(phase for phase in model.phases() if phase.name == name)
    batch, parameters = batch_of(spec), moved(model, phase)
    random = BatchRandom(rng.stream(0, "test"), Rows.all(ROWS))
    found = row_gradients(model.train(), name, parameters, batch, random)
    for row in range(ROWS):
        alone = Batch(batch.x[row : row + 1], batch.cond[row : row + 1])
        mine = BatchRandom(rng.stream(0, "test"), Rows(ROWS, row, row + 1))
        loss = model.loss(name, alone, mine).total
        expected = torch.autograd.grad(loss, list(parameters.values()))
        for gradients, gradient in zip(found, expected, strict=True):
            torch.testing.assert_close(gradients[row], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("key", "name"), REAL_PHASES)
def test_no_row_moves_the_sum_by_more_than_the_bound(
    key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the numbers that fall to each row held fixed, as the proof has it."""
    model, spec = model_of(key)
    phase = next(phase for phase in model.phases() if phase.name == name)
    parameters, bound = moved(model.train(), phase), 0.01

    def cut(self: Any, whole: np.ndarray) -> Tensor:
        fixed = rng.stream(0, "row").random((ROWS, *whole.shape[1:]), dtype=np.float32)
        return torch.from_numpy(fixed).index_select(0, self._row)

    monkeypatch.setattr("synthray.training.private._RowRandom._cut", cut)

    def sums(batch: Batch) -> list[Tensor]:
        return clipped_sums(model, name, parameters, batch, bound, rng.stream(0, "test"))

    batch = batch_of(spec)
    whole, without = sums(batch), sums(Batch(batch.x[:-1], batch.cond[:-1]))
    moved_by = norm_of([a - b for a, b in zip(whole, without, strict=True)])
    assert moved_by == pytest.approx(bound, rel=1e-3)  # all of them are clipped, or it shows little


@pytest.mark.parametrize("key", ["nade", "rptgan"])
def test_a_gradient_below_the_bound_is_left_alone_and_one_above_is_cut(key: str) -> None:
    model, spec = model_of(key)
    phase, batch = model.phases()[0], batch_of(spec)
    parameters = moved(model.train(), phase)

    def of(bound: float) -> list[Tensor]:
        stream = rng.stream(0, "test")
        return clipped_sums(model, phase.name, parameters, batch, bound, stream)

    random = BatchRandom(rng.stream(0, "test"), Rows.all(ROWS))
    rows = row_gradients(model, phase.name, parameters, batch, random)
    norms = torch.cat([g.flatten(1) for g in rows], dim=1).norm(dim=1)
    middle = float(norms.median())
    scale = (middle / norms).clamp(max=1)
    for total, gradient in zip(of(1e6), rows, strict=True):
        torch.testing.assert_close(total, gradient.sum(dim=0), rtol=1e-4, atol=1e-5)
    for total, gradient in zip(of(middle), rows, strict=True):
        expected = torch.einsum("n,n...->...", scale, gradient)
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)


def test_a_row_that_is_not_finite_counts_for_nothing() -> None:
    model, spec = model_of("rpgan")
    phase, batch = model.phases()[0], batch_of(spec, 3)
    parameters = moved(model.train(), phase)
    batch.x[1] = math.nan
    sums = clipped_sums(model, "critic", parameters, batch, 1.0, rng.stream(0, "test"))
    assert all(part.isfinite().all() for part in sums)
    assert 0 < norm_of(sums) <= 2 * (1 + 1e-5)


def test_no_rows_give_noise_alone_and_of_the_stated_deviation(fixed_entropy: None) -> None:
    model, spec = model_of("tvae")
    phase = model.phases()[0]
    mechanism = Mechanism(account(noise=3.0, bound=0.5), Rows.all(100))
    empty = batch_of(spec, 0)
    drawn = [mechanism.gradients(model, phase, moved(model, phase), empty) for _ in range(30)]
    noise = torch.cat([part.reshape(-1) for parts in drawn for part in parts])
    deviation = 3.0 * 0.5 / 100
    # Four standard errors.
    assert float(noise.std()) == pytest.approx(deviation, rel=4 / math.sqrt(2 * len(noise)))
    assert abs(float(noise.mean())) < 4 * deviation / math.sqrt(len(noise))


def test_the_noise_is_not_the_seeds() -> None:
    results = []
    for _ in range(2):
        engine = engine_of("nade", noise=1.0)
        engine.train_step(batch_of(SPEC))
        results.append(engine.state()["model.columns.embedding.own"].clone())
    assert not torch.equal(*results)
    assert len(set(rng.secret_uniform(1000))) == 1000
    assert rng.secret_stream().random() != rng.secret_stream().random()


def test_secret_numbers_have_their_distributions(fixed_entropy: None) -> None:
    uniform, normal = rng.secret_uniform(50_001), rng.secret_normal(50_001)
    assert len(normal) == 50_001 and uniform.min() > 0 and uniform.max() <= 1
    assert abs(uniform.mean() - 0.5) < 0.006 and abs(uniform.var() - 1 / 12) < 0.002
    assert abs(normal.mean()) < 0.02 and abs(normal.var() - 1) < 0.03
    assert abs((normal**4).mean() - 3) < 0.2


# --- batches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.02, 0.4])
def test_each_row_is_drawn_on_its_own(rate: float, fixed_entropy: None) -> None:
    rows, draws = 50, 4000
    there = np.zeros((draws, rows))
    for draw in range(draws):
        there[draw, poisson_sample(rows, rate)] = 1
    error = math.sqrt(rate * (1 - rate) / draws)
    assert np.abs(there.mean(axis=0) - rate).max() < 4.5 * error
    sizes = there.sum(axis=1)
    assert sizes.var() == pytest.approx(rows * rate * (1 - rate), rel=0.12)
    products = (there[:, :-1] * there[:, 1:]).mean()
    assert products == pytest.approx(rate**2, abs=4.5 * rate / math.sqrt(draws * (rows - 1)))


def test_all_rows_at_rate_one_and_often_none_at_a_small_one(fixed_entropy: None) -> None:
    assert poisson_sample(7, 1.0).tolist() == list(range(7))
    assert any(len(poisson_sample(5, 0.1)) == 0 for _ in range(20))


def test_workers_draw_among_rows_of_their_own(fixed_entropy: None) -> None:
    x = np.arange(100).reshape(100, 1)
    seen = []
    for rank in range(3):
        batches = PoissonBatches(Encoded(x, x[:, :0]), 60, rank, 3).start_at(0)
        seen.append({int(v) for _ in range(30) for v in next(batches).x.ravel()})
    assert seen == [set(range(rank, 100, 3)) for rank in range(3)]


# --- the account ------------------------------------------------------------------------------


def test_the_account_is_opacus_own() -> None:
    from opacus.accountants import PRVAccountant, RDPAccountant

    found = Account.of(
        PrivacyConfig(epsilon=2.0, delta=1e-5), rows=10_000, batch_size=200, steps=300, releases=1
    )
    rival, looser = PRVAccountant(), RDPAccountant()
    for _ in range(300):
        rival.step(noise_multiplier=found.noise_multiplier, sample_rate=0.02)
        looser.step(noise_multiplier=found.noise_multiplier, sample_rate=0.02)
    assert found.spent(300) == pytest.approx(rival.get_epsilon(1e-5), abs=1e-6)
    assert 1.9 < found.spent(300) <= 2.0 <= looser.get_epsilon(1e-5) < 2.6
    assert found.spent(0) == 0 < found.spent(100) < found.spent(299) < found.spent(300)


def test_releases_of_one_batch_need_the_root_of_their_number_in_noise() -> None:
    one, four = (
        Account.of(
            PrivacyConfig(epsilon=2.0), rows=1000, batch_size=100, steps=20, releases=releases
        )
        for releases in (1, 4)
    )
    assert one.delta == 1e-4
    assert four.noise_multiplier == pytest.approx(2 * one.noise_multiplier)
    assert four.spent(20) == pytest.approx(one.spent(20))


def test_steps_of_all_phases_on_real_rows_are_released() -> None:
    for key, releases in (("nade", 1), ("rptgan", 1), ("relativistic", 2), ("rpgan", 2)):
        model, _ = model_of(key)
        found = account_of(config_of(*PRIVATE[key][:2]), model)
        assert found is not None and found.releases == releases


def test_without_opacus_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    accounting._least_noise.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"train\.privacy needs opacus") as caught:
        account_of(config_of("nade"), model_of("nade")[0])
    assert "synthray[privacy]" in caught.value.remedy


# --- the step ---------------------------------------------------------------------------------


def engine_of(key: str, noise: float = 1.0, rows: Rows | None = None) -> Engine:
    model, _ = model_of(key)
    releases = sum(p.repeats for p in model.phases() if p.real)
    share = rows or Rows.all(ROWS)
    mechanism = Mechanism(account(noise, releases=releases), share)
    config = TrainConfig(steps=20, batch_size=ROWS, privacy=PrivacyConfig(epsilon=1.0))
    return Engine(model, config, seed=0, rows=share, mechanism=mechanism)


@pytest.mark.parametrize("key", list(PRIVATE))
def test_a_step_tells_nothing_of_real_rows(key: str) -> None:
    engine, spec = engine_of(key), PRIVATE[key][2]
    seen: list[tuple[str, Tensor]] = []
    honest = engine.model.loss

    def loss(phase: str, batch: Batch, random: BatchRandom) -> Any:
        seen.append((phase, batch.x))
        return honest(phase, batch, random)

    engine.model.loss = loss  # type: ignore[method-assign]
    batch = batch_of(spec)
    terms = engine.train_step(batch)
    real = {phase.name for phase in engine.phases if phase.real}
    assert set(terms) == ({"loss_generator"} if key in ("rptgan", "rpgan", "images") else set())
    for phase, x in seen:
        assert phase in real or (x.shape == batch.x.shape and not x.any())
    assert engine.train_step(batch_of(spec, 0)).keys() == terms.keys()  # a batch may be empty


def test_without_noise_and_bound_a_step_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch of the average size."""
    monkeypatch.setattr(rng, "secret_stream", lambda: rng.stream(0, "step", 0, 0))
    engine = engine_of("nade", noise=0.0)
    engine.mechanism.account = account(0.0, bound=1e6)  # type: ignore[union-attr]
    engine.mechanism._stream = rng.stream(0, "step", 0, 0)  # type: ignore[union-attr]
    plain = Engine(model_of("nade")[0], engine.config, seed=0, rows=Rows.all(ROWS))
    for one in (engine, plain):
        one.train_step(batch_of(SPEC))
    for name, tensor in plain.state().items():
        torch.testing.assert_close(engine.state()[name], tensor, rtol=1e-3, atol=1e-4)


def _worker(rank: int, workers: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = models.build(config_of(*PRIVATE["nade"][:2]).model, SPEC)
    rows = Rows.share(100, rank, workers)
    mechanism = Mechanism(account(noise=2.0, bound=0.5), rows)
    config = TrainConfig(steps=20, batch_size=100)
    engine = Engine(model, config, seed=0, rows=rows, mechanism=mechanism)
    phase = model.phases()[0]
    noise = [
        torch.cat([g.reshape(-1) for g in found])
        for found in (
            mechanism.gradients(model, phase, moved(model, phase), batch_of(SPEC, 0))
            for _ in range(20)
        )
    ]
    # Shares of different sizes, one of them empty.
    engine.train_step(batch_of(SPEC, 7 * rank))
    return {"noise": torch.stack(noise), "weights": engine.state()["model.columns.output.own"]}


def test_workers_share_one_noise_of_the_stated_deviation(tmp_path: Path) -> None:
    one, two = run_workers(_worker, 2, tmp_path)
    assert torch.equal(one["noise"], two["noise"]) and torch.equal(one["weights"], two["weights"])
    # Of some 5,000 numbers, whose seed is not ours: six standard errors.
    count = one["noise"].numel()
    assert float(one["noise"].std()) == pytest.approx(0.01, rel=6 / math.sqrt(2 * count))


# --- the budget over a run --------------------------------------------------------------------


class Killed(Exception):
    pass


def table(count: int = 1200, seed: int = 0) -> pa.Table:
    """Three columns that hang together, in values of many rows."""
    random = np.random.default_rng(seed)
    a = random.choice(3, count, p=[0.6, 0.3, 0.1])
    b = np.where(random.random(count) < 0.9, a, random.integers(0, 3, count))
    n = np.where(a == 0, -2.0, 2.0) + random.standard_normal(count).round(1) / 2
    return pa.table({"a": a.astype(str), "b": b.astype(str), "n": n})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("source") / "rows.parquet"
    pq.write_table(table(), place)
    return str(place)


def fit(source: str, output: Path, killed_at: int = 0, **train: Any) -> synthray.Artifact:
    """Train nade for 20 steps; or die after some, as a machine does."""
    settings = {"steps": 20, "batch_size": 100, "checkpoint_every": 5, "eval_every": 10}
    taken = 0

    def step(engine: Engine, batch: Batch) -> dict[str, Tensor]:
        nonlocal taken
        if killed_at and taken == killed_at:
            raise Killed
        taken += 1
        return honest(engine, batch)

    honest = Engine.train_step
    Engine.train_step = step  # type: ignore[method-assign]
    try:
        return synthray.fit(
            source,
            output=str(output),
            data={"rare": 10},
            model={"name": "nade", "params": {"embedding": 8, "hidden": 8}},
            train=settings | {"privacy": {"epsilon": 3, "delta": 1e-4}} | train,
        )
    finally:
        Engine.train_step = honest  # type: ignore[method-assign]


def spent(output: Path) -> int:
    return int(json.loads((output / "checkpoints" / "privacy.json").read_text())["steps"])


def test_the_card_states_what_was_spent_and_tells_nothing_else(source: str, tmp_path: Path) -> None:
    made = fit(source, tmp_path)
    privacy = made.card["privacy"]
    assert 2.9 < privacy["epsilon"] <= 3
    assert privacy["budget"] == 3 and privacy["delta"] == 1e-4 and privacy["steps"] == 20
    assert privacy["sample_rate"] == pytest.approx(100 / 1200)
    assert privacy["accountant"] == "prv" and privacy["reproducible"] is False
    assert any("codec" in line for line in privacy["not_covered"])
    assert made.card["losses"] == {"step": 20}
    assert made.card["guard"] == {"verdict": "off"}
    layout = made.codec.spec.layout
    assert layout is not None and all(set(slot.counts) == {1} for slot in layout.slots)
    counts = [slot["counts"] for slot in made.codec.to_json()["spec"]["layout"]["slots"]]
    assert all(set(found) == {1} for found in counts)
    plan = Plan(digest=made.digest, seed=0, rows=10, shard_rows=1024)
    told = dataset_card(made, plan, "unspecified", Findings())
    assert f"ε = {privacy['epsilon']:.3g} at δ = 0.0001 for one row" in told


def test_the_runs_name_says_nothing_of_the_rows(tmp_path: Path) -> None:
    names = []
    for index, rows in enumerate((table(), table().take(np.roll(np.arange(1200), 1)))):
        place = tmp_path / f"{index}.parquet"
        pq.write_table(rows, place)
        names.append(fit(str(place), tmp_path / str(index), steps=2).card["fingerprint"])
    assert names[0] == names[1]


def test_lost_steps_are_spent_and_training_ends_earlier(source: str, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(source, tmp_path, killed_at=8)
    # The ninth was written down before it was begun; the checkpoint is that of the fifth.
    assert spent(tmp_path) == 9
    with pytest.raises(Killed):
        fit(source, tmp_path, killed_at=2)
    assert spent(tmp_path) == 12
    made = fit(source, tmp_path)
    assert made.card["steps"] == 5 + (20 - 12)
    assert made.card["privacy"]["steps"] == 20 == spent(tmp_path)
    assert made.card["privacy"]["epsilon"] <= 3


def test_a_run_that_is_done_spends_no_more(source: str, tmp_path: Path) -> None:
    whole = fit(source, tmp_path)
    assert whole.card["steps"] == 20
    again = fit(source, tmp_path)
    assert again.digest == whole.digest and spent(tmp_path) == 20


def test_a_budget_with_nothing_left_and_nothing_learned_is_refused(
    source: str, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(Killed):
            fit(source, tmp_path, killed_at=9, checkpoint_every=1000)
    assert spent(tmp_path) == 20
    with pytest.raises(TrainingError, match="the whole budget"):
        fit(source, tmp_path, checkpoint_every=1000)


def test_the_ledger_keeps_to_its_run(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path), "one")
    ledger = Ledger(store, 1000, writes=True)
    for _ in range(12):
        ledger.take()
    # Ten at a time, a hundredth of all: the crash that comes now costs eight that were not taken.
    assert Ledger(store, 1000, writes=True).spent == 20
    ledger.settle()
    assert Ledger(store, 1000, writes=True).left == 988
    with pytest.raises(OutputTakenError, match="ledger of a run with other settings"):
        Ledger(CheckpointStore(str(tmp_path), "other"), 1000, writes=True)
    (tmp_path / "privacy.json").write_text('{"steps": 3')
    with pytest.raises(ArtifactError, match="is damaged"):
        Ledger(store, 1000, writes=True)


def test_it_learns_and_rows_come_out(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed_entropy: None
) -> None:
    """Better than the uniform codes that it starts from, at a budget of 8."""

    def off(made: pa.Table) -> float:
        def shares(rows: pa.Table) -> np.ndarray:
            a, b = (rows[name].to_numpy(zero_copy_only=False).astype(int) for name in "ab")
            high = (rows["n"].to_numpy() > 0).astype(int)
            return np.bincount(a * 6 + b * 2 + high, minlength=18) / len(rows)

        return float(np.abs(shares(made) - shares(table())).sum() / 2)

    optimizer = {"lr": 0.03, "schedule": "constant"}
    params = {"embedding": 8, "hidden": 8, "optimizer": optimizer}
    train = {"steps": 200, "batch_size": 200, "eval_every": 200, "ema_decay": 0.9}
    made = synthray.fit(
        source,
        data={"rare": 10},
        model={"name": "nade", "params": params},
        train=train | {"privacy": {"epsilon": 8}},
    )
    untrained = fit(source, tmp_path, steps=1).sample(3000)
    assert off(untrained) > 0.5
    assert off(made.sample(3000)) < 0.25
    assert 7.8 < made.card["privacy"]["epsilon"] <= 8


@pytest.mark.parametrize("name", ["tvae", "rptgan"])
def test_other_families_train_in_whole(name: str, source: str) -> None:
    params = PRIVATE[name][1]
    made = synthray.fit(
        source,
        data={"rare": 10},
        model={"name": name, "params": params},
        train={"steps": 3, "batch_size": 100, "privacy": {"epsilon": 3}},
    )
    assert made.card["privacy"]["steps"] == 3
    assert made.sample(10).num_rows == 10


def test_the_start_says_what_is_covered(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(source, tmp_path, steps=2)
    assert "covers the weights" in caplog.text and "guard is off" in caplog.text


# --- refusals ---------------------------------------------------------------------------------


def spec_with(**change: Any) -> DataSpec:
    return SPEC.model_copy(update=change)


REFUSALS: dict[str, tuple[str, dict[str, Any], dict[str, Any], DataSpec, str]] = {
    "packs": ("ctgan", {"loss": "non_saturating"}, {}, SPEC, "ctgan trains by sampling"),
    "r1": ("rptgan", {"loss": "hinge", "r2_gamma": 0}, {}, SPEC, r"params\.r1_gamma"),
    "r2": ("rptgan", {"loss": "hinge", "r1_gamma": 0}, {}, SPEC, r"params\.r2_gamma"),
    "wgan_gp": ("wgan_gp", {}, {}, NUMBERS, r"params\.gradient_penalty"),
    "batch norm": ("vae", {}, {}, IMAGES, "batch norm of VAE's decoder"),
    "generator norm": ("gan", {}, {}, NUMBERS, "batch norm of GAN's generator"),
    "spectral norm": ("sngan", {}, {}, NUMBERS, "spectral_norm"),
    "conditions": ("nade", {}, {}, spec_with(conditions=(3,)), r"data\.conditions"),
    "patience": ("nade", {}, {"guard": {"patience": 3}}, SPEC, r"guard\.patience"),
    "precision": ("nade", {}, {"precision": "bfloat16"}, SPEC, r"train\.precision"),
    "batch": ("nade", {}, {"batch_size": 2000}, SPEC, r"train\.batch_size"),
    "delta": ("nade", {}, {"privacy": {"epsilon": 1, "delta": 0.01}}, SPEC, r"privacy\.delta"),
    "schedule": (
        "rptgan",
        PLAIN_GAN,
        {"schedule": [{"step": 5, "set": {"loss": "relativistic"}}]},
        SPEC,
        r"train\.schedule",
    ),
    "scheduled penalty": (
        "rptgan",
        PLAIN_GAN,
        {"schedule": [{"step": 5, "set": {"r1_gamma": 1.0}}]},
        SPEC,
        r"params\.r1_gamma",
    ),
    "augmentation": (
        "rpgan",
        {
            "generator_norm": "none",
            "r1_gamma": 0,
            "r2_gamma": 0,
            "augment": {"kinds": ["flip"], "adaptive": True},
        },
        {},
        IMAGES,
        r"augment\.adaptive",
    ),
}


@pytest.mark.parametrize("why", list(REFUSALS))
def test_what_cannot_be_kept_is_refused_by_name(why: str) -> None:
    name, params, train, spec, told = REFUSALS[why]
    config = config_of(name, params, **train)
    with torch.device("meta"):
        model = models.build(config.model, spec)
    with pytest.raises(ConfigError, match=told) as caught:
        account_of(config, model)
    assert caught.value.remedy


@pytest.mark.parametrize("epsilon", [0.0, 0.01, 1000.0])
def test_a_budget_out_of_reason_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match=r"train\.privacy\.epsilon"):
        config_of("nade", privacy={"epsilon": epsilon})


def test_rare_values_are_to_be_left_out(source: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.rare: 0.*train\.privacy") as caught:
        synthray.fit(source, model={"name": "nade"}, train={"privacy": {"epsilon": 1}})
    assert "10 or more" in caught.value.remedy


def test_a_familys_loss_that_looks_at_many_rows_is_refused() -> None:
    model, _ = model_of("nade")
    honest: Callable[..., Any] = model.loss

    def loss(phase: str, batch: Batch, random: BatchRandom) -> Any:
        if float(batch.x.mean()) > 1e9:  # a decision in Python
            return None
        return honest(phase, batch, random)

    model.loss = loss  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="cannot be taken of one row alone"):
        Engine(
            model,
            TrainConfig(steps=2, batch_size=ROWS),
            seed=0,
            rows=Rows.all(ROWS),
            mechanism=Mechanism(account(), Rows.all(ROWS)),
        )


def test_a_share_of_the_rarer_value_is_not_known(source: str, tmp_path: Path) -> None:
    from synthray.errors import ConditionError

    rows = table()
    rows = rows.append_column("two", pa.array(["x" if i % 3 else "y" for i in range(len(rows))]))
    place = tmp_path / "two.parquet"
    pq.write_table(rows, place)
    made = fit(str(place), tmp_path / "out", steps=2)
    with pytest.raises(ConditionError, match="rarer of its two values"):
        made.sample(10, balance={"two": 0.5})
    assert made.sample(2000, balance={"two": {"x": 0.5}}).num_rows == 2000


def test_plain_training_knows_nothing_of_it(source: str) -> None:
    made = synthray.fit(
        source,
        model={"name": "nade", "params": {"embedding": 8, "hidden": 8}},
        train={"steps": 2, "batch_size": 100},
    )
    assert "privacy" not in made.card
    assert loop.Outcome([], {}).privacy is None
