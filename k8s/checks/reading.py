"""Finding the Ray clusters and the pods in an object, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from k8s.checks.rendering import Document

_CLUSTER_AT = {
    "RayCluster": ("spec",),
    "RayJob": ("spec", "rayClusterSpec"),
    "RayService": ("spec", "rayClusterConfig"),
    "RayCronJob": ("spec", "jobTemplate", "rayClusterSpec"),
}
HEAD = "headgroup"
GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Pod:
    """A pod's template. ``group`` is a Ray group as it is written, and none for other pods."""

    path: str
    template: dict[str, Any]
    group: dict[str, Any] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        return dict(self.template.get("spec") or {})

    @property
    def is_head(self) -> bool:
        return self.path.endswith("headGroupSpec")

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*(self.spec.get("initContainers") or ()), *(self.spec.get("containers") or ())]

    @property
    def ray(self) -> dict[str, Any]:
        """The container that runs Ray: a group's first."""
        return next(iter(self.spec.get("containers") or ()), {}) if self.group is not None else {}


def cluster_of(tree: Document) -> tuple[str, dict[str, Any]] | None:
    """The path and the spec of the Ray cluster that an object describes."""
    path = _CLUSTER_AT.get(str(tree.get("kind")))
    if path is None:
        return None
    found: Any = tree
    for key in path:
        found = found.get(key) or {}
    return ".".join(path), found


def job_of(tree: Document) -> tuple[str, dict[str, Any]] | None:
    """The path and the spec of the Ray job that an object describes."""
    if tree.get("kind") == "RayJob":
        return "spec", tree.get("spec") or {}
    if tree.get("kind") == "RayCronJob":
        return "spec.jobTemplate", (tree.get("spec") or {}).get("jobTemplate") or {}
    return None


def pods_of(tree: Document) -> Iterator[Pod]:
    """Every pod template of an object."""
    found = cluster_of(tree)
    if found is not None:
        path, cluster = found
        head = cluster.get("headGroupSpec") or {}
        yield Pod(f"{path}.headGroupSpec", head.get("template") or {}, head)
        for index, group in enumerate(cluster.get("workerGroupSpecs") or ()):
            yield Pod(f"{path}.workerGroupSpecs[{index}]", group.get("template") or {}, group)
    elif isinstance((tree.get("spec") or {}).get("template"), dict):
        yield Pod("spec.template", tree["spec"]["template"])


def environment(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in container.get("env") or ()}


def limits_of(container: dict[str, Any]) -> dict[str, str]:
    """The limits of a container, which Ray counts."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return {key: str(value) for key, value in limits.items()}


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything within a tree, with its path."""
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{path}[{index}]")
