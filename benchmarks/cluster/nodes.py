"""Several Ray nodes on this machine: real raylets that can be added, killed, and warned of."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import ray
import ray._private.utils
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from cluster.local.nodes import NODE_LOSS

STORE_BYTES = 100_000_000


class Nodes:
    """A head without processors, where the driver is, and nodes of one processor each."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self) -> Any:
        """A new node of one processor."""
        return self._cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    def kill(self, node: Any) -> None:
        """SIGKILL to the node and all that runs there, without a word before."""
        self._cluster.remove_node(node, allow_graceful=False)

    def warn(self, node: Any, seconds: float) -> None:
        """What a cloud says before it takes a spot node back."""
        client = GcsClient(address=self.address)
        reason: Any = autoscaler_pb2
        taken, why = client.drain_node(
            node.node_id,
            reason.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
            "taken back",
            int((time.time() + seconds) * 1000),
        )
        if not taken:
            raise RuntimeError(f"the node cannot be drained: {why}")


@contextmanager
def several_nodes(count: int) -> Iterator[Nodes]:
    """A cluster of ``count`` nodes beside its head; all of it is gone at the end.

    It has no authentication: it listens on this machine only, and the environment has to say
    RAY_AUTH_MODE=disabled.
    """
    if os.environ.get("RAY_AUTH_MODE") != "disabled":
        raise RuntimeError("set RAY_AUTH_MODE=disabled for nodes that are started for a trial")
    # Else other programs of this machine would join the cluster.
    ray._private.utils.write_ray_address = lambda *_, **__: None
    # Short, for the length of socket names is limited.
    place = tempfile.mkdtemp(prefix="srn")
    head = {
        "num_cpus": 0,
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
        "temp_dir": place,
    }
    with patch.dict(os.environ, NODE_LOSS):
        cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
        try:
            nodes = Nodes(cluster)
            for _ in range(count):
                nodes.add()
            yield nodes
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(place, ignore_errors=True)
