"""Weak scaling of training: from one node of one processor to two, at the same rows a worker.

A step of two workers sees twice the rows. Were nothing lost, it would take as long as one worker's.
What the machine itself loses is told by two trainings of one worker each, apart, at the same time:
they share its memory and what runs beside them, and wait for nobody. Measured are the seconds of a
step by the clock, and those of a worker's processor: on a machine that does other work too, only
the second tells what training costs. The runs take turns, and the least of each counts.

    RAY_AUTH_MODE=disabled python -m benchmarks.cluster.scaling --family rpgan --steps 200
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.cluster.elastic import settings
from benchmarks.cluster.nodes import several_nodes
from benchmarks.cluster.timed import FAMILIES, FOLDER
from benchmarks.stability.results import Results
from synthray.config import Config, changed
from synthray.distributed.cluster import connect
from synthray.distributed.train import train

RESULTS = Path(__file__).parent / "results" / "scaling.jsonl"
RUNS = {"one": (1, 1), "apart": (1, 2), "two": (2, 1)}
"""Workers of a training, and trainings at the same time."""


def config_of(folder: Path, family: str, steps: int, rows: int, workers: int, width: int) -> Config:
    params = {"width": width, "critic_width": width}
    model = {"name": f"benchmarks.cluster.timed:{FAMILIES[family]}", "params": params}
    plain = settings(folder, steps, rows * workers, workers, None)
    output = str(folder / f"run-{len(list(folder.iterdir()))}")
    return changed(plain, {"model": model, "output": output})


def trained(config: Config, address: str) -> None:
    with connect(config.cluster.model_copy(update={"address": address})):
        train(config, say=lambda _: None)


def run(config: Config, address: str, trainings: int) -> dict[str, float]:
    """Milliseconds a step by the clock and of the processor, in all and in parts; the mean over the
    workers.
    """
    times = Path(os.environ[FOLDER])
    for old in times.iterdir():
        old.unlink()
    # Each in a process of its own: a process has one driver.
    with ProcessPoolExecutor(trainings, multiprocessing.get_context("spawn")) as drivers:
        configs = [
            changed(config, {"output": f"{config.output}-{index}"}) for index in range(trainings)
        ]
        for done in [drivers.submit(trained, one, address) for one in configs]:
            done.result()
    last = [json.loads(path.read_text().splitlines()[-1]) for path in times.iterdir()]
    names = sorted({name for row in last for name in row["parts"]})
    spent: dict[str, Any] = {
        "wall": sum(row["wall"] / row["steps"] for row in last),
        "processor": sum(row["processor"] / row["steps"] for row in last),
    }
    for name in names:
        for index, kind in enumerate(("wall", "processor")):
            parts = (row["parts"].get(name, [0, 0])[index] / row["steps"] for row in last)
            spent[f"{name}, {kind}"] = sum(parts)
    return {name: 1000 * seconds / len(last) for name, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--family", choices=sorted(FAMILIES), default="rpgan")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=64, help="a worker's")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    best: dict[str, dict[str, float]] = {}
    loads = []
    with tempfile.TemporaryDirectory(prefix="scaling-") as place:
        times = Path(place) / "times"
        times.mkdir()
        os.environ[FOLDER] = str(times)
        with several_nodes(2) as nodes:
            for _ in range(given.repeats):
                for name, (workers, trainings) in RUNS.items():
                    shape = (given.steps, given.rows, workers, given.width)
                    config = config_of(Path(place), given.family, *shape)
                    loads.append(os.getloadavg()[0])
                    found = run(config, nodes.address, trainings)
                    before = best.get(name, found)
                    best[name] = {k: min(v, before.get(k, v)) for k, v in found.items()}
    row = {
        "family": given.family,
        "rows_a_worker": given.rows,
        "width": given.width,
        "steps": given.steps,
        "repeats": given.repeats,
        "efficiency": {
            f"{kind}, of {base}": round(best[base][kind] / best["two"][kind], 3)
            for base in ("one", "apart")
            for kind in ("wall", "processor")
        },
        "milliseconds_a_step": {
            name: {part: round(value, 2) for part, value in found.items()}
            for name, found in best.items()
        },
        "load": [round(min(loads), 1), round(max(loads), 1)],
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(row, indent=2))
    Results(RESULTS).add(row)


if __name__ == "__main__":
    main()
