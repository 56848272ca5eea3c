"""The one command that brings up a cluster: Ray's own autoscaler, real raylets, a real job.

From no worker, through a lost node, back to none, and nothing left.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
import yaml
from processes import until
from written import files, write_dataset

from cluster.local.nodes import node_mark
from cluster.local.processes import end, environment_of, found, title
from synthray.artifact import Artifact
from synthray.config import GenerateConfig

ROOT = Path(__file__).parents[2]
SETTINGS = GenerateConfig(rows=40 * 1024, shard_rows=1024, seed=5)
OPTIONS = ("--cpu", "2", "--autoscale", "--idle", "2", "--port", "0")


@contextmanager
def local_cluster(log: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """`python -m cluster.local` until Ctrl-C; its folder, and the environment that it tells."""
    command = [sys.executable, "-m", "cluster.local", *OPTIONS]
    with log.open("wb") as out:
        started = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        until(lambda: "Ctrl-C" in log.read_text() or started.poll() is not None, 240)
        assert started.poll() is None, log.read_text()
        file = Path(log.read_text().partition("\n    . ")[2].splitlines()[0])
        words = shlex.split(file.read_text().replace("export ", ""))
        yield file.parent, dict(word.split("=", 1) for word in words)
        assert started.poll() is None, log.read_text()
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(60)
    assert started.returncode == 0, log.read_text()


def worker_nodes(place: Path) -> list[str]:
    """The names of the nodes whose raylets run, the head's left out."""
    raylets = [pid for pid in found({str(place)}) if "raylet/raylet " in title(pid)]
    names = [environment_of(pid).get("RAY_CLOUD_INSTANCE_ID", "") for pid in raylets]
    return sorted(name for name in names if not name.endswith("f00000"))


@pytest.mark.timeout(900)
def test_a_cluster_grows_for_a_job_mends_itself_and_gives_all_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiny.save_artifact(str(out / "artifact"), tiny.codec(side=16))
    write_dataset(Artifact.load(str(out / "artifact")), str(tmp_path / "reference"), SETTINGS)
    tree = {
        "data": {"source": str(tmp_path)},
        "cluster": {"workers": 2},
        "generate": {n: getattr(SETTINGS, n) for n in ("rows", "shard_rows", "seed")},
        "output": str(out),
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tree))
    with local_cluster(tmp_path / "cluster.log") as (place, access):
        assert worker_nodes(place) == []
        command = [sys.executable, "-m", "synthray", "submit", "generate", str(config)]
        command += ["--address", access["RAY_API_SERVER_ADDRESS"]]
        with subprocess.Popen(command, env=os.environ | access) as job:
            # Both at once: the demand of the whole pool is seen from the beginning.
            until(lambda: len(worker_nodes(place)) == 2 or job.poll() is not None, 240)
            receipts = out / "synthetic" / "_synthray" / "receipts"
            until(lambda: len(list(receipts.glob("0*"))) >= 4 or job.poll() is not None, 240)
            assert job.poll() is None
            lost = worker_nodes(place)[0]
            end({str(place), node_mark(lost)})
            assert job.wait(240) == 0
        assert lost not in worker_nodes(place)
        until(lambda: not worker_nodes(place), 120)
    assert files(str(out / "synthetic")) == files(str(tmp_path / "reference"))
    assert found({str(place)}) == [] and not place.exists()
