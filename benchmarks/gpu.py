"""A training step and a block of rows, on one core and on the GPU, side by side.

    python -m benchmarks.gpu

Rows are noise of the right shape: time does not depend on what they say. Medians of ROUNDS rounds,
in wall-clock milliseconds with the device idle before and after; a block is 1,024 rows drawn and
brought back to the processor, as generation does. Training uses bfloat16 where the family allows
it on both. Networks are those that the README's examples train, and larger ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from synthray import models, rng
from synthray.config import BLOCK_ROWS, ModelConfig, TrainConfig
from synthray.data.codec import DataSpec
from synthray.data.layout import Layout, Slot
from synthray.models.base import Batch, GenerativeModel
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine

ROUNDS = 3
LAYOUT = Layout(
    slots=(
        *(
            Slot(
                name=f"n{i}",
                counts=(100,) * 64,
                centres=tuple(k / 32 - 1 for k in range(64)),
                spreads=(1 / 64,) * 64,
            )
            for i in range(6)
        ),
        *(Slot(name=f"c{i}", counts=(400,) * 16) for i in range(9)),
    )
)


@dataclass(frozen=True)
class Case:
    family: str
    shape: tuple[int, ...]
    batch: int
    params: dict[str, Any] = field(default_factory=dict, hash=False)
    conditions: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        size = " x ".join(map(str, self.shape[::-1])) if len(self.shape) == 3 else "15 columns"
        width = f", width {self.params['width']}" if "width" in self.params else ""
        return f"{self.family}, {size}{width}, batch {self.batch}"

    def model(self) -> GenerativeModel:
        torch.manual_seed(0)
        layout = LAYOUT if len(self.shape) == 1 else None
        spec = DataSpec(shape=self.shape, rows=60_000, conditions=self.conditions, layout=layout)
        return models.build(ModelConfig(name=self.family, params=self.params), spec)

    def rows(self) -> Batch:
        random = torch.Generator().manual_seed(0)
        cond = torch.zeros((self.batch, len(self.conditions)), dtype=torch.int64)
        if len(self.shape) == 3:
            return Batch(torch.rand(self.batch, *self.shape, generator=random) * 2 - 1, cond)
        codes = [torch.randint(s.codes, (self.batch,), generator=random) for s in LAYOUT.slots]
        offsets = torch.rand(self.batch, len(LAYOUT.offset_columns), generator=random) * 2 - 1
        return Batch(LAYOUT.pack(torch.stack(codes, dim=1), offsets), cond)


def images(family: str, side: int, channels: int, width: int, batch: int, **more: Any) -> Case:
    params = {"width": width, "critic_width": width}
    return Case(family, (channels, side, side), batch, params, **more)


CASES = (
    images("dcgan", 28, 1, 32, 128, conditions=(10,)),
    images("rpgan", 28, 1, 32, 64, conditions=(10,)),
    images("rpgan", 64, 3, 32, 64),
    Case("nade", (LAYOUT.width,), 500),
)


def timed(work: Callable[[], Any], device: str, repeats: int) -> float:
    """Seconds of one call: the median of rounds of so many."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        _wait(device)
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        _wait(device)
        rounds.append((time.perf_counter() - began) / repeats)
    return median(rounds)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def measure(case: Case, device: str) -> tuple[float, float]:
    """Seconds of a training step, and of a block of rows."""
    repeats = 1 if device == "cpu" else 10
    config = TrainConfig(steps=1_000, batch_size=case.batch, precision="bfloat16")
    engine = Engine(case.model(), config, seed=0, rows=Rows.all(case.batch), device=device)
    given = case.rows()
    batch = Batch(given.x.to(device), given.cond.to(device))
    step = timed(lambda: engine.train_step(batch), device, repeats)
    model = engine.ema.model

    def draw() -> torch.Tensor:
        random = BatchRandom(rng.stream(0, "block", 0), Rows.all(BLOCK_ROWS), device)
        cond = None
        if case.conditions:
            cond = torch.zeros((BLOCK_ROWS, 1), dtype=torch.int64, device=device)
        with torch.inference_mode():
            return model.sample(BLOCK_ROWS, random, cond).cpu()

    return step, timed(draw, device, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    torch.set_num_threads(1)
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    title = torch.cuda.get_device_name() if len(devices) > 1 else "no GPU here"
    table = Table(title=f"{title}; milliseconds")
    table.add_column("")
    for what in ("step", "block of 1,024"):
        for device in ("one core", "GPU", "ratio"):
            table.add_column(f"{what}, {device}", justify="right")
    # Device by device: the clock of an idle GPU is slow.
    found = {(d, case): measure(case, d) for d in reversed(devices) for case in CASES}
    for case in CASES:
        cells = []
        for index in range(2):
            times = [1_000 * found[device, case][index] for device in devices]
            cells.append(f"{times[0]:.1f}")
            cells += [f"{times[1]:.1f}", f"{times[0] / times[1]:.1f}"] if times[1:] else ["–", "–"]
        table.add_row(case.name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
