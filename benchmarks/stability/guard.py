"""The guard on MNIST: how many seeds end healthy, and what becomes of rates that are too high.

    python examples/datasets.py mnist out/data/mnist
    python -m benchmarks.stability.guard out/data/mnist --seeds 30 --jobs 2

Every family trains every seed with its default learning rates and with ten times these, guarded;
and a few seeds without the guard, to see what it is good for. An independent judge (a classifier
trained on real digits) says whether what came out is collapsed. Results are appended to --out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability.digits import Judge, load, sample, train
from synthray import models
from synthray.config import ModelConfig
from synthray.errors import TrainingError

FAMILIES, FACTORS = ("rpgan", "dcgan"), (1, 10)
STEPS, BATCH, WIDTH = 1_500, 64, 16
COLLAPSED_RECALL, COLLAPSED_FRECHET = 0.2, 60.0
"""By the judge: real digits have 0.9 and 0.6, a single digit repeated 0 and 90, noise 0 and 300."""


def model_of(family: str, factor: float) -> dict[str, Any]:
    params: dict[str, Any] = {"width": WIDTH, "critic_width": WIDTH}
    defaults = models.check_params(ModelConfig(name=family))
    for network in ("generator", "critic"):
        params[network] = {"lr": getattr(defaults, network).lr * factor}
    return {"name": family, "params": params}


def measure(work: Path, source: Path, family: str, factor: int, guarded: bool, seed: int) -> Any:
    torch.set_num_threads(1)
    digits = load(source, work)
    row: dict[str, Any] = {"family": family, "factor": factor, "guarded": guarded, "seed": seed}
    settings: dict[str, Any] = {
        "steps": STEPS,
        "batch_size": BATCH,
        "eval_every": 100,
        "checkpoint_every": 500,
    }
    try:
        trained = train(
            digits, model_of(family, factor), seed, guard={"enabled": guarded}, **settings
        )
    except TrainingError as error:
        return row | {"ended": "stopped", "why": error.what}
    images, _ = sample(trained.engine, 5_000)
    scores = Judge(digits, work).score(images, None)
    collapsed = scores["recall"] < COLLAPSED_RECALL or scores["frechet"] > COLLAPSED_FRECHET
    ended = "recovered" if trained.outcome.guard.get("recoveries") else "healthy"
    return row | {
        "ended": "collapsed" if collapsed else ended,
        "verdict": trained.outcome.guard["verdict"],
        "cpu_seconds": trained.cpu_seconds,
        **scores,
    }


def _job(work: tuple[Any, ...]) -> Any:
    return measure(*work)


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"MNIST, {STEPS:,} steps of {BATCH}")
    ends = ("healthy", "recovered", "stopped", "collapsed")
    for column in ("family", "rates", "guard", "seeds", *ends):
        table.add_column(column)
    for guarded in (True, False):
        for family in FAMILIES:
            for factor in FACTORS:
                key = (family, factor, guarded)
                of = [r for r in rows if (r["family"], r["factor"], r["guarded"]) == key]
                found = Counter(row["ended"] for row in of)
                cells = [str(found[end]) for end in ends]
                on = "on" if guarded else "off"
                table.add_row(family, f"x {factor}", on, str(len(of)), *cells)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path, help="the folder that examples/datasets.py wrote")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--unguarded", type=int, default=5, help="seeds without the guard")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--work", type=Path, default=Path("out/stability"))
    options = parser.parse_args()
    Judge(load(options.digits, options.work), options.work)  # made once, before the others ask
    out = options.work / "guard.jsonl"
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(r["family"], r["factor"], r["guarded"], r["seed"]) for r in rows}
    work = [
        (options.work, options.digits, family, factor, guarded, seed)
        for seed in range(options.seeds)
        for guarded in (True, False)
        for family in FAMILIES
        for factor in FACTORS
        if (guarded or seed < options.unguarded) and (family, factor, guarded, seed) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for row in track(pool.imap_unordered(_job, work), "trainings", total=len(work)):
            rows.append(row)
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    show(rows)


if __name__ == "__main__":
    main()
