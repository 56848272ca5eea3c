"""Every family on MNIST at the same budget: distances, recall, utility and time.

    python examples/datasets.py mnist out/data/mnist
    python -m benchmarks.stability.families out/data/mnist --plot docs/images/families.png

The budget is steps and batch size, and networks of the same width: small, for one core of a CPU.
Learning rates are some times the defaults, which are for larger networks and long trainings: by
FASTER, tried with one seed for most families (docs/experiments.md), not for sngan and sagan. The
time is processor time of one thread. Results are appended to
benchmarks/stability/results/families.jsonl; a second run does what is missing, pictures too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability.digits import Digits, Judge, load, sample, train
from benchmarks.stability.results import FOLDER, Results, digest, settings_of
from synthray import models
from synthray.config import ModelConfig
from synthray.errors import TrainingError

FAMILIES = ("gan", "dcgan", "wgan", "wgan_gp", "sngan", "sagan", "rpgan", "vae", "cvae")
WIDTH = 8
FASTER = dict.fromkeys(FAMILIES, 10) | {"gan": 3, "wgan_gp": 30, "vae": 3, "cvae": 3}
TRAINING: dict[str, Any] = {
    "steps": 600,
    "batch_size": 32,
    "eval_every": 60,
    "precision": "bfloat16",
    "ema_decay": {"first": 0.98, "last": 0.995},
}
JUDGED_ROWS = 5_000
SCORES = ("kernel", "frechet", "recall", "coverage", "tstr", "cpu_seconds")
BETTER_HIGH = ("recall", "coverage", "tstr")


def model_of(family: str) -> dict[str, Any]:
    params: dict[str, Any] = {} if family == "gan" else {"width": WIDTH}
    if family != "gan" and "vae" not in family:
        params["critic_width"] = WIDTH
    defaults = models.check_params(ModelConfig(name=family))
    for optimizer in ("optimizer",) if "vae" in family else ("generator", "critic"):
        params[optimizer] = {"lr": getattr(defaults, optimizer).lr * FASTER[family]}
    return {"name": family, "params": params}


def digest_of(family: str) -> str:
    return digest([settings_of(model_of(family)), TRAINING, JUDGED_ROWS])


def measure(digits: Digits, judge: Judge, family: str, seed: int, pictures: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"family": family, "seed": seed, "config": digest_of(family)}
    try:
        trained = train(digits, model_of(family), seed, **TRAINING)
    except TrainingError as error:
        return row | {"verdict": "stopped", "why": error.what}
    images, labels = sample(trained.engine, JUDGED_ROWS)
    if seed == 0:
        pictures.mkdir(parents=True, exist_ok=True)
        np.save(pictures / f"{family}.npy", images[:100].numpy())
    row |= {"verdict": trained.outcome.guard["verdict"], "cpu_seconds": trained.cpu_seconds}
    return row | judge.score(images, labels)


def show(results: Results) -> None:
    title = "MNIST, {steps} steps of {batch_size}, median of the seeds (worst)"
    table = Table(title=title.format(**TRAINING))
    for column in ("family", "seeds", *SCORES):
        table.add_column(column, justify="left" if column == "family" else "right")
    for family in FAMILIES:
        of = results.of(digest_of(family))
        cells = [str(len(of))]
        for score in SCORES:
            values = [row[score] for row in of if score in row]
            worst = min if score in BETTER_HIGH else max
            cells.append(f"{np.median(values):.3g} ({worst(values):.3g})" if values else "–")
        table.add_row(family, *cells)
    Console().print(table)


def plot(results: Results, digits: Digits, pictures: Path, place: Path) -> None:
    """Real digits, then samples of every family's first seed, under medians of their scores."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = [(f, results.of(digest_of(f))) for f in FAMILIES if (pictures / f"{f}.npy").exists()]
    size = (1.5 * (len(columns) + 1), 3.75)
    figure, axes = pyplot.subplots(1, len(columns) + 1, figsize=size)
    labels = digits.test.cond[:, 0]
    real = [digits.test.x[labels == i % 10][i // 10] for i in range(50)]
    for axis, (family, rows) in zip(axes, [("real", []), *columns], strict=True):
        made = np.stack(real) if not rows else np.load(pictures / f"{family}.npy")[:50]
        # One line a digit, 0 to 9, five of each.
        grid = made.reshape(5, 10, 28, 28).transpose(1, 2, 0, 3).reshape(280, 140)
        axis.imshow(grid, cmap="gray", vmin=0, vmax=255)
        axis.set_axis_off()
        told = [np.median([row[score] for row in rows]) for score in ("frechet", "recall") if rows]
        note = "Fréchet {:.1f}\nrecall {:.2f}".format(*told) if rows else "from the\ntest set"
        axis.set_title(family, fontsize=12, fontweight="bold")
        axis.text(70, 290, note, ha="center", va="top", fontsize=10.5)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.92, bottom=0.115, wspace=0.06)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path, help="the folder that examples/datasets.py wrote")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("out/stability"))
    parser.add_argument("--out", type=Path, default=FOLDER / "families.jsonl")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = load(options.digits, options.work)
    judge = Judge(digits, options.work)
    results, pictures = Results(options.out), options.work / "families"
    done = {(row["config"], row["seed"]) for row in results.rows}
    wanted = [(family, seed) for seed in range(options.seeds) for family in FAMILIES]
    # A picture needs the first seed's images, of which the results keep nothing.
    undrawn = [f for f in FAMILIES if options.plot and not (pictures / f"{f}.npy").exists()]
    work = [(f, s) for f, s in wanted if (digest_of(f), s) not in done or (s == 0 and f in undrawn)]
    for family, seed in track(work, "trainings"):
        row = measure(digits, judge, family, seed, pictures)
        if (row["config"], seed) not in done:
            results.add(row)
    show(results)
    if options.plot:
        plot(results, digits, pictures, options.plot)


if __name__ == "__main__":
    main()
