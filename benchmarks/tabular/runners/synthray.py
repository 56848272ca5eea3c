"""SynthRay in this process, timed as the rivals are; what it samples is written as Parquet.

The bound of sampling is the network's own arithmetic: the floating-point operations of its matrix
products for a row, at the speed of a large matrix product on the same threads. The products are
counted while one block is sampled.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.flop_counter import FlopCounterMode

import synthray
import synthray.api
from benchmarks.tabular.runners.measuring import Clock, Draw, Request, main
from synthray.config import BLOCK_ROWS, TrainConfig
from synthray.sampling.dataset import write_parquet
from synthray.sampling.virtual import VirtualDataset

SIDE = 2048  # of the large matrices


def learn(request: Request, clock: Clock) -> tuple[Draw, dict[str, Any]]:
    torch.set_num_threads(request.threads)
    train, out = synthray.api.train, Path(request.out)

    def timed_train(*args: Any, **options: Any) -> Any:
        clock.lap("preparation")
        outcome = train(*args, **options)
        clock.lap("training")
        return outcome

    synthray.api.train = timed_train
    artifact = synthray.fit(
        request.train, output=str(out / "run"), seed=request.seed, **request.params
    )
    clock.lap("saving")
    virtual = VirtualDataset(artifact, request.seed)

    def draw(rows: int) -> Path:
        place = out / "drawn.parquet"
        with pa.OSFile(str(place), "wb") as sink:
            write_parquet(sink, virtual.arrow_schema, virtual.batches(0, rows))
        return place

    settings = TrainConfig(**request.params.get("train", {}))
    row_epochs = settings.steps * settings.batch_size
    epochs = row_epochs / pq.read_metadata(request.train).num_rows
    bound = products_per_second() / products_per_row(virtual)
    told = {"epochs": round(epochs, 2), "row_epochs": row_epochs, "bound_rows_per_second": bound}
    return draw, told


def products_per_row(virtual: VirtualDataset) -> float:
    """Floating-point operations of the matrix products that a sampled row takes."""
    with FlopCounterMode(display=False) as counter:
        virtual.block(0)
    return counter.get_total_flops() / BLOCK_ROWS


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
