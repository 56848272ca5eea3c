"""Ray's own autoscaler, real raylets: from nothing, through a lost node, back to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from processes import until
from written import files, write_dataset

from cluster.local.nodes import NodeType
from cluster.local.ray_cluster import LocalCluster
from synthray.artifact import Artifact
from synthray.config import GenerateConfig

SETTINGS = GenerateConfig(rows=40 * 1024, shard_rows=1024, seed=5)
IDLE_SECONDS = 2.0


@pytest.mark.timeout(600)
def test_a_cluster_grows_for_a_job_mends_itself_and_gives_all_back(tmp_path: Path) -> None:
    artifact, out = str(tmp_path / "artifact"), str(tmp_path / "out")
    tiny.save_artifact(artifact, tiny.codec(side=16))
    write_dataset(Artifact.load(artifact), str(tmp_path / "reference"), SETTINGS)
    with LocalCluster({NodeType("cpu", 1): 2}, IDLE_SECONDS) as cluster:
        assert cluster.workers() == []
        command = [sys.executable, "-m", "synthray", "generate", "--artifact", artifact]
        command += ["--rows", str(SETTINGS.rows), "--seed", str(SETTINGS.seed), "--out", out]
        command += ["--workers", "2", "--address", cluster.address]
        command += [f"generate.shard_rows={SETTINGS.shard_rows}"]
        with subprocess.Popen(command, env=os.environ | cluster.access) as job:
            # Both at once: the demand of the whole pool is seen from the beginning.
            until(lambda: len(cluster.workers()) == 2 or job.poll() is not None, 240)
            receipts = Path(out, "_synthray", "receipts")
            until(lambda: len(list(receipts.glob("0*.json"))) >= 4 or job.poll() is not None, 240)
            assert job.poll() is None
            lost = cluster.workers()[0]
            cluster.kill(lost)
            assert job.wait(240) == 0
        assert len(cluster.workers()) <= 2 and lost not in cluster.workers()
        until(lambda: not cluster.workers(), 120)
    assert files(out) == files(str(tmp_path / "reference"))
    assert cluster.processes() == {} and not cluster.place.exists()
