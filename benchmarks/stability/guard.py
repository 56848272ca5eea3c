"""The guard on MNIST: how many seeds end healthy, and what becomes of rates that are too high.

    python examples/datasets.py mnist out/data/mnist
    python -m benchmarks.stability.guard out/data/mnist --seeds 30

Two families train every seed with their default learning rates, with ten times these and with a
thousand times these, guarded; and a few seeds with a thousand times these without the guard, to see
what it is good for. An independent judge (a classifier trained on real digits) says whether what
came out is collapsed. A thousand, because networks this small learn best with about ten times the
rates that suit the families' usual ones: ten is no fault here.

The budget is small, for 180 trainings on one core: networks of width 8, batches of 32, 800 steps
with the default rates and 400 with higher ones, 8 to 60 seconds a training. Digits are recognisable
by then, not fine.

Results are appended to benchmarks/stability/results/guard.jsonl; a second run does what is missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability.digits import Digits, Judge, load, sample, train
from benchmarks.stability.results import FOLDER, Results, digest, settings_of
from synthray import models
from synthray.config import GuardConfig, ModelConfig
from synthray.errors import TrainingError

STEPS = {1: 800, 10: 400, 1_000: 400}
"""By how many times the default learning rates."""
FAMILIES = ("rpgan", "dcgan")
WIDTH, JUDGED_ROWS = 8, 2_000
TRAINING: dict[str, Any] = {
    "batch_size": 32,
    "eval_every": 50,
    "precision": "bfloat16",
    "ema_decay": {"first": 0.98, "last": 0.995},
}
JUDGEMENT = 2
"""To be raised when synthray.training.guard judges differently: older rows no longer count."""
COLLAPSED_RECALL, COLLAPSED_FRECHET = 0.25, 45.0
"""What the judge says of 2,000 images, recall and Fréchet distance:

    real digits                    0.94     0.7
    half of the digits, 0 to 4     0.64    24.5
    three of the digits, 0 to 2    0.32    48.5
    one of the digits, 3           0.29   106.6
    ten images, repeated           0.00    27.1
    the mean image of each digit   0.00    40.5
    one image, repeated            0.00   122.7
    noise                          0.00   376.9
"""


@dataclass(frozen=True)
class Case:
    family: str
    factor: int
    guarded: bool

    def model(self) -> dict[str, Any]:
        params: dict[str, Any] = {"width": WIDTH, "critic_width": WIDTH}
        defaults = models.check_params(ModelConfig(name=self.family, params=params))
        for network in ("generator", "critic"):
            params[network] = {"lr": getattr(defaults, network).lr * self.factor}
        return {"name": self.family, "params": params}

    def training(self) -> dict[str, Any]:
        return TRAINING | {"steps": STEPS[self.factor]}

    def digest(self) -> str:
        guard = GuardConfig().model_dump(mode="json") if self.guarded else None
        judgement = JUDGEMENT if self.guarded else None
        return digest([settings_of(self.model()), self.training(), guard, judgement])


@cache
def _tools(source: Path, work: Path) -> tuple[Digits, Judge]:
    digits = load(source, work)
    return digits, Judge(digits, work)


def measure(work: Path, source: Path, case: Case, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    digits, judge = _tools(source, work)
    row: dict[str, Any] = asdict(case) | {"seed": seed, "config": case.digest()}
    began = time.process_time()
    guard = {"enabled": case.guarded}
    try:
        trained = train(digits, case.model(), seed, guard=guard, **case.training())
    except TrainingError as error:
        seconds = time.process_time() - began
        return row | {"verdict": "stopped", "cpu_seconds": seconds, "why": error.what}
    images, _ = sample(trained.engine, JUDGED_ROWS)
    scores = judge.score(images, None)
    lost = scores["recall"] < COLLAPSED_RECALL or scores["frechet"] > COLLAPSED_FRECHET
    told = trained.outcome.guard
    return row | {
        "verdict": told["verdict"],
        "collapsed": lost,
        "cpu_seconds": trained.cpu_seconds,
        **scores,
        "events": told.get("events", []),
    }


def _job(work: tuple[Any, ...]) -> Any:
    return measure(*work)


def show(results: Results) -> None:
    table = Table(title="MNIST; in brackets: collapsed, says the judge")
    ends = ("healthy", "recovered", "rising", "stopped", "off")
    for column in ("family", "rates", "guard", "seeds", *ends, "seconds", "recall", "Fréchet"):
        table.add_column(column)
    for case in CASES:
        rows = results.of(case.digest())
        cells = []
        for end in ends:
            of = [row for row in rows if row["verdict"] == end]
            lost = sum(row.get("collapsed", False) for row in of)
            cells.append(f"{len(of)} ({lost})" if lost else f"{len(of)}")
        made = [row for row in rows if "recall" in row]
        for score in ("cpu_seconds", "recall", "frechet"):
            values = [row[score] for row in (rows if score == "cpu_seconds" else made)]
            cells.append(f"{median(values):.3g}" if values else "–")
        on = "on" if case.guarded else "off"
        table.add_row(case.family, f"x {case.factor:,}", on, str(len(rows)), *cells)
    Console().print(table)


CASES = [Case(family, factor, True) for factor in STEPS for family in FAMILIES]
CASES += [Case(family, 1_000, False) for family in FAMILIES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path, help="the folder that examples/datasets.py wrote")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--unguarded", type=int, default=5, help="seeds without the guard")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--work", type=Path, default=Path("out/stability"))
    parser.add_argument("--out", type=Path, default=FOLDER / "guard.jsonl")
    options = parser.parse_args()
    _tools(options.digits, options.work)  # made once, before the others ask
    results = Results(options.out)
    done = {(row["config"], row["seed"]) for row in results.rows}
    work = [
        (options.work, options.digits, case, seed)
        for seed in range(options.seeds)
        for case in CASES
        if (case.guarded or seed < options.unguarded) and (case.digest(), seed) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for row in track(pool.imap_unordered(_job, work), "trainings", total=len(work)):
            results.add(row)
    show(results)


if __name__ == "__main__":
    main()
