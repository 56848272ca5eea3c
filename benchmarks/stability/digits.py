"""What the benchmarks on MNIST share: the digits as tensors, training in this process, a judge.

The digits come from `python examples/datasets.py mnist out/data/mnist`; encoded digits and the
judge's classifier are kept under the work folder.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthray import rng
from synthray.config import Config, DataConfig
from synthray.data.batches import MemoryBatches
from synthray.data.codec import Codec, Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.metrics.base import Features
from synthray.metrics.domain import DomainExtractor, train_domain
from synthray.metrics.frechet import Frechet, frechet_distance
from synthray.metrics.kid import kernel_distance
from synthray.metrics.prdc import precision_recall
from synthray.metrics.utility import accuracy
from synthray.rng import BatchRandom, Rows
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.loop import Hooks, Outcome
from synthray.training.loop import train as train_loop

CLASSIFIER_STEPS = 2_000
JUDGED_ROWS = 10_000
UTILITY_STEPS = 400


@dataclass(frozen=True)
class Digits:
    """x uint8 [n, 1, 28, 28], cond int64 [n, 1]."""

    train: Encoded
    test: Encoded
    codec: Codec


def load(source: Path, work: Path) -> Digits:
    """MNIST as arrays, from the Parquet that examples/datasets.py writes."""
    config = DataConfig(source=str(source / "train"))
    opened, codec = open_data(config)
    fit_codec(opened, codec, map)
    kept = work / "digits.npz"
    if not kept.exists():
        work.mkdir(parents=True, exist_ok=True)
        test, _ = open_data(DataConfig(source=str(source / "test")))
        parts = encode_all(opened, codec, map), encode_all(test, codec, map)
        arrays = {
            f"{name}{i}": getattr(p, name) for i, p in enumerate(parts) for name in ("x", "cond")
        }
        np.savez(kept, **arrays)
    found = np.load(kept)
    return Digits(Encoded(found["x0"], found["cond0"]), Encoded(found["x1"], found["cond1"]), codec)


class Judge:
    """Scores in the features of a classifier trained on real digits, against the test digits."""

    def __init__(self, digits: Digits, work: Path) -> None:
        kept = work / "judge.safetensors"
        self.test = digits.test
        if not kept.exists():
            images, labels = torch.tensor(digits.train.x), torch.tensor(digits.train.cond[:, 0])
            kept.write_bytes(train_domain(images, labels, 10, steps=CLASSIFIER_STEPS).save())
        self.classifier = DomainExtractor.load(kept.read_bytes())
        self.real = self._features(torch.tensor(self.test.x))

    def _features(self, images: Tensor) -> np.ndarray:
        return torch.cat([self.classifier(part)[0] for part in images.split(1_000)]).numpy()

    def score(self, images: Tensor, labels: Tensor | None) -> dict[str, float]:
        """Of uint8 [n, 1, 28, 28]; with labels also the accuracy of a classifier learnt on them."""
        fake = self._features(images)
        rows = min(len(fake), len(self.real))
        scores = {
            "frechet": _frechet(self.real[:rows], fake[:rows]),
            "kernel": kernel_distance(self.real, fake, subsets=20)[0],
            **precision_recall(self.real[:rows], fake[:rows]),
        }
        if labels is not None:
            learnt = train_domain(images, labels, 10, steps=UTILITY_STEPS)
            truth = torch.tensor(self.test.cond[:, 0])
            scores["tstr"] = accuracy(learnt, torch.tensor(self.test.x), truth).value
        return scores


def _frechet(real: np.ndarray, fake: np.ndarray) -> float:
    metric = Frechet()
    states = [metric.update(metric.init(), Features(np.arange(len(x)), x)) for x in (real, fake)]
    return frechet_distance(states[0], states[1])


@dataclass(frozen=True)
class Trained:
    engine: Engine
    cpu_seconds: float
    outcome: Outcome


def train(digits: Digits, model: dict[str, Any], seed: int, **settings: Any) -> Trained:
    """Train a family on the digits, with one thread and checkpoints in a temporary folder."""
    torch.set_num_threads(1)
    config = Config.model_validate(
        {
            "seed": seed,
            "data": {"source": "mnist"},
            "model": model,
            "train": {"checkpoint_every": 10**9} | settings,
            "output": "unused",
        }
    )
    codec = digits.codec
    data = digits.train
    conditional = model["name"] != "vae"
    if not conditional:
        codec = without_conditions(codec)
        data = Encoded(data.x, data.cond[:, :0])
    engine = new_engine(config, codec, Rows.all(config.train.batch_size))
    batches = MemoryBatches(data, config.train.batch_size, seed)
    with tempfile.TemporaryDirectory() as place:
        store = CheckpointStore(place, "f" * 64)
        began = time.process_time()
        outcome = train_loop(engine, codec, batches, store, Hooks())
        return Trained(engine, time.process_time() - began, outcome)


def without_conditions(codec: Codec) -> Codec:
    """The same codec for a family that models none."""
    tree = codec.to_json()
    tree["schema"]["columns"] = [c for c in tree["schema"]["columns"] if not c["condition"]]
    plain = {"conditions": [], "combinations": [[]], "counts": [tree["spec"]["rows"]]}
    return ImageCodec.from_json(tree | {"spec": tree["spec"] | plain})


def sample(engine: Engine, rows: int = JUDGED_ROWS) -> tuple[Tensor, Tensor | None]:
    """uint8 images [rows, 1, 28, 28] and labels int64 [rows], all classes equally often."""
    images, labels = [], []
    model, spec = engine.ema.model, engine.model.spec
    for block in range(0, rows, 500):
        random = BatchRandom(rng.stream(0, "judge", block), Rows.all(500))
        label = torch.arange(500) % 10
        cond = label.unsqueeze(1) if spec.conditions else None
        with torch.no_grad():
            x = model.sample(500, random, cond)
        images.append(x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8))
        labels.append(label)
    made = torch.cat(images)
    return made, torch.cat(labels) if spec.conditions else None
