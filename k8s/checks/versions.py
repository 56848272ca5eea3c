"""The versions that image, manifests, lock file and package name must be one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from k8s.checks.reading import cluster_of, pods_of
from k8s.checks.rendering import ROOT, Document, name_of

IMAGE = "ghcr.io/synthray/synthray"


def package_version(root: Path = ROOT) -> str:
    text = (root / "synthray" / "version.py").read_text(encoding="utf-8")
    return _only(r'__version__ = "([^"]+)"', text)


def locked_ray(root: Path = ROOT) -> str:
    """The version of Ray that constraints.txt pins."""
    return _only(r"(?m)^ray==(\S+)$", (root / "constraints.txt").read_text(encoding="utf-8"))


def promised_ray(root: Path = ROOT) -> str:
    """The range of Ray that pyproject.toml promises."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return _only(r'"ray\[[^]]*\](>=[^"]+)"', text)


def image_ray(root: Path = ROOT) -> set[str]:
    """The versions of Ray in cluster/Dockerfile's ``ARG RAY_VERSION=…``; none where it has none."""
    path = root / "cluster" / "Dockerfile"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return set(re.findall(r"(?m)^ARG RAY_VERSION=\"?([^\s\"]+)", text))


def _only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text)
    if len(found) != 1:
        raise ValueError(f"{pattern} was found {len(found)} times, not once")
    return str(found[0])


def check_versions(trees: Iterable[Document], ray: str, package: str) -> list[str]:
    """Where manifests name other versions of Ray or of SynthRay than these."""
    problems = []
    for tree in trees:
        told = [*_of_ray(tree, ray), *_of_package(tree, package)]
        problems += [f"{name_of(tree)}: {each}" for each in told]
    return problems


def _of_ray(tree: Document, ray: str) -> list[str]:
    found = cluster_of(tree)
    if found is None or found[1].get("rayVersion") == ray:
        return []
    return [f"{found[0]}.rayVersion: {found[1].get('rayVersion')}, and constraints.txt has {ray}"]


def _of_package(tree: Document, package: str) -> list[str]:
    places: list[tuple[str, dict[str, Any]]] = [("metadata", tree["metadata"])]
    problems = []
    for pod in pods_of(tree):
        images = [container["image"] for container in pod.containers]
        ours = [image for image in images if image.startswith(f"{IMAGE}:")]
        if ours:
            places.append((pod.path, pod.template.get("metadata") or {}))
        for image in ours:
            if not re.fullmatch(re.escape(package) + "-(cpu|cuda)", image.rpartition(":")[2]):
                problems.append(f"{pod.path}: {image} is not of version {package}")
    for path, metadata in places:
        label = (metadata.get("labels") or {}).get("app.kubernetes.io/version")
        if label != package:
            problems.append(f"{path}.labels: app.kubernetes.io/version is {label}, not {package}")
    return problems
