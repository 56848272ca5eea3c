"""All checks of one object, and of all that a folder renders to."""

from __future__ import annotations

from pathlib import Path

from k8s.checks.companions import around
from k8s.checks.configs import check_configs
from k8s.checks.containers import check_containers
from k8s.checks.nodes import check_nodes
from k8s.checks.operations import check_operations
from k8s.checks.operator import check_operator
from k8s.checks.ports import check_ports
from k8s.checks.references import check_references
from k8s.checks.rendering import Document, name_of, render_once
from k8s.checks.schemas import check_schema
from k8s.checks.security import check_security
from k8s.checks.selectors import check_selectors
from k8s.checks.serving import check_serving
from k8s.checks.together import check_accounts, check_platform
from k8s.checks.versions import check_versions, locked_ray, package_version

OF_ONE = (check_operator, check_security, check_operations, check_containers, check_nodes)
OF_ALL = (
    check_references,
    check_accounts,
    check_selectors,
    check_ports,
    check_configs,
    check_serving,
)


def check_object(tree: Document) -> list[str]:
    """What is wrong with one object. One that its schema refuses is not looked at any further."""
    problems = check_schema(tree) or [told for check in OF_ONE for told in check(tree)]
    return [f"{name_of(tree)}: {problem}" for problem in problems]


def check_objects(trees: list[Document], beside: list[Document]) -> list[str]:
    """What is wrong with objects that are applied together.

    Args:
        beside: the objects of the overlay's other folders.
    """
    problems = [problem for tree in trees for problem in check_object(tree)]
    if problems:
        return problems
    for check in OF_ALL:
        problems += check(trees, beside)
    problems += check_versions(trees, locked_ray(), package_version())
    if any(tree["kind"] == "Namespace" for tree in trees):
        problems += check_platform(trees)
    return problems


def check_folder(folder: Path) -> tuple[int, list[str]]:
    """How many objects a folder renders to, and what is wrong with them.

    Raises:
        ValueError: kustomize refuses it, or a folder of the same overlay.
        FileNotFoundError: there is no kubectl.
    """
    trees = list(render_once(folder))
    return len(trees), check_objects(trees, around(folder))
