"""Names that lead to other objects: ConfigMaps, accounts, Secrets, and services in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from k8s.checks.hints import hint
from k8s.checks.reading import cluster_of, pods_of, walk
from k8s.checks.rendering import Document, name_of

SECRETS: Mapping[str, tuple[str, ...]] = {
    "synthray-ray-token": ("auth_token",),
    "synthray-serve-token": ("token",),
    "synthray-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "synthray-redis": ("password",),
    "synthray-trackers": (),
    "synthray-tls": (),
}
"""The Secrets that k8s/README.md tells how to make, and their keys; none: any, or the kind's."""
_TOKEN_KEY = "auth_token"
"""The key that KubeRay reads of authOptions.secretName."""
_SCHEMES = ("http", "https", "grpc", "grpcs", "ray", "redis", "rediss")


def check_references(trees: Sequence[Document], around: Iterable[Document] = ()) -> list[str]:
    """Names of objects that nobody brings.

    Args:
        around: objects that are there already: the platform's, for jobs and endpoints.
    """
    objects = [*trees, *around]
    there = {name_of(tree) for tree in objects}
    services, secrets = _services(objects), _secrets(objects)
    problems = []
    for tree in trees:
        told = []
        for pod in pods_of(tree):
            told += [f"{pod.path}: {name} is not there" for name in _named(pod.spec) - there]
        told += [*_of_secrets(tree, secrets), *_of_addresses(tree, services)]
        problems += [f"{name_of(tree)}: {each}" for each in sorted(told)]
    return problems


def _named(spec: Mapping[str, Any]) -> set[str]:
    """The ConfigMaps and the account of a pod; those that it can do without are not among them."""
    account = spec.get("serviceAccountName")
    found = {f"ServiceAccount/{account}"} if account else set()
    for _, node in walk(spec):
        for key in ("configMap", "configMapRef", "configMapKeyRef"):
            reference = node.get(key) if isinstance(node, dict) else None
            if isinstance(reference, dict) and not reference.get("optional"):
                found.add(f"ConfigMap/{reference.get('name')}")
    return found


def secrets_of(tree: Document) -> Iterator[tuple[str, str, str | None]]:
    """The Secrets that an object names: where, its name, and the key where one is named too."""
    for path, node in walk(tree):
        if not isinstance(node, dict):
            continue
        for key in ("secretKeyRef", "secretRef"):
            if isinstance(node.get(key), dict):
                yield f"{path}.{key}", str(node[key].get("name")), node[key].get("key")
        if isinstance(node.get("secretName"), str):
            token = path.endswith("authOptions")
            yield f"{path}.secretName", node["secretName"], _TOKEN_KEY if token else None
        for key in ("imagePullSecrets", "certificateRefs"):
            for each in node.get(key) or ():
                yield f"{path}.{key}", str(each.get("name")), None


def _secrets(objects: Iterable[Document]) -> dict[str, tuple[str, ...]]:
    """The Secrets that are made by hand, and those that objects bring, whose keys are not known."""
    made = {tree["metadata"]["name"]: () for tree in objects if tree["kind"] == "Secret"}
    return {**SECRETS, **made}


def _of_secrets(tree: Document, known: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for path, name, key in secrets_of(tree):
        if name not in known:
            told = f"Secret {name!r} is neither here nor told of in k8s/README.md"
            yield f"{path}: {told}; {hint(name, known)}, or add it to both README and SECRETS"
        elif key is not None and known[name] and key not in known[name]:
            yield f"{path}.key: {key!r} is no key of {name}; {hint(key, known[name])}"


def _services(objects: Iterable[Document]) -> dict[str, set[int] | None]:
    """Ports of the services, by name; those that KubeRay makes have ports that are not known."""
    found: dict[str, set[int] | None] = {}
    for tree in objects:
        name = tree["metadata"]["name"]
        if tree["kind"] == "Service":
            found[name] = {port["port"] for port in tree["spec"].get("ports") or ()}
        elif cluster_of(tree) is not None:
            found[f"{name}-head-svc"] = None
            if tree["kind"] == "RayService":
                found[f"{name}-serve-svc"] = None
    return found


def _of_addresses(tree: Document, services: Mapping[str, set[int] | None]) -> Iterator[str]:
    namespace = str(tree["metadata"].get("namespace"))
    for path, address in _addresses(tree):
        host, port = _host(address)
        name = _service_name(host, namespace)
        if name is None:
            continue
        if name not in services:
            told = f"{address!r}: no Service {name!r} is here"
            yield f"{path}: {told}; {hint(name, services)}; other hosts have dots in their names"
        elif port is not None and port not in (services[name] or {port}):
            told = f"{address!r}: Service {name!r} has no port {port}"
            yield f"{path}: {told}; {hint(port, services[name] or ())}"


def _addresses(tree: Document) -> Iterator[tuple[str, str]]:
    found = cluster_of(tree)
    state = (found[1].get("gcsFaultToleranceOptions") or {}) if found else {}
    if found and "redisAddress" in state:
        yield f"{found[0]}.gcsFaultToleranceOptions.redisAddress", state["redisAddress"]
    if tree["kind"] == "ConfigMap":
        for key, value in (tree.get("data") or {}).items():
            if _is_address(value):
                yield f"data.{key}", value
    for pod in pods_of(tree):
        for container in pod.containers:
            at = f"{pod.path}.{container['name']}.env"
            for variable in container.get("env") or ():
                if _is_address(variable.get("value")):
                    yield f"{at}.{variable['name']}", variable["value"]


def _is_address(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(rf"({'|'.join(_SCHEMES)})://\S+", value))


def _host(address: str) -> tuple[str, int | None]:
    """Host and port; without a scheme, what stands before the colon is the host."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        return parts.hostname or "", parts.port
    except ValueError:
        return parts.hostname or "", -1


def _service_name(host: str, namespace: str) -> str | None:
    """The Service of this namespace that a host is; none: another host."""
    name, *rest = host.split(".")
    if not rest:
        return None if name in ("", "localhost") or ":" in name else name
    return name if rest == [namespace] or rest[:2] == [namespace, "svc"] else None
