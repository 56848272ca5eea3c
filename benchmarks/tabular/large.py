"""A table of ten million rows: fitted, trained for one epoch, and ten million rows made from it.

    python -m benchmarks.tabular.large make out/rivals/large --rows 10000000
    python -m benchmarks.tabular.large run out/rivals/large out/large --config my.yaml
    python -m benchmarks.tabular.large measure -- any command

make     writes Parquet files of rows drawn from Adult and perturbed; row group by row group, so its
         own memory does not grow with the rows. A file depends on the seed and its index alone
run      `synthray train` for one epoch and `synthray generate`, each measured; the config gives the
         model, the cluster and the batch size
measure  the seconds of a command, and the peak of memory of every process that it started

Each process may have 4 GiB: more of any ends with exit code 3. Peaks are the kernel's own
high-water marks of resident memory, shared pages included, read five times a second: what a process
took in its last fifth of a second may be missed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks.tabular.adult import NUMBERS, TARGET, adult
from benchmarks.tabular.runners.measuring import peak_bytes
from synthray import rng

LIMIT = 4 * 2**30  # bytes of memory of a process
EVERY = 0.2  # seconds between two looks
FILE_ROWS, GROUP_ROWS = 500_000, 50_000
OTHER = 0.02  # probability that a category is another row's
SET_CHILD_SUBREAPER = 36  # of prctl(2): orphans of our children become our children
# Education goes with its number, so that the pair stays whole.
KEPT = ("education", "education-num", TARGET)
# Standard deviation and range of what is added to a number, or deviation of its logarithm.
MOVED = {"age": (2.0, 17, 90), "hours-per-week": (2.0, 1, 99)}
MULTIPLIED = {"fnlwgt": 0.1, "capital-gain": 0.05, "capital-loss": 0.05}


def perturbed(real: pa.Table, rows: int, random: np.random.Generator) -> pa.Table:
    """Rows drawn from ``real`` with replacement, numbers moved, categories swapped."""
    made = real.take(pa.array(random.integers(len(real), size=rows)))
    for index, name in enumerate(real.column_names):
        if name in KEPT:
            continue
        if name in NUMBERS:
            values = made[name].to_numpy().astype(np.float64)
            if name in MOVED:
                spread, low, high = MOVED[name]
                values = np.clip(values + random.normal(0, spread, rows), low, high)
            else:
                values *= np.exp(random.normal(0, MULTIPLIED[name], rows))
            column = pa.chunked_array([np.rint(values).astype(np.int64)])
        else:
            swapped = random.random(rows) < OTHER
            other = random.integers(len(real), size=rows)
            column = pc.if_else(swapped, real[name].take(pa.array(other)), made[name])
        made = made.set_column(index, name, column)
    return made


def make(out: Path, rows: int, seed: int) -> None:
    """Write ``rows`` rows to part-*.parquet in ``out``."""
    real = pq.read_table(adult()[0]).combine_chunks()
    out.mkdir(parents=True, exist_ok=True)
    for index, start in enumerate(range(0, rows, FILE_ROWS)):
        random = rng.stream(seed, "large", index)
        count = min(FILE_ROWS, rows - start)
        with pq.ParquetWriter(out / f"part-{index:04d}.parquet", real.schema) as writer:
            for group in range(0, count, GROUP_ROWS):
                writer.write_table(perturbed(real, min(GROUP_ROWS, count - group), random))


def measure(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; its exit code, its seconds, and the peak of every process, largest first."""
    if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: orphaned processes could not be followed")
    begin, found = time.perf_counter(), dict[str, tuple[int, str]]()
    process = subprocess.Popen(list(command), stdout=sys.stderr)
    while process.poll() is None:
        for pid in descendants(os.getpid()):
            try:
                peak, title = peak_bytes(pid), title_of(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            # A process may turn into another program, which starts its mark anew.
            found[str(pid)] = max(found.get(str(pid), (0, "")), (peak, title))
        time.sleep(EVERY)
    peaks = sorted(found.values(), reverse=True)
    return {
        "seconds": round(time.perf_counter() - begin, 1),
        "exit": process.returncode,
        "processes": [{"peak_bytes": peak, "title": title} for peak, title in peaks],
    }


def descendants(root: int) -> Iterator[int]:
    """Every process below ``root``."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                text = (place / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent = int(text.rpartition(")")[2].split()[1])  # the name before may hold anything
            children.setdefault(parent, []).append(int(place.name))
    waiting = list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def title_of(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return words.strip()[:80]


def told(what: str, measured: dict[str, Any]) -> bool:
    """Print one measurement as JSON; whether it ended well and stayed within the limit."""
    peak = max((each["peak_bytes"] for each in measured["processes"]), default=0)
    shown = {**measured, "processes": measured["processes"][:8]}
    print(json.dumps({"what": what, "peak_gib": round(peak / 2**30, 2), **shown}), flush=True)
    return measured["exit"] == 0 and peak <= LIMIT


def run(table: Path, out: Path, config: Path) -> bool:
    """Train one epoch on ``table``, and make as many rows as it has."""
    rows = sum(pq.read_metadata(place).num_rows for place in sorted(table.glob("*.parquet")))
    tree = yaml.safe_load(config.read_text())
    train = tree.setdefault("train", {})
    train["steps"] = math.ceil(rows / train.get("batch_size", 256))
    tree.setdefault("data", {})["source"] = str(table.resolve())
    tree.setdefault("generate", {})["rows"] = rows
    tree["output"] = str(out.resolve())
    out.mkdir(parents=True, exist_ok=True)
    place = out / "config.yaml"
    place.write_text(yaml.safe_dump(tree))
    stages = ("train", "generate")
    return all(
        told(stage, measure([sys.executable, "-m", "synthray", stage, str(place)]))
        for stage in stages
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="write the table")
    making.add_argument("out", type=Path)
    making.add_argument("--rows", type=int, default=10_000_000)
    making.add_argument("--seed", type=int, default=0)
    running = commands.add_parser("run", help="train one epoch and generate, measured")
    running.add_argument("table", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--config", type=Path, default=Path(__file__).parent / "synthray.yaml")
    measuring = commands.add_parser("measure", help="run a command, measured")
    measuring.add_argument("words", nargs="+")
    given = parser.parse_args()
    if given.command == "make":
        make(given.out, given.rows, given.seed)
    elif given.command == "run":
        sys.exit(0 if run(given.table, given.out, given.config) else 3)
    else:
        sys.exit(0 if told("measure", measure(given.words)) else 3)


if __name__ == "__main__":
    main()
