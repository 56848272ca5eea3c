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
from synthray.adapting import adapting, adopt_base, with_data
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.models.adgan import FEW
from synthray.models.seeking import CANDIDATES, seeking_loss
from synthray.rng import BatchRandom, Rows
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.loop import Hooks, train

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
    engine = new_engine(with_data(config, codec), codec, Rows.all(8), prepare=adopt_base)
    batches = MemoryBatches(encode_all(opened, codec, map), 8, 0)
    hooks = Hooks(on_eval=lambda progress, _: progress.step == stop_at)
    train(engine, codec, batches, CheckpointStore(config.place("checkpoints"), "f" * 64), hooks)
    return engine


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


def phases_taken(engine: Engine) -> dict[str, bool]:
    """Which phases have moved anything."""
    return {name: bool(optimizer.state) for name, optimizer in engine.optimizers.items()}


def test_few_rows_are_sought_before_the_critic_moves(base: str, tmp_path: Path) -> None:
    source = images(tmp_path / "rows", 12)
    early = run(source, base, tmp_path / "early", stop_at=3)
    assert phases_taken(early) == {"seek": True, "critic": False, "generator": False}
    assert phases_taken(run(source, base, tmp_path / "whole")) == dict.fromkeys(
        phases_taken(early), True
    )


def test_more_rows_are_not_sought(base: str, tmp_path: Path) -> None:
    engine = run(images(tmp_path / "rows", FEW + 2), base, tmp_path / "out", stop_at=1)
    assert phases_taken(engine) == {"critic": True, "generator": True}


@pytest.mark.parametrize("stop_at", [2, 4])
def test_seeking_that_resumes_is_bit_identical(base: str, tmp_path: Path, stop_at: int) -> None:
    source = images(tmp_path / "rows", 12)
    whole = run(source, base, tmp_path / "whole").state()
    run(source, base, tmp_path / "parts", stop_at=stop_at)
    parts = run(source, base, tmp_path / "parts").state()
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
