"""The versions that image, manifests, lock file and package name must be one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from k8s.checks.reading import GPU, Pod, cluster_of, limits_of, pods_of
from k8s.checks.rendering import ROOT, Document, name_of

IMAGE = "synthray"
"""The last part of our image's name, whichever registry holds it."""


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
        ours = [container for container in pod.containers if _is_ours(container, pod)]
        if ours:
            places.append((pod.path, pod.template.get("metadata") or {}))
        for container in ours:
            told = _of_image(str(container["image"]), package, GPU in limits_of(container))
            problems += [f"{pod.path}.{container['name']}.image: {each}" for each in told]
    for path, metadata in places:
        label = (metadata.get("labels") or {}).get("app.kubernetes.io/version")
        if label != package:
            problems.append(
                f"{path}.labels: app.kubernetes.io/version is {label}, not {package}; "
                "correct it in components/common or base/pattern"
            )
    return problems


def _is_ours(container: dict[str, Any], pod: Pod) -> bool:
    """Ours by its name, or as the one that runs Ray, wherever and as what it is kept."""
    name = container["image"].partition("@")[0].rpartition("/")[2].partition(":")[0]
    return bool(name == IMAGE or container == pod.ray)


def _of_image(image: str, package: str, gpu: bool) -> Iterator[str]:
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if digest and not tag:
        return
    # What is built upon ours may add a word of its own: 0.1.0-cpu-corp2.
    found = re.fullmatch(re.escape(package) + r"-(cpu|cuda)([-_.].+)?", tag)
    if found is None:
        yield f"{image} is not of version {package}; take the tag {package}-cpu or {package}-cuda"
    elif gpu and found[1] == "cpu":
        yield f"{image} cannot use the GPU that the pod asks for; take the tag {package}-cuda"
