"""Pixels of generators without normalisation: cut off, and never out of a gradient's reach."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from synthray import models, rng
from synthray.config import ModelConfig, TrainConfig
from synthray.data.codec import DataSpec
from synthray.models import composed
from synthray.models.base import Batch
from synthray.models.bounded import bounded
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE, BATCH, STEPS = 16, 32, 40


def test_values_are_cut_off() -> None:
    x = torch.tensor([-7.0, -1.0, -0.3, 0.0, 1.0, 1.01])
    assert torch.equal(bounded(x), torch.tensor([-1.0, -1.0, -0.3, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("x", "gradient", "kept"),
    [
        (-2.0, -3.0, True),  # descending, x rises: back inside
        (-2.0, 3.0, False),
        (2.0, 3.0, True),
        (2.0, -3.0, False),
        (-1.0, 3.0, True),
        (0.5, -3.0, True),
    ],
)
def test_only_what_leads_farther_out_has_no_gradient(x: float, gradient: float, kept: bool) -> None:
    at = torch.tensor(x, requires_grad=True)
    (found,) = torch.autograd.grad(bounded(at), at, torch.tensor(gradient))
    assert float(found) == (gradient if kept else 0.0)


def spots(step: int) -> Tensor:
    """Images that are background but for a bright square somewhere, [n, 3, side, side]."""
    at = rng.stream(0, "spots", step).integers(0, SIDE - 4, (BATCH, 3, 2))
    x = torch.full((BATCH, 3, SIDE, SIDE), -1.0)
    for image, places in zip(x, at, strict=True):
        for channel, (row, column) in zip(image, places, strict=True):
            channel[row : row + 4, column : column + 4] = 1.0
    return x


def spread() -> float:
    """How much images differ after some training: the mean deviation of a pixel."""
    params = {
        "width": 16,
        "critic_width": 16,
        "generator": {"lr": 5e-3},
        "critic": {"lr": 5e-3},
    }
    torch.manual_seed(0)
    spec = DataSpec(shape=(3, SIDE, SIDE), rows=1_000)
    model = models.build(ModelConfig(name="rpgan", params=params), spec)
    config = TrainConfig(steps=1_000, batch_size=BATCH)
    engine = Engine(model, config, seed=0, rows=Rows.all(BATCH))
    for step in range(STEPS):
        engine.train_step(Batch(spots(step), torch.empty((BATCH, 0), dtype=torch.int64)))
    with torch.no_grad():
        drawn = engine.ema.model.sample(200, BatchRandom(rng.stream(0, "t"), Rows.all(200)))
    assert drawn.min() >= -1 and drawn.max() <= 1
    return float(drawn.std(dim=0).mean())


def test_images_with_much_background_do_not_end_as_background(monkeypatch: Any) -> None:
    """Pixels of real ones have a deviation of 0.43; with tanh all images are alike."""
    found = spread()
    monkeypatch.setattr(composed, "bounded", torch.tanh)
    assert spread() < 0.02, "this no longer shows anything"
    assert found > 0.1
