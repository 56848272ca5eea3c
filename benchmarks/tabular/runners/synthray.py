"""SynthRay in this process, timed as the rivals are; what it samples is written as Parquet.

The bound of sampling is the network's own arithmetic: each of its weights multiplied and added once
a row, at the speed of a large matrix product on the same threads.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

import synthray
from benchmarks.tabular.runners.measuring import Clock, Draw, Request, main
from synthray import fitting
from synthray.config import TrainConfig
from synthray.models.nade import NADE, Columns
from synthray.sampling.dataset import shard_bytes
from synthray.sampling.virtual import VirtualDataset

SIDE = 2048  # of the large matrices


def learn(request: Request, clock: Clock) -> tuple[Draw, dict[str, Any]]:
    torch.set_num_threads(request.threads)
    train, out = fitting.train, Path(request.out)

    def timed_train(*args: Any, **options: Any) -> Any:
        clock.lap("preparation")
        outcome = train(*args, **options)
        clock.lap("training")
        return outcome

    fitting.train = timed_train
    artifact = synthray.fit(
        request.train, output=str(out / "run"), seed=request.seed, **request.params
    )
    clock.lap("saving")
    virtual = VirtualDataset(artifact, request.seed)

    def draw(rows: int) -> Path:
        place = out / "drawn.parquet"
        place.write_bytes(shard_bytes(virtual, 0, rows))
        return place

    settings = TrainConfig(**request.params.get("train", {}))
    row_epochs = settings.steps * settings.batch_size
    epochs = row_epochs / pq.read_metadata(request.train).num_rows
    told = {"epochs": round(epochs, 2), "row_epochs": row_epochs}
    if isinstance(artifact.model, NADE):
        per_row = products_per_row(artifact.model.columns)
        told["bound_rows_per_second"] = products_per_second() / per_row
    return draw, told


def products_per_row(columns: Columns) -> float:
    """Floating-point operations of the matrix products of a row, were each column's made."""
    return 2 * (columns.weight.numel() + columns.output.own.numel())


def products_per_second() -> float:
    """Floating-point operations a second of the best of several large matrix products."""
    a, b = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - begin)
    return 2 * SIDE**3 / best


if __name__ == "__main__":
    main(learn)
