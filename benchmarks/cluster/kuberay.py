"""A LocalCluster whose workers come and go as Ray's own KubeRay provider says."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from benchmarks.cluster.kube_api import NAMESPACE, KubeApi
from cluster.local.nodes import RAY, Node, NodeType, worker_words
from cluster.local.ray_cluster import LocalCluster
from cluster.local.scaling import HEAD_ID

NAME = "synthray"


class PodNode:
    """A raylet as a pod."""

    def __init__(self, node: Node) -> None:
        self.name, self._node = node.name, node

    @property
    def alive(self) -> bool:
        return self._node.process.poll() is None

    @property
    def ready(self) -> bool:
        return self.alive and self._node.started

    def stop(self) -> None:
        """Without waiting, as the deletion of a pod."""
        self._node.process.terminate()


class KubeRayCluster(LocalCluster):
    """`ray kuberay-autoscaler` patches a RayCluster, and raylets follow its replicas."""

    def __init__(
        self,
        groups: Mapping[NodeType, int],
        idle_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(groups, idle_seconds, environment=environment)
        self._types = {kind.name: kind for kind in groups}
        self.api = KubeApi(self.place, self._ray_cluster(idle_seconds), HEAD_ID, self._start_pod)
        self._over = threading.Event()
        # One thread that lives on: a node ends with the thread that started it.
        self._operator = threading.Thread(target=self._operate, daemon=True)
        self._autoscaler: subprocess.Popen[bytes] | None = None

    def _ray_cluster(self, idle_seconds: float) -> dict[str, Any]:
        def template(kind: NodeType | None) -> dict[str, Any]:
            limits = {"cpu": str(kind.cpus if kind else 0)}
            if kind and kind.gpus:
                limits["nvidia.com/gpu"] = str(kind.gpus)
            container = {"name": "ray", "resources": {"limits": limits, "requests": limits}}
            return {"spec": {"containers": [container]}}

        workers = [
            {
                "groupName": kind.name,
                "replicas": 0,
                "minReplicas": 0,
                "maxReplicas": most,
                "numOfHosts": 1,
                "labels": kind.labels,
                "rayStartParams": {},
                "scaleStrategy": {"workersToDelete": []},
                "template": template(kind),
            }
            for kind, most in self.groups.items()
        ]
        options = {"version": "v2", "idleTimeoutSeconds": idle_seconds}
        head = {"rayStartParams": {"num-cpus": "0"}, "template": template(None)}
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "resourceVersion": "1"},
            "spec": {
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": options,
                "headGroupSpec": head,
                "workerGroupSpecs": workers,
            },
        }

    def _scaling(self) -> tuple[list[str], dict[str, str]]:
        return ["--no-monitor"], {
            "RAY_enable_autoscaler_v2": "1",
            "RAY_NODE_TYPE_NAME": "headgroup",
            "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
        }

    def _start_pod(self, group: str, pod: str) -> PodNode:
        words = worker_words(self.address, self._types[group])
        return PodNode(self._launch(pod, words, {"RAY_NODE_TYPE_NAME": group}))

    def _operate(self) -> None:
        while not self._over.wait(0.2):
            self.api.reconcile()

    def start(self, seconds: float = 300) -> None:
        super().start(seconds)
        self._operator.start()
        command = [*RAY, "kuberay-autoscaler", "--cluster-name", NAME]
        command += ["--cluster-namespace", NAMESPACE, "--gcs-address", self.address]
        own = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
        environment = {**self._environment, **self.api.environment, **own}
        with (self.place / "kuberay.log").open("wb") as log:
            self._autoscaler = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def check(self) -> None:
        super().check()
        if self._autoscaler and self._autoscaler.poll() is not None:
            raise RuntimeError((self.place / "kuberay.log").read_text()[-3000:])

    def stop(self) -> None:
        self._over.set()
        if self._operator.is_alive():
            self._operator.join()
        if self._autoscaler:
            self._autoscaler.kill()
            self._autoscaler.wait()
        self.api.close()
        super().stop()
