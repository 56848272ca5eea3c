"""Policy: what must hold of the objects of an overlay together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from k8s.checks.reading import pods_of
from k8s.checks.rendering import Document, name_of


def check_accounts(trees: Sequence[Document], around: Iterable[Document] = ()) -> list[str]:
    """Service accounts that hand their token to pods that are no heads.

    Args:
        around: objects that are there already: the platform's, for jobs and endpoints.
    """
    pods = [pod for tree in (*trees, *around) for pod in pods_of(tree)]
    heads = {pod.spec.get("serviceAccountName") for pod in pods if pod.is_head}
    others = {pod.spec.get("serviceAccountName") for pod in pods if not pod.is_head}
    problems = []
    for tree in trees:
        name = tree["metadata"]["name"]
        if tree["kind"] != "ServiceAccount" or name in heads - others:
            continue
        if tree.get("automountServiceAccountToken") is not False:
            value = tree.get("automountServiceAccountToken", "not given")
            told = f"{value}, and pods that are no heads have this account; set it to false"
            problems.append(f"{name_of(tree)}: automountServiceAccountToken: {told}")
    return problems


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
