"""Ports and paths that policies, monitors, services and probes name: some pod must have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from k8s.checks.hints import hint
from k8s.checks.reading import Pod, pods_of
from k8s.checks.rendering import Document, name_of
from k8s.checks.selectors import Target, chosen, targets_of

AGENT = 52365
"""Where the dashboard's agent listens on every Ray node, though no container says so."""
PROBED: Mapping[str, str] = {
    # Serve's proxy, and the application behind it: synthray/serving/app.py.
    "/-/healthz": "serve",
    "/-/routes": "serve",
    "/healthz": "serve",
    # Ray's dashboard and its agent.
    "/api/gcs_healthz": "dashboard",
    "/api/healthz": "agent",
    "/api/local_raylet_healthz": "agent",
}
"""The paths that a probe of a Ray pod can ask for, and the port that answers."""
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def check_ports(trees: Sequence[Document], around: Sequence[Document] = ()) -> list[str]:
    """Ports that no container has, and paths that no server has.

    Args:
        around: what is applied beside these objects.
    """
    targets = targets_of([*trees, *around])
    problems = []
    for tree in trees:
        told = [*_policy(tree, targets), *_monitor(tree, targets), *_service(tree, targets)]
        told += [f"{pod.path}.{each}" for pod in pods_of(tree) for each in _probes(pod)]
        problems += [f"{name_of(tree)}: {each}" for each in told]
    return problems


Ports = set[tuple[str, int]]


def ports_of(targets: Iterable[Target]) -> Ports | None:
    """Names and numbers of all ports of some pods; none where one's are not known."""
    found: Ports = set()
    for target in targets:
        ports = target.ports
        if ports is None:
            return None
        found |= ports
        if target.pod is not None and target.pod.group is not None:
            found.add(("agent", AGENT))
    return found


def _missing(port: Any, ports: Ports | None, last: int | None = None) -> str | None:
    """What is wrong with a port, a name or a number; ``last``: that of a range."""
    if ports is None or any(port in each for each in ports):
        return None
    if last is not None and any(port <= number <= last for _, number in ports):
        return None
    at = 0 if isinstance(port, str) else 1
    known = {each[at] for each in ports} - {""}
    return f"no container has port {port!r}; {hint(port, known)}"


def _policy(tree: Document, targets: Sequence[Target]) -> Iterator[str]:
    if tree["kind"] != "NetworkPolicy":
        return
    spec = tree["spec"]
    own = chosen(spec.get("podSelector") or {}, targets)
    for index, rule in enumerate(spec.get("ingress") or ()):
        if own:
            yield from _rule(f"spec.ingress[{index}]", rule, ports_of(own))
    for index, rule in enumerate(spec.get("egress") or ()):
        peers = rule.get("to") or ()
        # Only what leads nowhere but to pods of ours can be held against their ports.
        if peers and all("podSelector" in peer and len(peer) == 1 for peer in peers):
            reached = [each for peer in peers for each in chosen(peer["podSelector"], targets)]
            if reached:
                yield from _rule(f"spec.egress[{index}]", rule, ports_of(reached))


def _rule(path: str, rule: Mapping[str, Any], ports: Ports | None) -> Iterator[str]:
    for each in rule.get("ports") or ():
        told = _missing(each["port"], ports, each.get("endPort")) if "port" in each else None
        if told:
            yield f"{path}.ports: {told}"


def _monitor(tree: Document, targets: Sequence[Target]) -> Iterator[str]:
    if tree["kind"] != "PodMonitor":
        return
    own = chosen(tree["spec"]["selector"], targets)
    for each in tree["spec"]["podMetricsEndpoints"] if own else ():
        told = _missing(each.get("port"), ports_of(own))
        if told:
            yield f"spec.podMetricsEndpoints.port: {told}"


def _service(tree: Document, targets: Sequence[Target]) -> Iterator[str]:
    spec = tree.get("spec") or {}
    if tree["kind"] != "Service" or not spec.get("selector"):
        return
    own = chosen({"matchLabels": spec["selector"]}, targets)
    for each in spec.get("ports") or () if own else ():
        told = _missing(each.get("targetPort", each["port"]), ports_of(own))
        if told:
            yield f"spec.ports.targetPort: {told}"


def _probes(pod: Pod) -> Iterator[str]:
    ports = ports_of([Target({}, pod)]) or set()
    for container in pod.containers:
        for name in _PROBES:
            probe = container.get(name) or {}
            asked = probe.get("httpGet") or probe.get("tcpSocket")
            if not asked:
                continue
            told = _missing(asked["port"], ports)
            if told:
                yield f"{container['name']}.{name}.port: {told}"
            elif "httpGet" in probe and pod.group is not None:
                yield from (f"{container['name']}.{name}.{each}" for each in _path(asked, ports))


def _path(asked: Mapping[str, Any], ports: Ports) -> Iterator[str]:
    path = asked.get("path", "/")
    if path not in PROBED:
        yield f"httpGet.path: {path!r} is none that Ray or SynthRay answers; {hint(path, PROBED)}"
        return
    name, numbers = PROBED[path], dict(ports)
    if asked["port"] not in (name, numbers.get(name)):
        told = f"{path} is answered at {name}, {numbers.get(name, 'which this pod has not')}"
        yield f"httpGet.port: {asked['port']!r}, and {told}; correct one of them"
