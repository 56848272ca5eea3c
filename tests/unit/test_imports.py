"""Imports point one way, and Ray stays where it belongs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import synthray

PACKAGE = Path(synthray.__file__).parent

# Each part may import those before it. Parts in one tuple do not import each other, but for the
# modules of one package.
ORDER = [
    ("errors", "version"),
    ("rng", "storage"),
    ("config",),
    ("data",),
    ("models", "metrics", "advice", "frames"),
    ("training",),
    ("artifact_files",),
    ("artifact",),
    ("sampling",),
    ("adapting", "tracking", "console", "arguments"),
    ("tuning",),
    ("serving", "starter", "diagnosis", "api"),
    ("distributed", "fitting"),
    ("cli",),
    ("__main__",),
]
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Names of all imported modules, also those imported within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_part_has_its_place_in_the_order() -> None:
    parts = {part_of(path) for path in modules()} - {"__init__"}
    assert parts == set(RANK)


def test_imports_point_one_way() -> None:
    wrong = []
    for path in modules():
        part = part_of(path)
        if part == "__init__":
            continue
        for name in imports_of(path):
            pieces = name.split(".")
            if pieces[0] != "synthray" or len(pieces) < 2 or pieces[1] not in RANK:
                continue
            if pieces[1] != part and RANK[pieces[1]] >= RANK[part]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_only_distributed_imports_ray() -> None:
    guilty = [
        str(path.relative_to(PACKAGE))
        for path in modules()
        if part_of(path) != "distributed"
        and any(name.split(".")[0] == "ray" for name in imports_of(path))
    ]
    assert not guilty


def test_the_package_imports_without_ray_and_lightly() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "import synthray; assert 'torch' not in sys.modules\n"
        "import synthray.cli; synthray.fit; assert 'boto3' not in sys.modules\n"
        "assert not {'mlflow', 'wandb', 'tensorboardX'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
