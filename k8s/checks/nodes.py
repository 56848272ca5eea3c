"""The labels of nodes that pods may ask for: one that no node has leaves a pod waiting for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from k8s.checks.hints import unknown_label
from k8s.checks.reading import pods_of
from k8s.checks.rendering import Document

NODE_LABELS: Mapping[str, tuple[str, ...]] = {
    # Ours, which k8s/README.md asks for.
    "synthray.io/spot": ("true",),
    "synthray.io/gpu": ("nvidia",),
    # Those that Kubernetes sets; none given: any value.
    "kubernetes.io/arch": ("amd64", "arm64"),
    "kubernetes.io/os": ("linux",),
    "kubernetes.io/hostname": (),
    "node.kubernetes.io/instance-type": (),
    "topology.kubernetes.io/region": (),
    "topology.kubernetes.io/zone": (),
}
PROVIDERS = (
    "cloud.google.com",
    "eks.amazonaws.com",
    "karpenter.k8s.aws",
    "karpenter.sh",
    "kubernetes.azure.com",
    "nvidia.com",
)
"""Whose labels of nodes are too many to know."""
_REMEDY = "or add it to NODE_LABELS in k8s/checks/nodes.py"


def check_nodes(tree: Document) -> list[str]:
    """Node selectors, affinities and topology keys with labels or values that are not known."""
    problems = []
    for pod in pods_of(tree):
        for field, key, values in _asked(pod.spec):
            if key.partition("/")[0] in PROVIDERS:
                continue
            told = unknown_label(key, values, NODE_LABELS, "nodes")
            if told:
                problems.append(f"{pod.path}.{field}: {told}, {_REMEDY}")
    return problems


def _asked(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    for key, value in (spec.get("nodeSelector") or {}).items():
        yield "nodeSelector", key, [value]
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    needed = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    wished = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    terms = [*(needed.get("nodeSelectorTerms") or ()), *(each["preference"] for each in wished)]
    for term in terms:
        for each in term.get("matchExpressions") or ():
            yield "affinity.nodeAffinity", each["key"], each.get("values") or []
    for each in spec.get("topologySpreadConstraints") or ():
        yield "topologySpreadConstraints.topologyKey", each["topologyKey"], []
