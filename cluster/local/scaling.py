"""The configuration of Ray's autoscaler (v2) for nodes on one machine.

Its provider is the one that Ray keeps for its own tests: it starts real raylets, and knows nothing
of a cloud. `ray.cluster_utils.AutoscalingCluster`, which would write this, begins with a
`ray stop --force` of the whole machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cluster.local.nodes import HEAD_TYPE, NodeType

HEAD_ID = "f" * 51 + "00000"
"""The provider numbers its nodes from here, in hexadecimal."""
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
AUTOSCALED_HEAD = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    "RAY_NODE_TYPE_NAME": HEAD_TYPE,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
"""More environment of a head with the autoscaler, beside RAY_CLOUD_INSTANCE_ID=HEAD_ID."""

SSH_FIELDS = (
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "cluster_synced_files",
)


def write_scaling(
    place: Path, gcs_address: str, groups: Mapping[NodeType, int], idle_seconds: float
) -> Path:
    """Write the file for `ray start --head --autoscaling-config`.

    Args:
        gcs_address: with the node's own address, not 127.0.0.1.
        groups: the most nodes of each type; they start from none.
        idle_seconds: after which a node that does nothing is given back.
    """
    types = {
        kind.name: {
            "resources": kind.resources,
            "labels": kind.labels,
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        }
        for kind, most in groups.items()
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    tree = {
        "cluster_name": "local",
        "max_workers": sum(groups.values()),
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": idle_seconds / 60,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "head_node_id": HEAD_ID,
            "gcs_address": gcs_address,
            "launch_multiple": True,
        },
        "available_node_types": {HEAD_TYPE: head, **types},
        "head_node_type": HEAD_TYPE,
        # Of hosts that are reached by SSH; asked for all the same.
        **{name: [] for name in SSH_FIELDS},
        "file_mounts": {},
    }
    file = place / "autoscaling.yaml"
    file.write_text(json.dumps(tree, indent=2))  # YAML 1.2 holds JSON
    return file
