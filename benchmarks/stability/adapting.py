"""Adapting a generator of the digits 0 to 7 to few 8s and 9s: AD-GAN against full fine-tuning.

    python examples/datasets.py mnist out/data/mnist
    python -m benchmarks.stability.adapting out/data/mnist --plot docs/images/adapting.png

Both start from the same generator and critic and see the same 10, 100 or 1,000 rows. AD-GAN is what
`synthray adapt` trains by default, for STEPS steps (chosen on other seeds), without a look at the
test rows: what it has at the end counts, and all its time. Fine-tuning trains every weight with the
base's loss, at those rates of RATES that turn out best (the best of a search, docs/experiments.md),
and is judged at CHECKPOINTS: its best one counts, as told by the test rows themselves, which
favours it. Costs are processor seconds of training steps, of one thread, without the evaluations:

    seconds  AD-GAN: all its steps; fine-tuning: until its best checkpoint
    match    fine-tuning, until it is first as good as AD-GAN at its end; where it never is, all
             its steps, and the median is shown with a ">"
    step     of one step

The kernel distance is of 2,000 samples to the test set's 8s and 9s, in the features of a classifier
trained on all real digits. The floor is that of 2,000 real 8s and 9s of the training set, the
ceiling that of the base as it was. Rows are appended to --out; a second run does what is missing,
and rows of other settings do not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stability import transfer
from benchmarks.stability.digits import Digits, Judge, load
from benchmarks.stability.transfer import NewDigits, adapter, base_of, drawn, few, fine_tuned
from synthray.adapting import WHOLE_RATE, critic_rate, rate
from synthray.models.adgan import AdGANConfig

SHOTS = (10, 100, 1_000)
STEPS = {10: 400, 100: 500, 1_000: 500}
ADAM = {"beta1": 0.0, "beta2": 0.99, "schedule": "constant"}
RATES = {
    f"{generator:g}/{critic:g}": {
        "generator": ADAM | {"lr": generator},
        "critic": ADAM | {"lr": critic},
    }
    for generator, critic in ((2e-3, 1e-3), (5e-3, 5e-4))
}
CHECKPOINTS = (200, 400, 600, 800, 1_000, 1_200)
BASES = 1
"""Trained bases: seed s starts from number s modulo this. The seed moves rows, deltas and noise."""
VERSION, ADAPTER_VERSION = 1, 3
"""To be raised when the code changes what comes out: of everything, of adapting alone."""
METHODS = ("base", "adapted", *RATES, "real")
"""Those of fine-tuning go by their learning rates, generator / critic."""
Row = dict[str, Any]


def settings(method: str, shots: int) -> str:
    """A short name of everything that rows of a method depend on."""
    judged = [transfer.JUDGED, transfer.SUBSETS]
    base = [transfer.FAMILY, transfer.BASE, transfer.BASE_STEPS, transfer.BASE_BATCH, BASES]
    how: list[Any] = [VERSION, transfer.BATCH, transfer.PRECISION, CHECKPOINTS, RATES.get(method)]
    if method == "adapted":
        fields = AdGANConfig.model_fields
        chosen = ("rank", "budget", "freeze", "generator", "critic", "seek", "seeker")
        defaults = {name: str(fields[name].default) for name in chosen}
        how += [ADAPTER_VERSION, STEPS[shots], defaults, critic_rate(shots)]
        if shots < WHOLE_RATE:
            how.append(rate(shots))
    tree = {"real": [judged], "base": [judged, base]}.get(method, [judged, base, how])
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:10]


def measure(
    digits: Digits, judge: NewDigits, method: str, shots: int, seed: int, work: Path
) -> Row:
    """kernel: at the end, or at the best checkpoint; curve: [steps, seconds, kernel] of each."""
    row: Row = {"method": method, "shots": shots, "seed": seed, "settings": settings(method, shots)}
    if method == "real":
        return row | {"kernel": judge.floor(seed)}
    base = base_of(digits, seed % BASES, work)
    data = few(digits, shots, seed)
    codec, batch = transfer.codec_of(digits, shots), min(shots, transfer.BATCH)
    if method in RATES:
        steps = max(CHECKPOINTS)
        engine = fine_tuned(codec, base, seed, steps, batch, **RATES[method])
    else:
        steps = STEPS[shots]
        engine = adapter(codec, base, seed, steps, batch)
    images = drawn(engine)
    if method == "base":
        _picture(images, row, work)
        return row | {"kernel": judge.kernel(images)}
    best, curve = float("inf"), []
    for seconds in transfer.steps_of(engine, codec, data):
        if engine.step == steps or engine.step in CHECKPOINTS:
            images = drawn(engine)
            curve.append([engine.step, seconds, judge.kernel(images)])
            if curve[-1][2] < best or method == "adapted":
                best = curve[-1][2]
                _picture(images, row, work)
    trained = sum(p.numel() for p in engine.model.generator.parameters() if p.requires_grad)
    at = min(curve, key=lambda c: c[2]) if method in RATES else curve[-1]
    return row | {
        "kernel": at[2], "steps": at[0], "seconds": at[1], "trained": trained,
        "step_seconds": curve[-1][1] / curve[-1][0], "curve": curve,
    }  # fmt: skip


def _picture(images: torch.Tensor, row: Row, work: Path) -> None:
    if row["seed"] == 0:
        name = f"{row['method']}-{row['shots']}".replace("/", "-")
        np.save(work / f"{name}.npy", images[:50, 0].numpy())


def matched(tuned: Row, adapted: Row) -> tuple[float, bool]:
    """Seconds until fine-tuning is as good as the adapter; False: it never was, and that is all."""
    good = [seconds for _, seconds, kernel in tuned["curve"] if kernel <= adapted["kernel"]]
    return (good[0], True) if good else (tuned["curve"][-1][1], False)


def best_rate(of: dict[str, list[Row]]) -> str:
    """The learning rates with the least median kernel distance."""
    medians = {m: float(np.median([row["kernel"] for row in of[m]])) for m in RATES if m in of}
    return min(medians, key=lambda m: medians[m])


def show(rows: list[Row]) -> None:
    table = Table(title="0-7 to 8-9: medians of the seeds (worst); ratios fine-tuned / AD-GAN")
    columns = ("shots", "seeds", "", "kernel", "seconds", "match", "step, ms", "trained")
    for column in columns:
        table.add_column(column, justify="left" if not column else "right")
    found = {(row["method"], row["shots"], row["seed"]): row for row in rows}
    for shots in SHOTS:
        always = ("base", "adapted", "real", next(iter(RATES)))
        seeds = sorted({s for _, n, s in found if n == shots})
        seeds = [s for s in seeds if all((m, shots, s) in found for m in always)]
        methods = [m for m in METHODS if all((m, shots, s) in found for s in seeds)]
        if not seeds:
            continue
        of = {m: [found[m, shots, s] for s in seeds] for m in methods}
        best = best_rate(of)
        matches = [matched(t, a) for t, a in zip(of[best], of["adapted"], strict=True)]
        for method in ("base", "adapted", best, "real"):
            tuned = method == best
            cells = [_cell([row["kernel"] for row in of[method]])]
            if tuned or method == "adapted":
                late = any(not done for _, done in matches)
                match = (">" if late else "") + _cell([s for s, _ in matches])
                cells += [
                    _cell([row["seconds"] for row in of[method]]),
                    match if tuned else "",
                    _cell([1_000 * row["step_seconds"] for row in of[method]]),
                    f"{of[method][0]['trained']:,}",
                ]
            name = f"fine-tuned at {method}" if tuned else method
            table.add_row(f"{shots:,}", str(len(seeds)), name, *cells)
        pairs = list(zip(of[best], of["adapted"], strict=True))
        ratios = [[t[key] / a[key] for t, a in pairs] for key in ("kernel", "seconds")]
        ratios.append([m / a["seconds"] for (m, _), (_, a) in zip(matches, pairs, strict=True)])
        ratios.append([t["step_seconds"] / a["step_seconds"] for t, a in pairs])
        table.add_row("", "", "ratio", *(_cell(r, worst=min) for r in ratios), end_section=True)
    Console(width=110).print(table)


def _cell(values: list[float], worst: Any = max) -> str:
    return f"{np.median(values):.3g} ({worst(values):.3g})"


def plot(rows: list[Row], work: Path, place: Path) -> None:
    """Samples of seed 0: the base, and both methods' at each number of shots."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [("the base", f"base-{SHOTS[0]}")]
    for shots in SHOTS:
        of = {m: [r for r in rows if (r["method"], r["shots"]) == (m, shots)] for m in RATES}
        best = best_rate({m: found for m, found in of.items() if found}).replace("/", "-")
        panels.append((f"adapted, {shots:,} shots", f"adapted-{shots}"))
        panels.append((f"fine-tuned, {shots:,} shots", f"{best}-{shots}"))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(2 * len(panels), 4.2))
    for axis, (title, name) in zip(axes, panels, strict=True):
        made = np.load(work / f"{name}.npy").reshape(10, 5, 28, 28)
        axis.imshow(made.transpose(0, 2, 1, 3).reshape(280, 140), cmap="gray", vmin=0, vmax=255)
        axis.set_axis_off()
        axis.set_title(title, fontsize=10)
    figure.tight_layout()
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("digits", type=Path, help="the folder that examples/datasets.py wrote")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("out/stability"))
    default = Path("benchmarks/stability/results/adapting.jsonl")
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--only", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits, work = load(options.digits, options.work), options.work / "adapting"
    judge = NewDigits(digits, Judge(digits, options.work))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    rows = [
        row
        for row in map(json.loads, lines)
        if row["settings"] == settings(row["method"], row["shots"])
    ]
    done = {(row["method"], row["shots"], row["seed"]) for row in rows}
    second = list(RATES)[1:]
    tasks = [(m, n, s) for s in range(options.seeds) for n in SHOTS for m in options.only]
    tasks.sort(key=lambda task: task[0] in second)
    for method, shots, seed in track([t for t in tasks if t not in done], "trainings"):
        row = measure(digits, judge, method, shots, seed, work)
        rows.append(row)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    show(rows)
    if options.plot:
        plot(rows, work, options.plot)


if __name__ == "__main__":
    main()
