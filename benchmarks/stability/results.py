"""Results of trainings, kept in the repository: one JSON line each, to check every seed by.

A row carries the digest of the settings that it was measured with. Rows of other settings stay in
the file and are not counted; what has no row is what a second run has to do.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from synthray import models
from synthray.config import ModelConfig
from synthray.models.adversarial import AdversarialConfig

FOLDER = Path(__file__).parent / "results"
PLAIN = AdversarialConfig().model_dump(mode="json")


NETWORKS = {"rpgan": 2}
"""To be raised when a family's networks for images change, though their settings stay: older rows
no longer count.
"""


def settings_of(model: dict[str, Any], images: bool = True) -> dict[str, Any]:
    """A model's settings with its family's defaults, but for parts that no row depends on yet.

    What every adversarial family has, at a value that switches it off or changes nothing, is left
    out: a new part that is off by default makes no measured row stale.
    """
    params = models.check_params(ModelConfig(**model)).model_dump(mode="json")
    told = {name: value for name, value in params.items() if PLAIN.get(name) != value}
    name = model["name"]
    version = {"networks": NETWORKS[name]} if images and name in NETWORKS else {}
    return {"name": name, "params": told, **version}


def digest(settings: Any) -> str:
    """Twelve hexadecimal digits of anything JSON-able."""
    canonical = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class Results:
    """The rows of a file, appended to one by one."""

    def __init__(self, place: Path) -> None:
        self.place = place
        lines = place.read_text().splitlines() if place.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def of(self, *configs: str) -> list[dict[str, Any]]:
        """The rows of these digests."""
        return [row for row in self.rows if row["config"] in configs]

    def add(self, row: dict[str, Any]) -> None:
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with self.place.open("a") as file:
            file.write(json.dumps(row, default=float) + "\n")
        self.rows.append(row)
