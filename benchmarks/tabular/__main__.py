"""SynthRay beside CTGAN, TVAE, SDV and MOSTLY AI on Adult, in one table.

    python -m benchmarks.tabular --seeds 3 --threads 1
    python -m benchmarks.tabular --systems ctgan,synthray --config my.yaml --seconds 300

Each system runs in a process and an environment of its own (environments.py makes them), with the
same number of threads and at most --seconds of training: processor seconds a thread, so that a busy
machine takes nothing from anybody. CTGAN and TVAE end sooner after their 300 epochs, MOSTLY AI when
it no longer improves; their other settings are their own defaults. SynthRay's come from --config,
its sections data, model and train: its steps must fit the time.

Rows are appended to benchmarks/tabular/results, one a system and seed, under the digest of all that
they depend on but the seed and the machine's load: compare speeds only of rows measured on one
machine. A second run does what is missing, and --seeds 0 prints what is there. Sampled tables stay
in out/rivals/runs and are scored again, without training, when a score changes its meaning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.stability.results import Results, digest
from benchmarks.tabular.adult import TARGET, adult
from benchmarks.tabular.environments import CACHE, REQUIREMENTS
from benchmarks.tabular.runners.measuring import Request
from benchmarks.tabular.score import score
from benchmarks.tabular.systems import System, systems
from benchmarks.tabular.table import show

FOLDER = Path(__file__).parent / "results"
CONFIG = Path(__file__).parent / "synthray.yaml"
RUNNING, SCORING = 2, 1  # raised when a runner, or a score, changes its meaning
ROWS = 32_561  # scored: as many as were learned from
SIZES, REPEATS = (1_000, 10_000, 100_000), 3  # of timed samplings
SECTIONS = ("data", "model", "train")


def digest_of(system: System, threads: int, seconds: float) -> str:
    """Of all that a sampled table depends on, but for its seed."""
    sampled = [ROWS, *SIZES, REPEATS]
    return digest([RUNNING, system.settings(), threads, seconds, sampled])


def scoring() -> str:
    """The digest of how scores are made."""
    return digest([SCORING, (REQUIREMENTS / "scoring.txt").read_text()])


def measure(name: str, system: System, seed: int, threads: int, seconds: float) -> dict[str, Any]:
    """Run one seed, unless an earlier run left its table, and score it."""
    train, test = adult()
    ran = digest_of(system, threads, seconds)
    out = CACHE / "runs" / f"{name}-{ran}-{seed}"
    if (out / "outcome.json").exists():
        told = json.loads((out / "outcome.json").read_text())
    else:
        told = system.run(
            Request(
                train=str(train),
                out=str(out),
                seed=seed,
                threads=threads,
                seconds=seconds,
                rows=ROWS,
                sizes=SIZES,
                repeats=REPEATS,
                params=system.params,
            )
        )
    scores = score(train, out / "synthetic.parquet", test, target=TARGET, threads=threads)
    about = {"system": name, "seed": seed, "config": digest([ran, scoring()]), "threads": threads}
    return about | told | {"scores": scores}


def real_scores(results: Results) -> dict[str, float]:
    """The holdout in the place of synthetic rows: what nobody can beat."""
    config = scoring()
    if not results.of(config):
        train, test = adult()
        scores = score(train, test, test, target=TARGET)
        results.add({"system": "real", "config": config, "scores": scores})
    found: dict[str, float] = results.of(config)[0]["scores"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="of each system (default: 1)")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="of training, a thread (default: 300)"
    )
    parser.add_argument("--systems", help=f"default: {','.join(systems({}))}")
    parser.add_argument("--config", type=Path, default=CONFIG, help="of SynthRay")
    given = parser.parse_args()
    tree = yaml.safe_load(given.config.read_text())
    known = systems({name: tree[name] for name in SECTIONS if name in tree})
    chosen = given.systems.split(",") if given.systems else list(known)
    if strange := [name for name in chosen if name not in known]:
        parser.error(f"--systems: {strange[0]!r} is unknown; there are {', '.join(known)}")
    measured = []
    for name in chosen:
        results = Results(FOLDER / f"{name}.jsonl")
        config = digest([digest_of(known[name], given.threads, given.seconds), scoring()])
        done = {row["seed"] for row in results.of(config)}
        for seed in range(given.seeds):
            if seed not in done:
                print(f"{name}, seed {seed} …", flush=True)
                system = known[name]
                results.add(measure(name, system, seed, given.threads, given.seconds))
        measured.append((known[name], results.of(config)))
    show(measured, real_scores(Results(FOLDER / "real.jsonl")))


if __name__ == "__main__":
    main()
