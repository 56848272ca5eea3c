"""One worker and several see the same training on the same global batch; and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from gloo import run_workers
from test_engine import SGD, STEPS, assert_identical, codec_of, config_of, run, setup, spoil
from torch import Tensor

from synthray import rng
from synthray.data.batches import MemoryBatches
from synthray.data.codec import DataSpec, Encoded
from synthray.errors import NonFiniteError
from synthray.models.base import Batch
from synthray.rng import BatchRandom, Rows
from synthray.training.averaging import agree, average
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.loop import Hooks, train

GENTLE = SGD | {"lr": 0.005}
"""With a higher rate these networks are chaotic: a rounding grows tenfold with each step."""

CASES = {
    # Dropout draws random numbers for each row, batch norm looks at all rows of the batch.
    "gan": config_of("gan", GENTLE),
    "dcgan": config_of("dcgan", GENTLE),
    "cvae": config_of("cvae", GENTLE),
    "adam": config_of("dcgan"),
    "bfloat16": config_of("dcgan", GENTLE, precision="bfloat16"),
}


def worker(rank: int, workers: int, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, config in CASES.items():
        place = Path(folder) / f"{name}-{workers}"
        engine, history = run(config, place, rank=rank, workers=workers)
        found[name] = {"state": engine.state(), "history": history}
    # Killed after step 4 and started again.
    for _ in range(2):
        engine, _ = run(CASES["dcgan"], Path(folder) / f"parts-{workers}", 4, rank, workers)
        if workers > 1:
            dist.barrier()  # rank 0 writes the checkpoint after the last step
    found["parts"] = engine.state()
    engine, codec, batches = setup(config_of("dcgan"), rank, workers)
    if rank == 1:
        spoil(engine, "critic", at=2)
    store = CheckpointStore(f"{folder}/spoilt-{workers}", "f" * 64)
    with pytest.raises(NonFiniteError, match=r"phase 'critic', step 2"):
        train(engine, codec, batches, store, Hooks(), rank=rank)
    parts = [torch.full((2, 3), float(rank)), torch.tensor(10.0 * rank), torch.empty(0)]
    found["average"] = average(parts)
    # The guard looks on while a family trains that tells it nothing.
    engine, codec, batches = setup(CASES["cvae"], rank, workers)
    batch = next(iter(batches.start_at(0)))
    told = Batch(codec.scale(torch.from_numpy(batch.x)), torch.from_numpy(batch.cond))
    found["diagnosis"] = (engine.diagnose(told), average([]))
    found["agree"] = [agree(7, torch.device("cpu")), agree(rank, torch.device("cpu"))]
    # Rank 1 alone finds a checkpoint.
    engine, codec, batches = setup(CASES["gan"], rank, workers)
    lone = CheckpointStore(f"{folder}/{'gan' if rank == 1 else 'nothing'}-{workers}", "f" * 64)
    with pytest.raises(RuntimeError, match="different checkpoints"):
        train(engine, codec, batches, lone, Hooks(), rank=rank)
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    return run_workers(worker, 2, folder, str(folder))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("one")
    torch.set_num_threads(1)
    return {name: run(config, folder / name)[0].state() for name, config in CASES.items()}


def first(name: str) -> dict[str, Tensor]:
    return setup(CASES[name])[0].state()


@pytest.mark.parametrize("name", list(CASES))
def test_all_workers_hold_the_same_bits(two: list[dict[str, Any]], name: str) -> None:
    assert_identical(two[0][name]["state"], two[1][name]["state"])


@pytest.mark.parametrize("name", ["gan", "dcgan", "cvae", "adam"])
def test_one_worker_and_two_agree_within_float_tolerance(
    one: dict[str, dict[str, Tensor]], two: list[dict[str, Any]], name: str
) -> None:
    """What differs is the rounding of sums in another order: some units in the 24th bit a step,
    and a hundred where an activation next to a kink falls on its other side. The furthest weight
    has moved five hundred times as far."""
    start, single, double = first(name), one[name], two[0][name]["state"]
    moved = 0.0
    for key, tensor in single.items():
        torch.testing.assert_close(double[key], tensor, rtol=1e-4, atol=1e-5)
        if key.startswith("model.") and "running" not in key:
            moved = max(moved, (tensor - start[key]).abs().max().item())
    assert moved > 5e-3


def test_one_worker_and_two_agree_in_bfloat16_as_far_as_its_8_bits_go(
    one: dict[str, dict[str, Tensor]], two: list[dict[str, Any]]
) -> None:
    start, single, double = first("bfloat16"), one["bfloat16"], two[0]["bfloat16"]["state"]
    keys = [k for k in start if k.startswith("model.") and "running" not in k]
    went = torch.cat([(single[k] - start[k]).reshape(-1) for k in keys])
    apart = torch.cat([(single[k] - double[k]).reshape(-1) for k in keys])
    assert apart.norm() < 0.2 * went.norm()


def test_two_workers_resume_bit_identically(two: list[dict[str, Any]]) -> None:
    for found in two:
        assert_identical(found["parts"], found["dcgan"]["state"])


def test_all_workers_keep_the_same_history(two: list[dict[str, Any]]) -> None:
    assert [entry["step"] for entry in two[0]["gan"]["history"]] == [4, STEPS]
    assert two[1]["gan"]["history"] == two[0]["gan"]["history"]


def test_averages_are_means_in_the_shapes_given(two: list[dict[str, Any]]) -> None:
    for found in two:
        matrix, scalar, nothing = found["average"]
        assert torch.equal(matrix, torch.full((2, 3), 0.5))
        assert torch.equal(scalar, torch.tensor(5.0))
        assert nothing.shape == (0,)
        assert found["agree"] == [True, False]


def test_a_family_may_tell_the_guard_nothing(two: list[dict[str, Any]]) -> None:
    assert [found["diagnosis"] for found in two] == [({}, [])] * 2


def test_alone_the_average_is_what_was_given() -> None:
    tensor = torch.ones(3)
    assert average([tensor])[0] is tensor
    assert agree(3, torch.device("cpu"))


def test_a_cvae_learns_what_the_classes_look_like(tmp_path: Path) -> None:
    """Three classes, each a bright third of the image on black, with noise."""
    random = np.random.default_rng(0)
    labels = np.arange(240) % 3
    x = random.integers(0, 60, (240, 1, 12, 12))
    for row, label in enumerate(labels):
        x[row, :, :, 4 * label : 4 * label + 4] += 180
    codec = codec_of("cvae", side=12)
    codec._spec = DataSpec(shape=(1, 12, 12), rows=240, conditions=(3,))
    data = Encoded(x.astype(np.uint8), labels[:, None])
    config = config_of("cvae", {"lr": 4e-3, "beta1": 0.9}, steps=300, eval_every=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        engine = new_engine(config, codec, Rows.all(16))
        store = CheckpointStore(str(tmp_path), "f" * 64)
        history = train(engine, codec, MemoryBatches(data, 16, 0), store, Hooks()).history
        cond = torch.arange(96)[:, None] % 3
        with torch.no_grad():
            drawn = engine.ema.model.sample(96, BatchRandom(rng.stream(0, "t"), Rows.all(96)), cond)
    finally:
        torch.set_num_threads(threads)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    for label in range(3):
        pixels = codec.pixels(drawn[cond[:, 0] == label]).mean(axis=0)[..., 0]
        truth = data.x[labels == label].mean(axis=0)[0]
        assert np.abs(pixels - truth).mean() < 12  # of 255; two classes are 120 apart
