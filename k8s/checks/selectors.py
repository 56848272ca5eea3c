"""Selectors of pods: one that matches none protects, counts or opens nothing, in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k8s.checks.hints import hint, unknown_label
from k8s.checks.reading import Pod, pods_of
from k8s.checks.rendering import Document, name_of

GATEWAY = "gateway.networking.k8s.io/gateway-name"
NAMESPACE_LABELS: Mapping[str, tuple[str, ...]] = {
    "synthray.io/client": ("true",),
    "kubernetes.io/metadata.name": (),
}
"""Labels of namespaces: ours, of k8s/README.md, and Kubernetes' own; none given: any value."""


@dataclass(frozen=True)
class Target:
    """A pod as selectors see it. A label of no value has one that is known in the cluster only."""

    labels: Mapping[str, str | None]
    pod: Pod | None = None

    @property
    def ports(self) -> set[tuple[str, int]] | None:
        """Names and numbers of its containers' ports; none: not known."""
        if self.pod is None:
            return None
        ports = (port for each in self.pod.containers for port in each.get("ports") or ())
        return {(port.get("name", ""), port["containerPort"]) for port in ports}


def targets_of(trees: Sequence[Document]) -> list[Target]:
    """Every pod that comes of these objects, with the labels that KubeRay gives it."""
    found = []
    for tree in trees:
        for pod in pods_of(tree):
            own = (pod.template.get("metadata") or {}).get("labels") or {}
            added = _of_kuberay(tree, pod) if pod.group is not None else {}
            found.append(Target({**added, **own}, pod))
        upgrade = (tree.get("spec") or {}).get("upgradeStrategy") or {}
        if upgrade.get("type") == "NewClusterWithIncrementalUpgrade":
            found.append(Target({GATEWAY: f"{tree['metadata']['name']}-gateway"}))
        if tree["kind"] == "Gateway":
            found.append(Target({GATEWAY: tree["metadata"]["name"]}))
    return found


def _of_kuberay(tree: Document, pod: Pod) -> dict[str, str | None]:
    name = tree["metadata"]["name"] if tree["kind"] == "RayCluster" else None
    labels: dict[str, str | None] = {
        "ray.io/node-type": "head" if pod.is_head else "worker",
        "ray.io/group": "headgroup" if pod.is_head else (pod.group or {}).get("groupName"),
        "ray.io/cluster": name,
        "ray.io/identifier": None,
        "ray.io/is-ray-node": "yes",
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
    }
    return {**labels, "ray.io/serve": "true"} if tree["kind"] == "RayService" else labels


def chosen(selector: Mapping[str, Any], targets: Sequence[Target]) -> list[Target]:
    """The pods that a selector matches."""
    return [target for target in targets if _matches(selector, target.labels)]


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str | None]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if key not in labels or labels[key] not in (value, None):
            return False
    for each in selector.get("matchExpressions") or ():
        there = each["key"] in labels
        value = labels.get(each["key"])
        within = there and (value is None or value in (each.get("values") or ()))
        fits = {"In": within, "NotIn": value is None or not within, "Exists": there}
        if not fits.get(each["operator"], not there):
            return False
    return True


def check_selectors(trees: Sequence[Document], around: Sequence[Document] = ()) -> list[str]:
    """Selectors that match no pod.

    Args:
        around: what is applied beside these objects.
    """
    targets = targets_of([*trees, *around])
    problems = []
    for tree in trees:
        for path, selector in _selectors(tree):
            if not chosen(selector, targets):
                problems.append(f"{name_of(tree)}: {path}: {_explained(selector, targets)}")
        ours = targets_of([tree])
        for pod in pods_of(tree):
            for path, selector in _of_pod(pod.spec):
                own = path.startswith("topology")
                among = [each for each in ours if each.pod == pod] if own else targets
                if not chosen(selector, among):
                    told = _explained(selector, among)
                    problems.append(f"{name_of(tree)}: {pod.path}.{path}: {told}")
        for path, labels in _namespaces(tree):
            problems += [f"{name_of(tree)}: {path}: {told}" for told in _unknown(labels)]
    return problems


def _selectors(tree: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = tree.get("spec") or {}
    if tree["kind"] == "NetworkPolicy":
        yield "spec.podSelector", spec.get("podSelector") or {}
        for path, peer in peers_of(spec):
            if "podSelector" in peer and "namespaceSelector" not in peer:
                yield f"{path}.podSelector", peer["podSelector"]
    elif tree["kind"] in ("PodDisruptionBudget", "PodMonitor", "StatefulSet", "Deployment"):
        yield "spec.selector", spec.get("selector") or {}
    elif tree["kind"] == "Service" and spec.get("selector"):
        yield "spec.selector", {"matchLabels": spec["selector"]}


def peers_of(policy: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Whom a network policy lets in, and to whom out."""
    for way, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(policy.get(way) or ()):
            for peer in rule.get(side) or ():
                yield f"spec.{way}[{index}].{side}", peer


def _of_pod(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for each in spec.get("topologySpreadConstraints") or ():
        if "labelSelector" in each:
            yield "topologySpreadConstraints.labelSelector", each["labelSelector"]
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = (spec.get("affinity") or {}).get(kind) or {}
        needed = rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        wished = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        for term in (*needed, *(each["podAffinityTerm"] for each in wished)):
            if "labelSelector" in term and not term.keys() & {"namespaces", "namespaceSelector"}:
                yield f"affinity.{kind}.labelSelector", term["labelSelector"]


def _explained(selector: Mapping[str, Any], targets: Sequence[Target]) -> str:
    """The first label that no pod has, or that they are never together."""
    for key, value in (selector.get("matchLabels") or {}).items():
        values = {target.labels[key] for target in targets if key in target.labels}
        if not values:
            keys = {key for target in targets for key in target.labels}
            return f"matches no pod: none has a label {key!r}; {hint(key, keys)}"
        if value not in values and None not in values:
            return f"matches no pod: none has {key}={value}; {hint(value, values)}"
    return f"matches no pod: none has all of {dict(selector)}; correct the labels"


def _namespaces(tree: Document) -> Iterator[tuple[str, Mapping[str, str]]]:
    if tree["kind"] == "NetworkPolicy":
        for path, peer in peers_of(tree["spec"]):
            labels = (peer.get("namespaceSelector") or {}).get("matchLabels") or {}
            yield f"{path}.namespaceSelector", labels


def _unknown(labels: Mapping[str, str]) -> Iterator[str]:
    for key, value in labels.items():
        if key in NAMESPACE_LABELS or key.partition("/")[0] in ("synthray.io", "kubernetes.io"):
            told = unknown_label(key, [value], NAMESPACE_LABELS, "namespaces")
            if told:
                yield told
