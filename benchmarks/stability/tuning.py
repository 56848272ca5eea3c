"""A search on the ring of 8 Gaussians from a bad start, its driver killed on the way.

    python -m benchmarks.stability.tuning

8 trials of 3 seeds by `synthray tune`, as a user runs it, from learning rates a thousand times too
low. After the first trials the driver is killed (-9), and the same command goes on. Then the config
that it started from and the best one are trained with fresh seeds, and judged as in PacGAN
(1712.04086) on 100,000 samples: the search's own scores are not asked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table

import synthray
from benchmarks.stability.mixtures import RING
from synthray import config as configs
from synthray import rng
from synthray.errors import CollapseError

ROWS, STEPS, TRIALS, SEEDS, FRESH = 100_000, 3_000, 8, 3, 2
RATES = {"low": 1e-5, "high": 1e-2, "log": True}
BAD = 1e-6
KILL_AFTER = 2
"""Trials that have ended when the driver is killed."""


def config_of(data: Path, output: Path) -> dict[str, Any]:
    penalty = {"first": 0.1, "last": 0.003, "until": 0.3}
    adam = {"lr": BAD, "beta2": 0.99, "final": 0.01}
    return {
        "data": {"source": str(data), "conditions": []},
        "model": {
            "name": "rpgan",
            "params": {
                "latent_dim": 2,
                "widths": [128, 128, 128],
                "r1_gamma": penalty,
                "r2_gamma": penalty,
                "generator": adam,
                "critic": adam,
            },
        },
        "train": {"steps": STEPS, "batch_size": 256, "eval_every": 250},
        "tune": {
            "space": {"model.params.generator.lr": RATES, "model.params.critic.lr": RATES},
            "trials": TRIALS,
            "seeds": SEEDS,
        },
        "output": str(output),
    }


def search(config: Path, log: Path) -> tuple[float, str]:
    """Seconds of the search, the kill included, and what it printed at its end."""
    command = [sys.executable, "-m", "synthray", "tune", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    with (
        log.open("w") as file,
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as driver,
    ):
        ended = 0
        for line in driver.stderr or ():
            file.write(line)
            ended += line.startswith("trial ")
            if ended == KILL_AFTER:
                driver.kill()
                break
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    log.write_text(log.read_text() + "— killed, and once more\n" + done.stderr)
    return time.monotonic() - began, done.stderr


def judge(config: configs.Config, seed: int) -> dict[str, float] | None:
    """PacGAN's scores; None where the guard gave the training up."""
    sections = config.model_dump(mode="json", by_alias=True)
    data = sections.pop("data")
    for name in ("output", "tune", "seed"):
        sections.pop(name)
    source = data.pop("source")
    try:
        artifact = synthray.fit(source, data=data, seed=seed, **sections)
    except CollapseError:
        return None
    made = artifact.sample(100_000, seed=seed)
    return RING.judge(np.stack([made["x"].to_numpy(), made["y"].to_numpy()], axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("out/stability/tuning"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    work: Path = options.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    real = RING.sample(ROWS, rng.stream(0, "mixture")).astype(np.float32)
    pq.write_table(pa.table({"x": real[:, 0], "y": real[:, 1]}), work / "ring.parquet")
    start = configs.parse(config_of(work / "ring.parquet", work / "out"))
    (work / "ring.yaml").write_text(configs.dump(start))
    console = Console()
    console.print(f"searching; its log is {work / 'log'} …")
    seconds, told = search(work / "ring.yaml", work / "log")
    console.print(told[told.rindex("\nrank ") :], markup=False, highlight=False)
    best = configs.load(str(work / "out" / "tune" / "best.yaml"))
    table = Table(title=f"ring of 8, {STEPS:,} steps, 100,000 samples, fresh seeds")
    for column in ("config", "seed", "modes", "high quality", "KL"):
        table.add_column(column)
    for name, config in (("as it stood", start), ("the best", best)):
        for seed in range(100, 100 + FRESH):
            found = judge(config, seed)
            if found is None:
                table.add_row(name, str(seed), "given up", "–", "–")
                continue
            modes, good, kl = found["modes"], found["high_quality"], found["kl"]
            table.add_row(name, str(seed), f"{modes:g}", f"{good:.1%}", f"{kl:.4f}")
    console.print(table)
    console.print(
        f"{TRIALS} trials of {SEEDS} seeds, the driver killed once: {seconds / 60:.1f} minutes"
    )


if __name__ == "__main__":
    main()
