"""Ray's KubeRay provider, its own code, against the stand-in for the API server: no raylets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster.kube_api import KubeApi

PROVIDER = """
import json
from ray.autoscaler.v2.instance_manager.cloud_providers.kuberay import cloud_provider

provider = cloud_provider.KubeRayProvider("synthray", {"namespace": "default"}, gcs_client=None)

def told():
    found = provider.get_non_terminated().items()
    print(json.dumps({name: [i.node_type, i.is_running] for name, i in found}), flush=True)
    return [name for name, i in found if i.node_type == "cpu"]

told()
provider.launch({"cpu": 2}, "first")
input()
workers = told()
provider.terminate(workers[:1], "second")
input()
told()
provider.launch({"cpu": 9}, "third")
print(json.dumps([error.count for error in provider.poll_errors()]), flush=True)
"""
RAY_CLUSTER = {
    "kind": "RayCluster",
    "metadata": {"name": "synthray", "namespace": "default", "resourceVersion": "1"},
    "spec": {
        "workerGroupSpecs": [
            {
                "groupName": "cpu",
                "replicas": 0,
                "minReplicas": 0,
                "maxReplicas": 3,
                "scaleStrategy": {"workersToDelete": []},
            }
        ]
    },
}


class FakePod:
    def __init__(self, name: str) -> None:
        self.name, self.alive, self.ready = name, True, True

    def stop(self) -> None:
        self.alive = False


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no `openssl` for a certificate")
def test_the_provider_launches_and_deletes_pods_through_the_api(tmp_path: Path) -> None:
    started: list[FakePod] = []

    def start(group: str, name: str) -> FakePod:
        started.append(FakePod(name))
        return started[-1]

    api = KubeApi(tmp_path, json.loads(json.dumps(RAY_CLUSTER)), "head-0", start)
    environment = os.environ | api.environment
    with subprocess.Popen(
        [sys.executable, "-c", PROVIDER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as provider:
        assert provider.stdin and provider.stdout
        head = {"head-0": ["headgroup", True]}
        assert json.loads(provider.stdout.readline()) == head
        for remaining in (2, 1):
            # The patch is there once the provider waits; its next line tells what it sees.
            while api.cluster["spec"]["workerGroupSpecs"][0]["replicas"] != remaining:
                assert provider.poll() is None
            api.reconcile()
            provider.stdin.write("\n")
            provider.stdin.flush()
            alive = [pod.name for pod in started if pod.alive]
            assert len(alive) == remaining
            expected = {name: ["cpu", True] for name in alive}
            assert json.loads(provider.stdout.readline()) == head | expected
        # Asked for nine more where three is the most, it tells of the seven that cannot be.
        assert json.loads(provider.stdout.readline()) == [7]
        assert provider.wait() == 0
    assert api.cluster["spec"]["workerGroupSpecs"][0]["replicas"] == 3
    api.close()


def test_a_patch_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    cluster = json.loads(json.dumps(RAY_CLUSTER))
    api = KubeApi(tmp_path, cluster, "head-0", lambda group, name: FakePod(name))
    group = "/spec/workerGroupSpecs/0"
    fits = {"op": "replace", "path": f"{group}/replicas", "value": 2}
    for bad in (
        {"op": "replace", "path": f"{group}/replica", "value": 1},
        {"op": "test", "path": f"{group}/replicas", "value": 0},
    ):
        assert not api.patch([fits, bad])
    assert api.cluster == RAY_CLUSTER and api.patches == []
    assert api.get("/apis/ray.io/v1/namespaces/default/rayclusters/other") is None
    api.close()
