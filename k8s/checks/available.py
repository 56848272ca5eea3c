"""The parts of SynthRay and of Ray that some checks need, and what goes unchecked without them.

Checking YAML needs neither torch nor Ray; configs are held against SynthRay's own model, which
brings torch, and endpoints against Ray Serve's schema. So they are imported here, on use.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import ModuleType

PARTS: Mapping[str, str] = {
    "synthray.cli": "words of jobs' entrypoints, and configs",
    "ray.serve.schema": "keys of serve.yaml",
    "synthray.distributed.endpoint": "args in serve.yaml",
}
"""The modules that may be absent, and what they check."""


@cache
def part(name: str) -> ModuleType | None:
    """A module of `PARTS`; none where it, or what it needs, is not installed."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # torch tells of a library that it misses by an OSError
        return None


def notes() -> list[str]:
    """A line for every part that could not be imported."""
    remedy = "pip install -e '.[ray]' for it"
    return [
        f"not checked, as {name} cannot be imported here: {what}; {remedy}"
        for name, what in PARTS.items()
        if part(name) is None
    ]
