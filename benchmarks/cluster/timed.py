"""Families that tell where their training's time goes, for `benchmarks.cluster.scaling`.

Every ten steps each worker appends a line of JSON to a file of its own: the steps so far, and the
seconds since it began by the clock and of its processor, in all and in parts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from synthray.models import norm
from synthray.models.adversarial import AdversarialModel
from synthray.models.dcgan import DCGAN
from synthray.models.rpgan import RpGAN
from synthray.rng import BatchRandom
from synthray.training import engine

FOLDER = "SYNTHRAY_BENCHMARK_FOLDER"
"""The variable with the folder of the files."""
EVERY = 10


class Clocks:
    """Seconds by the clock and of this process's processors, by part."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = {}

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time booked."""

        def call(*arguments: Any, **options: Any) -> Any:
            wall, processor = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                spent = self.parts.setdefault(part, [0.0, 0.0])
                spent[0] += time.perf_counter() - wall
                spent[1] += time.process_time() - processor

        return call


class _Reduced:
    """torch.distributed for batch norm, its all-reduce booked."""

    def __init__(self, clocks: Clocks) -> None:
        self.all_reduce = clocks.timed("batch norm's all-reduce", dist.all_reduce)

    def __getattr__(self, name: str) -> Any:
        return getattr(dist, name)


class Timed(AdversarialModel):
    """A family with clocks, mixed into one that exists."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._clocks: Clocks | None = None
        self._steps = 0

    def after_phase(self, phase: str, terms: dict[str, Tensor], rows: int) -> None:
        super().after_phase(phase, terms, rows)
        if phase != "generator":
            return
        if self._clocks is None:  # the first step is not counted
            self._clocks = clocks = Clocks()
            engine.average = clocks.timed("gradients' all-reduce", engine.average)
            norm.dist = _Reduced(clocks)  # type: ignore[assignment]
            for name in ("normal", "uniform"):
                drawn = clocks.timed("random numbers", getattr(BatchRandom, name))
                setattr(BatchRandom, name, drawn)
            self._began = time.perf_counter(), time.process_time()
            return
        self._steps += 1
        if self._steps % EVERY == 0:
            self._tell(self._clocks)

    def _tell(self, clocks: Clocks) -> None:
        wall, processor = self._began
        row = {
            "steps": self._steps,
            "wall": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
            "parts": clocks.parts,
        }
        with (Path(os.environ[FOLDER]) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


class TimedDCGAN(Timed, DCGAN):
    pass


class TimedRpGAN(Timed, RpGAN):
    pass


FAMILIES = {"dcgan": "TimedDCGAN", "rpgan": "TimedRpGAN"}
"""With batch norm, whose statistics two workers have to share, and without."""
