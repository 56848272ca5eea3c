"""The systems that are compared, and how one of them is run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stability.results import digest
from benchmarks.tabular.environments import REQUIREMENTS, ROOT, interpreter
from benchmarks.tabular.runners.measuring import Request

OURS = 2
"""To be raised when what SynthRay trains or draws changes while its settings do not."""


@dataclass(frozen=True)
class System:
    """A runner, its environment (None: this one), and its own settings."""

    runner: str
    environment: str | None
    params: dict[str, Any]
    title: str

    def settings(self) -> dict[str, Any]:
        """What a row of results depends on, beside the request."""
        told: dict[str, Any] = {"runner": self.runner, "params": self.params}
        if self.environment is not None:
            pins = (REQUIREMENTS / f"{self.environment}.txt").read_text().splitlines()
            told["packages"] = digest([line for line in pins if not line.startswith("#")])
        else:
            told["version"] = OURS
        return told

    def run(self, request: Request) -> dict[str, Any]:
        """Train, sample and time in a process of its own; what the runner told.

        Raises:
            subprocess.CalledProcessError: it failed; its own words are in the folder's log.
        """
        python = sys.executable if self.environment is None else interpreter(self.environment)
        out = Path(request.out)
        out.mkdir(parents=True, exist_ok=True)
        place = out / "request.json"
        place.write_text(json.dumps(dataclasses.asdict(request)))
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
        threads = dict.fromkeys(names, str(request.threads))
        module = f"benchmarks.tabular.runners.{self.runner}"
        with (out / "log.txt").open("w") as log:
            subprocess.run(
                [str(python), "-m", module, str(place)],
                cwd=ROOT,
                env={**os.environ, **threads},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )
        told: dict[str, Any] = json.loads((out / "outcome.json").read_text())
        return told


def systems(ours: dict[str, Any]) -> dict[str, System]:
    """By name. ``ours``: the sections of SynthRay's config, as synthray.fit takes them."""
    name = ours.get("model", {}).get("name", "default")
    return {
        "ctgan": System("ctgan", "ctgan", {"model": "CTGAN", "epochs": 300}, "CTGAN (ctgan)"),
        "tvae": System("ctgan", "ctgan", {"model": "TVAE", "epochs": 300}, "TVAE (ctgan)"),
        "sdv": System("sdv", "sdv", {}, "Gaussian copula (sdv)"),
        "mostlyai": System("mostlyai", "mostlyai", {"epochs": 100}, "TabularARGN (mostlyai)"),
        "synthray": System("synthray", None, ours, f"SynthRay {name}"),
    }
