"""The folders that are applied beside one: an overlay's platform, its jobs and its endpoint.

Policies of the platform choose the pods of jobs and of endpoints, and these name what the platform
brings; so one folder can only be judged with the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from k8s.checks.rendering import OVERLAYS, Document, render_once

_FILE = "kustomization.yaml"


def around(folder: Path) -> list[Document]:
    """All objects of a folder's companions.

    Raises:
        ValueError: kustomize refuses one of them.
    """
    return [tree for each in sorted(companions(folder)) for tree in render_once(each)]


def companions(folder: Path) -> set[Path]:
    """The other folders of the same overlay, and those of overlays of ours that it builds on.

    What it builds on is part of it, and no companion: `mine`, made of `../production`, has the
    jobs and the endpoint of production beside it.
    """
    own = _family(folder.resolve())
    built_on = {base for each in own for base in _bases(each)}
    more = {each for base in built_on for each in _family(base)}
    return (own | more) - built_on - {folder.resolve()}


def _family(folder: Path) -> set[Path]:
    """The folders under the highest one above that can be rendered too."""
    top = folder
    while (top.parent / _FILE).exists():
        top = top.parent
    return {path.parent for path in top.rglob(_FILE)}


def _bases(folder: Path) -> Iterator[Path]:
    """The overlays of ours that a folder names as resources, and what these name."""
    tree = yaml.safe_load((folder / _FILE).read_text(encoding="utf-8")) or {}
    for name in tree.get("resources") or ():
        path = (folder / str(name)).resolve()
        if (path / _FILE).exists() and path.is_relative_to(OVERLAYS):
            yield path
            yield from _bases(path)
