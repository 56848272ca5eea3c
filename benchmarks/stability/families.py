"""Every family on MNIST at the same budget: distances, recall, utility and time.

    python examples/datasets.py mnist out/data/mnist
    python -m benchmarks.stability.families out/data/mnist --plot docs/images/families.png

The budget is steps and batch size; networks are of the same widths. The time is processor time of
one thread. Results are appended to --out; a second run does what is missing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability.digits import Digits, Judge, load, sample, train

FAMILIES = ("gan", "dcgan", "wgan", "wgan_gp", "sngan", "sagan", "rpgan", "vae", "cvae")
WIDTH = 16
STEPS, BATCH = 1_500, 64
SCORES = ("kernel", "frechet", "recall", "coverage", "tstr", "cpu_seconds")


def params_of(family: str) -> dict[str, Any]:
    if family == "gan":
        return {}
    return {"width": WIDTH} | ({} if "vae" in family else {"critic_width": WIDTH})


def measure(digits: Digits, judge: Judge, family: str, seed: int, pictures: Path) -> dict[str, Any]:
    model = {"name": family, "params": params_of(family)}
    trained = train(digits, model, seed, steps=STEPS, batch_size=BATCH)
    images, labels = sample(trained.engine)
    if seed == 0:
        pictures.mkdir(parents=True, exist_ok=True)
        np.save(pictures / f"{family}.npy", images[:100].numpy())
    scores = judge.score(images, labels)
    return {"family": family, "seed": seed, "cpu_seconds": trained.cpu_seconds, **scores}


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"MNIST, {STEPS:,} steps of {BATCH}, median of the seeds (worst)")
    for column in ("family", *SCORES):
        table.add_column(column, justify="left" if column == "family" else "right")
    for family in FAMILIES:
        of = [row for row in rows if row["family"] == family]
        cells = []
        for score in SCORES:
            values = [row[score] for row in of if score in row]
            worst = min if score in ("recall", "coverage", "tstr") else max
            cells.append(f"{np.median(values):.3g} ({worst(values):.3g})" if values else "–")
        table.add_row(family, *cells)
    Console().print(table)


def plot(rows: list[dict[str, Any]], pictures: Path, place: Path) -> None:
    """Samples of seed 0 of every family above its Fréchet distances."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(FAMILIES), figsize=(2 * len(FAMILIES), 3.1))
    for axis, family in zip(axes, FAMILIES, strict=True):
        made = np.load(pictures / f"{family}.npy")[:50, 0]
        grid = made.reshape(5, 10, 28, 28).transpose(1, 2, 0, 3).reshape(280, 140)
        axis.imshow(grid, cmap="gray", vmin=0, vmax=255)
        axis.set_axis_off()
        found = [row for row in rows if row["family"] == family]
        distance = np.median([row["frechet"] for row in found])
        recall = np.median([row["recall"] for row in found])
        axis.set_title(f"{family}\nFréchet {distance:.1f}\nrecall {recall:.2f}", fontsize=10)
    figure.tight_layout()
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path, help="the folder that examples/datasets.py wrote")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("out/stability"))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = load(options.digits, options.work)
    judge = Judge(digits, options.work)
    out, pictures = options.work / "families.jsonl", options.work / "families"
    lines = out.read_text().splitlines() if out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["family"], row["seed"]) for row in rows}
    work = [(f, s) for s in range(options.seeds) for f in FAMILIES if (f, s) not in done]
    for family, seed in track(work, "trainings"):
        row = measure(digits, judge, family, seed, pictures)
        rows.append(row)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    show(rows)
    if options.plot:
        plot(rows, pictures, options.plot)


if __name__ == "__main__":
    main()
