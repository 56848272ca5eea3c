"""Generation on clusters that grow, shrink and break: every run on real raylets, byte by byte.

    python -m benchmarks.cluster calm          from no worker, by Ray's autoscaler, as a Ray job
    python -m benchmarks.cluster killed        the same, and half of the nodes killed, twice
    python -m benchmarks.cluster kuberay       the same as calm, by `ray kuberay-autoscaler`
    python -m benchmarks.cluster partition     hosts in network namespaces, one cut off for a while
    python -m benchmarks.cluster table         what was measured so far

Several may be named; the plain run that they are compared with, a loop without Ray, is done once.
Every file is compared, and each run appends one line to results/runs.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cluster.kuberay import KubeRayCluster
from benchmarks.cluster.measuring import Watch
from benchmarks.cluster.partition import Hosts, missing
from benchmarks.generate import make_artifact
from benchmarks.stability.results import Results
from cluster.local.nodes import NodeType
from cluster.local.ray_cluster import LocalCluster

RESULTS = Path(__file__).parent / "results" / "runs.jsonl"
SHARD_ROWS = 8192  # about 3 processor seconds of a width-16 DCGAN of 28 x 28 pixels
KIND = NodeType("cpu", 1)
CORES = len(os.sched_getaffinity(0))
SHOWN = (
    *("nodes", "shards", "same_bytes", "busy", "load"),
    *("plain_cpu_s", "replicas_cpu_s", "cpu_s", "start_up_cpu_s", "lost_cpu_s"),
    *("nodes_up_at", "computing_at", "ended_at", "given_back_after"),
)
"""Of a run's line, in the table."""


def digest(out: Path) -> str:
    """One SHA-256 over the names and bytes of all shards."""
    shards = sorted((out / "data").glob("*.parquet"))
    lines = [f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in shards]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


PLAIN = """
import sys, time, torch
from synthray.artifact import Artifact
from synthray.config import GenerateConfig
from synthray.sampling import dataset
from synthray.sampling.virtual import VirtualDataset

torch.set_num_threads(1)
uri, out = sys.argv[1:3]
rows, shard_rows, first, step = map(int, sys.argv[3:])
settings = GenerateConfig(rows=rows, shard_rows=shard_rows)
artifact = Artifact.load(uri)
virtual = VirtualDataset(artifact, settings.seed)
plan = dataset.Plan.of(artifact.digest, settings)
begin = time.process_time()
for shard in range(first, plan.shards, step):
    dataset.write_shard(virtual, plan, out, shard)
print(time.process_time() - begin)
"""


def plain(artifact: Path, shards: int, out: Path) -> tuple[str, float]:
    """The digest of the dataset by loops without Ray, and their processor seconds in all."""
    settings = [str(artifact), str(out), str(shards * SHARD_ROWS), str(SHARD_ROWS)]
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", PLAIN, *settings, str(first), str(CORES)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in range(CORES)
    ]
    needed = [float(loop.communicate()[0]) for loop in loops]
    return digest(out), sum(needed)


def known(artifact: Path, shards: int, file: Path | None) -> tuple[str, float]:
    """The plain run's digest and processor seconds, from ``file`` or to it."""
    if file and file.exists():
        kept = json.loads(file.read_text())
        if kept["shards"] == shards:
            return kept["digest"], kept["cpu_s"]
    with tempfile.TemporaryDirectory(prefix="srb-") as folder:
        expected, needed = plain(artifact, shards, Path(folder))
    if file:
        kept = {"shards": shards, "digest": expected, "cpu_s": needed}
        file.write_text(json.dumps(kept))
    return expected, needed


def config(place: Path, artifact: Path, given: argparse.Namespace) -> Path:
    """For a job: the artifact where the stage looks for it, below the output."""
    shutil.copytree(artifact, place / "out" / "artifact")
    tree = {
        "data": {"source": str(place)},
        "cluster": {"workers": given.nodes},
        "generate": {"rows": given.shards * SHARD_ROWS, "shard_rows": SHARD_ROWS},
        "output": str(place / "out"),
    }
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def receipts(out: Path) -> int:
    return len(list((out / "synthetic" / "_synthray" / "receipts").glob("0*.json")))


def job_command(cluster: LocalCluster, file: Path) -> list[str]:
    """As a Ray job where there is a dashboard; else a driver that joins."""
    synthray = [*cluster.inside, sys.executable, "-m", "synthray"]
    if cluster.url:
        return [*synthray, "submit", "generate", str(file), "--address", cluster.url]
    return [*synthray, "generate", str(file), "--address", cluster.address]


