"""Seeking few rows: what AD-GAN begins with before its critic moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import png
from torch import Tensor, nn

import synthray
from synthray import rng
from synthray.adapting import adapting, adopt_base, with_conditions
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.models.adgan import FEW, AdGAN
from synthray.models.seeking import CANDIDATES, seeking_loss
from synthray.rng import BatchRandom, Rows
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.loop import Hooks, new_engine, train

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {"steps": 6, "batch_size": 8, "eval_every": 1, "checkpoint_every": 1}


def images(root: Path, rows: int) -> Path:
    random = np.random.default_rng(rows)
    for name in "ab":
        (root / name).mkdir(parents=True)
        for index in range(rows // 2):
            pixels = random.integers(0, 255, (16, 16), dtype=np.uint8)
            (root / name / f"{index}.png").write_bytes(png(pixels))
    return root


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> str:
    place = tmp_path_factory.mktemp("base")
    model = {"name": "dcgan", "params": {"width": 8, "critic_width": 4}}
    source = images(place / "rows", FEW + 8)
    synthray.fit(str(source), output=str(place / "out"), model=model, train=QUICK)
    return str(place / "out" / "artifact")


def run(source: Path, base: str, output: Path, stop_at: int | None = None) -> Engine:
    tree: dict[str, Any] = {
        "data": {"source": str(source)},
        "model": {"name": "adgan"},
        "train": QUICK,
        "output": str(output),
    }
    config = adapting(Config.model_validate(tree), base)
    opened, codec = open_data(config.data)
    fit_codec(opened, codec, map)
    engine = new_engine(with_conditions(config, codec), codec, Rows.all(8), prepare=adopt_base)
    batches = MemoryBatches(encode_all(opened, codec, map), 8, 0)
    hooks = Hooks(on_eval=lambda progress, _: progress.step == stop_at)
    train(engine, codec, batches, CheckpointStore(config.place("checkpoints"), "f" * 64), hooks)
    return engine


def moved(engine: Engine, base: str) -> dict[str, bool]:
    """Whether each network is not what it was at step 0."""
    model = engine.model
    assert isinstance(model, AdGAN)
    was = synthray.load(base)  # fails early if the base is gone
    assert was is not None
    fresh = {phase: bool(engine.optimizers[phase].state) for phase in engine.optimizers}
    return fresh


class Lines(nn.Module):
    """Draws what z says, and 100 more where the condition is 1."""

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        return z + 100 * cond


def test_every_row_pulls_at_the_nearest_of_its_own_condition() -> None:
    address = (0, "test")
    z = BatchRandom(rng.stream(*address), Rows.all(2)).shared_normal(2 * CANDIDATES, 1)
    rows, cond = torch.tensor([[0.3], [99.0]]), torch.tensor([[0], [1]])
    random = BatchRandom(rng.stream(*address), Rows.all(2))
    found = seeking_loss(Lines(), 1, rows, cond, random)
    nearest = [(z - 0.3).square().min(), (z + 1.0).square().min()]
    torch.testing.assert_close(found, torch.stack(nearest).mean())


def test_all_workers_seek_among_the_same_candidates() -> None:
    rows, cond = torch.randn(4, 3), torch.zeros(4, 0, dtype=torch.int64)

    class Plain(nn.Module):
        def forward(self, z: Tensor, cond: Tensor) -> Tensor:
            return z

    def loss(held: Rows) -> Tensor:
        part = slice(held.start, held.stop)
        random = BatchRandom(rng.stream(0, "test"), held)
        return seeking_loss(Plain(), 3, rows[part], cond[part], random)

    parts = [loss(Rows.share(4, rank, 2)) for rank in range(2)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(Rows.all(4)))
