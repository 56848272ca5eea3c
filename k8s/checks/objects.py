"""All checks of one object, and of all that a folder renders to."""

from __future__ import annotations

from pathlib import Path

from k8s.checks.operations import check_operations
from k8s.checks.operator import check_operator
from k8s.checks.rendering import OVERLAYS, Document, name_of, render
from k8s.checks.schemas import check_schema
from k8s.checks.security import check_security
from k8s.checks.together import check_platform, check_references
from k8s.checks.versions import check_versions, locked_ray, package_version


def check_object(tree: Document) -> list[str]:
    """What is wrong with one object. One that its schema refuses is not looked at any further."""
    problems = check_schema(tree)
    if not problems:
        problems = [*check_operator(tree), *check_security(tree), *check_operations(tree)]
    return [f"{name_of(tree)}: {problem}" for problem in problems]


def check_objects(trees: list[Document], around: list[Document]) -> list[str]:
    """What is wrong with objects that are applied together.

    Args:
        around: the overlay's platform, where these are not it.
    """
    problems = [problem for tree in trees for problem in check_object(tree)]
    if problems:
        return problems
    problems += check_references(trees, around)
    problems += check_versions(trees, locked_ray(), package_version())
    if any(tree["kind"] == "Namespace" for tree in trees):
        problems += check_platform(trees)
    return problems


def platform_of(folder: Path) -> Path | None:
    """The overlay that a folder within one of ours belongs to; none for an overlay itself."""
    inside = folder.relative_to(OVERLAYS).parts if folder.is_relative_to(OVERLAYS) else ()
    return OVERLAYS / inside[0] if len(inside) > 1 else None


def check_folder(folder: Path) -> tuple[int, list[str]]:
    """How many objects a folder renders to, and what is wrong with them.

    Raises:
        ValueError: kustomize refuses it.
        FileNotFoundError: there is no kubectl.
    """
    trees, platform = render(folder), platform_of(folder)
    return len(trees), check_objects(trees, render(platform) if platform else [])
