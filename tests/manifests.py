"""The overlays of k8s/, rendered."""

from __future__ import annotations

import copy
from functools import cache

from k8s.checks.rendering import OVERLAYS, Document, overlays, render

NAMES = [str(folder.relative_to(OVERLAYS)) for folder in overlays()]


@cache
def rendered(name: str) -> tuple[Document, ...]:
    """Rendered once; never changed in place."""
    return tuple(render(OVERLAYS / name))


def found(name: str, kind: str, which: str | None = None) -> Document:
    """A copy of the first object of a kind in an overlay."""
    for tree in rendered(name):
        if tree["kind"] == kind and which in (None, tree["metadata"]["name"]):
            return copy.deepcopy(tree)
    raise LookupError(f"{name} has no {kind} {which or ''}")
