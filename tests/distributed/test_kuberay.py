"""Ray's own code on our manifests: what its autoscaler and Serve make of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as derive,
)
from ray.serve.schema import ServeDeploySchema

from k8s.checks.reading import cluster_of
from k8s.checks.rendering import OVERLAYS, render
from synthray.distributed.endpoint import application

GIB = 1 << 30


def node_types(folder: str, kind: str) -> dict[str, Any]:
    """The autoscaler's node types for the first cluster of a kind, as KubeRay creates it."""
    tree = next(tree for tree in render(OVERLAYS / folder) if tree["kind"] == kind)
    described = cluster_of(tree)
    assert described is not None
    return dict(derive({**tree, "spec": described[1]})["available_node_types"])


@pytest.mark.parametrize(
    ("folder", "kind"), [("production", "RayCluster"), ("production/jobs", "RayJob")]
)
def test_the_autoscaler_counts_what_the_pods_have(folder: str, kind: str) -> None:
    types = node_types(folder, kind)
    # The head takes no work, and every group rests at none.
    assert types.pop("headgroup")["resources"]["CPU"] == 0
    assert {each["min_workers"] for each in types.values()} == {0}
    cpu = {"CPU": 4, "memory": 16 * GIB}
    gpu = {"CPU": 6, "GPU": 1, "memory": 24 * GIB}
    resources = {name: each["resources"] for name, each in types.items()}
    assert resources == {"cpu": cpu, "cpu-spot": cpu, "gpu": gpu, "gpu-spot": gpu}
    for name, each in types.items():
        spot = name.endswith("-spot")
        assert each["labels"] == {"ray.io/market-type": "spot" if spot else "on-demand"}
        assert each.get("priority", 0) == (10 if spot else 0)
        assert each["idle_timeout_s"] > 0


def test_an_endpoint_keeps_two_nodes_in_production() -> None:
    types = node_types("production/endpoint", "RayService")
    assert set(types) == {"headgroup", "cpu"}
    assert (types["cpu"]["min_workers"], types["cpu"]["max_workers"]) == (2, 8)


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "production"])
def test_serve_takes_the_file_of_an_endpoint(overlay: str) -> None:
    trees = render(OVERLAYS / overlay / "endpoint")
    service = next(tree for tree in trees if tree["kind"] == "RayService")
    found = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    assert found.applications[0].import_path == f"{application.__module__}:application"
