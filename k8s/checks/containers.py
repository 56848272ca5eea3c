"""What within one pod must fit together: volumes and their mounts, names that are given once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from k8s.checks.hints import hint
from k8s.checks.reading import Pod, cluster_of, pods_of
from k8s.checks.rendering import Document


def check_containers(tree: Document) -> list[str]:
    """Mounts of volumes that there are not; volumes, containers, variables, paths given twice."""
    claims = (tree.get("spec") or {}).get("volumeClaimTemplates") or ()
    claimed = {claim["metadata"]["name"] for claim in claims}
    problems = []
    for pod in pods_of(tree):
        problems += [f"{pod.path}.{told}" for told in _pod(pod, claimed)]
        options = _autoscaler(tree) if pod.is_head else None
        if options:
            path, container = options
            problems += [f"{path}.{told}" for told in _container(container, _volumes(pod))]
    return problems


def _autoscaler(tree: Document) -> tuple[str, dict[str, Any]] | None:
    """The options of the container that KubeRay puts beside the head's."""
    found = cluster_of(tree)
    if found is None:
        return None
    return f"{found[0]}.autoscalerOptions", found[1].get("autoscalerOptions") or {}


def _volumes(pod: Pod) -> set[str]:
    return {volume["name"] for volume in pod.spec.get("volumes") or ()}


def _pod(pod: Pod, claimed: Iterable[str]) -> Iterator[str]:
    yield from _twice("volumes", pod.spec.get("volumes") or (), "name")
    yield from _twice("containers", pod.containers, "name")
    for container in pod.containers:
        volumes = _volumes(pod).union(claimed)
        yield from (f"{container['name']}.{told}" for told in _container(container, volumes))


def _container(container: Mapping[str, Any], volumes: set[str]) -> Iterator[str]:
    yield from _twice("env", container.get("env") or (), "name")
    mounts = container.get("volumeMounts") or ()
    yield from _twice("volumeMounts", mounts, "mountPath")
    for mount in mounts:
        if mount["name"] not in volumes:
            told = f"{mount['name']!r} is no volume of the pod"
            yield f"volumeMounts: {told}; {hint(mount['name'], volumes)}"


def _twice(field: str, entries: Sequence[Mapping[str, Any]], key: str) -> Iterator[str]:
    for value, number in Counter(str(entry.get(key)) for entry in entries).items():
        if number > 1:
            yield f"{field}: {key} {value!r} is given {number} times; keep one of them"
