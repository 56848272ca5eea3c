"""Ring of 8 and grid of 25 Gaussians: modes, high quality and KL over many seeds.

    python -m benchmarks.stability.gaussians ring --seeds 20
    python -m benchmarks.stability.gaussians grid --seeds 20 --jobs 2

One fixed config a mixture: the ring, whose modes are narrower, trains longer and to a smaller
penalty. Results are appended to
benchmarks/stability/results, seed by seed; a second run does the seeds that are missing, and
--seeds 0 prints what is there.
Published rows (PacGAN, 1712.04086, tables 1 and 2) are printed beside ours.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability.mixtures import MIXTURES
from benchmarks.stability.results import FOLDER, Results, digest, settings_of
from synthray import rng
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.codec import DataSpec, Encoded
from synthray.models import build
from synthray.models.base import Batch
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine

TRAINING_ROWS, BATCH = 100_000, 256
STEPS = {"ring": 30_000, "grid": 24_000}
LAST_PENALTY = {"ring": 0.005, "grid": 0.01}
ADAM = {"lr": 1e-3, "final": 0.01}
EMA_DECAY = {"first": 0.999, "last": 0.9995}
# Its best row of each table, means of ten trials.
PUBLISHED = {
    "ring": [("PacGAN", 7.9, 0.956, 0.07)],
    "grid": [("PacGAN4", 24.8, 0.936, 0.04)],
}


def model_of(name: str) -> dict[str, Any]:
    gamma = {"first": 0.1, "last": LAST_PENALTY[name], "until": 0.8}
    params = {
        "latent_dim": 2,
        "widths": [128, 128, 128],
        "r1_gamma": gamma,
        "r2_gamma": gamma,
        "generator": ADAM,
        "critic": ADAM,
    }
    return {"name": "rpgan", "params": params}


def config_of(name: str, seed: int, steps: int) -> Config:
    return Config.model_validate(
        {
            "seed": seed,
            "data": {"source": name},
            "model": model_of(name),
            "train": {"steps": steps, "batch_size": BATCH, "ema_decay": EMA_DECAY},
            "output": "unused",
        }
    )


def digest_of(name: str, steps: int) -> str:
    """Of all that a row depends on, but for its seed."""
    training = {"rows": TRAINING_ROWS, "batch": BATCH, "ema_decay": EMA_DECAY, "steps": steps}
    return digest(
        {"mixture": name, "model": settings_of(model_of(name), images=False), "train": training}
    )


def train(name: str, seed: int, steps: int) -> dict[str, Any]:
    """Train one seed and judge it."""
    torch.set_num_threads(1)
    began = time.process_time()
    real = MIXTURES[name].sample(TRAINING_ROWS, rng.stream(seed, "mixture"))
    scale = real.std(axis=0)
    x = (real / scale).astype(np.float32)
    config = config_of(name, seed, steps)
    spec = DataSpec(shape=(2,), rows=TRAINING_ROWS)
    torch.manual_seed(seed)
    engine = Engine(build(config.model, spec), config.train, seed=seed, rows=Rows.all(BATCH))
    gc.freeze()  # what is there stays: looking through it for garbage costs 6 % of the time
    none = np.empty((TRAINING_ROWS, 0), np.int64)
    batches = MemoryBatches(Encoded(x, none), BATCH, seed).start_at(0)
    for _ in range(steps):
        encoded = next(batches)
        engine.train_step(Batch(torch.from_numpy(encoded.x), torch.from_numpy(encoded.cond)))
    seconds = time.process_time() - began
    scores = {}
    for rows in (2_500, 100_000):
        random = BatchRandom(rng.stream(seed, "judge", rows), Rows.all(rows))
        with torch.no_grad():
            made = engine.ema.model.sample(rows, random).double().numpy() * scale
        scores[str(rows)] = MIXTURES[name].judge(made)
    told = {"mixture": name, "seed": seed, "config": digest_of(name, steps), "steps": steps}
    return told | {"cpu_seconds": seconds, **scores}


def _job(work: tuple[str, int, int]) -> dict[str, Any]:
    return train(*work)


def show(name: str, rows: list[dict[str, Any]]) -> None:
    modes = len(MIXTURES[name].centres)
    table = Table(title=f"{name} of {modes}, {len(rows)} seeds")
    for column in ("", "modes", "high quality", "KL"):
        table.add_column(column)
    for label, *published in PUBLISHED[name]:
        found, share, divergence = published
        table.add_row(f"{label} (published)", f"{found}", f"{share:.1%}", f"{divergence}")
    for samples in ("2500", "100000"):
        modes_found: list[float] = [row[samples]["modes"] for row in rows]
        good: list[float] = [row[samples]["high_quality"] for row in rows]
        kl: list[float] = [row[samples]["kl"] for row in rows]
        table.add_row(
            f"rpgan, {int(samples):,} samples: median",
            f"{np.median(modes_found):g}",
            f"{np.median(good):.2%}",
            f"{np.median(kl):.5f}",
        )
        table.add_row("  worst seed", f"{min(modes_found)}", f"{min(good):.2%}", f"{max(kl):.5f}")
    real = MIXTURES[name].judge(MIXTURES[name].sample(100_000, rng.stream(0, "floor")))
    table.add_row(
        "real rows, 100,000", f"{real['modes']}", f"{real['high_quality']:.2%}", f"{real['kl']:.5f}"
    )
    console = Console()
    console.print(table)
    whole = sum(row["100000"]["modes"] == modes for row in rows)
    seconds = [row["cpu_seconds"] for row in rows]
    console.print(
        f"all modes on {whole} of {len(rows)} seeds; processor seconds a seed: "
        f"median {np.median(seconds):.0f}, most {max(seconds):.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mixture", choices=sorted(MIXTURES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument(
        "--steps", type=int, help="default: 16,000 for the ring, 20,000 for the grid"
    )
    parser.add_argument("--out", type=Path, help="default: benchmarks/stability/results/…")
    options = parser.parse_args()
    name, steps = options.mixture, options.steps or STEPS[options.mixture]
    results = Results(options.out or FOLDER / f"{name}.jsonl")
    config = digest_of(name, steps)
    done = {row["seed"] for row in results.of(config)}
    work = [(name, seed, steps) for seed in range(options.seeds) if seed not in done]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for row in track(pool.imap_unordered(_job, work), "seeds", total=len(work)):
            results.add(row)
    if found := results.of(config):
        show(name, found)


if __name__ == "__main__":
    main()
