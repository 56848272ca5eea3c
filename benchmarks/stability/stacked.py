"""Stacked MNIST: 1,000 modes by three digits in three colours, with PacGAN's protocol.

    python examples/datasets.py mnist out/data/mnist
    python -m benchmarks.stability.stacked out/data/mnist --seeds 1

Lin et al. 2018 (1712.04086), section 4.2: rows are three random digits stacked as red, green and
blue; 26,000 samples are classified channel by channel; modes is how many of the 1,000 combinations
occur, and KL, in nats, is that of the samples' modes against the uniform distribution. Even a
perfect sampler of MNIST's own labels would not get 0 with so few samples: that floor is printed.

On a CPU this runs a small network for a part of the usual training: --width and --steps are
defaults for one core and well within two hours, and the table says them; with --device cuda the
usual size. Learning rates are --faster times the family's defaults, which are for longer trainings.
Results are appended to benchmarks/stability/results/stacked.jsonl; a second run does what is
missing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability.digits import Digits, Judge, load
from benchmarks.stability.results import FOLDER, Results, digest, settings_of
from synthray import models, rng
from synthray.config import Config, ModelConfig
from synthray.data.codec import DataSpec
from synthray.metrics.utility import accuracy
from synthray.models.base import Batch
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine

SAMPLES, BATCH = 26_000, 64
TRAINING: dict[str, Any] = {
    "precision": "bfloat16",
    "ema_decay": {"first": 0.99, "last": 0.999},
}
PUBLISHED = [("DCGAN", 78.9, 4.50), ("PacDCGAN2", 1000.0, 0.06)]
"""Modes and KL, as PacGAN's table 3 gives them."""


def stack(digits: Digits, random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [rows, 3, 28, 28] and the mode of each, 0 … 999."""
    chosen = random.integers(len(digits.train), size=(rows, 3))
    modes = digits.train.cond[chosen, 0] @ np.array([100, 10, 1])
    return digits.train.x[chosen, 0], modes


def divergence(modes: np.ndarray) -> float:
    """KL(modes || uniform over 1,000), nats."""
    share = np.bincount(modes, minlength=1_000) / len(modes)
    seen = share[share > 0]
    return float((seen * np.log(seen * 1_000)).sum())


def classify(judge: Judge, images: torch.Tensor) -> np.ndarray:
    """The mode of each image, uint8 [n, 3, 28, 28]."""
    parts = []
    for part in images.split(1_000):
        channels = part.reshape(-1, 1, 28, 28)
        parts.append(judge.classifier(channels)[1].argmax(dim=1).view(-1, 3))
    return torch.cat(parts).numpy() @ np.array([100, 10, 1])


def model_of(options: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"width": options.width, "critic_width": options.width}
    defaults = models.check_params(ModelConfig(name="rpgan"))
    for network in ("generator", "critic"):
        params[network] = {"lr": getattr(defaults, network).lr * options.faster}
    return {"name": "rpgan", "params": params}


def training_of(options: Any) -> dict[str, Any]:
    return {"steps": options.steps, "batch_size": BATCH} | TRAINING


def digest_of(options: Any) -> str:
    return digest([settings_of(model_of(options)), training_of(options), SAMPLES])


def measure(digits: Digits, judge: Judge, seed: int, options: Any) -> dict[str, Any]:
    config = Config.model_validate(
        {
            "seed": seed,
            "data": {"source": "stacked"},
            "model": model_of(options),
            "train": training_of(options),
            "output": "unused",
        }
    )
    torch.manual_seed(seed)
    model = models.build(config.model, DataSpec(shape=(3, 28, 28), rows=len(digits.train)))
    rows = Rows.all(BATCH)
    engine = Engine(model, config.train, seed=seed, rows=rows, device=options.device)
    began, clock = time.process_time(), time.monotonic()
    for step in track(range(options.steps), f"seed {seed}"):
        x, _ = stack(digits, rng.stream(seed, "stack", step), BATCH)
        pixels = torch.from_numpy(x).to(options.device).float().mul_(2 / 255).sub_(1)
        engine.train_step(Batch(pixels, torch.empty(BATCH, 0, dtype=torch.int64)))
    seconds, wall = time.process_time() - began, time.monotonic() - clock
    made = []
    for block in range(0, SAMPLES, 1_000):
        random = BatchRandom(rng.stream(seed, "judge", block), Rows.all(1_000), options.device)
        with torch.no_grad():
            drawn = engine.ema.model.sample(1_000, random)
        made.append(drawn.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu())
    modes = classify(judge, torch.cat(made))
    return {
        "seed": seed,
        "config": digest_of(options),
        "steps": options.steps,
        "width": options.width,
        "modes": len(np.unique(modes)),
        "kl": divergence(modes),
        "device": options.device,
        "cpu_seconds": seconds,
        "seconds": wall,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path, help="the folder that examples/datasets.py wrote")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--faster", type=float, default=5.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("out/stability"))
    parser.add_argument("--out", type=Path, default=FOLDER / "stacked.jsonl")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    digits = load(options.digits, options.work)
    judge = Judge(digits, options.work)
    results, config = Results(options.out), digest_of(options)
    done = {row["seed"] for row in results.of(config)}
    for seed in range(options.first, options.first + options.seeds):
        if seed not in done:
            results.add(measure(digits, judge, seed, options))
    table = Table(title=f"stacked MNIST, {SAMPLES:,} samples")
    for column in ("", "modes", "KL (nats)"):
        table.add_column(column)
    for label, modes, kl in PUBLISHED:
        table.add_row(f"{label} (published, full size)", f"{modes:g}", f"{kl:.2f}")
    for row in results.of(config):
        name = f"rpgan, width {options.width}, {options.steps:,} steps of {BATCH}, seed "
        table.add_row(f"{name}{row['seed']}", str(row["modes"]), f"{row['kl']:.4f}")
    _, real = stack(digits, rng.stream(0, "floor"), SAMPLES)
    table.add_row("real labels (the floor)", str(len(np.unique(real))), f"{divergence(real):.4f}")
    Console().print(table)
    truth = torch.tensor(digits.test.cond[:, 0])
    right = accuracy(judge.classifier, torch.tensor(digits.test.x), truth).value
    Console().print(f"accuracy of the classifier on real test digits: {right:.2%}")


if __name__ == "__main__":
    main()
