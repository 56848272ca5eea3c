"""One training step and what it moves: averaging, resuming, stopping in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.codec import DataSpec, Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.schema import Column, Kind, Schema
from synthray.errors import ArtifactError, ConfigError, NonFiniteError
from synthray.models.base import Batch
from synthray.rng import Rows
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.fingerprint import fingerprint
from synthray.training.loop import Hooks, train

ROWS, BATCH, SIDE, STEPS = 44, 16, 20, 8  # two steps an epoch
ADAM = {"name": "adam", "lr": 1e-3}
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
SCHEDULED = {"lr": 1e-3, "schedule": "cosine", "weight_decay": 0.01}
SMALL: dict[str, dict[str, Any]] = {
    "gan": {"latent_dim": 6, "generator_widths": [24, 32], "critic_widths": [40, 24]},
    "dcgan": {"latent_dim": 6, "width": 6, "critic_width": 8},
    "wgan": {"latent_dim": 6, "width": 6, "critic_width": 8, "critic_steps": 2},
    "wgan_gp": {"latent_dim": 6, "width": 6, "critic_width": 8, "critic_steps": 2},
    "sagan": {"latent_dim": 6, "width": 6, "critic_width": 8},
    "rpgan": {
        "latent_dim": 6,
        "width": 6,
        "critic_width": 8,
        "augment": {"kinds": ["translation", "cutout"], "adaptive": True, "rows": 100},
    },
    "vae": {"latent_dim": 6, "width": 8},
    "cvae": {"latent_dim": 6, "width": 8},
}


def params_of(name: str, optimizer: dict[str, Any]) -> dict[str, Any]:
    if name.startswith("wgan") and optimizer.get("name") == "sgd":
        # Their losses know no bound: the rate that suits the others throws them off.
        optimizer = optimizer | {"lr": optimizer["lr"] / 50}
    if "gan" in name:
        return SMALL[name] | {"generator": optimizer, "critic": optimizer}
    # The loss of a VAE is a sum over pixels: its gradients are hundreds of times as large.
    share = 1 / 500 if optimizer.get("name") == "sgd" else 1
    return SMALL[name] | {"optimizer": optimizer | {"lr": optimizer["lr"] * share}}


def config_of(name: str, optimizer: dict[str, Any] = ADAM, **train: Any) -> Config:
    settings = {"steps": STEPS, "batch_size": BATCH, "eval_every": 4, "checkpoint_every": 100}
    return Config.model_validate(
        {
            "data": {"source": "unused"},
            "model": {"name": name, "params": params_of(name, optimizer)},
            "train": settings | train,
            "output": "unused",
        }
    )


def codec_of(name: str, side: int = SIDE) -> ImageCodec:
    label = Column(name="label", kind=Kind.categorical, condition=True, values=("a", "b", "c"))
    columns = (Column(name="image", kind=Kind.image),) + (() if name == "vae" else (label,))
    codec = ImageCodec(Schema(columns=columns), side, "grey")
    conditions = () if name == "vae" else (3,)
    codec._spec = DataSpec(shape=(1, side, side), rows=ROWS, conditions=conditions)
    return codec


def data_of(codec: ImageCodec) -> Encoded:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (ROWS, *codec.spec.shape), dtype=np.uint8)
    return Encoded(x, np.arange(ROWS * len(codec.spec.conditions)).reshape(ROWS, -1) % 3)


pytestmark = pytest.mark.usefixtures("one_thread")


def setup(config: Config, rank: int = 0, workers: int = 1) -> tuple[Engine, ImageCodec, Any]:
    codec = codec_of(config.model.name)
    engine = new_engine(config, codec, Rows.share(BATCH, rank, workers))
    return engine, codec, MemoryBatches(data_of(codec), BATCH, config.seed, rank, workers)


def run(
    config: Config, place: Path | str, stop_at: int | None = None, rank: int = 0, workers: int = 1
) -> tuple[Engine, list[dict[str, float]]]:
    """Train on from what is at ``place``, and stop at an evaluation as if killed after it."""
    engine, codec, batches = setup(config, rank, workers)
    store = CheckpointStore(str(place), "f" * 64, config.train.keep_checkpoints)
    hooks = Hooks(on_eval=lambda progress, _: progress.step == stop_at)
    return engine, train(engine, codec, batches, store, hooks, rank=rank).history


def copy_of(engine: Engine) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in engine.state().items()}


def assert_identical(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def batch_at(engine: Engine, codec: ImageCodec, batches: Any, step: int) -> Batch:
    encoded = next(batches.start_at(step))
    return Batch(codec.scale(torch.from_numpy(encoded.x)), torch.from_numpy(encoded.cond))


# --- resuming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [ADAM, SGD, SCHEDULED], ids=["adam", "sgd", "cosine"])
@pytest.mark.parametrize("name", list(SMALL))
def test_training_that_resumes_is_bit_identical(
    name: str, optimizer: dict[str, Any], tmp_path: Path
) -> None:
    """Stopped after steps 3 and 4: in the middle of an epoch, and at its end."""
    config = config_of(name, optimizer, eval_every=1)
    whole, history = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=3)
    run(config, tmp_path / "parts", stop_at=4)
    parts, parts_history = run(config, tmp_path / "parts")
    assert_identical(whole.state(), parts.state())
    assert history == parts_history
    assert [entry["step"] for entry in history] == list(range(1, STEPS + 1))


def test_training_that_resumes_in_bfloat16_is_bit_identical(tmp_path: Path) -> None:
    config = config_of("dcgan", precision="bfloat16")
    whole, _ = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=4)
    parts, _ = run(config, tmp_path / "parts")
    assert_identical(whole.state(), parts.state())


def test_several_critic_steps_resume_bit_identically(tmp_path: Path) -> None:
    config = config_of("gan", ADAM, eval_every=3)
    config.model.params["critic_steps"] = 3
    whole, _ = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=3)
    parts, _ = run(config, tmp_path / "parts")
    assert_identical(whole.state(), parts.state())


def test_a_damaged_checkpoint_costs_steps_but_no_bit(tmp_path: Path) -> None:
    config = config_of("dcgan", checkpoint_every=2, eval_every=5)
    whole, _ = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=5)
    newest = tmp_path / "parts" / "step-000000005.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    parts, history = run(config, tmp_path / "parts")
    assert_identical(whole.state(), parts.state())
    assert [entry["step"] for entry in history] == [5, 8]


def test_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    config = config_of("gan")
    first, history = run(config, tmp_path)
    engine, again = run(config, tmp_path)
    assert engine.step == STEPS
    assert again == history
    assert_identical(first.state(), engine.state())


@pytest.mark.parametrize("name", list(SMALL))
def test_the_state_round_trips(name: str) -> None:
    engine, codec, batches = setup(config_of(name))
    for step in range(3):
        engine.train_step(batch_at(engine, codec, batches, step))
    state = copy_of(engine)
    other, _, _ = setup(config_of(name))
    other.load_state({k: v.clone() for k, v in state.items()}, 3)
    assert other.step == 3
    assert_identical(state, other.state())
    for one in (engine, other):
        one.train_step(batch_at(one, codec, batches, 3))
    assert_identical(engine.state(), other.state())


def test_a_state_of_another_network_is_refused() -> None:
    engine, _, _ = setup(config_of("gan"))
    other, _, _ = setup(config_of("dcgan"))
    with pytest.raises(ArtifactError, match="does not fit"):
        engine.load_state(other.state(), 3)
    part = {k: v for k, v in engine.state().items() if not k.startswith("ema.")}
    with pytest.raises(ArtifactError, match="does not fit"):
        engine.load_state(part, 3)


# --- the step ---------------------------------------------------------------------------------


def test_the_first_weights_and_the_data_order_follow_the_seed() -> None:
    one, codec, batches = setup(config_of("dcgan"))
    torch.manual_seed(123)
    same, _, _ = setup(config_of("dcgan"))
    assert_identical(one.state(), same.state())
    other = new_engine(config_of("dcgan").model_copy(update={"seed": 1}), codec, Rows.all(BATCH))
    assert not torch.equal(
        one.state()["model.critic.score.weight"], other.state()["model.critic.score.weight"]
    )
    moved = MemoryBatches(data_of(codec), BATCH, seed=1)
    assert not np.array_equal(next(batches.start_at(0)).x, next(moved.start_at(0)).x)


def test_an_epoch_holds_no_row_twice_and_workers_share_its_batches() -> None:
    x = np.arange(ROWS).reshape(ROWS, 1)
    data = Encoded(x, x)
    whole = MemoryBatches(data, BATCH, seed=3)
    batches = [batch.x.ravel() for batch, _ in zip(whole.start_at(0), range(6), strict=False)]
    for epoch in range(3):
        seen = np.concatenate(batches[2 * epoch : 2 * epoch + 2])
        assert len(set(seen.tolist())) == 2 * BATCH
    assert np.array_equal(next(whole.start_at(5)).x.ravel(), batches[5])
    halves = [MemoryBatches(data, BATCH, 3, rank, 2) for rank in range(2)]
    joined = [np.concatenate([next(h.start_at(s)).x.ravel() for h in halves]) for s in range(6)]
    assert np.array_equal(joined, batches)


def test_a_batch_larger_than_the_source_is_refused() -> None:
    codec = codec_of("vae")
    with pytest.raises(ConfigError, match="64 exceeds the 44 rows") as caught:
        MemoryBatches(data_of(codec), 64, 0)
    assert caught.value.remedy == "set it to 22 or less"


def test_the_average_follows_its_formula() -> None:
    engine, codec, batches = setup(config_of("dcgan", ema_decay=0.3))
    expected = {k: v.double() for k, v in copy_of(engine).items() if k.startswith("ema.")}
    for step in range(5):
        engine.train_step(batch_at(engine, codec, batches, step))
        decay = min(0.3, (1 + step + 1) / (10 + step + 1))
        live = engine.state()
        for name in expected:
            now = live["model." + name.removeprefix("ema.")].double()
            expected[name] = decay * expected[name] + (1 - decay) * now
    for name, tensor in expected.items():
        torch.testing.assert_close(engine.state()[name].double(), tensor, rtol=1e-6, atol=1e-6)
    assert not torch.equal(
        engine.state()["ema.generator.decoder.output.weight"],
        engine.state()["model.generator.decoder.output.weight"],
    )


def test_without_averaging_the_average_is_the_live_network() -> None:
    engine, codec, batches = setup(config_of("gan", ema_decay=0))
    engine.train_step(batch_at(engine, codec, batches, 0))
    state = engine.state()
    for name in [name for name in state if name.startswith("ema.")]:
        assert torch.equal(state[name], state["model." + name.removeprefix("ema.")])


def test_the_learning_rate_follows_the_schedule() -> None:
    engine, codec, batches = setup(config_of("vae", SCHEDULED))
    rates: list[float] = []
    for step in range(STEPS):
        engine.train_step(batch_at(engine, codec, batches, step))
        rates.append(engine.optimizers["vae"].param_groups[0]["lr"])
    expected = [0.5e-3 * (1 + np.cos(np.pi * step / STEPS)) for step in range(STEPS)]
    assert rates == pytest.approx(expected)


# --- what is not finite -----------------------------------------------------------------------


def spoil(engine: Engine, phase: str, at: int) -> None:
    """Make the loss of ``phase`` NaN at a step."""
    honest = engine.model.loss

    def loss(name: str, batch: Batch, rng: Any) -> Any:
        found = honest(name, batch, rng)
        if name == phase and engine.step == at:
            return type(found)(found.total * float("nan"), found.terms)
        return found

    engine.model.loss = loss  # type: ignore[method-assign]


@pytest.mark.parametrize("phase", ["critic", "generator"])
def test_a_loss_that_is_not_finite_stops_before_its_phase_moves(phase: str) -> None:
    engine, codec, batches = setup(config_of("dcgan"))
    spoil(engine, phase, at=2)
    for step in range(2):
        engine.train_step(batch_at(engine, codec, batches, step))
    before = copy_of(engine)
    with pytest.raises(NonFiniteError, match=f"phase '{phase}', step 2: .*loss nan") as caught:
        engine.train_step(batch_at(engine, codec, batches, 2))
    assert "learning rate" in caught.value.remedy
    assert engine.step == 2
    after = engine.state()
    still = [k for k in before if k.startswith((f"optimizer.{phase}", "ema."))]
    still += [f"model.{phase}.{k}" for k, _ in getattr(engine.model, phase).named_parameters()]
    for name in still:
        assert torch.equal(before[name], after[name]), name


def test_no_part_of_a_broken_step_reaches_a_checkpoint(tmp_path: Path) -> None:
    config = config_of("dcgan", checkpoint_every=1, guard={"enabled": False})
    whole, _ = run(config, tmp_path / "whole")
    engine, codec, batches = setup(config)
    spoil(engine, "generator", at=5)
    store = CheckpointStore(str(tmp_path / "parts"), "f" * 64)
    with pytest.raises(NonFiniteError):
        train(engine, codec, batches, store, Hooks())
    found = store.latest()
    assert found is not None
    assert found.step == 5
    parts, _ = run(config, tmp_path / "parts")
    assert_identical(whole.state(), parts.state())


def test_a_huge_learning_rate_is_noticed(tmp_path: Path) -> None:
    config = config_of("cvae", SGD | {"lr": 1e33})
    with pytest.raises(NonFiniteError, match=r"phase 'vae', step [12]"):
        run(config, tmp_path)


# --- what a run's name depends on -------------------------------------------------------------


def test_the_fingerprint_names_what_the_weights_depend_on() -> None:
    codec = codec_of("dcgan")
    data = data_of(codec)
    name = fingerprint(config_of("dcgan"), codec, data)
    same = config_of("dcgan", eval_every=7, checkpoint_every=9, keep_checkpoints=5, max_failures=0)
    assert fingerprint(same, codec, data) == name
    workers = same.model_copy(update={"cluster": same.cluster.model_copy(update={"workers": 2})})
    assert fingerprint(workers, codec, data) == name
    x, cond = data.x.copy(), data.cond.copy()
    x[3, 0, 1, 1] ^= 1
    cond[5] = (cond[5] + 1) % 3
    others = [
        fingerprint(config_of("dcgan", steps=9), codec, data),
        fingerprint(config_of("dcgan", SGD), codec, data),
        fingerprint(config_of("dcgan", precision="bfloat16"), codec, data),
        fingerprint(config_of("dcgan").model_copy(update={"seed": 1}), codec, data),
        fingerprint(config_of("dcgan"), codec, Encoded(x, data.cond)),
        fingerprint(config_of("dcgan"), codec, Encoded(data.x, cond)),
    ]
    assert len({name, *others}) == 7


def test_data_without_conditions_has_a_fingerprint() -> None:
    codec = codec_of("vae")
    assert data_of(codec).cond.shape == (ROWS, 0)
    assert len(fingerprint(config_of("vae"), codec, data_of(codec))) == 64
