"""Policy: what must hold of the objects of an overlay together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from k8s.checks.reading import pods_of
from k8s.checks.rendering import Document, name_of


def check_references(trees: Sequence[Document], around: Iterable[Document] = ()) -> list[str]:
    """ConfigMaps and service accounts that pods name but nobody brings.

    Args:
        around: objects that are there already: the platform's, for jobs and endpoints.
    """
    there = {name_of(tree) for tree in (*trees, *around)}
    problems = []
    for tree in trees:
        for pod in pods_of(tree):
            for name in sorted(_named(pod.spec) - there):
                problems.append(f"{name_of(tree)}: {pod.path}: {name} is not there")
    return problems


def _named(spec: dict[str, Any]) -> set[str]:
    found = (
        {f"ServiceAccount/{spec['serviceAccountName']}"} if "serviceAccountName" in spec else set()
    )
    for volume in spec.get("volumes") or ():
        if "configMap" in volume:
            found.add(f"ConfigMap/{volume['configMap']['name']}")
    for container in spec.get("containers") or ():
        for source in container.get("envFrom") or ():
            if "configMapRef" in source:
                found.add(f"ConfigMap/{source['configMapRef']['name']}")
    return found


def check_platform(trees: Sequence[Document]) -> list[str]:
    """The network policies without which the rest is open, or deaf."""
    policies = [tree["spec"] for tree in trees if tree["kind"] == "NetworkPolicy"]
    problems = []
    if not any(_denies_all(policy) for policy in policies):
        problems.append("NetworkPolicy: none denies what no other allows")
    outward = {port for policy in policies for port in _egress_ports(policy)}
    for port, what in ((53, "DNS"), (443, "S3")):
        if port not in outward:
            problems.append(f"NetworkPolicy: no way out to port {port}: {what}")
    return problems


def _denies_all(policy: dict[str, Any]) -> bool:
    both = set(policy.get("policyTypes") or ()) == {"Ingress", "Egress"}
    return both and policy["podSelector"] == {} and not policy.keys() & {"ingress", "egress"}


def _egress_ports(policy: dict[str, Any]) -> Iterator[int]:
    for rule in policy.get("egress") or ():
        for port in rule.get("ports") or ():
            yield port["port"]
