"""What every runner does alike: read the request, time the phases, sample, write the outcome.

A runner is executed inside its system's environment, which need not have anything of ours:

    python -m benchmarks.tabular.runners.NAME REQUEST.json

It writes `synthetic.parquet` and `outcome.json` into the request's folder. Wall seconds are told
beside processor seconds, of all threads and of finished child processes: on a busy machine the
latter say more. Imports are not timed. Peak memory is the process's own high-water mark from
/proc: getrusage's also counts what the parent had before the process was executed.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Draw = Callable[[int], Any]  # rows -> a pandas data frame, or the path of a Parquet file


@dataclass(frozen=True)
class Request:
    """What to do: every path is absolute."""

    train: str  # Parquet
    out: str  # a folder
    seed: int
    threads: int
    seconds: float  # of training, see Budget
    rows: int  # to sample for the scores
    sizes: tuple[int, ...]  # rows of a timed sampling
    repeats: int
    params: dict[str, Any]  # the system's own settings


class Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self.laps: dict[str, dict[str, float]] = {}
        self.restart()

    def restart(self) -> None:
        self._wall, self._cpu = time.perf_counter(), processor_seconds()

    def read(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, processor_seconds() - self._cpu
        return {"wall": round(wall, 4), "cpu": round(cpu, 4)}

    def lap(self, name: str) -> None:
        """Put the time since the last lap under a name, with the peak of memory until now."""
        self.laps[name] = {**self.read(), "peak_bytes": peak_bytes()}
        self.restart()


class Budget:
    """Time to train: processor seconds a thread, which are wall seconds where nobody disturbs."""

    def __init__(self, request: Request) -> None:
        self._seconds, self._threads = request.seconds, request.threads
        self._began = processor_seconds()

    @property
    def spent(self) -> float:
        """The share that is spent; more than 1 is too much."""
        return (processor_seconds() - self._began) / self._threads / self._seconds


def processor_seconds() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def peak_bytes(process: int | str = "self") -> int:
    """The most memory that a process had resident at once."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # a kernel thread or a zombie has none


def median_sampling(draw: Draw, size: int, repeats: int) -> dict[str, float]:
    """Rows per second of the median run, by the wall and by the processor."""
    clock, runs = Clock(), []
    for _ in range(repeats):
        clock.restart()
        draw(size)
        runs.append(clock.read())
    walls, cpus = ([run[name] for run in runs] for name in ("wall", "cpu"))
    return {
        "rows_per_second": round(size / statistics.median(walls), 1),
        "rows_per_cpu_second": round(size / max(statistics.median(cpus), 1e-9), 1),
    }


def main(learn: Callable[[Request, Clock], tuple[Draw, dict[str, Any]]]) -> None:
    """Run a system.

    Args:
        learn: trains, laps "preparation" and "training"; returns how to sample, and what to tell:
            `epochs` and `row_epochs` (rows learned from, counted every time) at least.
    """
    request = Request(**json.loads(Path(sys.argv[1]).read_text()))
    out, load = Path(request.out), os.getloadavg()[0]
    clock = Clock()
    draw, told = learn(request, clock)
    made = draw(request.rows)
    clock.lap("first sampling")
    kept = out / "synthetic.parquet"
    if isinstance(made, Path):
        made.replace(kept)
    else:
        made.to_parquet(kept, index=False)
    sampling = {size: median_sampling(draw, size, request.repeats) for size in request.sizes}
    outcome = {"load": load, "peak_bytes": peak_bytes(), "laps": clock.laps, "sampling": sampling}
    (out / "outcome.json").write_text(json.dumps(told | outcome))
