"""The overlays of k8s/, rendered."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from k8s.checks import companions
from k8s.checks.objects import OF_ALL
from k8s.checks.rendering import OVERLAYS, ROOT, Document, name_of, overlays, render_once

GONE = object()
"""Instead of a value: take away what is there."""
NAMES = [str(folder.relative_to(OVERLAYS)) for folder in overlays()]


def rendered(name: str) -> tuple[Document, ...]:
    """Rendered once; never changed in place."""
    return render_once(OVERLAYS / name)


@cache
def beside(name: str) -> list[Document]:
    """What the overlay's other folders hold; never changed in place."""
    return companions.around(OVERLAYS / name)


def overlaid(folder: Path, overlay: str, components: Iterable[str]) -> None:
    """Make a folder an overlay of one's own: one of ours with components over it."""

    def relative(*parts: str) -> str:
        return os.path.relpath(ROOT.joinpath("k8s", *parts), folder.resolve())

    tree = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative("overlays", overlay)],
        "components": [relative("components", name) for name in (*components, "common")],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(tree))


def found(name: str, kind: str, which: str | None = None) -> Document:
    """A copy of the first object of a kind in an overlay."""
    for tree in rendered(name):
        if tree["kind"] == kind and which in (None, tree["metadata"]["name"]):
            return copy.deepcopy(tree)
    raise LookupError(f"{name} has no {kind} {which or ''}")


def spoil(tree: Document, path: str, value: Any) -> None:
    """Put a value where the path leads, or take away what is there; keys may have dots."""
    node: Any = tree
    keys = path.split(".")
    for prefix in ("app", "pod-security"):
        if prefix in keys:
            at = keys.index(prefix)
            keys[at:] = [".".join(keys[at:])]
    for key in keys[:-1]:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    last: Any = int(keys[-1]) if isinstance(node, list) else keys[-1]
    if value is GONE:
        del node[last]
    else:
        node[last] = value


def problems_of(trees: list[Document], folder: str) -> list[str]:
    """Without the schemas, which take time and see one object alone."""
    return [told for check in OF_ALL for told in check(trees, beside(folder))]


def spoiled(folder: str, name: str, path: str, value: Any) -> list[str]:
    trees = copy.deepcopy(list(rendered(folder)))
    spoil(next(tree for tree in trees if name_of(tree) == name), path, value)
    return problems_of(trees, folder)
