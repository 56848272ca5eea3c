"""What `adapting.py` measures: bases of the digits 0 to 7, few rows of 8 and 9, two ways there.

Everything is unconditional, trained with one thread in this process; only training steps are timed,
not the evaluations between them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.stability.digits import Digits, Judge, without_conditions
from synthray import rng
from synthray.adapting import adapting, adopt_base, with_data
from synthray.artifact import save_trained
from synthray.artifact_files import load_weights, read_manifest
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.codec import Codec, Encoded
from synthray.data.image_codec import ImageCodec
from synthray.metrics.kid import kernel_distance
from synthray.models.base import Batch, GenerativeModel
from synthray.rng import BatchRandom, Rows
from synthray.training.beginning import new_engine
from synthray.training.engine import Engine
from synthray.training.loop import Outcome

OLD, NEW = tuple(range(8)), (8, 9)
FAMILY = "dcgan"
BASE: dict[str, Any] = {
    "width": 16,
    "critic_width": 16,
    "latent_dim": 64,
    "generator": {"lr": 4e-4, "schedule": "cosine", "final": 0.1},
    "critic": {"lr": 1e-4, "schedule": "cosine", "final": 0.1},
}
BASE_STEPS, BASE_BATCH = 3_000, 64
BATCH = 32
"""Rows a step when adapting; fewer where there are fewer."""
PRECISION = "bfloat16"
JUDGED, SUBSETS = 2_000, 10


def of_classes(data: Encoded, classes: tuple[int, ...]) -> Encoded:
    """The rows of some digits, without their labels."""
    chosen = np.isin(data.cond[:, 0], classes)
    return Encoded(data.x[chosen], data.cond[chosen][:, :0])


def few(digits: Digits, shots: int, seed: int) -> Encoded:
    """The rows to adapt to: as many 8s as 9s, the same for every method."""
    random = np.random.default_rng([seed, shots])
    rows = [
        random.choice(np.flatnonzero(digits.train.cond[:, 0] == c), shots // len(NEW), False)
        for c in NEW
    ]
    chosen = np.concatenate(rows)
    return Encoded(digits.train.x[chosen], digits.train.cond[chosen][:, :0])


def codec_of(digits: Digits, rows: int) -> Codec:
    tree = without_conditions(digits.codec).to_json()
    return ImageCodec.from_json(tree | {"spec": tree["spec"] | {"rows": rows, "counts": [rows]}})


def config_of(model: dict[str, Any], seed: int, steps: int, batch: int, output: Path) -> Config:
    train = {"steps": steps, "batch_size": batch, "precision": PRECISION}
    tree = {"data": {"source": "mnist"}, "model": model, "train": train, "output": str(output)}
    return Config.model_validate(tree | {"seed": seed})


def steps_of(engine: Engine, codec: Codec, data: Encoded) -> Iterator[float]:
    """Train to the end; yields the processor seconds so far after each step."""
    batches = MemoryBatches(data, engine.config.batch_size, engine.seed).start_at(0)
    seconds = 0.0
    while engine.step < engine.config.steps:
        began = time.process_time()
        encoded = next(batches)
        engine.train_step(
            Batch(codec.scale(torch.from_numpy(encoded.x)), torch.from_numpy(encoded.cond))
        )
        seconds += time.process_time() - began
        yield seconds


def base_of(digits: Digits, seed: int, work: Path) -> str:
    """The artifact of a generator of the digits 0 to 7; trained unless it is there."""
    output = (work / f"base-{seed}").resolve()
    uri = str(output / "artifact")
    if not (output / "artifact" / "artifact.json").exists():
        data = of_classes(digits.train, OLD)
        codec = codec_of(digits, len(data))
        model = {"name": FAMILY, "params": BASE}
        config = config_of(model, seed, BASE_STEPS, BASE_BATCH, output)
        engine = new_engine(config, codec, Rows.all(BASE_BATCH))
        for _ in steps_of(engine, codec, data):
            pass
        save_trained(config, engine, codec, Outcome([], {}), "")
    return uri


def adapter(codec: Codec, base: str, seed: int, steps: int, batch: int, **params: Any) -> Engine:
    """What `synthray adapt` trains."""
    model = {"name": "adgan", "params": params}
    config = config_of(model, seed, steps, batch, Path("unused"))
    config = with_data(adapting(config, base), codec)
    return new_engine(config, codec, Rows.all(batch), prepare=adopt_base)


def fine_tuned(codec: Codec, base: str, seed: int, steps: int, batch: int, **params: Any) -> Engine:
    """The base's family, started from the base's generator and critic; all weights are trained."""
    manifest = read_manifest(base)

    def prepare(model: GenerativeModel) -> None:
        weights = load_weights(base, manifest.digest, "model.safetensors")
        model.load_state_dict(
            weights | load_weights(base, manifest.digest, "critic.safetensors"), strict=False
        )

    model = {"name": FAMILY, "params": BASE | params}
    config = config_of(model, seed, steps, batch, Path("unused"))
    return new_engine(config, codec, Rows.all(batch), prepare=prepare)


class NewDigits:
    """Kernel distances to the test set's 8s and 9s, in the judge's features."""

    def __init__(self, digits: Digits, judge: Judge) -> None:
        self.judge = judge
        self.real = self.features(torch.tensor(of_classes(digits.test, NEW).x))
        self.train = of_classes(digits.train, NEW).x

    def features(self, images: Tensor) -> NDArray[Any]:
        return torch.cat([self.judge.classifier(part)[0] for part in images.split(500)]).numpy()

    def kernel(self, images: Tensor, subsets: int = SUBSETS) -> float:
        """Of uint8 [n, 1, 28, 28]."""
        return kernel_distance(self.real, self.features(images), subsets=subsets)[0]

    def floor(self, seed: int) -> float:
        """Of other real 8s and 9s."""
        random = np.random.default_rng(seed)
        chosen = random.choice(len(self.train), JUDGED, False)
        return self.kernel(torch.tensor(self.train[chosen]))


@torch.no_grad()
def drawn(engine: Engine, rows: int = JUDGED) -> Tensor:
    """uint8 [rows, 1, 28, 28] of the averaged generator."""
    parts = []
    for block in range(0, rows, 500):
        random = BatchRandom(rng.stream(engine.seed, "judge", block), Rows.all(500))
        x = engine.ema.model.sample(500, random)
        parts.append(x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)[:rows]
