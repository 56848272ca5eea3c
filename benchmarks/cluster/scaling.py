"""Weak scaling of training: from one node of one processor to two, at the same rows a worker.

A step of two workers sees twice the rows. Were nothing lost, it would take as long as one worker's.
Measured are the seconds of a step by the clock, and those of a worker's processor: on a machine
that does other work too, only the second tells what training costs. Runs of one and of two take
turns, and the least of each counts.

    RAY_AUTH_MODE=disabled python -m benchmarks.cluster.scaling --steps 200 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cluster.elastic import settings
from benchmarks.cluster.nodes import several_nodes
from benchmarks.cluster.timed import FOLDER
from benchmarks.stability.results import Results
from synthray.config import Config, changed
from synthray.distributed.cluster import connect
from synthray.distributed.train import train

RESULTS = Path(__file__).parent / "results" / "scaling.jsonl"


def config_of(folder: Path, steps: int, rows: int, workers: int, width: int) -> Config:
    params = {"width": width, "critic_width": width}
    model = {"name": "benchmarks.cluster.timed:Timed", "params": params}
    plain = settings(folder, steps, rows * workers, workers, None)
    output = str(folder / f"run-{len(list(folder.iterdir()))}")
    return changed(plain, {"model": model, "output": output})


def run(folder: Path, config: Config, address: str) -> dict[str, float]:
    """Milliseconds a step by the clock and of the processor, in all and in parts; the mean over the
    workers.
    """
    times = Path(os.environ[FOLDER])
    for old in times.iterdir():
        old.unlink()
    with connect(config.cluster.model_copy(update={"address": address})):
        train(config, say=lambda _: None)
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
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=64, help="a worker's")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    best: dict[int, dict[str, float]] = {}
    loads = []
    with tempfile.TemporaryDirectory(prefix="scaling-") as place:
        times = Path(place) / "times"
        times.mkdir()
        os.environ[FOLDER] = str(times)
        with several_nodes(2) as nodes:
            for _ in range(given.repeats):
                for workers in (1, 2):
                    config = config_of(Path(place), given.steps, given.rows, workers, given.width)
                    loads.append(os.getloadavg()[0])
                    found = run(Path(place), config, nodes.address)
                    before = best.get(workers, found)
                    best[workers] = {k: min(v, before.get(k, v)) for k, v in found.items()}
    row = {
        "rows_a_worker": given.rows,
        "width": given.width,
        "steps": given.steps,
        "repeats": given.repeats,
        "efficiency": {
            kind: round(best[1][kind] / best[2][kind], 3) for kind in ("wall", "processor")
        },
        "milliseconds_a_step": {
            workers: {name: round(value, 2) for name, value in found.items()}
            for workers, found in best.items()
        },
        "load": [round(min(loads), 1), round(max(loads), 1)],
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(row, indent=2))
    Results(RESULTS).add(row)


if __name__ == "__main__":
    main()