def measured(
    cluster: LocalCluster, file: Path, given: argparse.Namespace, disturb: Callable[..., Any]
) -> dict[str, Any]:
    """Run the job on the cluster; what it took, and how the cluster changed."""
    out = file.parent / "out"
    watch = Watch(cluster)
    with (file.parent / "job.log").open("wb") as log:
        watch.start()
        job = subprocess.Popen(
            job_command(cluster, file),
            env={**os.environ, **cluster.access, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        watch.job = job.pid
        harm = disturb(cluster, watch, job, lambda: receipts(out) / given.shards) or {}
        code = job.wait()
    ended = watch.now()
    if code:
        sys.exit((file.parent / "job.log").read_text())
    back = None
    if cluster.idle_seconds is not None:
        while cluster.workers():
            time.sleep(0.5)
        back = round(watch.now() - ended, 1)
    watch.stop()
    found = {"ended_at": round(ended, 1), "given_back_after": back, "nodes_at": watch.nodes}
    return {**found, **watch.report(), **harm}


def undisturbed(*_: Any) -> None:
    pass


def twice_half(
    cluster: LocalCluster, watch: Watch, job: subprocess.Popen[bytes], share: Callable[[], float]
) -> dict[str, Any]:
    """Kill half of the nodes when a third and when two thirds of the shards are written."""
    names: list[str] = []
    lost: list[float] = []
    for part in (1 / 3, 2 / 3):
        while job.poll() is None and share() < part:
            time.sleep(0.1)
        now = cluster.workers()
        before = watch.alive()
        for name in now[: max(len(now) // 2, 1)]:
            cluster.kill(name)
            names.append(name)
        time.sleep(2)  # workers go with their raylet
        gone = before.keys() - watch.alive().keys()
        lost += [round(before[pid], 2) for pid in gone]
    return {"nodes_killed": len(names), "killed_cpu_s": lost}


def run(
    what: str, given: argparse.Namespace, artifact: Path, expected: str, needed: float
) -> dict[str, Any]:
    """One kind of run; ``expected`` and ``needed`` are the plain one's."""
    groups = {KIND: given.nodes}
    clusters: dict[str, Callable[[], LocalCluster]] = {
        "calm": lambda: LocalCluster(groups, given.idle, dashboard_port=0),
        "killed": lambda: LocalCluster(groups, given.idle, dashboard_port=0),
        "kuberay": lambda: KubeRayCluster(groups, given.idle),
        "partition": lambda: Hosts(groups),
    }
    disturbances = {"killed": twice_half, "partition": Hosts.cut_one_off}
    with tempfile.TemporaryDirectory(prefix="srb-") as folder:
        file = config(Path(folder), artifact, given)
        with clusters[what]() as cluster:
            found = measured(cluster, file, given, disturbances.get(what, undisturbed))
        same = digest(Path(folder) / "out" / "synthetic") == expected
    # At most one shard was under way on each: what remains of whole ones.
    lost = [seconds % (needed / given.shards) for seconds in found.get("killed_cpu_s", [])]
    found["lost_cpu_s"] = round(sum(lost), 1)
    setting = {"run": what, "nodes": given.nodes, "shards": given.shards, "idle": given.idle}
    load = round(os.getloadavg()[1], 1)
    return {**setting, "same_bytes": same, "plain_cpu_s": round(needed, 1), "load": load, **found}


def table() -> None:
    """The last run of each kind."""
    last = {row["run"]: row for row in Results(RESULTS).rows}
    print("| | " + " | ".join(last) + " |\n|---" + "|---" * len(last) + "|")
    for name in SHOWN:
        print(f"| {name} | " + " | ".join(str(row.get(name, "")) for row in last.values()) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = ("calm", "killed", "kuberay", "partition", "table")
    parser.add_argument("what", nargs="+", choices=kinds)
    parser.add_argument("--nodes", type=int, default=4, help="at most; one CPU each (4)")
    parser.add_argument(
        "--shards", type=int, default=160, help="of about 3 processor seconds (160)"
    )
    parser.add_argument("--idle", type=float, default=10, help="seconds until a node goes (10)")
    parser.add_argument("--plain", type=Path, metavar="FILE", help="keeps the plain run's digest")
    given = parser.parse_args()
    if given.what == ["table"]:
        table()
        return
    if "partition" in given.what and (reason := missing()):
        sys.exit(f"skipped: {reason}")
    with tempfile.TemporaryDirectory(prefix="srb-") as folder:
        artifact = Path(folder) / "artifact"
        make_artifact(str(artifact), "dcgan", 16, 28)
        expected, needed = known(artifact, given.shards, given.plain)
        for what in given.what:
            row = run(what, given, artifact, expected, needed)
            Results(RESULTS).add(row)
            print(json.dumps(row), flush=True)
            if not row["same_bytes"]:
                sys.exit("the bytes differ from those of the plain run")


if __name__ == "__main__":
    main()
