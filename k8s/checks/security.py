"""Policy: what no pod and no object of ours may have, or lack, whatever the schemas say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from k8s.checks.reading import Pod, cluster_of, pods_of, walk
from k8s.checks.rendering import Document

_SECRET_NAME = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY)", re.I)
_SECRET_TEXT = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|"
    r"\b(password|passwd|secret|token|api_?key|aws_secret_access_key)[\"']?\s*[:=]\s*[\"']?[^\s\"'{}]",
    re.I,
)
_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
_METADATA = tuple(
    map(ipaddress.ip_network, ("169.254.169.254/32", "169.254.170.2/32", "fd00:ec2::254/128"))
)
"""Where a node's credentials are to be had, on the clouds that we know."""
_HOST = ("hostNetwork", "hostPID", "hostIPC")


def check_security(tree: Document) -> list[str]:
    """Images without a fixed version, root, privilege, ways to the host, secrets in the open."""
    problems = [*_secrets(tree)]
    if tree.get("kind") == "Namespace":
        labels = tree["metadata"].get("labels") or {}
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            problems.append("metadata.labels: pod-security.kubernetes.io/enforce is not restricted")
    if tree.get("kind") == "NetworkPolicy":
        problems += [f"spec.{told}" for told in _egress(tree["spec"])]
    for pod in pods_of(tree):
        problems += [f"{pod.path}.{told}" for told in _pod(pod)]
    found = cluster_of(tree)
    if found is not None:
        path, cluster = found
        problems += [f"{path}.{told}" for told in _cluster(cluster)]
    return problems


def _cluster(cluster: dict[str, Any]) -> Iterator[str]:
    auth = cluster.get("authOptions") or {}
    if auth.get("mode") != "token" or not auth.get("secretName"):
        yield "authOptions: no token, whose Secret secretName names"
    if cluster.get("enableInTreeAutoscaling"):
        context = (cluster.get("autoscalerOptions") or {}).get("securityContext")
        yield from (f"autoscalerOptions.{told}" for told in _container_security(context, {}))
    for key in ("redisPassword", "redisUsername"):
        if "value" in ((cluster.get("gcsFaultToleranceOptions") or {}).get(key) or {}):
            yield f"gcsFaultToleranceOptions.{key}: a value in the open; use secretKeyRef"


def _egress(policy: dict[str, Any]) -> Iterator[str]:
    """No way out may lead to the node's metadata service, whose credentials are not ours."""
    for index, rule in enumerate(policy.get("egress") or ()):
        at = f"egress[{index}].to"
        if not rule.get("to"):
            yield f"{at}: missing, and so everywhere; name an ipBlock with except {_LINK_LOCAL}"
        for peer in rule.get("to") or ():
            if "ipBlock" in peer:
                yield from (f"{at}.ipBlock.{told}" for told in _block(peer["ipBlock"]))


def _block(block: dict[str, Any]) -> Iterator[str]:
    try:
        whole = ipaddress.ip_network(block["cidr"])
        left_out = [ipaddress.ip_network(each) for each in block.get("except") or ()]
    except ValueError as error:
        yield f"cidr, except: {error}; write addresses as 10.0.0.0/8"
        return
    # Agents have addresses of their own in 169.254.0.0/16, which may be named; no more than they.
    reached = _METADATA if _within(whole, _LINK_LOCAL) else (_LINK_LOCAL, *_METADATA)
    for each in reached:
        if _within(each, whole) and not any(_within(each, out) for out in left_out):
            yield f"cidr: {whole} holds {each}, the node's metadata service; add except: [{each}]"
            return


def _within(inner: Any, outer: Any) -> bool:
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _pod(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    if not pod.is_head and spec.get("automountServiceAccountToken") is not False:
        value = spec.get("automountServiceAccountToken", "not given")
        told = "only heads ask the API server; set it to false"
        yield f"automountServiceAccountToken: {value}, and {told}"
    for key in _HOST:
        if spec.get(key):
            yield f"{key}: on"
    for volume in spec.get("volumes") or ():
        if "hostPath" in volume:
            yield f"volumes.{volume['name']}: hostPath"
    whole = spec.get("securityContext") or {}
    for container in pod.containers:
        at = f"{container['name']}"
        yield from (f"{at}.{told}" for told in _image(str(container.get("image"))))
        own = container.get("securityContext")
        yield from (f"{at}.{told}" for told in _container_security(own, whole))
        for port in container.get("ports") or ():
            if "hostPort" in port:
                yield f"{at}.ports: hostPort {port['hostPort']}"


def _image(image: str) -> Iterator[str]:
    if "@sha256:" in image:
        return
    _, colon, tag = image.rpartition("/")[2].partition(":")
    if not colon or tag == "latest" or tag.endswith("-latest"):
        yield f"image: {image} has no fixed version"


def _container_security(own: Mapping[str, Any] | None, pod: Mapping[str, Any]) -> Iterator[str]:
    """Pod security's level `restricted`, and a root file system that cannot be written."""
    context = {**pod, **(own or {})}
    if context.get("runAsNonRoot") is not True:
        yield "securityContext.runAsNonRoot: not true"
    if context.get("runAsUser") == 0 or context.get("runAsGroup") == 0:
        yield "securityContext: runs as root"
    if context.get("privileged"):
        yield "securityContext.privileged: on"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "securityContext.allowPrivilegeEscalation: not false"
    capabilities = context.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "securityContext.capabilities: not all of them dropped"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "securityContext.readOnlyRootFilesystem: not true"
    profile = (context.get("seccompProfile") or {}).get("type")
    if pod and profile not in ("RuntimeDefault", "Localhost"):
        yield f"securityContext.seccompProfile: {profile}"


def _secrets(tree: Document) -> Iterator[str]:
    if tree.get("kind") == "Secret" and (tree.get("data") or tree.get("stringData")):
        yield "data: a Secret's values do not belong in manifests"
    for path, node in walk(tree):
        if isinstance(node, dict) and isinstance(node.get("value"), str) and "name" in node:
            if _SECRET_NAME.search(str(node["name"])) and node["value"]:
                yield f"{path}: {node['name']} has a value in the open; use secretKeyRef"
        elif isinstance(node, str) and _SECRET_TEXT.search(node):
            yield f"{path}: holds what looks like a secret"
